//! A table with a key, as the checks for operations use it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cell, Suite, ok, takes};
use crate::contract::{
    Block, Error, Layout, LogicalType, Mark, Op, Progress, Receipt, TableColumn, TableSchema, TableSpec, Upserts,
};

/// The columns, and what a new row holds in those that it is not given; `must` has to be given.
const COLUMNS: [(&str, LogicalType, bool, Option<&str>); 6] = [
    ("row", LogicalType::Int64, false, None),
    ("part", LogicalType::String, false, None),
    ("note", LogicalType::String, true, None),
    ("eight or null", LogicalType::Int64, true, Some("4 + 4")),
    ("seven", LogicalType::Int64, false, Some("7")),
    ("must", LogicalType::Int64, false, None),
];

/// In another order than the columns'.
const KEY: [&str; 2] = ["part", "row"];

/// What a row holds behind its key.
pub(super) type Values = [Cell; 4];

/// All rows by their keys, part and row.
pub(super) type Rows = BTreeMap<(String, i64), Values>;

/// A row to be written.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) op: Op,
    pub(super) key: (String, i64),
    pub(super) values: Values,
}

pub(super) struct Keyed<'a> {
    suite: &'a Suite<'a>,
    pub(super) layout: Arc<Layout>,
    /// Whether an upsert may lack columns.
    pub(super) partial: bool,
    /// Whether rows can be deleted.
    pub(super) deletes: bool,
    /// Whether the table has a version, which each row that is written raises; the layout's last column.
    version: Option<AtomicU64>,
}

/// `.` absent, `-` null, else the text.
pub(super) fn cell(text: &str) -> Cell {
    match text {
        "." => Cell::Absent,
        "-" => Cell::Null,
        text => Cell::Value(text.to_owned()),
    }
}

pub(super) fn change(op: Op, key: (&str, i64), values: [&str; 4]) -> Change {
    Change { op, key: (key.0.to_owned(), key.1), values: values.map(cell) }
}

/// A new row as the database keeps it.
pub(super) fn with_defaults(values: &Values) -> Values {
    let defaults = ["-", "8", "7", "."].map(cell);
    let mut row = values.clone();
    for (cell, default) in row.iter_mut().zip(defaults) {
        if *cell == Cell::Absent {
            *cell = default;
        }
    }
    row
}

impl Suite<'_> {
    pub(super) fn keyed_spec(&self, name: &str) -> TableSpec {
        let columns = COLUMNS.map(|(name, logical, nullable, _)| (name, logical, nullable));
        let mut spec = self.spec(name, &columns);
        for (column, (_, _, _, default)) in spec.columns.iter_mut().zip(COLUMNS) {
            column.default = default.map(Into::into);
        }
        TableSpec { key: KEY.map(Into::into).into(), ..spec }
    }

    /// Whether the dialect makes tables with keys at all. One that makes some has to make these.
    pub(super) fn makes_keys(&self) -> bool {
        let spec = self.spec("keyed", &[("row", LogicalType::Int64, false), ("note", LogicalType::Int64, true)]);
        self.connection.grammar.create_table(&TableSpec { key: vec!["row".into()], ..spec }).is_ok()
    }

    pub(super) async fn keyed(&self, name: &str) -> Keyed<'_> {
        Keyed::new(self, &self.create(&self.keyed_spec(name)).await)
    }
}

impl<'a> Keyed<'a> {
    pub(super) fn new(suite: &'a Suite<'a>, table: &Arc<TableSchema>) -> Self {
        let place = |name: &str| {
            let found = table.columns.iter().position(|column| column.name == *name);
            found.unwrap_or_else(|| panic!("table `{}` has no column `{name}`", table.name))
        };
        let mut targets: Vec<_> = COLUMNS.iter().map(|(name, ..)| place(name)).collect();
        let (key, version, partial, deletes) = match &table.upserts {
            Upserts::Keys(keys) => (keys.first(), None, true, true),
            Upserts::Versions { key, version, deleted, partial } => {
                (Some(key), version.as_deref(), *partial, deleted.is_some())
            }
            Upserts::Never { why, .. } => panic!("table `{}` was created with a key, but: {why}", table.name),
        };
        assert_eq!(key.map(Vec::as_slice), Some(&KEY.map(String::from)[..]), "the key of table `{}`", table.name);
        targets.extend(version.map(place));
        let key = KEY.map(|name| COLUMNS.iter().position(|column| column.0 == name).expect("it is a column"));
        let layout = Layout { key: key.into(), ..Layout::new(Arc::clone(table), targets) };
        Self { suite, layout: Arc::new(layout), partial, deletes, version: version.map(|_| AtomicU64::new(1)) }
    }

    /// A block of these rows, which are of different keys, in the order of their keys.
    pub(super) fn block(&self, changes: &[Change]) -> Block {
        let mut changes: Vec<_> = changes.iter().collect();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        let mut columns = self.layout.empty_columns();
        for Change { op, key: (part, row), values } in &changes {
            let key = [Cell::Value(row.to_string()), Cell::Value(part.clone())];
            let cells = key.iter().chain(values);
            for ((column, target), (index, cell)) in
                columns.iter_mut().zip(self.layout.columns()).zip(cells.enumerate())
            {
                match op {
                    Op::Delete if index >= KEY.len() => column.push_mark(Mark::Absent),
                    _ => cell.push(column, &takes(target).logical),
                }
            }
            if let (Some(version), Some(column), Some(target)) =
                (&self.version, columns.last_mut(), self.layout.columns().last())
            {
                let version = version.fetch_add(1, Ordering::Relaxed);
                Cell::Value(version.to_string()).push(column, &takes(target).logical);
            }
        }
        let ops = changes.iter().map(|change| change.op).collect();
        Block { ops, ..Block::new(Arc::clone(&self.layout), columns, changes.len()) }
    }

    pub(super) async fn try_write(&self, changes: &[Change], progress: Option<&Progress>) -> Result<Receipt, Error> {
        self.suite.connection.session.write(&[&self.block(changes)], progress).await
    }

    pub(super) async fn write(&self, changes: &[Change]) {
        let name = &self.layout.table.name;
        let receipt = ok(&format!("changing rows of `{name}`"), self.try_write(changes, None).await);
        assert_eq!(receipt.rows, changes.len(), "table `{name}`: the receipt counts other rows");
    }

    /// What readers of the table see.
    pub(super) async fn rows(&self) -> Rows {
        let columns: Vec<TableColumn> = self.layout.columns().take(COLUMNS.len()).cloned().collect();
        let name = &self.layout.table.name;
        let mut rows = Rows::new();
        for row in self.suite.probe.read(name, &columns).await {
            let row: Vec<_> = row.into_iter().map(|text| text.map_or(Cell::Null, Cell::Value)).collect();
            let [Cell::Value(row), Cell::Value(part), values @ ..] = row.as_slice() else {
                panic!("table `{name}` holds a null in its key: {row:?}");
            };
            let key = (part.clone(), row.parse().expect("the probe reads an integer as one"));
            let values: Values = values.to_vec().try_into().expect("the probe reads the columns that it is asked for");
            assert_eq!(rows.insert(key, values), None, "table `{name}` holds two rows of part {part:?}, row {row}");
        }
        rows
    }

    pub(super) async fn expect(&self, rows: &[((&str, i64), [&str; 4])], when: &str) {
        let row = |((part, row), values): &((&str, i64), [&str; 4])| (((*part).to_owned(), *row), values.map(cell));
        assert_eq!(
            self.rows().await,
            rows.iter().map(row).collect::<Rows>(),
            "table `{}`, {when}",
            self.layout.table.name
        );
    }
}
