use std::sync::Arc;

use crate::contract::{Column, TableColumn, TableSchema};

/// Which of a table's columns a block fills, in which order.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The table as the database described it.
    pub table: Arc<TableSchema>,
    /// For each column of the block, its index in `table.columns`.
    pub targets: Box<[usize]>,
}

impl Layout {
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
}

impl Block {
    /// A block of some of the rows, in this order.
    ///
    /// # Panics
    /// When the block does not have one of them.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        let columns = self.columns.iter().map(|column| column.gather(rows)).collect();
        Self { layout: Arc::clone(&self.layout), columns, rows: rows.len() }
    }
}
