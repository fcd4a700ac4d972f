use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;
use rowfall_dialects::contract::{ColumnDefault, Layout, LogicalType, Mark, TableColumn, TableSchema};

use crate::config::{ColumnSettings, Route, UnknownFields};

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
    pub(super) unknown_fields: UnknownFields,
}

#[derive(Debug)]
pub(super) struct FieldRule {
    pub(super) name: Box<str>,
    /// Index into `Program::columns`; none: the field is read over.
    pub(super) column: Option<usize>,
}

/// How values get into one column.
#[derive(Debug)]
pub(super) struct ColumnRule {
    pub(super) field: Box<str>,
    pub(super) logical: LogicalType,
    pub(super) table_column: TableColumn,
    /// What to mark when the record lacks the field; none: such a record is bad.
    pub(super) when_absent: Option<Mark>,
    pub(super) zone: TimeZone,
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
        for (index, column) in table.columns.iter().enumerate() {
            if column.default == ColumnDefault::Generated {
                continue;
            }
            let configured = route.columns.iter().find(|c| c.name == column.name);
            let name: Box<str> = configured.map_or(&column.name, |c| &c.from).as_str().into();
            if configured.is_some_and(|c| c.drop) {
                fields.push(FieldRule { name, column: None });
                continue;
            }
            match ColumnRule::new(column, name.clone()) {
                Ok(rule) => {
                    fields.push(FieldRule { name, column: Some(columns.len()) });
                    targets.push(index);
                    columns.push(rule);
                }
                Err(refusal) => refused.push(refusal),
            }
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
        Ok(Self { layout, columns, fields, by_name, unknown_fields: route.unknown_fields })
    }

    /// The index of a field, trying `expected` first.
    #[inline]
    pub(super) fn field(&self, name: &str, expected: usize) -> Option<usize> {
        match self.fields.get(expected) {
            Some(field) if *field.name == *name => Some(expected),
            _ => self.by_name.get(name).copied(),
        }
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
                Some(Mark::Absent) => "DEFAULT where the record lacks it",
                Some(_) => "null where the record lacks it",
                None if column.nullable => "must be in the record: null and its DEFAULT cannot be told apart",
                None => "must be in the record",
            };
            [field.name.to_string(), format!("{} {}", column.name, column.type_text), remark.to_owned()]
        };
        self.fields.iter().map(row).collect()
    }

    /// Whether the route takes the field of this name, to a column or to be read over.
    #[must_use]
    pub fn knows_field(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

impl ColumnRule {
    fn new(column: &TableColumn, field: Box<str>) -> Result<Self, RefusedColumn> {
        let refuse = |reason: String, hint: String| RefusedColumn {
            column: column.name.clone(),
            type_text: column.type_text.clone(),
            reason,
            hint,
        };
        let logical = column.logical.clone().map_err(|reason| {
            refuse(reason, format!("set `columns.{}.drop: true` to leave it to its default", column.name))
        })?;
        let zone = match &column.zone {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| {
                refuse(format!("time zone {name} is unknown"), "give the column a zone of the IANA database".to_owned())
            })?,
        };
        let when_absent = match (column.nullable, column.default) {
            (true, ColumnDefault::None) => Some(Mark::Null),
            (false, ColumnDefault::Expression) => Some(Mark::Absent),
            _ => None,
        };
        Ok(Self { field, logical, table_column: column.clone(), when_absent, zone })
    }
}
