//! ALTER TABLE: columns that are added, and columns that get a type which holds more.

use std::fmt::Write as _;

use super::create::column_line;
use super::engines;
use super::grammar::{quote, quote_table};
use super::type_text::quoted;
use super::widening::widened;
use crate::contract::{Advice, Change, ColumnDefault, ColumnSpec, Ddl, Error, Refusal, TableSchema, Upserts};

const ALTER: &str = "ALTER TABLE ";
const BEHIND_NAME: &str = "\n    ";
const BETWEEN: &str = ",\n    ";
const MODIFY: &str = "MODIFY COLUMN ";

/// One statement for all changes, or none where the table is as it shall be.
pub(super) fn alter_table(table: &TableSchema, changes: &[Change], cluster: Option<&str>) -> Result<Ddl, Refusal> {
    let name = &table.name;
    if let Some(why) = unchangeable(&table.kind) {
        return Err(Refusal(format!("rowfall cannot alter {name}: {why}")));
    }
    let (mut commands, mut notes) = (Vec::new(), Vec::new());
    for change in changes {
        let (Change::Add(column) | Change::Widen(column)) = change;
        let command = match change {
            Change::Add(column) => add(table, column, &mut notes),
            Change::Widen(column) => widen(table, column, &mut notes),
        };
        let of_column = |why| Refusal(format!("column {} of table {name}: {why}", column.name));
        commands.extend(command.map_err(of_column)?);
    }
    let mut ddl = Ddl { cluster: cluster.map(Into::into), notes, ..Ddl::new(name.clone(), Vec::new()) };
    if !commands.is_empty() {
        let mut sql = format!("{ALTER}{}", quote_table(name));
        if let Some(cluster) = cluster {
            let _ = write!(sql, " ON CLUSTER {}", quote(cluster));
        }
        let _ = write!(sql, "{BEHIND_NAME}{}", commands.join(BETWEEN));
        ddl.statements.push(sql);
    }
    Ok(ddl)
}

/// Whether a statement changes what a table holds, so that what the table is by now matters.
pub(super) fn modifies(statement: &str) -> bool {
    let commands = statement.strip_prefix(ALTER).and_then(|statement| statement.split_once(BEHIND_NAME));
    commands.is_some_and(|(_, commands)| commands.split(BETWEEN).any(|command| command.starts_with(MODIFY)))
}

/// An ALTER of ours for the table as it is now, which someone else may have altered since: `None` where nothing is left
/// of it. ClickHouse makes a column narrower too when it is told to, so this must be asked right before.
///
/// # Errors
/// When the table became what the statement would make less of.
pub(super) fn still_needed(statement: &str, table: &TableSchema) -> Result<Option<String>, Error> {
    let Some((head, commands)) = statement.split_once(BEHIND_NAME) else { return Ok(Some(statement.to_owned())) };
    let mut needed = Vec::new();
    for command in commands.split(BETWEEN) {
        let Some((name, wanted)) = command.strip_prefix(MODIFY).and_then(quoted) else {
            needed.push(command);
            continue;
        };
        let wanted = wanted.trim_start();
        let present = table.columns.iter().find(|column| column.name == name);
        match present.map(|present| widened(&present.type_text, wanted, false)) {
            Some(Ok(None)) => {}
            Some(Ok(Some(type_text))) if type_text == wanted => needed.push(command),
            _ => {
                let now = present.map_or("gone".into(), |present| format!("{} now", present.type_text));
                let what = format!("column {name} of table {} was to become {wanted}, and is {now}", table.name);
                return Err(Error::new(Advice::Refresh, what));
            }
        }
    }
    Ok((!needed.is_empty()).then(|| format!("{head}{BEHIND_NAME}{}", needed.join(BETWEEN))))
}

fn unchangeable(kind: &str) -> Option<String> {
    match kind {
        "Distributed" => Some("it shows the columns of the table behind it: alter that one, then this".into()),
        kind if engines::is_merge_tree(kind) || ["Memory", "Null"].contains(&kind) => None,
        kind => Some(format!("ClickHouse changes no columns of a {kind}")),
    }
}

fn add(table: &TableSchema, column: &ColumnSpec, notes: &mut Vec<String>) -> Result<Option<String>, String> {
    if let Some(present) = table.columns.iter().find(|present| present.name == column.name) {
        return match widened(&present.type_text, &column.type_text, column.nullable == Some(true))? {
            None => Ok(None),
            Some(wanted) => Err(format!("it is there already, as {}, not as {wanted}", present.type_text)),
        };
    }
    if column.name.is_empty() {
        return Err("a column has a name: ``".into());
    }
    if column.nullable == Some(false) {
        let default = if column.default.is_some() { "DEFAULT" } else { "type's zero" };
        notes.push(format!("rows that are there have the {default} in `{}`", column.name));
    }
    Ok(Some(format!("ADD COLUMN IF NOT EXISTS {}", column_line(column, false, notes))))
}

fn widen(table: &TableSchema, column: &ColumnSpec, notes: &mut Vec<String>) -> Result<Option<String>, String> {
    let present = table.columns.iter().find(|present| present.name == column.name).ok_or("it does not exist")?;
    if present.default == ColumnDefault::Generated {
        return Err("it is computed".into());
    }
    let Some(type_text) = widened(&present.type_text, &column.type_text, column.nullable == Some(true))? else {
        return Ok(None);
    };
    if let Upserts::Versions { key, version, deleted, .. } = &table.upserts
        && key.iter().chain(version).chain(deleted).any(|name| *name == column.name)
    {
        return Err(format!(
            "ClickHouse cannot make a {} of it, since it tells which rows are one key's: make a new table",
            type_text
        ));
    }
    notes.push(format!(
        "ClickHouse rewrites `{}` in all parts of the table, {} → {type_text}",
        column.name, present.type_text
    ));
    Ok(Some(format!("{MODIFY}{} {type_text}", quote(&column.name))))
}

#[cfg(test)]
mod tests {
    use super::super::types;
    use super::*;
    use crate::contract::{ColumnStorage, TableColumn, TableName};

    fn orders() -> TableSchema {
        let column = |(name, type_text): (&str, &str)| TableColumn {
            name: name.into(),
            type_text: type_text.into(),
            value: Ok(types::parse(type_text).unwrap().value),
            default: ColumnDefault::None,
        };
        let columns = [
            ("id", "Int32"),
            ("note", "LowCardinality(String)"),
            ("count", "UInt32"),
            ("at", "DateTime"),
            ("v", "UInt64"),
        ];
        let name = TableName { schema: Some("shop".into()), name: "orders".into() };
        let upserts =
            Upserts::Versions { key: vec!["id".into()], version: Some("v".into()), deleted: None, partial: false };
        TableSchema { upserts, ..TableSchema::new(name, "ReplacingMergeTree", columns.map(column).into()) }
    }

    fn refusal(change: Change) -> String {
        alter_table(&orders(), &[change], None).unwrap_err().0
    }

    #[test]
    fn all_changes_are_one_statement() {
        let mut price = ColumnSpec::new("price", "Decimal(18, 2)", false);
        price.default = Some("9.99".into());
        price.storage = ColumnStorage { codec: Some("ZSTD(3)".into()), comment: Some("it's net".into()), ttl: None };
        let changes = [
            Change::Add(price),
            Change::Add(ColumnSpec { nullable: None, ..ColumnSpec::new("it`s", "String", true) }),
            Change::Add(ColumnSpec::new("tags", "Array(String)", true)),
            Change::Widen(ColumnSpec::new("note", "String", true)),
            Change::Widen(ColumnSpec::new("count", "Int64", false)),
            Change::Widen(ColumnSpec::new("at", "DateTime64(3, 'UTC')", true)),
        ];
        let ddl = alter_table(&orders(), &changes, Some("my cluster")).unwrap();
        assert_eq!((ddl.statements.len(), ddl.cluster.as_deref()), (1, Some("my cluster")));
        insta::assert_snapshot!(ddl.statements[0], @r"
        ALTER TABLE `shop`.`orders` ON CLUSTER `my cluster`
            ADD COLUMN IF NOT EXISTS `price` Decimal(18, 2) DEFAULT 9.99 COMMENT 'it\'s net' CODEC(ZSTD(3)),
            ADD COLUMN IF NOT EXISTS `it\`s` Nullable(String),
            ADD COLUMN IF NOT EXISTS `tags` Array(String),
            MODIFY COLUMN `note` LowCardinality(Nullable(String)),
            MODIFY COLUMN `count` Int64,
            MODIFY COLUMN `at` Nullable(DateTime64(3))
        ");
        insta::assert_snapshot!(ddl.notes.join("\n"), @"
        rows that are there have the DEFAULT in `price`
        column `tags` will not be nullable: ClickHouse has no nullable Array(String)
        ClickHouse rewrites `note` in all parts of the table, LowCardinality(String) → LowCardinality(Nullable(String))
        ClickHouse rewrites `count` in all parts of the table, UInt32 → Int64
        ClickHouse rewrites `at` in all parts of the table, DateTime → Nullable(DateTime64(3))
        ");
    }

    #[test]
    fn what_is_so_already_needs_no_statement() {
        let changes = [
            Change::Add(ColumnSpec::new("note", "String", false)),
            Change::Widen(ColumnSpec::new("count", "UInt16", false)),
        ];
        let ddl = alter_table(&orders(), &changes, None).unwrap();
        assert_eq!((ddl.statements, ddl.notes), (vec![], vec![]));
    }

    #[test]
    fn what_others_did_meanwhile_is_not_undone() {
        let widen = |name, type_text| Change::Widen(ColumnSpec::new(name, type_text, false));
        let add = Change::Add(ColumnSpec::new("new", "Int8", false));
        let changes = [widen("count", "Int64"), widen("at", "DateTime64(3)"), add];
        let ddl = alter_table(&orders(), &changes, None).unwrap();
        let now = |count: &str, at: &str| {
            let mut table = orders();
            table.columns[2].type_text = count.into();
            table.columns[3].type_text = at.into();
            still_needed(&ddl.statements[0], &table)
        };
        assert_eq!(now("UInt32", "DateTime").unwrap().as_ref(), Some(&ddl.statements[0]));
        insta::assert_snapshot!(now("Int128", "Nullable(DateTime64(3))").unwrap().unwrap(), @"
        ALTER TABLE `shop`.`orders`
            ADD COLUMN IF NOT EXISTS `new` Int8
        ");
        insta::assert_snapshot!(now("Nullable(UInt32)", "DateTime").unwrap_err(), @"column count of table shop.orders was to become Int64, and is Nullable(UInt32) now");
        assert_eq!(now("UInt64", "DateTime").unwrap_err().advice, Advice::Refresh);
        let only = alter_table(&orders(), &[widen("count", "Int64")], None).unwrap();
        let mut table = orders();
        table.columns[2].type_text = "Int64".into();
        assert_eq!(still_needed(&only.statements[0], &table).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let column = |name, type_text| ColumnSpec::new(name, type_text, false);
        insta::assert_snapshot!(refusal(Change::Widen(column("id", "Int64"))), @"column id of table shop.orders: ClickHouse cannot make a Int64 of it, since it tells which rows are one key's: make a new table");
        insta::assert_snapshot!(refusal(Change::Widen(column("v", "UInt128"))), @"column v of table shop.orders: ClickHouse cannot make a UInt128 of it, since it tells which rows are one key's: make a new table");
        insta::assert_snapshot!(refusal(Change::Widen(column("gone", "Int64"))), @"column gone of table shop.orders: it does not exist");
        insta::assert_snapshot!(refusal(Change::Widen(column("count", "Int32"))), @"column count of table shop.orders: not every UInt32 is a Int32");
        insta::assert_snapshot!(refusal(Change::Add(column("count", "Int64"))), @"column count of table shop.orders: it is there already, as UInt32, not as Int64");
        let of = |kind: &str| {
            let table = TableSchema { kind: kind.into(), ..orders() };
            alter_table(&table, &[Change::Add(column("a", "Int8"))], None).unwrap_err().0
        };
        insta::assert_snapshot!(of("Log"), @"rowfall cannot alter shop.orders: ClickHouse changes no columns of a Log");
        insta::assert_snapshot!(of("Distributed"), @"rowfall cannot alter shop.orders: it shows the columns of the table behind it: alter that one, then this");
    }
}
