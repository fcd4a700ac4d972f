//! Tables with a key: what makes them keep one row of it.

use std::borrow::Cow;

use super::engine;
use crate::clickhouse::engine_text::EngineText;
use crate::clickhouse::engines;
use crate::clickhouse::grammar::quote;
use crate::clickhouse::hazards::hazards;
use crate::clickhouse::upserts::{self, Facts};
use crate::contract::{Refusal, TableSpec};

/// The table with the engine, the order and the columns that its key needs; as it is without one.
///
/// # Errors
/// When it would keep other rows than the last of each key, with the reason.
pub(super) fn with_key<'t>(table: &'t TableSpec, notes: &mut Vec<String>) -> Result<Cow<'t, TableSpec>, Refusal> {
    let TableSpec { name, key, .. } = table;
    if key.is_empty() {
        return Ok(Cow::Borrowed(table));
    }
    let engine_text = EngineText::parse(engine(table));
    let mut table = table.clone();
    table.storage.engine = Some(engine(&table).to_owned());
    upserts::add_columns(&engine_text, &mut table.columns);
    let quoted = || key.iter().map(|column| quote(column)).collect::<Vec<_>>();
    match engine_text.family() {
        "EmbeddedRocksDB" | "KeeperMap" | "Redis" if table.storage.primary_key.is_empty() => {
            table.storage.primary_key = quoted();
        }
        family if engines::is_merge_tree(family) && table.storage.order_by.is_empty() => {
            table.storage.order_by = quoted();
        }
        _ => {}
    }

    let facts = Facts::of_spec(engine_text, &table);
    let versions = facts.versions().map_err(|why| {
        Refusal(format!(
            "table {name} with key ({}) would keep more than one row of it: {why}: leave `engine` and \
             `order_by` out, or name {}, a CoalescingMergeTree or an EmbeddedRocksDB",
            key.join(", "),
            upserts::ENGINE
        ))
    })?;
    if versions.key.len() != key.len() || !key.iter().all(|column| versions.key.contains(column)) {
        let sorted_by = versions.key.join(", ");
        return Err(Refusal(format!(
            "table {name} would keep one row of each ({sorted_by}), but its key is ({}): leave `order_by` out, or name \
             these columns in it",
            key.join(", ")
        )));
    }
    for column in &mut table.columns {
        if [&versions.version, &versions.deleted].into_iter().flatten().chain(key).any(|name| *name == column.name) {
            if column.nullable == Some(true) {
                return Err(Refusal(format!(
                    "column {} of table {name} tells rows of a key apart and cannot be nullable",
                    column.name
                )));
            }
            column.nullable = Some(false);
        }
    }
    if let Some(hazard) = hazards(&facts).into_iter().next() {
        return Err(Refusal(format!("table {name}: {}: {}", hazard.what, hazard.options())));
    }
    notes.extend(facts.promise());
    Ok(Cow::Owned(table))
}

#[cfg(test)]
mod tests {
    use super::super::create_table;
    use super::super::tests::{orders, sql};
    use crate::contract::{ColumnSpec, Storage, TableSpec};

    fn with_key(key: &[&str], storage: Storage) -> TableSpec {
        let mut table = orders(storage);
        table.columns.iter_mut().for_each(|column| column.nullable = None);
        TableSpec { key: key.iter().map(|column| (*column).into()).collect(), ..table }
    }

    #[test]
    fn a_table_with_a_key_keeps_one_row_of_it() {
        insta::assert_snapshot!(sql(&with_key(&["id", "country"], Storage::default())), @"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(String),
            `at` Nullable(DateTime64(3, 'UTC')),
            `_version` UInt64,
            `_deleted` UInt8
        )
        ENGINE = ReplacingMergeTree(_version, _deleted)
        ORDER BY (`id`, `country`)
        SETTINGS non_replicated_deduplication_window = 25000
        ");
        let storage = Storage { cluster: Some("main".into()), ..Storage::default() };
        let mut odd = with_key(&["it`s"], storage);
        odd.columns[0].name = "it`s".into();
        odd.columns.push(ColumnSpec { nullable: None, ..ColumnSpec::new("_version", "DateTime64(6)", false) });
        insta::assert_snapshot!(sql(&odd), @r"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` ON CLUSTER `main` (
            `it\`s` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` Nullable(DateTime64(3, 'UTC')),
            `_version` DateTime64(6),
            `_deleted` UInt8
        )
        ENGINE = ReplacingMergeTree(_version, _deleted)
        ORDER BY `it\`s`
        SETTINGS non_replicated_deduplication_window = 25000
        ");
    }

    #[test]
    fn a_key_goes_with_engines_that_keep_one_row() {
        let of = |engine: &str| sql(&with_key(&["id"], Storage { engine: Some(engine.into()), ..Storage::default() }));
        insta::assert_snapshot!(of("ReplicatedReplacingMergeTree('/t/{uuid}', '{replica}', at, `is gone`)"), @"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` DateTime64(3, 'UTC'),
            `is gone` UInt8
        )
        ENGINE = ReplicatedReplacingMergeTree('/t/{uuid}', '{replica}', at, `is gone`)
        ORDER BY `id`
        ");
        insta::assert_snapshot!(of("EmbeddedRocksDB"), @"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` Nullable(DateTime64(3, 'UTC'))
        )
        ENGINE = EmbeddedRocksDB
        PRIMARY KEY `id`
        ");
        insta::assert_snapshot!(of("CoalescingMergeTree"), @"
        CREATE TABLE IF NOT EXISTS `shop`.`orders` (
            `id` Int64,
            `note` Nullable(String),
            `country` LowCardinality(Nullable(String)),
            `at` Nullable(DateTime64(3, 'UTC'))
        )
        ENGINE = CoalescingMergeTree
        ORDER BY `id`
        SETTINGS non_replicated_deduplication_window = 25000
        ");
    }

    #[test]
    fn a_key_that_would_not_be_kept_is_refused() {
        let refusal = |key: &[&str], storage: Storage| create_table(&with_key(key, storage)).unwrap_err().0;
        let engine = |engine: &str| Storage { engine: Some(engine.into()), ..Storage::default() };
        insta::assert_snapshot!(refusal(&["id"], engine("MergeTree")), @"table shop.orders with key (id) would keep more than one row of it: MergeTree keeps every row that is written: leave `engine` and `order_by` out, or name ReplacingMergeTree(_version, _deleted), a CoalescingMergeTree or an EmbeddedRocksDB");
        let order_by = vec!["country".into(), "id".into()];
        insta::assert_snapshot!(refusal(&["id"], Storage { order_by, ..Storage::default() }), @"table shop.orders would keep one row of each (country, id), but its key is (id): leave `order_by` out, or name these columns in it");
        let order_by = vec!["toDate(at)".into(), "id".into()];
        insta::assert_snapshot!(refusal(&["id"], Storage { order_by, ..Storage::default() }), @"table shop.orders with key (id) would keep more than one row of it: ReplacingMergeTree is sorted by toDate(at), which is not a column: leave `engine` and `order_by` out, or name ReplacingMergeTree(_version, _deleted), a CoalescingMergeTree or an EmbeddedRocksDB");
        let mut nullable = with_key(&["id"], Storage::default());
        nullable.columns[0].nullable = Some(true);
        insta::assert_snapshot!(create_table(&nullable).unwrap_err(), @"column id of table shop.orders tells rows of a key apart and cannot be nullable");
        let ttl = |ttl: &str| Storage { ttl: Some(ttl.into()), ..Storage::default() };
        insta::assert_snapshot!(refusal(&["id"], ttl("toDateTime(at) + INTERVAL 1 YEAR")), @"table shop.orders: its TTL drops the row that says that a key is deleted, which has no values but the key's, and the deleted row comes back: set its ttl to toDateTime(at) + INTERVAL 1 YEAR DELETE WHERE `_deleted` = 0");
        for harmless in
            ["toDateTime(at) + INTERVAL 1 YEAR DELETE WHERE _deleted = 0", "toDateTime(at) TO VOLUME 'cold'"]
        {
            assert!(create_table(&with_key(&["id"], ttl(harmless))).is_ok(), "{harmless}");
        }
        assert!(create_table(&with_key(&["id", "at"], ttl("toDateTime(at) + INTERVAL 1 YEAR"))).is_ok());
    }

    #[test]
    fn the_order_of_the_key_is_free_and_its_partitions_are_told() {
        let order_by = vec!["(country, id)".into(), "cityHash64(id)".into()];
        let partition_by = Some("toYYYYMM(at)".into());
        let ddl = create_table(&with_key(&["id", "country"], Storage { order_by, partition_by, ..Storage::default() }))
            .unwrap();
        insta::assert_snapshot!(ddl.notes.join("\n"), @"rows of one key are in several partitions where toYYYYMM(at) differs: merges do not bring them together, reading with FINAL does");
    }
}
