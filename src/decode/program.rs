use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::tz::TimeZone;
use rowfall_dialects::contract::{
    Column, ColumnDefault, Layout, LogicalType, Mark, TableColumn, TableSchema, ValueType,
};

use super::cell::{Cell, Misfit};
use super::fields::{Builder, Clash, Object};
use crate::config::{ColumnSettings, Envelope, Nested, NullPolicy, Route, Unit, UnknownFields};

/// What to do with each field of a record, for one table as it was described; compiled once, shared by all workers.
#[derive(Debug)]
pub struct Program {
    /// The table and which of its columns are filled.
    pub layout: Arc<Layout>,
    /// One per column of the layout.
    pub(super) columns: Vec<ColumnRule>,
    /// The fields that are known: those of the record first, then those of objects inside it.
    pub(super) objects: Vec<Object>,
    /// What to do with the others.
    pub(super) unknown: Unknown,
    /// Whether what a record lacks would be lost: the database keeps nothing of the row before.
    pub(super) whole_rows: bool,
    /// Whether what a record lacks stays as it is.
    pub(super) keeps: bool,
    /// Whether the row stands in an envelope of Debezium's.
    pub(super) envelope: bool,
}

/// Which of a table's columns a program fills, and what they ask for.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// These come first, in this order, and every record has a value for them: indices of the table's columns.
    pub key: Vec<usize>,
    /// Whether the key is all. Otherwise the table's other columns follow, in its order.
    pub key_only: bool,
    /// Columns that are filled otherwise: a field of such a name is passed over.
    pub elsewhere: Vec<usize>,
    /// Columns that every record has to have a value for, although they are not in the key.
    pub required: Vec<usize>,
    /// What to mark where a record lacks a field.
    pub lacking: Lacking,
    /// Whether fields that have no column are passed over, whatever the route says of them.
    pub ignore_unknown: bool,
}

/// What to do with a column whose field a record lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lacking {
    /// It gets null, or its DEFAULT.
    #[default]
    Default,
    /// It keeps what the stored row has.
    Keep,
    /// The record is bad: the stored row would lose it.
    Refuse,
}

/// What becomes of a field that the program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Refused,
    Ignored,
    /// The record is bad until the table has a column for it, unless it is null.
    Added,
    /// All of them go into this column, an index into `Program::columns`, as one JSON object.
    Collected(usize),
}

/// Why nothing is written into a [`ColumnDefault::Generated`] column.
pub(super) const COMPUTED: &str = "the database computes it, and takes no value for it";

/// How values get into one column.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub(super) struct ValueRule {
    pub(super) logical: LogicalType,
    pub(super) nullable: bool,
    pub(super) range: Option<RangeInclusive<i64>>,
    /// For texts: characters at most.
    pub(super) length: Option<u32>,
    /// For texts: whether bytes that are no UTF-8 go in as well.
    pub(super) binary: bool,
    pub(super) zone: TimeZone,
    /// For dates and timestamps: what a number counts; the column's own ticks where absent.
    pub(super) unit: Option<Unit>,
    /// Of a list its element; of a map its key and its value; of a struct its parts; of a variant its types.
    pub(super) parts: Vec<ValueRule>,
}

/// A field and the column that it fills, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The field, or what else fills the column.
    pub field: String,
    /// Its place among the layout's columns; none for a field that is left out.
    pub column: Option<usize>,
    /// What to know of it.
    pub remark: &'static str,
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
        Self::compile_part(table, route, &Part::default())
    }

    /// As [`Program::compile`], for a part of the table's columns.
    ///
    /// # Errors
    /// As there.
    pub fn compile_part(table: &Arc<TableSchema>, route: &Route, part: &Part) -> Result<Self, Vec<RefusedColumn>> {
        let lacked = |c: &&ColumnSettings| !table.columns.iter().any(|t| t.name == c.name);
        let is_column = |c: &&ColumnSettings| !c.drop && c.nested != Some(Nested::Flatten);
        let mut refused: Vec<RefusedColumn> = route
            .columns
            .iter()
            .filter(|c| !part.key_only && lacked(c) && is_column(c))
            .map(|c| RefusedColumn {
                column: c.name.clone(),
                type_text: c.type_text.clone().unwrap_or_default(),
                reason: format!("table {} has no such column", table.name),
                hint: format!("add it to the table, or take `columns.{}` out of the route", c.name),
            })
            .collect();
        let (mut targets, mut columns) = (Vec::new(), Vec::<ColumnRule>::new());
        let mut unknown = match &route.unknown_fields {
            _ if part.ignore_unknown => Unknown::Ignored,
            UnknownFields::Ignore => Unknown::Ignored,
            UnknownFields::Add => Unknown::Added,
            UnknownFields::Error | UnknownFields::Column(_) => Unknown::Refused,
        };
        let others = (0..table.columns.len())
            .filter(|index| !part.key_only && !part.key.contains(index) && !part.elsewhere.contains(index));
        for index in part.key.iter().copied().chain(others) {
            let column = &table.columns[index];
            let configured = route.columns.iter().find(|c| c.name == column.name);
            if configured.is_some_and(|c| c.drop) {
                if part.key.contains(&index) {
                    let hint = format!("take `columns.{}.drop` out", column.name);
                    refused.push(refusal(column, "it is part of the key, and `drop` leaves it out", &hint));
                }
                continue;
            }
            if column.default == ColumnDefault::Generated {
                // A field of its name is as unknown as any other, unless the route speaks of the column.
                if configured.is_some() {
                    let hint = format!("take `columns.{}` out of the route, or set its `drop: true`", column.name);
                    refused.push(refusal(column, COMPUTED, &hint));
                }
                continue;
            }
            match ColumnRule::new(column, configured, route) {
                Ok(mut rule) => {
                    rule.heed(part, index);
                    if matches!(&route.unknown_fields, UnknownFields::Column(rest) if *rest == column.name) {
                        unknown = Unknown::Collected(columns.len());
                        if !matches!(rule.value.logical, LogicalType::String | LogicalType::Json) {
                            refused.push(rule.refuse(
                                "`unknown_fields` names it, and it takes no JSON",
                                "make it a string or JSON column, or name another",
                            ));
                        }
                    }
                    targets.push(index);
                    columns.push(rule);
                }
                Err(refusal) => refused.push(refusal),
            }
        }
        if let UnknownFields::Column(rest) = &route.unknown_fields
            && !part.ignore_unknown
            && !part.key_only
            && !matches!(unknown, Unknown::Collected(_))
        {
            refused.push(RefusedColumn {
                column: rest.clone(),
                type_text: String::new(),
                reason: format!("`unknown_fields` names it, and table {} has no such column to fill", table.name),
                hint: "add a string or JSON column of that name, or say `error` or `ignore`".to_owned(),
            });
        }
        if columns.is_empty() && refused.is_empty() {
            refused.push(RefusedColumn {
                column: "*".to_owned(),
                type_text: String::new(),
                reason: format!("no column of table {} is left to fill", table.name),
                hint: "drop fewer columns".to_owned(),
            });
        }
        let objects = objects(table, route, part, &columns, unknown, &mut refused);
        if !refused.is_empty() {
            return Err(refused);
        }
        let layout = Arc::new(Layout { key: (0..part.key.len()).collect(), ..Layout::new(Arc::clone(table), targets) });
        Ok(Self {
            layout,
            columns,
            objects,
            unknown,
            whole_rows: part.lacking == Lacking::Refuse,
            keeps: part.lacking == Lacking::Keep,
            envelope: route.envelope == Envelope::Debezium && !part.key_only,
        })
    }

    /// Whether the table has a column of this name that takes no values.
    pub(super) fn computes(&self, name: &str) -> bool {
        self.layout.table.columns.iter().any(|c| c.name == name && c.default == ColumnDefault::Generated)
    }

    /// The field that fills the first column.
    pub(super) fn first_field(&self) -> &str {
        &self.columns[0].field
    }

    /// For people: each field, the column that it fills, and what to know of it.
    #[must_use]
    pub fn mapping(&self) -> Vec<Mapped> {
        let row = |index: usize, rule: &ColumnRule| {
            let default = rule.table_column.default;
            let remark = match rule.when_absent {
                Some(Mark::Absent) if self.keeps => "as it was where the record lacks it",
                Some(_) if default == ColumnDefault::Ephemeral => "not stored: feeds other columns' DEFAULTs",
                Some(Mark::Absent) if default == ColumnDefault::None => "its type's default where the record lacks it",
                Some(Mark::Absent) => "DEFAULT where the record lacks it",
                Some(_) => "null where the record lacks it",
                None if self.layout.key.contains(&index) => "part of the key",
                None => "must be in the record",
            };
            Mapped { field: rule.field.to_string(), column: Some(index), remark }
        };
        let rest = match self.unknown {
            Unknown::Collected(column) => Some(column),
            _ => None,
        };
        let columns = self.columns.iter().enumerate().filter(|(index, _)| Some(*index) != rest);
        let dropped = self.objects.iter().flat_map(|object| {
            let fields = object.fields.iter().filter(|field| field.column.is_none() && field.object.is_none());
            fields.map(|field| Mapped {
                field: format!("{}{}", object.prefix, field.name),
                column: None,
                remark: "dropped",
            })
        });
        let collected =
            rest.map(|column| Mapped { field: "…".to_owned(), column: Some(column), remark: "all other fields" });
        let mut rows: Vec<_> = columns.map(|(index, rule)| row(index, rule)).chain(dropped).chain(collected).collect();
        rows.dedup();
        rows
    }

    /// The same for one of its columns alone: whatever else a record has is read over.
    pub(super) fn alone(&self, column: usize) -> Self {
        let collects = self.unknown == Unknown::Collected(column);
        let layout = &self.layout;
        let key = layout.key.iter().filter(|other| **other == column).map(|_| 0).collect();
        Self {
            layout: Arc::new(Layout { key, ..Layout::new(Arc::clone(&layout.table), [layout.targets[column]]) }),
            columns: vec![self.columns[column].clone()],
            // Whatever collects the others has to know all of them.
            objects: self.objects.iter().map(|object| object.alone(column, collects)).collect(),
            unknown: if collects { Unknown::Collected(0) } else { Unknown::Ignored },
            whole_rows: self.whole_rows,
            keeps: self.keeps,
            envelope: self.envelope,
        }
    }
}

/// Which fields the columns are filled from.
fn objects(
    table: &TableSchema,
    route: &Route,
    part: &Part,
    columns: &[ColumnRule],
    unknown: Unknown,
    refused: &mut Vec<RefusedColumn>,
) -> Vec<Object> {
    let mut fields = Builder::new(route, table);
    let mut clash = |column: &ColumnRule, Clash { field, taken_by, part }: Clash| {
        let other = &columns[taken_by].table_column.name;
        let whole = if part { "as a whole, and this one wants a part of it" } else { "already" };
        refused.push(column.refuse(
            &format!("field `{field}` goes into column `{other}` {whole}"),
            &format!("a field fills one column: set `columns.{other}.drop: true`, or `from` for one of the two"),
        ));
    };
    let filled = || columns.iter().enumerate().filter(|(index, _)| unknown != Unknown::Collected(*index));
    let configured = |name: &str| route.columns.iter().find(|c| c.name == name);
    let is_way = |c: &&ColumnSettings| c.from != c.name && c.nested != Some(Nested::Flatten);
    let way = |name: &str| configured(name).filter(is_way);
    for (index, rule) in filled().filter(|(_, rule)| way(&rule.table_column.name).is_none()) {
        fields.name(&rule.table_column.name, Some(index)).unwrap_or_else(|at| clash(rule, at));
    }
    let mut ways: Vec<_> =
        filled().filter_map(|(index, rule)| Some((index, rule, way(&rule.table_column.name)?))).collect();
    // The short ones first: what a column takes as a whole has no parts for others.
    ways.sort_by_key(|(_, _, settings)| settings.from.matches('.').count());
    for (index, rule, settings) in ways {
        fields.way(&settings.from, Some(index)).unwrap_or_else(|at| clash(rule, at));
    }
    // What is left out needs no column, and leaves its field to others.
    for settings in route.columns.iter().filter(|c| c.drop) {
        let left_out = match is_way(&settings) {
            true => fields.way(&settings.from, None),
            false => fields.name(&settings.name, None),
        };
        // A way through a field that a column takes whole: the column has it.
        left_out.ok();
    }
    for index in &part.elsewhere {
        let name = &table.columns[*index].name;
        let left_out = match way(name) {
            Some(settings) => fields.way(&settings.from, None),
            None => fields.name(name, None),
        };
        left_out.ok();
    }
    let flattened = route.columns.iter().filter(|c| c.nested == Some(Nested::Flatten) && !c.drop && !part.key_only);
    for settings in flattened {
        if !fields.is_opened(&settings.from) {
            let separator = &route.flatten.separator;
            refused.push(RefusedColumn {
                column: settings.name.clone(),
                type_text: String::new(),
                reason: format!("`nested: flatten`, and no column's name begins with `{}{separator}`", settings.name),
                hint: format!("add columns for its fields, or take `columns.{}.nested` out", settings.name),
            });
        }
    }
    fields.finish()
}

impl ColumnRule {
    fn new(column: &TableColumn, settings: Option<&ColumnSettings>, route: &Route) -> Result<Self, RefusedColumn> {
        let name = &column.name;
        let refuse = |reason: &str, hint: &str| refusal(column, reason, hint);
        let value = column
            .value
            .as_ref()
            .map_err(|reason| refuse(reason, &format!("set `columns.{name}.drop: true` to leave it to its default")))?;
        let unit = settings.and_then(|c| c.unit);
        let value = ValueRule::new(value, unit).map_err(|zone| {
            refuse(&format!("time zone {zone} is unknown"), "give the column a zone of the IANA database")
        })?;
        if unit.is_some() && !value.any(&|rule| rule.counts_time()) {
            return Err(refuse("`unit` is for dates and timestamps", &format!("take `columns.{name}.unit` out")));
        }
        if unit == Some(Unit::Days) && value.any(&|rule| matches!(rule.logical, LogicalType::Timestamp { .. })) {
            return Err(refuse("`unit: days` is for dates", "say `s`, `ms`, `us` or `ns`"));
        }
        if settings.and_then(|c| c.nested).unwrap_or(route.nested) == Nested::Json && value.any(&ValueRule::has_parts) {
            return Err(refuse(
                "`nested: json` gives it JSON text, and its type takes the parts",
                &format!("make it a string or JSON column, or set `columns.{name}.nested: native`"),
            ));
        }
        let when_absent = match (value.nullable, column.default) {
            (true, ColumnDefault::None) => Some(Mark::Null),
            (_, default) if default.fills_in() => Some(Mark::Absent),
            (false, _) if route.null == NullPolicy::Default => Some(Mark::Absent),
            _ => None,
        };
        let null_is_absent = !value.nullable && route.null == NullPolicy::Default;
        let field = settings.filter(|c| c.nested != Some(Nested::Flatten)).map_or(name, |c| &c.from).as_str().into();
        Ok(Self { field, value, table_column: column.clone(), when_absent, null_is_absent })
    }

    /// Appends null to the column.
    #[inline]
    pub(super) fn put_null(&self, column: &mut Column) -> Result<(), Misfit> {
        if self.null_is_absent {
            column.push_mark(Mark::Absent);
            return Ok(());
        }
        Cell { rule: &self.value, column }.null()
    }

    /// What the part asks of the column of this index.
    fn heed(&mut self, part: &Part, index: usize) {
        if part.key.contains(&index) || part.required.contains(&index) {
            self.value.nullable = false;
            self.null_is_absent = false;
            self.when_absent = None;
            return;
        }
        match part.lacking {
            Lacking::Default => {}
            Lacking::Keep => self.when_absent = Some(Mark::Absent),
            Lacking::Refuse => self.when_absent = None,
        }
    }

    fn refuse(&self, reason: &str, hint: &str) -> RefusedColumn {
        refusal(&self.table_column, reason, hint)
    }
}

fn refusal(column: &TableColumn, reason: &str, hint: &str) -> RefusedColumn {
    RefusedColumn {
        column: column.name.clone(),
        type_text: column.type_text.clone(),
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    }
}

impl ValueRule {
    /// The rule for values of this type; the zone that is unknown, if one is.
    fn new(value: &ValueType, unit: Option<Unit>) -> Result<Self, String> {
        let zone = match &value.zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| name.clone())?,
        };
        let new = |part: &ValueType| Self::new(part, unit);
        let parts = match &value.logical {
            LogicalType::List(element) => vec![new(element)?],
            LogicalType::Map(pair) => vec![new(&pair.0)?, new(&pair.1)?],
            LogicalType::Struct(fields) => fields.iter().map(|f| new(&f.value)).collect::<Result<_, _>>()?,
            LogicalType::Variant(types) => types.iter().map(new).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        let ValueType { logical, nullable, range, length, binary, .. } = value.clone();
        Ok(Self { logical, nullable, range, length, binary, zone, unit, parts })
    }

    /// Whether this holds for it or for a part of it.
    pub(super) fn any(&self, holds: &dyn Fn(&Self) -> bool) -> bool {
        holds(self) || self.parts.iter().any(|part| part.any(holds))
    }

    /// Whether it is a date or a timestamp.
    pub(super) fn counts_time(&self) -> bool {
        matches!(self.logical, LogicalType::Date | LogicalType::Timestamp { .. })
    }

    fn has_parts(&self) -> bool {
        matches!(self.logical, LogicalType::List(_) | LogicalType::Map(_) | LogicalType::Struct(_))
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
