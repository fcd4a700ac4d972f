use std::sync::Arc;
use std::time::SystemTime;

use crate::contract::{Column, TableColumn, TableSchema};

/// The columns that tell a row's record, where the table's key is that: topic, partition, offset.
pub const COORDINATES: [&str; 3] = ["_topic", "_partition", "_offset"];

/// Which of a table's columns a block fills, in which order.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The table as the database described it.
    pub table: Arc<TableSchema>,
    /// For each column of the block, its index in `table.columns`.
    pub targets: Box<[usize]>,
    /// The columns of the block that tell which stored row a row is about, as indices in `targets`, in the order of the
    /// table's key; empty where rows are only added.
    pub key: Box<[usize]>,
}

impl Layout {
    /// A layout whose rows are only added.
    #[must_use]
    pub fn new(table: Arc<TableSchema>, targets: impl Into<Box<[usize]>>) -> Self {
        Self { table, targets: targets.into(), key: [].into() }
    }

    /// The table's columns in the block's order.
    pub fn columns(&self) -> impl ExactSizeIterator<Item = &TableColumn> {
        self.targets.iter().map(|index| &self.table.columns[*index])
    }

    /// Empty columns for a block of this layout.
    ///
    /// # Panics
    /// When a target column's type cannot be written: such a layout is refused where it is made.
    #[must_use]
    pub fn empty_columns(&self) -> Vec<Column> {
        let column = |column: &TableColumn| {
            Column::new(&column.value.as_ref().expect("a layout has writable columns only").logical)
        };
        self.columns().map(column).collect()
    }
}

/// What a row does to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Changes the stored row of its key, or adds one where there is none. A column that is
    /// [`Mark::Absent`](crate::contract::Mark::Absent) keeps what the stored row holds; in a new row it is the
    /// database's default.
    Upsert,
    /// As if the stored row were deleted first: what is absent is the database's default again.
    Replace,
    /// Deletes the stored row of its key, if there is one. Only the key's columns hold values.
    Delete,
}

/// What tells a block from every other one that was ever written into its table: a dialect that keeps
/// [tokens](crate::contract::ExactlyOnce::Tokens) drops what the table has already under the same token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The same for the same rows, in ASCII.
    pub text: Arc<str>,
    /// Since when it may have been written. A table that may have forgotten it since is not written to, but the write is
    /// refused with [`Advice::Pause`](crate::contract::Advice::Pause). `None`: it may as well be there twice.
    pub since: Option<SystemTime>,
}

/// Rows for one table, as columns: the unit that a dialect writes.
///
/// All columns have `rows` rows. A mark [`Mark::Absent`](crate::contract::Mark::Absent) asks for the database's
/// default, also where the column is nullable: there it is another thing than null.
#[derive(Clone, Debug)]
pub struct Block {
    /// Where the columns go.
    pub layout: Arc<Layout>,
    /// One per entry of `layout.targets`.
    pub columns: Vec<Column>,
    /// Rows in each column.
    pub rows: usize,
    /// What each row does; empty where each is added. With operations no two rows have one key, and rows are sorted by
    /// key, so that writers who lock stored rows do it in one order.
    pub ops: Vec<Op>,
    /// What a database is to know it by, where it may come again. Its pieces have the same.
    pub token: Option<Token>,
}

impl Block {
    /// A block whose rows are all added.
    #[must_use]
    pub fn new(layout: Arc<Layout>, columns: Vec<Column>, rows: usize) -> Self {
        Self { layout, columns, rows, ops: Vec::new(), token: None }
    }

    /// A block of some of the rows, in this order.
    ///
    /// # Panics
    /// When the block does not have one of them.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        let columns = self.columns.iter().map(|column| column.gather(rows)).collect();
        let ops = match self.ops.as_slice() {
            [] => Vec::new(),
            ops => rows.iter().map(|row| ops[*row as usize]).collect(),
        };
        Self { layout: Arc::clone(&self.layout), columns, rows: rows.len(), ops, token: self.token.clone() }
    }
}
