use std::collections::HashMap;

use crate::contract::{Advice, Block, ColumnDefault, Error, Layout, Mark, Op};

/// What a block asks of a SQL database: first rows to delete, then rows to add or to change.
///
/// A statement gives all its rows the same columns: what is absent cannot be asked for in a row of `VALUES`. Rows with
/// operations are independent of each other, so all rows that give the same columns are one group, however they are
/// mixed; rows that are only added keep their order, and a group ends where the next row gives other columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows whose keys are deleted, ascending: those of [`Op::Delete`] and [`Op::Replace`].
    pub deletes: Vec<u32>,
    /// What is written after that.
    pub groups: Vec<Group>,
}

/// Rows that are written in the same way, with the same columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// In which way.
    pub verb: Verb,
    /// The columns that the rows give, as indices in the block's columns, ascending.
    pub given: Vec<usize>,
    /// The rows, ascending.
    pub rows: Vec<u32>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// They are added.
    Insert,
    /// They are added, or change the rows of their keys.
    Upsert,
    /// They change the rows of their keys, which must be there: a column without a default that takes no null is not
    /// given. (A database checks that before it looks whether the row is there, so that an upsert would always fail.)
    Update,
}

impl Plan {
    /// The plan for a block.
    ///
    /// # Panics
    /// When it has 2³² rows or more.
    #[must_use]
    pub fn new(block: &Block) -> Self {
        let layout = &*block.layout;
        let sparse: Vec<_> = (0..block.columns.len())
            .map(|column| (column, block.columns[column].marks.as_bytes()))
            .filter(|(column, marks)| marks.contains(&(Mark::Absent as u8)) && !layout.key.contains(column))
            .collect();
        let fills_in: Vec<_> = layout.columns().map(|column| column.default.fills_in()).collect();
        let mut plan = Self::default();
        let mut groups = HashMap::new();
        let mut last: Option<((bool, Vec<usize>), usize)> = None;
        let mut left_out = Vec::new();
        for row in 0..u32::try_from(block.rows).expect("a block has fewer than 2³² rows") {
            let index = row as usize;
            let op = block.ops.get(index);
            if let Some(Op::Delete | Op::Replace) = op {
                plan.deletes.push(row);
            }
            let keeps = match op {
                Some(Op::Delete) => continue,
                Some(Op::Upsert) => true,
                Some(Op::Replace) | None => false,
            };
            left_out.clear();
            let is_left_out = |&&(column, marks): &&(usize, &[u8])| {
                marks.get(index) == Some(&(Mark::Absent as u8)) && (keeps || fills_in[column])
            };
            left_out.extend(sparse.iter().filter(is_left_out).map(|(column, _)| *column));
            let group = match &last {
                Some(((last, shape), group)) if *last == keeps && *shape == left_out => *group,
                _ => {
                    let shape = (keeps, left_out.clone());
                    let new = plan.groups.len();
                    let group = if block.ops.is_empty() { new } else { *groups.entry(shape.clone()).or_insert(new) };
                    if group == new {
                        plan.groups.push(Group::new(layout, keeps, &left_out));
                    }
                    last = Some((shape, group));
                    group
                }
            };
            plan.groups[group].rows.push(row);
        }
        plan
    }
}

impl Group {
    fn new(layout: &Layout, keeps: bool, left_out: &[usize]) -> Self {
        let given = (0..layout.targets.len()).filter(|column| !left_out.contains(column)).collect();
        let mut group = Self { verb: Verb::Insert, given, rows: Vec::new() };
        if keeps {
            let is_complete = group.lacks(layout).next().is_none();
            group.verb = if is_complete { Verb::Upsert } else { Verb::Update };
        }
        group
    }

    /// The names of the columns that the rows give.
    pub fn columns<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = &'a str> {
        self.given.iter().map(|column| layout.table.columns[layout.targets[*column]].name.as_str())
    }

    /// The names of the columns without which no row can be added.
    fn lacks<'a>(&self, layout: &'a Layout) -> impl Iterator<Item = &'a str> {
        let must_be_given = |index: &usize| {
            let column = &layout.table.columns[*index];
            column.default == ColumnDefault::None && column.value.as_ref().is_ok_and(|value| !value.nullable)
        };
        let is_given = |index: &usize| self.given.iter().any(|column| layout.targets[*column] == *index);
        (0..layout.table.columns.len())
            .filter(must_be_given)
            .filter(move |index| !is_given(index))
            .map(|index| layout.table.columns[index].name.as_str())
    }

    /// Why a statement of [`Verb::Update`] concerned fewer rows than it was given.
    #[must_use]
    pub fn refuse_new(&self, layout: &Layout) -> Error {
        let lacks: Vec<_> = self.lacks(layout).map(|name| format!("`{name}`")).collect();
        let (table, lacks) = (&layout.table.name, lacks.join(", "));
        let message =
            format!("table `{table}`: a row is new, but has no {lacks}, which takes no null and has no default");
        Error::new(Advice::Split, message)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use insta::assert_snapshot;

    use super::*;
    use crate::contract::Values;
    use crate::generic::tests::layout;

    /// One row a text: its operation, and for each column a value, `-` for null or `.` where it is absent.
    fn plan(key: &[usize], rows: &[&str]) -> String {
        let layout = layout(key);
        let mut columns = layout.empty_columns();
        let mut ops = Vec::new();
        for row in rows {
            let (op, cells) = row.split_once(' ').unwrap();
            ops.extend(match op {
                "upsert" => Some(Op::Upsert),
                "replace" => Some(Op::Replace),
                "delete" => Some(Op::Delete),
                _ => None,
            });
            for (column, cell) in columns.iter_mut().zip(cells.chars()) {
                match (cell, &mut column.values) {
                    ('.', _) => column.push_mark(Mark::Absent),
                    ('-', _) => column.push_mark(Mark::Null),
                    (digit, Values::Int64(values)) => values.push(digit.to_digit(10).unwrap().into()),
                    _ => unreachable!("all columns are int64"),
                }
            }
        }
        let block = Block { ops, ..Block::new(Arc::new(layout), columns, rows.len()) };
        let plan = Plan::new(&block);
        let mut text = String::new();
        if !plan.deletes.is_empty() {
            let _ = writeln!(text, "delete {:?}", plan.deletes);
        }
        for group in plan.groups {
            let columns: Vec<_> = group.columns(&block.layout).collect();
            let _ = writeln!(text, "{:?} {} {:?}", group.verb, columns.join(", "), group.rows);
        }
        text
    }

    #[test]
    fn added_rows_leave_only_defaults_out_and_keep_their_order() {
        assert_snapshot!(plan(&[], &["insert 1111", "insert 22.2", "insert 3.3.", "insert 4-44", "insert 5.55"]), @r#"
        Insert id, at, no "te", amount [0, 1]
        Insert id, no "te", amount [2]
        Insert id, at, no "te", amount [3]
        Insert id, no "te", amount [4]
        "#);
    }

    #[test]
    fn operations_are_grouped_by_the_columns_that_they_give() {
        let rows =
            ["upsert 1111", "upsert 2-.2", "delete 3...", "upsert 4111", "replace 5.11", "upsert 62-2", "upsert 73.3"];
        assert_snapshot!(plan(&[0], &rows), @r#"
        delete [2, 4]
        Upsert id, at, no "te", amount [0, 3, 5]
        Upsert id, at, amount [1, 6]
        Insert id, no "te", amount [4]
        "#);
        assert_snapshot!(plan(&[0], &["delete 1...", "delete 2..."]), @"delete [0, 1]");
        assert_snapshot!(plan(&[0], &[]), @"");
    }

    #[test]
    fn a_row_that_cannot_be_new_changes_one_that_is_there() {
        assert_snapshot!(plan(&[0], &["upsert 1...", "upsert 2..2", "upsert 311.", "upsert 4..."]), @r#"
        Update id [0, 3]
        Upsert id, amount [1]
        Update id, at, no "te" [2]
        "#);
        let layout = layout(&[0]);
        assert_snapshot!(Group::new(&layout, true, &[3]).refuse_new(&layout), @"table `orders`: a row is new, but has no `amount`, which takes no null and has no default");
        // Also where the block knows nothing of the column.
        let narrow = Layout { targets: [0, 2].into(), ..layout };
        assert_eq!(Group::new(&narrow, true, &[]).verb, Verb::Update);
        assert_eq!(Group::new(&narrow, false, &[]).verb, Verb::Insert);
    }
}
