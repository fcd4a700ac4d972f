//! Blocks that touch more partitions than the server lets one insert touch (`max_partitions_per_insert_block`): which of
//! their rows go together.
//!
//! Only the server can say which partition a row belongs to, since a partition key is any expression. It is asked with
//! the columns that the key is made of, as external data. Partitions are taken in the order in which the block meets
//! them, so that the same block and the same limit give the same pieces.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::external::{self, ROWS};
use super::grammar::{literal, quote};
use super::native::{Absent, Encoder, Sent};
use super::server::ClickHouse;
use crate::contract::{Block, Error, TableName};

/// Blocks in a row that could have been written whole, after which the next one is tried whole again.
const PATIENCE: u32 = 20;

/// The tables that an insert of a whole block was refused for.
#[derive(Default)]
pub(super) struct Cuts(Mutex<HashMap<TableName, Need>>);

#[derive(Clone)]
struct Need {
    /// What the server said of the table, once it was asked.
    key: Option<Arc<Key>>,
    /// Blocks in a row that needed no cut.
    whole: u32,
}

impl Cuts {
    /// An insert into this table was refused for its partitions. The limit may be another than before.
    pub(super) fn refused(&self, table: &TableName) {
        self.needs().insert(table.clone(), Need { key: None, whole: 0 });
    }

    /// The pieces of a block, `None` for the whole.
    pub(super) async fn pieces(&self, server: &ClickHouse, block: &Block) -> Result<Option<Vec<Vec<u32>>>, Error> {
        let table = server.resolve(&block.layout.table.name);
        let Some(need) = self.needs().get(&table).cloned() else { return Ok(None) };
        let key = match need.key {
            Some(key) => key,
            None => Arc::new(Key::of(server, &table).await?),
        };
        let pieces = grouped(&key.partitions(server, &table, block).await?, key.limit);
        let mut needs = self.needs();
        if let Some(need) = needs.get_mut(&table) {
            need.key = Some(key);
            need.whole = if pieces.len() > 1 { 0 } else { need.whole + 1 };
            if need.whole >= PATIENCE {
                needs.remove(&table);
            }
        }
        Ok(Some(pieces).filter(|pieces| pieces.len() > 1))
    }

    fn needs(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Need>> {
        self.0.lock().expect("no panic while held")
    }
}

/// Rows by groups of at most so many partitions.
fn grouped(partitions: &[u64], limit: usize) -> Vec<Vec<u32>> {
    let mut order = HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for (row, partition) in (0..).zip(partitions) {
        let number = order.len();
        let group = *order.entry(partition).or_insert(number) / limit.max(1);
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(row);
    }
    groups
}

/// A table's partition key.
struct Key {
    expression: String,
    /// Partitions that an insert may touch.
    limit: usize,
    columns: Vec<KeyColumn>,
}

/// Any of the table's columns, as far as a key can need it.
struct KeyColumn {
    name: String,
    type_text: String,
    /// DEFAULT, MATERIALIZED or ALIAS; empty without.
    default: String,
    in_key: bool,
}

impl Key {
    async fn of(server: &ClickHouse, table: &TableName) -> Result<Self, Error> {
        let doing = format!("cannot ask for the partitions of {table}");
        let of_table = |column: &str| {
            format!(
                "database = {} AND {column} = {}",
                literal(table.schema.as_deref().unwrap_or_default()),
                literal(&table.name)
            )
        };
        let sql = format!("SELECT partition_key FROM system.tables WHERE {}", of_table("name"));
        let expression = server.answer(&doing, server.question(&sql).fetch_one::<String>()).await?;
        if expression.is_empty() {
            let hint = "raise the limit at the end of the target's url, ?max_partitions_per_insert_block=1000, or write \
                        to the table that it passes them to";
            return Err(
                Error::pause(format!("{table} passes rows to a table with too many partitions")).with_hint(hint)
            );
        }
        let sql = format!(
            "SELECT name, type, default_expression, is_in_partition_key FROM system.columns WHERE {} ORDER BY position",
            of_table("table")
        );
        let rows = server.question(&sql).fetch_all::<(String, String, String, u8)>();
        let column = |(name, type_text, default, in_key)| KeyColumn { name, type_text, default, in_key: in_key != 0 };
        let columns = server.answer(&doing, rows).await?.into_iter().map(column).collect();
        let inserts = server.inserts.clone().with_compression(clickhouse::Compression::None);
        let limit = inserts.query_raw("SELECT toUInt64(getSetting('max_partitions_per_insert_block'))");
        let limit = server.answer(&doing, limit.fetch_one::<u64>()).await?;
        // Zero is no limit: it was lifted since.
        let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        Ok(Self { expression, limit, columns })
    }

    /// A number for each row that is the same for rows of the same partition.
    async fn partitions(&self, server: &ClickHouse, table: &TableName, block: &Block) -> Result<Vec<u64>, Error> {
        let doing = format!("cannot ask for the partitions of {table}");
        let needed = self.needed(block);
        let given = block.layout.columns().zip(&block.columns);
        let given = given.filter(|(column, _)| needed.iter().any(|needed| needed.name == column.name));
        let mut encoder = Encoder::of(table, block.rows, given, Absent::Default, usize::MAX)?;
        let sent: Vec<_> = encoder.sent().collect();
        if sent.is_empty() || sent.iter().any(|sent| sent.is_optional) {
            return Err(Error::pause(format!("{doing}: the columns of its partition key are not in the records"))
                .with_hint(
                    "raise the limit at the end of the target's url, ?max_partitions_per_insert_block=1000, or make \
                 batches smaller (batch.rows)",
                ));
        }
        let structure = sent.iter().map(|sent| format!("{} {}", quote(sent.name), sent.type_text));
        let structure = structure.collect::<Vec<_>>().join(", ");
        let sql = self.question(&needed, &sent);
        let mut rows = Vec::new();
        encoder.next_chunk(&mut rows);
        let partitions = external::ask(server.address(), &doing, &sql, &structure, &rows).await?;
        if partitions.len() != block.rows {
            return Err(Error::pause(format!("{doing}: {} rows came back of {}", partitions.len(), block.rows))
                .with_hint("this is a mistake in rowfall: please report it"));
        }
        Ok(partitions)
    }

    /// The columns that the key is made of, those first that others are computed from.
    fn needed(&self, block: &Block) -> Vec<&KeyColumn> {
        let mut needed = Vec::new();
        for column in self.columns.iter().filter(|column| column.in_key) {
            self.need(column, block, &mut needed, 0);
        }
        needed
    }

    fn need<'k>(&'k self, column: &'k KeyColumn, block: &Block, needed: &mut Vec<&'k KeyColumn>, depth: usize) {
        // The server refuses defaults that go in circles; the depth is for what merely looks like one.
        if depth > self.columns.len() || needed.iter().any(|known| known.name == column.name) {
            return;
        }
        let given = block.layout.columns().zip(&block.columns).find(|(given, _)| given.name == column.name);
        if given.is_none_or(|(_, values)| !values.marks.all_values()) {
            for other in self.columns.iter().filter(|other| other.name != column.name) {
                // A name within another name makes a column too many, which does no harm.
                if column.default.contains(&other.name) {
                    self.need(other, block, needed, depth + 1);
                }
            }
        }
        needed.push(column);
    }

    fn question(&self, needed: &[&KeyColumn], sent: &[Sent<'_>]) -> String {
        let mut from = ROWS.to_owned();
        for KeyColumn { name, type_text, default, .. } in needed {
            let (name, type_name) = (quote(name), literal(type_text));
            let default = match default.as_str() {
                "" => format!("defaultValueOfTypeName({type_name})"),
                default => default.to_owned(),
            };
            match sent.iter().find(|sent| quote(sent.name) == name) {
                None => from = format!("(SELECT *, CAST({default}, {type_name}) AS {name} FROM {from})"),
                Some(sent) if sent.has_gaps => {
                    let value = format!("CAST(ifNull({name}, {default}), {type_name})");
                    from = format!("(SELECT * REPLACE ({value} AS {name}) FROM {from})");
                }
                Some(_) => {}
            }
        }
        // One thread, so that the rows stay in their order. The text tells nulls apart, which the hash does not.
        format!("SELECT cityHash64(toString(tuple({}))) FROM {from} SETTINGS max_threads = 1", self.expression)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_computed_from_what_is_sent() {
        let column = |name: &str, type_text: &str, default: &str, in_key| KeyColumn {
            name: name.into(),
            type_text: type_text.into(),
            default: default.into(),
            in_key,
        };
        let columns = vec![
            column("day", "Date", "toDate(at)", true),
            column("tenant", "String", "'none'", true),
            column("region", "Int8", "", true),
            column("at", "DateTime", "", false),
        ];
        let key = Key { expression: "(day, tenant, region)".into(), limit: 100, columns };
        let needed = [&key.columns[3], &key.columns[0], &key.columns[1], &key.columns[2]];
        let sent = [
            Sent { name: "at", type_text: "DateTime".into(), has_gaps: false, is_optional: false },
            Sent { name: "tenant", type_text: "Nullable(String)".into(), has_gaps: true, is_optional: false },
        ];
        insta::assert_snapshot!(key.question(&needed, &sent), @"SELECT cityHash64(toString(tuple((day, tenant, region)))) FROM (SELECT *, CAST(defaultValueOfTypeName('Int8'), 'Int8') AS `region` FROM (SELECT * REPLACE (CAST(ifNull(`tenant`, 'none'), 'String') AS `tenant`) FROM (SELECT *, CAST(toDate(at), 'Date') AS `day` FROM _rows))) SETTINGS max_threads = 1");
    }

    proptest! {
        /// All rows once, in order; no group over the limit; the same again for the same rows.
        #[test]
        fn groups_hold_all_rows_and_few_partitions(
            partitions in proptest::collection::vec(0u64..20, 0..200),
            limit in 1usize..8,
        ) {
            let groups = grouped(&partitions, limit);
            let mut all: Vec<_> = groups.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..u32::try_from(partitions.len()).unwrap()).collect::<Vec<_>>());
            let mut seen = std::collections::HashSet::new();
            for group in &groups {
                prop_assert!(group.is_sorted());
                let own: std::collections::HashSet<_> = group.iter().map(|row| partitions[*row as usize]).collect();
                prop_assert!(own.len() <= limit);
                prop_assert!(own.iter().all(|partition| seen.insert(*partition)), "each partition is in one group");
            }
            let distinct = partitions.iter().collect::<std::collections::HashSet<_>>().len();
            prop_assert_eq!(groups.len(), distinct.div_ceil(limit));
        }
    }
}
