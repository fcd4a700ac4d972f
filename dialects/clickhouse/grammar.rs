use std::fmt::Write as _;

use super::{type_names, types};
use crate::contract::{ColumnSpec, Grammar, LogicalType, Refusal, Storage, TableName, TableSpec, ValueType};

/// ClickHouse's SQL.
#[derive(Debug)]
pub(super) struct ClickHouse;

/// An identifier in backquotes: <https://clickhouse.com/docs/sql-reference/syntax#identifiers>.
pub(super) fn quote(identifier: &str) -> String {
    escape(identifier, '`')
}

/// A string literal: <https://clickhouse.com/docs/sql-reference/syntax#string>.
pub(super) fn literal(text: &str) -> String {
    escape(text, '\'')
}

/// A table's quoted name, with its database where it has one.
pub(super) fn quote_table(table: &TableName) -> String {
    match &table.schema {
        Some(database) => format!("{}.{}", quote(database), quote(&table.name)),
        None => quote(&table.name),
    }
}

fn escape(text: &str, around: char) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push(around);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0' => quoted.push_str("\\0"),
            c if c == around => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push(around);
    quoted
}

impl Grammar for ClickHouse {
    fn name(&self) -> &'static str {
        "ClickHouse"
    }

    fn quote(&self, identifier: &str) -> String {
        quote(identifier)
    }

    fn column_type(&self, logical: &LogicalType) -> Result<String, Refusal> {
        type_names::name(logical)
    }

    fn parse_type(&self, text: &str) -> Result<ValueType, Refusal> {
        types::parse(text).map(|column| column.value)
    }

    fn create_table(&self, table: &TableSpec) -> Result<Vec<String>, Refusal> {
        let TableSpec { name, columns, storage } = table;
        if columns.is_empty() {
            return Err(Refusal(format!("table {name} would have no columns")));
        }
        let engine = storage.engine.as_deref().unwrap_or("MergeTree").trim();
        let merge_tree = engine.split('(').next().is_some_and(|name| name.trim_end().ends_with("MergeTree"));
        refuse_nullable_keys(table)?;

        let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", quote_table(name));
        for (index, column) in columns.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            let type_text = full_type(column)
                .map_err(|Refusal(why)| Refusal(format!("column {} of table {name}: {why}", column.name)))?;
            let _ = write!(sql, "{separator}\n    {} {type_text}", quote(&column.name));
        }
        let _ = write!(sql, "\n)\nENGINE = {engine}");
        if let Some(expression) = &storage.partition_by {
            let _ = write!(sql, "\nPARTITION BY {expression}");
        }
        match storage.order_by.as_slice() {
            // Only the MergeTree family sorts, and it must be told how.
            [] if merge_tree => sql.push_str("\nORDER BY tuple()"),
            [] => {}
            [expression] => {
                let _ = write!(sql, "\nORDER BY {expression}");
            }
            expressions => {
                let _ = write!(sql, "\nORDER BY ({})", expressions.join(", "));
            }
        }
        if let Some(expression) = &storage.ttl {
            let _ = write!(sql, "\nTTL {expression}");
        }
        for (index, (setting, value)) in storage.settings.iter().enumerate() {
            if !is_plain_name(setting) {
                return Err(Refusal(format!("`{setting}` is not the name of a ClickHouse setting")));
            }
            let keyword = if index == 0 { "\nSETTINGS " } else { ", " };
            let _ = write!(sql, "{keyword}{setting} = {}", setting_value(value));
        }
        Ok(vec![sql])
    }
}

fn full_type(column: &ColumnSpec) -> Result<String, Refusal> {
    if column.nullable { type_names::nullable(&column.type_text) } else { Ok(column.type_text.clone()) }
}

fn is_plain_name(setting: &str) -> bool {
    !setting.is_empty() && setting.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Numbers stand for themselves, everything else is a string.
fn setting_value(value: &str) -> String {
    if value.parse::<f64>().is_ok_and(f64::is_finite) { value.to_owned() } else { literal(value) }
}

/// ClickHouse refuses nullable columns in keys with a message that does not say which column or what to do.
fn refuse_nullable_keys(table: &TableSpec) -> Result<(), Refusal> {
    let Storage { order_by, partition_by, settings, .. } = &table.storage;
    if settings.get("allow_nullable_key").is_some_and(|value| matches!(value.as_str(), "1" | "true")) {
        return Ok(());
    }
    let keys = order_by.iter().map(|key| ("order_by", key)).chain(partition_by.iter().map(|key| ("partition_by", key)));
    for (option, expression) in keys {
        let expression = expression.trim();
        let named = table.columns.iter().find(|column| column.name == expression || quote(&column.name) == expression);
        if let Some(ColumnSpec { name, type_text, nullable }) = named
            && (*nullable || types::parse(type_text).is_ok_and(|column| column.value.nullable))
        {
            return Err(Refusal(format!(
                "column {name} of table {} is nullable and cannot stand in {option}: make it not nullable, or set \
                 `allow_nullable_key: 1` in the table's settings",
                table.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_text: &str, nullable: bool) -> ColumnSpec {
        ColumnSpec { name: name.into(), type_text: type_text.into(), nullable }
    }

    fn orders(storage: Storage) -> TableSpec {
        TableSpec {
            name: TableName { schema: Some("shop".into()), name: "orders".into() },
            columns: vec![
                column("id", "Int64", false),
                column("note", "String", true),
                column("country", "LowCardinality(String)", true),
                column("at", "DateTime64(3, 'UTC')", false),
            ],
            storage,
        }
    }

    #[test]
    fn any_character_can_be_quoted() {
        insta::assert_snapshot!(quote("plain"), @"`plain`");
        insta::assert_snapshot!(quote("a`b\\c'd\"e\nf.g?h ü"), @r#"`a\`b\\c'd"e\nf.g?h ü`"#);
        insta::assert_snapshot!(literal("it's `so`\\"), @r"'it\'s `so`\\'");
    }

    #[test]
    fn a_table_without_wishes_is_a_merge_tree() {
        let sql = ClickHouse.create_table(&orders(Storage::default())).unwrap().join(";\n");
        insta::assert_snapshot!(sql, @r"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` DateTime64(3, 'UTC')
        )
        ENGINE = MergeTree
        ORDER BY tuple()
        ");
    }

    #[test]
    fn storage_is_followed() {
        let sql = ClickHouse.create_table(&orders(Storage {
            engine: Some("ReplacingMergeTree(at)".into()),
            order_by: vec!["id".into(), "cityHash64(id)".into()],
            partition_by: Some("toYYYYMM(at)".into()),
            ttl: Some("toDateTime(at) + INTERVAL 1 YEAR".into()),
            settings: [("index_granularity", "4096"), ("storage_policy", "it's hot")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        }));
        insta::assert_snapshot!(sql.unwrap().join(";\n"), @r"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` DateTime64(3, 'UTC')
        )
        ENGINE = ReplacingMergeTree(at)
        PARTITION BY toYYYYMM(at)
        ORDER BY (id, cityHash64(id))
        TTL toDateTime(at) + INTERVAL 1 YEAR
        SETTINGS index_granularity = 4096, storage_policy = 'it\'s hot'
        ");
    }

    #[test]
    fn other_engines_are_not_sorted() {
        let sql = ClickHouse.create_table(&orders(Storage { engine: Some("Memory".into()), ..Storage::default() }));
        assert!(sql.unwrap()[0].ends_with("ENGINE = Memory"));
    }

    #[test]
    fn a_nullable_key_is_refused_by_name() {
        let mut storage = Storage { order_by: vec!["id".into(), "`note`".into()], ..Storage::default() };
        let refusal = ClickHouse.create_table(&orders(storage.clone())).unwrap_err();
        insta::assert_snapshot!(refusal, @"column note of table shop.orders is nullable and cannot stand in order_by: make it not nullable, or set `allow_nullable_key: 1` in the table's settings");
        storage.settings.insert("allow_nullable_key".into(), "1".into());
        assert!(ClickHouse.create_table(&orders(storage)).is_ok());
    }

    #[test]
    fn a_list_that_may_be_null_is_refused_by_name() {
        let mut spec = orders(Storage::default());
        spec.columns.push(column("tags", "Array(String)", true));
        insta::assert_snapshot!(ClickHouse.create_table(&spec).unwrap_err(), @"column tags of table shop.orders: ClickHouse has no nullable Array(String)");
    }

    #[test]
    fn settings_are_names() {
        let settings = [("a = 1, b".to_owned(), "1".to_owned())].into();
        let refusal = ClickHouse.create_table(&orders(Storage { settings, ..Storage::default() })).unwrap_err();
        insta::assert_snapshot!(refusal, @"`a = 1, b` is not the name of a ClickHouse setting");
    }
}
