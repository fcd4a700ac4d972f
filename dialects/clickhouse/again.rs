//! Whether a table drops blocks that come again: which engine it has, how many blocks it remembers and for how long, and
//! whether a block that comes again goes to the partitions that it went to before.
//!
//! The server keeps the tokens of a table's last parts, for each of its partitions. Every block that enters takes as many
//! places in that window as it has partitions.

use std::time::Duration;

use super::engine_text::{calls, expressions, uses};
use super::grammar::{literal, quote, quote_table};
use super::server::ClickHouse;
use super::upserts::Facts;
use super::{describe, engines};
use crate::contract::{Error, TableName, TableSchema};

/// Parts whose tokens the tables that rowfall creates remember.
pub(super) const WINDOW: u64 = 25_000;

/// The setting of tables that are not replicated; the server's default is 0.
pub(super) const PLAIN: &str = "non_replicated_deduplication_window";
const REPLICATED: &str = "replicated_deduplication_window";
const SECONDS: &str = "replicated_deduplication_window_seconds";

/// The other way out.
const OTHERWISE: &str = "or set `delivery: at-least-once`";

/// What keeps a table from dropping a block that comes again, after up to so many others and so much time.
pub(super) async fn problems(
    server: &ClickHouse,
    table: &TableSchema,
    blocks: u64,
    within: Duration,
) -> Result<Vec<Error>, Error> {
    let doing = format!("cannot check {}", table.name);
    let Some(facts) = describe::facts(server, &doing, &table.name).await? else { return Ok(Vec::new()) };
    if !engines::is_merge_tree(&facts.engine.name) {
        return Ok(vec![
            Error::pause(format!(
                "{} is a {}, which keeps rows that come again, so that exactly-once cannot be kept",
                table.name, facts.engine.name
            ))
            .with_hint(format!(
                "write to a table of the MergeTree family (behind a Distributed one: to the local tables), {OTHERWISE}"
            )),
        ]);
    }
    let mut problems = windows(server, &doing, &facts, blocks, within).await?;
    problems.extend(moves(server, &doing, &facts).await?);
    problems.extend(views(server, &doing, &table.name, blocks).await?);
    Ok(problems)
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
    // Twice: whoever looks at the window looks at a server that goes on.
    let wanted = if is_plain {
        vec![(PLAIN, blocks, WINDOW)]
    } else {
        vec![(REPLICATED, blocks, WINDOW), (SECONDS, within.as_secs(), 3_600)]
    };
    let mut problems = Vec::new();
    for (setting, least, usual) in wanted {
        let value = setting_of(server, doing, facts, setting, is_plain).await?;
        if value >= least {
            continue;
        }
        let what = match (setting, value) {
            (_, 0) => format!("{} does not drop blocks that come again: {setting} is 0", facts.name),
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
async fn setting_of(
    server: &ClickHouse,
    doing: &str,
    facts: &Facts,
    setting: &str,
    is_plain: bool,
) -> Result<u64, Error> {
    let settings = expressions(facts.engine.clause("SETTINGS"));
    let own = settings.iter().filter_map(|text| text.split_once('=')).find(|(name, _)| name.trim() == setting);
    if let Some((_, value)) = own {
        return Ok(value.trim().trim_matches('\'').parse().unwrap_or(0));
    }
    let system = if is_plain { "merge_tree_settings" } else { "replicated_merge_tree_settings" };
    let sql = format!("SELECT toUInt64OrZero(value) FROM system.{system} WHERE name = {}", literal(setting));
    let value = server.answer(doing, server.question(&sql).fetch_optional::<u64>()).await?;
    Ok(value.unwrap_or(0))
}

/// Columns of the partition key that the server fills in by something that is another when a block comes again.
async fn moves(server: &ClickHouse, doing: &str, facts: &Facts) -> Result<Option<Error>, Error> {
    let key = facts.engine.clause("PARTITION BY");
    let mut expressions = vec![(None, key)];
    let mut next = 0;
    while let Some((_, expression)) = expressions.get(next).copied() {
        next += 1;
        for column in &facts.columns {
            let is_new = !expressions.iter().any(|(known, _)| *known == Some(&column.name));
            if is_new && !column.default_expression.is_empty() && uses(expression, &column.name) {
                expressions.push((Some(&column.name), &column.default_expression));
            }
        }
    }
    for (column, expression) in expressions.iter().filter_map(|(column, e)| Some(((*column)?, *e))) {
        let names: Vec<_> = calls(expression).map(|name| literal(&name)).collect();
        if names.is_empty() {
            continue;
        }
        // Servers that know it say so; the others' functions of this kind have these names.
        let sql = format!(
            "SELECT count() FROM system.functions WHERE name IN ({}) AND match(lower(name), \
             '^(now|today|yesterday|rand|generate|host|fqdn|uptime|current|query|initialquery|serveruuid|servertimezone|\
              random|getsetting|rownumber|blocknumber|utctimestamp|curdate)')",
            names.join(", ")
        );
        if server.answer(doing, server.question(&sql).fetch_one::<u64>()).await? > 0 {
            let column_name = quote(column);
            return Ok(Some(
                Error::pause(format!(
                    "{} is partitioned by column {column}, which the server fills in anew when a block comes again ({expression}): \
                     it would go to another partition, which does not know it; exactly-once needs that",
                    facts.name
                ))
                .with_hint(format!(
                    "partition by what the records hold, or ALTER TABLE {} MODIFY COLUMN {column_name} REMOVE DEFAULT; {OTHERWISE}",
                    quote_table(&facts.name)
                )),
            ));
        }
    }
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
        } else if setting_of(server, doing, &facts, setting, is_plain).await? < blocks {
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
