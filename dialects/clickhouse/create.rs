//! CREATE TABLE.

mod keyed;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::engine_text::EngineText;
use super::grammar::{literal, quote, quote_table};
use super::upserts::{self, Facts};
use super::{again, describe, engines, type_names, types};
use crate::contract::{ColumnSpec, Ddl, Refusal, Storage, TableSchema, TableSpec};

/// The one statement. Expressions stand in it as they were given: what they mean is the server's to say.
pub(super) fn create_table(table: &TableSpec) -> Result<Ddl, Refusal> {
    let mut notes = Vec::new();
    let (table, sql) = &statement(table, &mut notes)?;
    let engine = table.storage.engine.as_deref();
    notes.extend(engine.and_then(|engine| Some(format!("{engine}: {}", engines::promise(engine)?))));
    let (described, cluster) = (Some(Box::new(described(table))), table.storage.cluster.clone());
    Ok(Ddl { notes, described, cluster, ..Ddl::new(table.name.clone(), vec![sql.clone()]) })
}

/// The statement alone, and the table that it makes: with all that its key needs.
pub(super) fn statement<'t>(
    table: &'t TableSpec,
    notes: &mut Vec<String>,
) -> Result<(Cow<'t, TableSpec>, String), Refusal> {
    let table = keyed::with_key(table, notes)?;
    let TableSpec { name, columns, storage, .. } = &*table;
    if columns.is_empty() {
        return Err(Refusal(format!("table {name} would have no columns")));
    }
    if columns.iter().any(|column| column.name.is_empty()) {
        return Err(Refusal(format!("a column of table {name} would have no name: ``")));
    }
    refuse_nullable_keys(&table)?;

    let mut lines: Vec<_> =
        columns.iter().map(|column| column_line(column, is_in_key(&table, column), notes)).collect();
    lines.extend(storage.indexes.iter().map(|(index, text)| format!("INDEX {} {text}", quote(index))));
    let projections = storage.projections.iter();
    lines.extend(projections.map(|(projection, text)| format!("PROJECTION {} ({text})", quote(projection))));

    let mut sql = format!("CREATE TABLE IF NOT EXISTS {}", quote_table(name));
    if let Some(cluster) = &storage.cluster {
        let _ = write!(sql, " ON CLUSTER {}", quote(cluster));
    }
    let engine = engine(&table).trim();
    let _ = write!(sql, " (\n    {}\n)\nENGINE = {engine}", lines.join(",\n    "));
    // Only the MergeTree family sorts, and it must be told how.
    let order_by = match storage.order_by.as_slice() {
        [] if engines::is_merge_tree(engine) && storage.primary_key.is_empty() => Some("tuple()".to_owned()),
        expressions => key(expressions),
    };
    let clauses = [
        ("PARTITION BY", storage.partition_by.clone()),
        ("PRIMARY KEY", key(&storage.primary_key)),
        ("ORDER BY", order_by),
        ("SAMPLE BY", storage.sample_by.clone()),
        ("TTL", storage.ttl.clone()),
        ("SETTINGS", settings(&storage.settings, engine)?),
        ("COMMENT", storage.comment.as_deref().map(literal)),
    ];
    for (keyword, clause) in clauses {
        if let Some(clause) = clause {
            let _ = write!(sql, "\n{keyword} {clause}");
        }
    }
    Ok((table, sql))
}

/// The table as it will be described.
fn described(table: &TableSpec) -> TableSchema {
    let mut facts = Facts::of_spec(EngineText::parse(engine(table).trim()), table);
    for (known, column) in facts.columns.iter_mut().zip(&table.columns) {
        known.type_text = full_type(column, is_in_key(table, column), &mut Vec::new());
    }
    describe::schema(&facts)
}

/// The engine that a new table gets.
pub(super) fn engine(table: &TableSpec) -> &str {
    let default = if table.key.is_empty() { "MergeTree" } else { upserts::ENGINE };
    table.storage.engine.as_deref().unwrap_or(default)
}

/// A column as it is declared. What stands in a key is not nullable unless it is said to be.
pub(super) fn column_line(column: &ColumnSpec, in_key: bool, notes: &mut Vec<String>) -> String {
    let mut line = format!("{} {}", quote(&column.name), full_type(column, in_key, notes));
    if let Some(expression) = &column.default {
        let _ = write!(line, " DEFAULT {expression}");
    }
    if let Some(text) = &column.storage.comment {
        let _ = write!(line, " COMMENT {}", literal(text));
    }
    if let Some(codec) = &column.storage.codec {
        let _ = write!(line, " CODEC({codec})");
    }
    if let Some(expression) = &column.storage.ttl {
        let _ = write!(line, " TTL {expression}");
    }
    line
}

fn key(expressions: &[String]) -> Option<String> {
    match expressions {
        [] => None,
        [expression] => Some(expression.clone()),
        expressions => Some(format!("({})", expressions.join(", "))),
    }
}

fn settings(settings: &BTreeMap<String, String>, engine: &str) -> Result<Option<String>, Refusal> {
    let mut clauses = Vec::new();
    if engines::is_plain_merge_tree(engine) && !settings.contains_key(again::PLAIN) {
        clauses.push(format!("{} = {}", again::PLAIN, again::WINDOW));
    }
    for (setting, value) in settings {
        if !is_plain_name(setting) {
            return Err(Refusal(format!("`{setting}` is not the name of a ClickHouse setting")));
        }
        clauses.push(format!("{setting} = {}", setting_value(value)));
    }
    Ok(Some(clauses.join(", ")).filter(|clauses| !clauses.is_empty()))
}

fn full_type(column: &ColumnSpec, in_key: bool, notes: &mut Vec<String>) -> String {
    let ColumnSpec { name, type_text, nullable, .. } = column;
    let wanted = nullable.unwrap_or(!in_key);
    match type_names::nullable(type_text) {
        Ok(takes_null) if wanted => return takes_null,
        Err(Refusal(why)) if *nullable == Some(true) => {
            notes.push(format!("column `{name}` will not be nullable: {why}"))
        }
        _ => {}
    }
    type_text.clone()
}

/// What rows are sorted and parted by, with the option that says it.
fn keys(table: &TableSpec) -> impl Iterator<Item = (&'static str, &String)> {
    let Storage { order_by, partition_by, primary_key, .. } = &table.storage;
    let keys = order_by.iter().map(|key| ("order_by", key));
    let keys = keys.chain(primary_key.iter().map(|key| ("primary_key", key)));
    keys.chain(partition_by.iter().map(|key| ("partition_by", key)))
}

fn is_in_key(table: &TableSpec, column: &ColumnSpec) -> bool {
    keys(table).any(|(_, key)| names(key, column))
}

/// Whether the expression is the column.
fn names(expression: &str, column: &ColumnSpec) -> bool {
    let expression = expression.trim();
    column.name == expression || quote(&column.name) == expression
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
    if table.storage.settings.get("allow_nullable_key").is_some_and(|value| matches!(value.as_str(), "1" | "true")) {
        return Ok(());
    }
    for (option, expression) in keys(table) {
        let named = table.columns.iter().find(|column| names(expression, column));
        if let Some(ColumnSpec { name, type_text, nullable, .. }) = named
            && (*nullable == Some(true) || types::parse(type_text).is_ok_and(|column| column.value.nullable))
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
    use crate::contract::{ColumnStorage, TableColumn, TableName};

    pub(super) fn orders(storage: Storage) -> TableSpec {
        TableSpec {
            name: TableName { schema: Some("shop".into()), name: "orders".into() },
            columns: vec![
                ColumnSpec::new("id", "Int64", false),
                ColumnSpec::new("note", "String", true),
                ColumnSpec::new("country", "LowCardinality(String)", true),
                ColumnSpec::new("at", "DateTime64(3, 'UTC')", false),
            ],
            key: Vec::new(),
            storage,
        }
    }

    pub(super) fn sql(table: &TableSpec) -> String {
        create_table(table).unwrap().statements.pop().unwrap()
    }

    #[test]
    fn a_table_without_wishes_is_a_merge_tree() {
        let sql = sql(&orders(Storage::default()));
        insta::assert_snapshot!(sql, @"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` DateTime64(3, 'UTC')
        )
        ENGINE = MergeTree
        ORDER BY tuple()
        SETTINGS non_replicated_deduplication_window = 25000
        ");
    }

    #[test]
    fn what_it_will_be_is_told_before() {
        let mut spec = orders(Storage { order_by: vec!["country".into()], ..Storage::default() });
        spec.columns.iter_mut().for_each(|column| column.nullable = None);
        spec.columns[3].default = Some("now64(3)".into());
        let told = |spec: &TableSpec| {
            let table = create_table(spec).unwrap().described.unwrap();
            let column = |column: &TableColumn| format!("{} {} {:?}", column.name, column.type_text, column.default);
            let columns: Vec<_> = table.columns.iter().map(column).collect();
            format!("{}: {}\n{:?}", table.kind, columns.join(", "), table.upserts)
        };
        insta::assert_snapshot!(told(&spec), @r#"
        MergeTree: id Nullable(Int64) None, note Nullable(String) None, country LowCardinality(String) None, at Nullable(DateTime64(3, 'UTC')) Expression
        Never { why: "MergeTree keeps every row that is written", hint: "CREATE TABLE IF NOT EXISTS `shop`.`orders_by_key` (\n    `id` Nullable(Int64),\n    `note` Nullable(String),\n    `country` LowCardinality(String),\n    `at` Nullable(DateTime64(3, 'UTC')) DEFAULT now64(3),\n    `_version` UInt64,\n    `_deleted` UInt8\n)\nENGINE = ReplacingMergeTree(_version, _deleted)\nORDER BY `country`\nSETTINGS non_replicated_deduplication_window = 25000" }
        "#);
        spec.key = vec!["id".into()];
        spec.storage.order_by.clear();
        insta::assert_snapshot!(told(&spec), @r#"
        ReplacingMergeTree: id Int64 None, note Nullable(String) None, country LowCardinality(Nullable(String)) None, at Nullable(DateTime64(3, 'UTC')) Expression, _version UInt64 None, _deleted UInt8 None
        Versions { key: ["id"], version: Some("_version"), deleted: Some("_deleted"), partial: false }
        "#);
    }

    #[test]
    fn storage_is_followed() {
        let texts = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let mut spec = orders(Storage {
            engine: Some("ReplacingMergeTree(at)".into()),
            order_by: vec!["id".into(), "cityHash64(id)".into()],
            primary_key: vec!["id".into()],
            partition_by: Some("toYYYYMM(at)".into()),
            sample_by: Some("cityHash64(id)".into()),
            ttl: Some("toDateTime(at) + INTERVAL 1 YEAR".into()),
            settings: texts(&[("index_granularity", "4096"), ("storage_policy", "it's hot")]),
            indexes: texts(&[("by note", "note TYPE bloom_filter(0.01) GRANULARITY 4"), ("a", "at TYPE minmax")]),
            projections: texts(&[("by_country", "SELECT country, count() GROUP BY country")]),
            comment: Some("the shop's orders".into()),
            cluster: Some("my cluster".into()),
        });
        spec.columns[1].storage =
            ColumnStorage { codec: None, comment: Some("it's free".into()), ttl: Some("at + INTERVAL 1 DAY".into()) };
        spec.columns[2].default = Some("'DE'".into());
        spec.columns[3].default = Some("now64(3)".into());
        spec.columns[3].storage.codec = Some("Delta, ZSTD(3)".into());
        insta::assert_snapshot!(sql(&spec), @r"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` ON CLUSTER `my cluster` (
            `id` Int64,
            `note` Nullable(String) COMMENT 'it\'s free' TTL at + INTERVAL 1 DAY,
            `country` LowCardinality(Nullable(String)) DEFAULT 'DE',
            `at` DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(3)),
            INDEX `a` at TYPE minmax,
            INDEX `by note` note TYPE bloom_filter(0.01) GRANULARITY 4,
            PROJECTION `by_country` (SELECT country, count() GROUP BY country)
        )
        ENGINE = ReplacingMergeTree(at)
        PARTITION BY toYYYYMM(at)
        PRIMARY KEY id
        ORDER BY (id, cityHash64(id))
        SAMPLE BY cityHash64(id)
        TTL toDateTime(at) + INTERVAL 1 YEAR
        SETTINGS non_replicated_deduplication_window = 25000, index_granularity = 4096, storage_policy = 'it\'s hot'
        COMMENT 'the shop\'s orders'
        ");
    }

    #[test]
    fn other_engines_are_not_sorted() {
        let memory = sql(&orders(Storage { engine: Some("Memory".into()), ..Storage::default() }));
        assert!(memory.ends_with("ENGINE = Memory"));
        let engine = "ReplicatedSummingMergeTree('/tables/{shard}/orders', '{replica}', (id))";
        let sql = sql(&orders(Storage { engine: Some(engine.into()), ..Storage::default() }));
        assert!(sql.ends_with(&format!("ENGINE = {engine}\nORDER BY tuple()")), "{sql}");
    }

    #[test]
    fn a_nullable_key_is_refused_by_name() {
        let mut storage = Storage { order_by: vec!["id".into(), "`note`".into()], ..Storage::default() };
        let refusal = create_table(&orders(storage.clone())).unwrap_err();
        insta::assert_snapshot!(refusal, @"column note of table shop.orders is nullable and cannot stand in order_by: make it not nullable, or set `allow_nullable_key: 1` in the table's settings");
        storage.settings.insert("allow_nullable_key".into(), "1".into());
        assert!(create_table(&orders(storage)).is_ok());
    }

    #[test]
    fn what_cannot_be_null_is_not_and_said_where_it_was_asked_for() {
        let mut spec = orders(Storage { order_by: vec!["id".into()], ..Storage::default() });
        spec.columns.push(ColumnSpec::new("tags", "Array(String)", true));
        for nullable in [0, 4] {
            spec.columns[nullable].nullable = None;
        }
        insta::assert_snapshot!(sql(&spec), @"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` DateTime64(3, 'UTC'),
            `tags` Array(String)
        )
        ENGINE = MergeTree
        ORDER BY id
        SETTINGS non_replicated_deduplication_window = 25000
        ");
        assert_eq!(create_table(&spec).unwrap().notes, [""; 0]);
        spec.columns[4].nullable = Some(true);
        insta::assert_snapshot!(create_table(&spec).unwrap().notes[0], @"column `tags` will not be nullable: ClickHouse has no nullable Array(String)");
    }

    #[test]
    fn settings_are_names() {
        let settings = [("a = 1, b".to_owned(), "1".to_owned())].into();
        let refusal = create_table(&orders(Storage { settings, ..Storage::default() })).unwrap_err();
        insta::assert_snapshot!(refusal, @"`a = 1, b` is not the name of a ClickHouse setting");
    }
}
