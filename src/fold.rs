//! Rows of one key become one, and rows are sorted by key, before they are written: a database changes each stored row
//! once per write, and writers that lock stored rows do it in one order.
//!
//! In the order in which they came, a later row overlays those before it, column by column, where it has a value or a
//! null; a delete forgets them. What is left of a key is a delete, an upsert, or, where rows follow a delete, a replace.

use std::ops::Range;

use rowfall_dialects::contract::{Block, Column, Mark, Op, Text, Values};

use crate::decode::Folding;

/// Folds a block whose rows have operations. Of several rows of a key none is a [`Op::Replace`].
///
/// # Panics
/// When a key column is of a type that no key has: a list, a struct.
#[must_use]
pub fn fold(block: &Block, folding: Folding) -> Block {
    let keys = Keys::of(block);
    let mut order: Vec<u32> = (0..u32::try_from(block.rows).expect("a block has fewer than 2³² rows")).collect();
    match &keys {
        // Rows of one key stay in their order, since the row is compared last.
        Keys::Numbers(numbers) => order.sort_unstable_by_key(|row| (numbers[*row as usize], *row)),
        Keys::Bytes(bytes) => {
            order.sort_unstable_by(|a, b| bytes.row(*a as usize).cmp(bytes.row(*b as usize)).then(a.cmp(b)));
        }
    }
    let groups = groups(&keys, &order);
    let mut folded = Vec::with_capacity(groups.len());
    let mut ops = Vec::with_capacity(groups.len());
    for group in &groups {
        let rows = &order[group.clone()];
        let (op, rest) = outcome(block, folding, rows);
        ops.push(op);
        folded.push(rest);
    }
    let last: Vec<u32> = folded.iter().map(|rows| *rows.last().expect("a group has a row")).collect();
    let single = folded.len() == order.len();
    let columns = block
        .columns
        .iter()
        .map(|column| {
            if single || folding.whole || column.marks.all_values() {
                return column.gather(&last);
            }
            // What the last row lacks is as the last row that has it says.
            let said = |row: &&u32| column.marks.get(**row as usize) != Mark::Absent;
            let rows = folded.iter().map(|rows| *rows.iter().rev().find(said).unwrap_or(&rows[rows.len() - 1]));
            column.gather(&rows.collect::<Vec<_>>())
        })
        .collect();
    Block { layout: block.layout.clone(), columns, rows: ops.len(), ops, token: block.token.clone() }
}

/// What becomes of the rows of one key, and which of them say what the row holds: the last goes first.
fn outcome<'r>(block: &Block, folding: Folding, rows: &'r [u32]) -> (Op, &'r [u32]) {
    let op = |row: u32| block.ops[row as usize];
    let end = match folding.version {
        // Later is what has the higher version; of equal ones what came last.
        Some(version) => {
            let column = &block.columns[version];
            let latest = (0..rows.len()).max_by_key(|at| (number(column, rows[*at] as usize), *at));
            latest.expect("a group has a row") + 1
        }
        None => rows.len(),
    };
    let rows = &rows[..end];
    let (last, before) = rows.split_last().expect("a group has a row");
    if op(*last) == Op::Delete {
        return (Op::Delete, std::slice::from_ref(last));
    }
    if folding.whole {
        let lacks = |column: &Column| column.marks.get(*last as usize) == Mark::Absent;
        let op = if block.columns.iter().any(lacks) { Op::Replace } else { Op::Upsert };
        return (op, std::slice::from_ref(last));
    }
    match before.iter().rposition(|row| op(*row) == Op::Delete) {
        Some(delete) => (Op::Replace, &rows[delete + 1..]),
        None => (Op::Upsert, rows),
    }
}

/// Where each key's rows stand in `order`.
fn groups(keys: &Keys, order: &[u32]) -> Vec<Range<usize>> {
    let same = |a: u32, b: u32| match keys {
        Keys::Numbers(numbers) => numbers[a as usize] == numbers[b as usize],
        Keys::Bytes(bytes) => bytes.row(a as usize) == bytes.row(b as usize),
    };
    let mut groups = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        if end == order.len() || !same(order[start], order[end]) {
            groups.push(start..end);
            start = end;
        }
    }
    groups
}

/// The keys of a block's rows, in a form whose order is that of the values.
enum Keys {
    /// One column of numbers.
    Numbers(Vec<u64>),
    /// Any columns.
    Bytes(Text),
}

impl Keys {
    fn of(block: &Block) -> Self {
        let columns: Vec<_> = block.layout.key.iter().map(|key| &block.columns[*key]).collect();
        if let [column] = columns.as_slice()
            && fits_a_number(column)
        {
            return Self::Numbers((0..block.rows).map(|row| number(column, row)).collect());
        }
        let mut bytes = Text::default();
        for row in 0..block.rows {
            for column in &columns {
                push_key(&mut bytes.bytes, column, row);
            }
            bytes.end_row();
        }
        Self::Bytes(bytes)
    }
}

fn fits_a_number(column: &Column) -> bool {
    use Values as V;
    matches!(
        column.values,
        V::Bool(_)
            | V::Int8(_)
            | V::Int16(_)
            | V::Int32(_)
            | V::Int64(_)
            | V::UInt8(_)
            | V::UInt16(_)
            | V::UInt32(_)
            | V::UInt64(_)
    )
}

/// A number of at most 64 bits, moved so that its order is that of unsigned ones.
fn number(column: &Column, row: usize) -> u64 {
    const SIGN: u64 = 1 << 63;
    let signed = |value: i64| value.cast_unsigned() ^ SIGN;
    match &column.values {
        Values::Bool(v) | Values::UInt8(v) => v[row].into(),
        Values::Int8(v) => signed(v[row].into()),
        Values::Int16(v) => signed(v[row].into()),
        Values::Int32(v) => signed(v[row].into()),
        Values::Int64(v) => signed(v[row]),
        Values::UInt16(v) => v[row].into(),
        Values::UInt32(v) => v[row].into(),
        Values::UInt64(v) => v[row],
        _ => unreachable!("asked of numbers only"),
    }
}

/// Appends a value so that whole keys compare as their values do, one after the other.
fn push_key(bytes: &mut Vec<u8>, column: &Column, row: usize) {
    match &column.values {
        _ if fits_a_number(column) => bytes.extend(number(column, row).to_be_bytes()),
        Values::Float32(v) => bytes.extend(float(v[row].into()).to_be_bytes()),
        Values::Float64(v) => bytes.extend(float(v[row]).to_be_bytes()),
        Values::Int128(v) => bytes.extend((v[row].cast_unsigned() ^ (1 << 127)).to_be_bytes()),
        Values::UInt128(v) => bytes.extend(v[row].to_be_bytes()),
        // Least significant first: their order is another, but it is one.
        Values::Int256(v) => bytes.extend(v[row]),
        Values::Uuid(v) => bytes.extend(v[row]),
        Values::Text(text) => {
            // A zero ends it, so that `a` with a second column comes before `ab`; zeros within are told from that.
            for byte in text.row(row) {
                bytes.push(*byte);
                if *byte == 0 {
                    bytes.push(1);
                }
            }
            bytes.extend([0, 0]);
        }
        Values::List(_) | Values::Struct(_) | Values::Variant(_) => unreachable!("no key column is of such a type"),
        _ => unreachable!("a number"),
    }
}

/// In the order of the values; −0 is 0, as databases compare them.
fn float(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;
    use rowfall_dialects::contract::{
        ColumnDefault, Layout, LogicalType, TableColumn, TableName, TableSchema, ValueType,
    };

    use super::*;

    /// A row: key, operation, and for each of two columns what it says.
    type Row = (i64, bool, [Option<Option<i64>>; 2]);

    fn block(rows: &[Row], text_key: bool) -> Block {
        let key = if text_key { LogicalType::String } else { LogicalType::Int64 };
        let column = |name: &str, logical: LogicalType| TableColumn {
            name: name.to_owned(),
            type_text: String::new(),
            value: Ok(ValueType { nullable: true, ..logical.into() }),
            default: ColumnDefault::None,
        };
        let columns = vec![column("id", key), column("a", LogicalType::Int64), column("b", LogicalType::Int64)];
        let table = TableSchema::new(TableName::parse("t"), "table", columns);
        let layout = Arc::new(Layout { key: [0].into(), ..Layout::new(Arc::new(table), [0, 1, 2]) });
        let mut columns = layout.empty_columns();
        for (key, _, values) in rows {
            match &mut columns[0].values {
                Values::Int64(v) => v.push(*key),
                Values::Text(text) => text.push(&format!("{}\0{key}", "x".repeat(usize::from(key % 3 != 0)))),
                _ => unreachable!(),
            }
            for (column, value) in columns[1..].iter_mut().zip(values) {
                match (value, &mut column.values) {
                    (None, _) => column.push_mark(Mark::Absent),
                    (Some(None), _) => column.push_mark(Mark::Null),
                    (Some(Some(value)), Values::Int64(v)) => v.push(*value),
                    _ => unreachable!(),
                }
            }
        }
        let ops = rows.iter().map(|(_, delete, _)| if *delete { Op::Delete } else { Op::Upsert }).collect();
        Block { ops, ..Block::new(layout, columns, rows.len()) }
    }

    fn cell(column: &Column, row: usize) -> Option<Option<i64>> {
        let Values::Int64(values) = &column.values else { unreachable!() };
        match column.marks.get(row) {
            Mark::Value => Some(Some(values[row])),
            Mark::Null => Some(None),
            Mark::Absent => None,
        }
    }

    /// What the table holds after these operations, from what it held before; a default is 100.
    fn apply(table: &mut BTreeMap<Vec<u8>, [Option<i64>; 2]>, key: Vec<u8>, op: Op, values: [Option<Option<i64>>; 2]) {
        if op != Op::Upsert {
            table.remove(&key);
        }
        if op != Op::Delete {
            let row = table.entry(key).or_insert([Some(100); 2]);
            for (stored, value) in row.iter_mut().zip(values) {
                *stored = value.unwrap_or(*stored);
            }
        }
    }

    fn key_of(block: &Block, row: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_key(&mut bytes, &block.columns[0], row);
        bytes
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let value = || prop::option::of(prop::option::of(0i64..1000));
        let row = (-4i64..4, prop::bool::weighted(0.3), [value(), value()]);
        prop::collection::vec(row.prop_map(|(k, delete, v)| (k, delete, if delete { [None; 2] } else { v })), 0..40)
    }

    proptest! {
        /// A table to which the folded rows are applied ends as one to which each row was, whatever it held before.
        #[test]
        fn folding_changes_nothing_for_the_table(rows in rows(), before in rows(), text: bool) {
            let (block, before) = (block(&rows, text), block(&before, text));
            let folded = fold(&block, Folding { version: None, whole: false });
            let (mut each, mut at_once) = (BTreeMap::new(), BTreeMap::new());
            for table in [&mut each, &mut at_once] {
                for row in 0..before.rows {
                    let values = [1, 2].map(|c| cell(&before.columns[c], row));
                    apply(table, key_of(&before, row), before.ops[row], values);
                }
            }
            for row in 0..block.rows {
                apply(&mut each, key_of(&block, row), block.ops[row], [1, 2].map(|c| cell(&block.columns[c], row)));
            }
            let keys: Vec<_> = (0..folded.rows).map(|row| key_of(&folded, row)).collect();
            prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "sorted, and each once");
            for (row, key) in keys.into_iter().enumerate() {
                apply(&mut at_once, key, folded.ops[row], [1, 2].map(|c| cell(&folded.columns[c], row)));
            }
            prop_assert_eq!(each, at_once);
        }

        /// Where rows stand for themselves, the table ends as one to which each row was applied as a replacement.
        #[test]
        fn whole_rows_are_the_last_ones(rows in rows()) {
            let block = block(&rows, false);
            let folded = fold(&block, Folding { version: None, whole: true });
            let (mut each, mut at_once) = (BTreeMap::new(), BTreeMap::new());
            for row in 0..block.rows {
                let op = if block.ops[row] == Op::Delete { Op::Delete } else { Op::Replace };
                apply(&mut each, key_of(&block, row), op, [1, 2].map(|c| cell(&block.columns[c], row)));
            }
            for row in 0..folded.rows {
                let values = [1, 2].map(|c| cell(&folded.columns[c], row));
                apply(&mut at_once, key_of(&folded, row), folded.ops[row], values);
            }
            prop_assert_eq!(each, at_once);
        }
    }

    #[test]
    fn of_two_versions_the_higher_stays() {
        let rows = [(1, false, [Some(Some(5)), Some(Some(50))]), (1, false, [Some(Some(3)), Some(Some(30))])];
        let folded = fold(&block(&rows, false), Folding { version: Some(1), whole: true });
        assert_eq!((folded.rows, cell(&folded.columns[2], 0)), (1, Some(Some(50))));
        let rows = [rows[0], (1, false, [Some(Some(5)), Some(Some(51))])];
        let folded = fold(&block(&rows, false), Folding { version: Some(1), whole: true });
        assert_eq!(cell(&folded.columns[2], 0), Some(Some(51)), "of equal ones the last");
    }

    #[test]
    fn keys_are_in_the_order_of_their_values() {
        let floats = [f64::NEG_INFINITY, -1.5, -0.0, 2.5, f64::INFINITY];
        assert!(floats.windows(2).all(|pair| float(pair[0]) < float(pair[1])));
        assert_eq!(float(0.0), float(-0.0));
    }
}
