//! Which rows of a block a table has already, where its key says of each row which record it came from.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::grammar::{literal, quote_table};
use super::server::ClickHouse;
use crate::contract::{Block, COORDINATES, Error, TableName, Values};

/// What a table has of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    All,
    Nothing,
    Some,
}

/// Asks the table; `None` when its key says nothing of the kind.
pub(super) async fn has(
    server: &ClickHouse,
    doing: &str,
    table: &TableName,
    block: &Block,
) -> Result<Option<Has>, Error> {
    let Some(condition) = condition(block) else { return Ok(None) };
    let sql = format!("SELECT uniqExact(_partition, _offset) FROM {} WHERE {condition}", quote_table(table));
    let found = server.answer(doing, server.question(&sql).fetch_one::<u64>()).await?;
    Ok(Some(match usize::try_from(found) {
        Ok(0) => Has::Nothing,
        Ok(found) if found == block.rows => Has::All,
        _ => Has::Some,
    }))
}

/// True of the block's rows in the table. They are of one topic, and whole ranges of its partitions.
fn condition(block: &Block) -> Option<String> {
    let names: Vec<_> = block.layout.columns().map(|column| &*column.name).collect();
    let values = |name| {
        let index = block.layout.key.iter().copied().find(|index| names[*index] == name)?;
        Some(&block.columns[index].values)
    };
    let [Some(Values::Text(topics)), Some(partitions), Some(Values::Int64(offsets))] = COORDINATES.map(values) else {
        return None;
    };
    let partition = |row: usize| match partitions {
        Values::Int32(partitions) => Some(i64::from(partitions[row])),
        Values::Int64(partitions) => Some(partitions[row]),
        _ => None,
    };
    let topic = std::str::from_utf8((block.rows > 0).then(|| topics.row(0))?).ok()?;
    let mut ranges: BTreeMap<i64, [i64; 2]> = BTreeMap::new();
    for (row, offset) in offsets.iter().enumerate() {
        let [first, last] = ranges.entry(partition(row)?).or_insert([*offset; 2]);
        (*first, *last) = ((*first).min(*offset), (*last).max(*offset));
    }
    let mut condition = format!("_topic = {} AND (", literal(topic));
    for (index, (partition, [first, last])) in ranges.iter().enumerate() {
        let or = if index > 0 { " OR " } else { "" };
        write!(condition, "{or}_partition = {partition} AND _offset BETWEEN {first} AND {last}").expect("a String");
    }
    Some(condition + ")")
}
