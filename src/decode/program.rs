use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::tz::TimeZone;
use rowfall_dialects::contract::{ColumnDefault, Layout, LogicalType, Mark, TableColumn, TableSchema, ValueType};

use crate::config::{ColumnSettings, NullPolicy, Route, UnknownFields};

/// What to do with each field of a record, for one table as it was described; compiled once, shared by all workers.
#[derive(Debug)]
pub struct Program {
    /// The table and which of its columns are filled.
    pub layout: Arc<Layout>,
    /// One per column of the layout.
    pub(super) columns: Vec<ColumnRule>,
    /// Every field that is known, in the order of the table's columns: records tend to keep an order, so the field
    /// behind the last one is tried first.
    pub(super) fields: Vec<FieldRule>,
    by_name: HashMap<Box<str>, usize>,
    /// What to do with the others.
    pub(super) unknown: Unknown,
}

/// What becomes of a field that the program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Refused,
    Ignored,
    /// All of them go into this column, an index into `Program::columns`, as one JSON object.
    Collected(usize),
}

#[derive(Debug)]
pub(super) struct FieldRule {
    pub(super) name: Box<str>,
    /// Index into `Program::columns`; none: the field is read over.
    pub(super) column: Option<usize>,
}

/// Why nothing is written into a [`ColumnDefault::Generated`] column.
pub(super) const COMPUTED: &str = "the database computes it, and takes no value for it";

/// How values get into one column.
#[derive(Debug)]
pub(super) struct ColumnRule {
    pub(super) field: Box<str>,
    pub(super) value: ValueRule,
    pub(super) table_column: TableColumn,
    /// What to mark when the record lacks the field; none: such a record is bad.
    pub(super) when_absent: Option<Mark>,
    /// Whether null counts as a field that the record lacks.
    pub(super) null_is_absent: bool,
}

/// How one value gets into a column, or into a part of one.
#[derive(Debug)]
pub(super) struct ValueRule {
    pub(super) logical: LogicalType,
    pub(super) nullable: bool,
    pub(super) range: Option<RangeInclusive<i64>>,
    pub(super) zone: TimeZone,
    /// Of a list its element; of a map its key and its value; of a struct its parts; of a variant its types.
    pub(super) parts: Vec<ValueRule>,
}

/// A column that the route would fill but that rowfall cannot write, found before the first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedColumn {
    /// Its name.
    pub column: String,
    /// Its type in the database's words; empty where the table has no such column.
    pub type_text: String,
    /// Why it is refused.
    pub reason: String,
    /// What an operator can do.
    pub hint: String,
}

impl fmt::Display for RefusedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.type_text.is_empty() { "" } else { " " };
        write!(f, "column `{}`{space}{}: {}; {}", self.column, self.type_text, self.reason, self.hint)
    }
}

impl Program {
    /// Compiles the route against the table.
    ///
    /// # Errors
    /// Names every column that cannot be written, and every configured column that the table does not have.
    pub fn compile(table: &Arc<TableSchema>, route: &Route) -> Result<Self, Vec<RefusedColumn>> {
        let lacked = |c: &&ColumnSettings| !table.columns.iter().any(|t| t.name == c.name);
        let mut refused: Vec<RefusedColumn> = route
            .columns
            .iter()
            .filter(|c| lacked(c) && !c.drop)
            .map(|c| RefusedColumn {
                column: c.name.clone(),
                type_text: c.type_text.clone().unwrap_or_default(),
                reason: format!("table {} has no such column", table.name),
                hint: format!("add it to the table, or take `columns.{}` out of the route", c.name),
            })
            .collect();
        let (mut targets, mut columns, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        let mut unknown = match &route.unknown_fields {
            UnknownFields::Ignore => Unknown::Ignored,
            UnknownFields::Error | UnknownFields::Column(_) => Unknown::Refused,
        };
        for (index, column) in table.columns.iter().enumerate() {
            let configured = route.columns.iter().find(|c| c.name == column.name);
            if column.default == ColumnDefault::Generated {
                // A field of its name is as unknown as any other, unless the route speaks of the column.
                match configured {
                    None => {}
                    Some(c) if c.drop => fields.push(FieldRule { name: c.from.as_str().into(), column: None }),
                    Some(_) => refused.push(RefusedColumn {
                        column: column.name.clone(),
                        type_text: column.type_text.clone(),
                        reason: COMPUTED.to_owned(),
                        hint: format!("take `columns.{}` out of the route, or set its `drop: true`", column.name),
                    }),
                }
                continue;
            }
            let name: Box<str> = configured.map_or(&column.name, |c| &c.from).as_str().into();
            if configured.is_some_and(|c| c.drop) {
                fields.push(FieldRule { name, column: None });
                continue;
            }
            match ColumnRule::new(column, name.clone(), route.null) {
                Ok(rule) if matches!(&route.unknown_fields, UnknownFields::Column(rest) if *rest == column.name) => {
                    if !matches!(rule.value.logical, LogicalType::String | LogicalType::Json) {
                        refused.push(RefusedColumn {
                            column: column.name.clone(),
                            type_text: column.type_text.clone(),
                            reason: "`unknown_fields` names it, and it takes no JSON".to_owned(),
                            hint: "make it a string or JSON column, or name another".to_owned(),
                        });
                    }
                    unknown = Unknown::Collected(columns.len());
                    targets.push(index);
                    columns.push(rule);
                }
                Ok(rule) => {
                    fields.push(FieldRule { name, column: Some(columns.len()) });
                    targets.push(index);
                    columns.push(rule);
                }
                Err(refusal) => refused.push(refusal),
            }
        }
        if let UnknownFields::Column(rest) = &route.unknown_fields
            && !matches!(unknown, Unknown::Collected(_))
        {
            refused.push(RefusedColumn {
                column: rest.clone(),
                type_text: String::new(),
                reason: format!("`unknown_fields` names it, and table {} has no such column to fill", table.name),
                hint: "add a string or JSON column of that name, or say `error` or `ignore`".to_owned(),
            });
        }
        // What is left out needs no column.
        let left_out = route.columns.iter().filter(|c| lacked(c) && c.drop);
        fields.extend(left_out.map(|c| FieldRule { name: c.from.as_str().into(), column: None }));
        if columns.is_empty() && refused.is_empty() {
            refused.push(RefusedColumn {
                column: "*".to_owned(),
                type_text: String::new(),
                reason: format!("no column of table {} is left to fill", table.name),
                hint: "drop fewer columns".to_owned(),
            });
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        let by_name = fields.iter().enumerate().map(|(i, f)| (f.name.clone(), i)).collect();
        let layout = Arc::new(Layout { table: Arc::clone(table), targets: targets.into() });
        Ok(Self { layout, columns, fields, by_name, unknown })
    }

    /// The index of a field, trying `expected` first.
    #[inline]
    pub(super) fn field(&self, name: &str, expected: usize) -> Option<usize> {
        match self.fields.get(expected) {
            Some(field) if *field.name == *name => Some(expected),
            _ => self.by_name.get(name).copied(),
        }
    }

    /// Whether the table has a column of this name that takes no values.
    pub(super) fn computes(&self, name: &str) -> bool {
        self.layout.table.columns.iter().any(|c| c.name == name && c.default == ColumnDefault::Generated)
    }

    /// For people: each field, the column that it fills with its type, and what to know of it.
    #[must_use]
    pub fn mapping(&self) -> Vec<[String; 3]> {
        let row = |field: &FieldRule| {
            let Some(rule) = field.column.map(|column| &self.columns[column]) else {
                return [field.name.to_string(), "–".to_owned(), "dropped".to_owned()];
            };
            let column = &rule.table_column;
            let remark = match rule.when_absent {
                Some(_) if column.default == ColumnDefault::Ephemeral => "not stored: feeds other columns' DEFAULTs",
                Some(Mark::Absent) if column.default == ColumnDefault::None => {
                    "its type's default where the record lacks it"
                }
                Some(Mark::Absent) => "DEFAULT where the record lacks it",
                Some(_) => "null where the record lacks it",
                None => "must be in the record",
            };
            [field.name.to_string(), format!("{} {}", column.name, column.type_text), remark.to_owned()]
        };
        let rest = match self.unknown {
            Unknown::Collected(column) => Some(&self.columns[column].table_column),
            _ => None,
        };
        let rest = rest.map(|c| ["…".to_owned(), format!("{} {}", c.name, c.type_text), "all other fields".to_owned()]);
        self.fields.iter().map(row).chain(rest).collect()
    }
}

impl ColumnRule {
    fn new(column: &TableColumn, field: Box<str>, null: NullPolicy) -> Result<Self, RefusedColumn> {
        let refuse = |reason: String, hint: String| RefusedColumn {
            column: column.name.clone(),
            type_text: column.type_text.clone(),
            reason,
            hint,
        };
        let value = column.value.as_ref().map_err(|reason| {
            refuse(reason.clone(), format!("set `columns.{}.drop: true` to leave it to its default", column.name))
        })?;
        let value = ValueRule::new(value).map_err(|zone| {
            refuse(format!("time zone {zone} is unknown"), "give the column a zone of the IANA database".to_owned())
        })?;
        let when_absent = match (value.nullable, column.default) {
            (true, ColumnDefault::None) => Some(Mark::Null),
            (_, default) if default.fills_in() => Some(Mark::Absent),
            (false, _) if null == NullPolicy::Default => Some(Mark::Absent),
            _ => None,
        };
        let null_is_absent = !value.nullable && null == NullPolicy::Default;
        Ok(Self { field, value, table_column: column.clone(), when_absent, null_is_absent })
    }
}

impl ValueRule {
    /// The rule for values of this type; the zone that is unknown, if one is.
    fn new(value: &ValueType) -> Result<Self, String> {
        let zone = match &value.zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| name.clone())?,
        };
        let parts = match &value.logical {
            LogicalType::List(element) => vec![Self::new(element)?],
            LogicalType::Map(pair) => vec![Self::new(&pair.0)?, Self::new(&pair.1)?],
            LogicalType::Struct(fields) => fields.iter().map(|f| Self::new(&f.value)).collect::<Result<_, _>>()?,
            LogicalType::Variant(types) => types.iter().map(Self::new).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        let ValueType { logical, nullable, range, .. } = value.clone();
        Ok(Self { logical, nullable, range, zone, parts })
    }

    /// Whether a value must be read as text, since the parser's own numbers would not do.
    pub(super) fn needs_text(&self) -> bool {
        use LogicalType as T;
        matches!(
            self.logical,
            T::Float32
                | T::Decimal { .. }
                | T::Int128
                | T::Int256
                | T::UInt128
                | T::UInt256
                | T::Json
                | T::List(_)
                | T::Map(_)
                | T::Struct(_)
                | T::Variant(_)
        )
    }
}
