//! Whether a table drops blocks that come again: which engine it has, how many blocks it remembers and for how long, and
//! whether a block that comes again goes to the partitions that it went to before.
//!
//! The server keeps the tokens of a table's last parts, for each of its partitions. Every block that enters takes as many
//! places in that window as it has partitions.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::coordinates::{self, Has};
use super::engine_text::{calls, expressions, uses};
use super::grammar::{literal, quote, quote_table};
use super::server::ClickHouse;
use super::upserts::{Facts, Known};
use super::{check, describe, engines};
use crate::contract::{Block, Error, Mark, TableName, TableSchema};

/// Parts whose tokens the tables that rowfall creates remember.
pub(super) const WINDOW: u64 = 25_000;

/// The setting of tables that are not replicated; the server's default is 0.
pub(super) const PLAIN: &str = "non_replicated_deduplication_window";
const REPLICATED: &str = "replicated_deduplication_window";
const SECONDS: &str = "replicated_deduplication_window_seconds";

/// The other way out.
const OTHERWISE: &str = "or set `delivery: at-least-once`";

/// A block that is younger is sent without a question: the window is larger than what comes in this time.
const FRESH: Duration = Duration::from_secs(120);

/// Whether a block has to be sent: not when the table is known to have it. An error when the table may have it, and would
/// not know it any more.
pub(super) async fn is_to_be_sent(server: &ClickHouse, table: &TableName, block: &Block) -> Result<bool, Error> {
    let Some(since) = block.token.as_ref().and_then(|token| token.since) else { return Ok(true) };
    // A clock that was put back makes it younger, which FRESH has room for.
    let age = since.elapsed().unwrap_or_default();
    if age < FRESH {
        return Ok(true);
    }
    let doing = format!("cannot ask what {table} remembers");
    let Some(facts) = describe::facts(server, &doing, table).await? else { return Ok(true) };
    let is_plain = engines::is_plain_merge_tree(&facts.engine.name);
    // What entered since is no more than the numbers of blocks that were given since: of parts that are as old as the
    // block the highest, and of all. Merges make the first too low, never too high. A replicated table numbers the blocks
    // of each partition by themselves.
    let made = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (by, setting) = if is_plain { ("table", PLAIN) } else { ("partition_id", REPLICATED) };
    let sql = format!(
        "SELECT toUInt64(sum(entered)) FROM (SELECT max(max_block_number) - \
         maxIf(max_block_number, modification_time < fromUnixTimestamp({made})) AS entered FROM system.parts \
         WHERE database = {} AND table = {} GROUP BY {by})",
        literal(table.schema.as_deref().unwrap_or_default()),
        literal(&table.name)
    );
    let entered = server.answer(&doing, server.question(&sql).fetch_one::<u64>()).await?;
    let window = setting_of(server, &doing, &facts, setting).await?;
    // Half of it: others write meanwhile, and a replica may not have all parts yet.
    let mut why =
        (entered > window / 2).then(|| format!("up to {entered} parts came since, and it remembers {window}"));
    if !is_plain {
        let seconds = setting_of(server, &doing, &facts, SECONDS).await?;
        if age.as_secs() > seconds / 2 {
            why = Some(format!("it remembers parts for {seconds} s"));
        }
    }
    let Some(why) = why else { return Ok(true) };
    match coordinates::has(server, &doing, table, block).await? {
        Some(Has::All) => return Ok(false),
        // Of a replicated table this replica may not have all rows yet.
        Some(Has::Nothing) if is_plain => return Ok(true),
        _ => {}
    }
    Err(Error::pause(format!(
        "{table} may have these rows already, from {} s ago, and may not know that any more: {why}",
        age.as_secs()
    ))
    .with_hint(
        "see whether it has them, then stop rowfall and say so: `rowfall offsets` lists what was begun, \
         `--written` or `--write-again` ends it",
    ))
}

/// What keeps a table from dropping a block that comes again, after up to so many others and so much time.
pub(super) async fn problems(
    server: &ClickHouse,
    table: &TableSchema,
    blocks: u64,
    within: Duration,
    moving: &Moving,
) -> Result<Vec<Error>, Error> {
    if !engines::is_merge_tree(&table.kind) {
        return Ok(vec![
            Error::pause(format!(
                "{} is a {}, which keeps rows that come again, so that exactly-once cannot be kept",
                table.name, table.kind
            ))
            .with_hint(format!(
                "write to a table of the MergeTree family (behind a Distributed one: to the local tables), {OTHERWISE}"
            )),
        ]);
    }
    let doing = format!("cannot check {}", table.name);
    // One that is to be created gets what it needs.
    let Some(facts) = describe::facts(server, &doing, &table.name).await? else { return Ok(Vec::new()) };
    if !check::granted(server, &table.name, "SELECT", "system.parts").await? {
        return Ok(vec![
            Error::pause(format!(
                "user {} may not see how many parts {} has got, which exactly-once needs after an outage",
                server.user(),
                table.name
            ))
            .with_code("497")
            .with_hint(format!("GRANT SELECT ON system.parts TO {}; {OTHERWISE}", quote(server.user()))),
        ]);
    }
    let mut problems = windows(server, &doing, &facts, blocks, within).await?;
    problems.extend(moves(server, &doing, &facts, moving).await?);
    problems.extend(views(server, &doing, &table.name, blocks).await?);
    Ok(problems)
}

/// A token that no other block has.
pub(super) fn fresh() -> Arc<str> {
    let random = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", random(), random()).into()
}

/// A table that only one server has, where the target names several: each remembers its own blocks alone.
pub(super) fn only_one(table: &TableSchema, hosts: usize) -> Option<Error> {
    (hosts > 1 && engines::is_plain_merge_tree(&table.kind)).then(|| {
        Error::pause(format!(
            "{} is a {} on {hosts} hosts, of which one does not know what another has taken; exactly-once needs that",
            table.name, table.kind
        ))
        .with_hint(format!("make it a Replicated{}, name one host in the target's url, {OTHERWISE}", table.kind))
    })
}

/// Windows that are off, or too small.
async fn windows(
    server: &ClickHouse,
    doing: &str,
    facts: &Facts,
    blocks: u64,
    within: Duration,
) -> Result<Vec<Error>, Error> {
    let is_plain = engines::is_plain_merge_tree(&facts.engine.name);
    let wanted = if is_plain {
        vec![(PLAIN, blocks, WINDOW)]
    } else {
        vec![(REPLICATED, blocks, WINDOW), (SECONDS, within.as_secs(), 3_600)]
    };
    let mut problems = Vec::new();
    for (setting, least, usual) in wanted {
        let value = setting_of(server, doing, facts, setting).await?;
        if value >= least {
            continue;
        }
        let what = match (setting, value) {
            (_, 0) => format!("{} does not drop blocks that come again: {setting} is 0, or not to be seen", facts.name),
            (SECONDS, _) => format!("{} forgets after {value} s that it has a block, and needs {least} s", facts.name),
            _ => format!("{} remembers {value} parts, and needs {least} for batches that close as often", facts.name),
        };
        let value = usual.max(least.next_power_of_two());
        problems.push(Error::pause(format!("{what}; exactly-once needs that")).with_hint(format!(
            "ALTER TABLE {} MODIFY SETTING {setting} = {value}; {OTHERWISE}",
            quote_table(&facts.name)
        )));
    }
    Ok(problems)
}

/// A setting of the table, or else the server's for such tables.
async fn setting_of(server: &ClickHouse, doing: &str, facts: &Facts, setting: &str) -> Result<u64, Error> {
    let settings = expressions(facts.engine.clause("SETTINGS"));
    let own = settings.iter().filter_map(|text| text.split_once('=')).find(|(name, _)| name.trim() == setting);
    if let Some((_, value)) = own {
        return Ok(value.trim().trim_matches('\'').parse().unwrap_or(0));
    }
    let system = if engines::is_plain_merge_tree(&facts.engine.name) {
        "merge_tree_settings"
    } else {
        "replicated_merge_tree_settings"
    };
    let sql = format!("SELECT toUInt64OrZero(value) FROM system.{system} WHERE name = {}", literal(setting));
    match server.answer(doing, server.question(&sql).fetch_optional::<u64>()).await {
        Ok(value) => Ok(value.unwrap_or(0)),
        // Then the table has to say it.
        Err(error) if error.code.as_deref() == Some("497") => Ok(0),
        Err(error) => Err(error),
    }
}

/// The columns that tables are partitioned by and that the server fills in anew when a block comes again, where the records
/// lack them.
#[derive(Default)]
pub(super) struct Moving(Mutex<HashMap<TableName, Vec<String>>>);

impl Moving {
    /// Fails for a block that leaves one of them to the server, where it may come again.
    pub(super) fn refuse(&self, table: &TableName, block: &Block) -> Result<(), Error> {
        if block.token.as_ref().is_none_or(|token| token.since.is_none()) {
            return Ok(());
        }
        let tables = self.0.lock().expect("no panic while held");
        for name in tables.get(table).into_iter().flatten() {
            let column = block.layout.columns().zip(&block.columns).find(|(column, _)| column.name == *name);
            if column.is_none_or(|(_, values)| values.marks.as_bytes().contains(&(Mark::Absent as u8))) {
                return Err(Error::pause(format!(
                    "a record of {table} lacks column {name}, by which the table is partitioned and which the server fills \
                     in anew when a block comes again: it would go to another partition, which does not know it"
                ))
                .with_hint(format!("have the records hold {name}, or partition by another column, {OTHERWISE}")));
            }
        }
        Ok(())
    }
}

/// Finds such columns. An error for one that is filled in whatever the records hold.
async fn moves(server: &ClickHouse, doing: &str, facts: &Facts, moving: &Moving) -> Result<Option<Error>, Error> {
    let key = facts.engine.clause("PARTITION BY");
    let mut found: Vec<(&Known, &str)> = Vec::new();
    let mut next = Some(key);
    let mut looked_at = 0;
    while let Some(expression) = next {
        for column in &facts.columns {
            let is_new = !found.iter().any(|(known, _)| known.name == column.name);
            if is_new && !column.default_expression.is_empty() && uses(expression, &column.name) {
                found.push((column, &column.default_expression));
            }
        }
        next = found.get(looked_at).map(|(_, expression)| *expression);
        looked_at += 1;
    }
    let mut columns = Vec::new();
    for (column, expression) in found {
        let names: Vec<_> = calls(expression).map(|name| literal(&name)).collect();
        if names.is_empty() {
            continue;
        }
        // No server says which of its functions are of this kind.
        let sql = format!(
            "SELECT count() FROM system.functions WHERE name IN ({}) AND match(lower(name), \
             '^(now|today|yesterday|rand|generate|host|fqdn|uptime|current|query|initialquery|serveruuid|servertimezone|\
              random|getsetting|rownumber|blocknumber|utctimestamp|curdate)')",
            names.join(", ")
        );
        if server.answer(doing, server.question(&sql).fetch_one::<u64>()).await? == 0 {
            continue;
        }
        if column.default_kind == "DEFAULT" {
            columns.push(column.name.clone());
            continue;
        }
        return Ok(Some(
            Error::pause(format!(
                "{} is partitioned by column {}, which the server fills in anew when a block comes again ({expression}): \
                 it would go to another partition, which does not know it; exactly-once needs that",
                facts.name, column.name
            ))
            .with_hint(format!(
                "partition by what the records hold, or ALTER TABLE {} MODIFY COLUMN {} REMOVE {}; {OTHERWISE}",
                quote_table(&facts.name),
                quote(&column.name),
                column.default_kind
            )),
        ));
    }
    moving.0.lock().expect("no panic while held").insert(facts.name.clone(), columns);
    Ok(None)
}

/// Tables that materialized views fill from this one, and that do not drop what comes again.
async fn views(server: &ClickHouse, doing: &str, table: &TableName, blocks: u64) -> Result<Vec<Error>, Error> {
    let sql = format!(
        "SELECT v.1, v.2 FROM system.tables ARRAY JOIN arrayZip(dependencies_database, dependencies_table) AS v \
         WHERE database = {} AND name = {}",
        literal(table.schema.as_deref().unwrap_or_default()),
        literal(&table.name)
    );
    let views = server.answer(doing, server.question(&sql).fetch_all::<(String, String)>()).await?;
    let mut problems = Vec::new();
    for (schema, name) in views {
        let sql = format!(
            "SELECT create_table_query, toString(uuid) FROM system.tables \
             WHERE database = {} AND name = {} AND engine = 'MaterializedView'",
            literal(&schema),
            literal(&name)
        );
        let view = server.question(&sql).fetch_optional::<(String, String)>();
        let Some((statement, uuid)) = server.answer(doing, view).await? else { continue };
        let filled = target(&statement)
            .unwrap_or_else(|| TableName { schema: Some(schema.clone()), name: format!(".inner_id.{uuid}") });
        let filled = TableName { schema: filled.schema.or(Some(schema)), ..filled };
        let Some(facts) = describe::facts(server, doing, &filled).await? else { continue };
        let is_plain = engines::is_plain_merge_tree(&facts.engine.name);
        let setting = if is_plain { PLAIN } else { REPLICATED };
        let what = format!("materialized view {name} copies rows of {table} into {filled}, which");
        if !engines::is_merge_tree(&facts.engine.name) {
            // Null and its like keep nothing that could be there twice.
            if facts.engine.name != "Null" {
                problems.push(
                    Error::pause(format!("{what} is a {} and keeps rows that come again", facts.engine.name))
                        .with_hint(format!("have it write to a table of the MergeTree family, {OTHERWISE}")),
                );
            }
        } else if setting_of(server, doing, &facts, setting).await? < blocks {
            problems.push(Error::pause(format!("{what} does not drop blocks that come again")).with_hint(format!(
                "ALTER TABLE {} MODIFY SETTING {setting} = {}; {OTHERWISE}",
                quote_table(&filled),
                WINDOW.max(blocks.next_power_of_two())
            )));
        }
    }
    Ok(problems)
}

/// Where a materialized view writes TO, from its CREATE statement as the server spells it.
fn target(statement: &str) -> Option<TableName> {
    let head = &statement[..statement.find(" AS ").unwrap_or(statement.len())];
    let rest = head.split_once(" TO ")?.1;
    let mut is_quoted = false;
    let is_end = |c: char| {
        is_quoted ^= c == '`';
        !is_quoted && (c.is_whitespace() || c == '(')
    };
    Some(TableName::parse(&rest[..rest.find(is_end).unwrap_or(rest.len())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_say_where_they_write() {
        let of = |statement: &str| target(statement).map(|table| table.to_string());
        assert_eq!(of("CREATE MATERIALIZED VIEW d.v TO d.t (`a` Int8) AS SELECT a FROM d.s").as_deref(), Some("d.t"));
        assert_eq!(of("CREATE MATERIALIZED VIEW d.v TO `d`.`t t` AS SELECT 1").as_deref(), Some("d.t t"));
        assert_eq!(of("CREATE MATERIALIZED VIEW d.v (`a` Int8) ENGINE = MergeTree AS SELECT ' TO x'"), None);
    }
}
