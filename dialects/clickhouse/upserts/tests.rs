use super::*;

/// A table of this engine with these columns: name, type and default.
pub(in crate::clickhouse) fn facts(engine: &str, columns: &[(&str, &str, &str)]) -> Facts {
    let engine = EngineText::parse(engine);
    let known = |(name, type_text, default): &(&str, &str, &str)| {
        let (kind, expression) = default.split_once(' ').unwrap_or((*default, ""));
        let [name, type_text, default_kind, default_expression] = [*name, *type_text, kind, expression].map(Into::into);
        Known { name, type_text, default_kind, default_expression, ..Known::default() }
    };
    Facts {
        name: table(),
        sorting_key: expressions(engine.clause("ORDER BY")),
        primary_key: expressions(engine.clause("PRIMARY KEY")),
        engine,
        columns: columns.iter().map(known).collect(),
        behind: None,
    }
}

pub(in crate::clickhouse) const COLUMNS: &[(&str, &str, &str)] = &[
    ("id", "UInt64", ""),
    ("region", "LowCardinality(String)", ""),
    ("note", "Nullable(String)", "DEFAULT 'none'"),
    ("at", "DateTime64(3)", ""),
    ("v", "UInt64", ""),
    ("d", "UInt8", ""),
    ("day", "Date", "MATERIALIZED toDate(at)"),
];

pub(in crate::clickhouse) fn table() -> TableName {
    TableName { schema: Some("shop".into()), name: "orders".into() }
}

fn versions(engine: &str) -> String {
    match facts(engine, COLUMNS).versions() {
        Ok(Versions { key, version, deleted, partial }) => {
            let name = |name: Option<String>| name.unwrap_or_else(|| "-".into());
            format!("{} {} {}{}", key.join(","), name(version), name(deleted), if partial { " partial" } else { "" })
        }
        Err(why) => why,
    }
}

#[test]
fn engines_say_how_rows_of_a_key_become_one() {
    assert_eq!(versions("ReplacingMergeTree(v, d) ORDER BY (id, region)"), "id,region v d");
    assert_eq!(versions("ReplacingMergeTree ORDER BY id DESC"), "id - -");
    assert_eq!(versions("SharedReplacingMergeTree('/a', '{b}', v) ORDER BY (id)"), "id v -");
    assert_eq!(versions("ReplacingMergeTree(v) PRIMARY KEY id ORDER BY (id, cityHash64(id))"), "id v -");
    assert_eq!(versions("CoalescingMergeTree ORDER BY id"), "id - - partial");
    assert_eq!(versions("CoalescingMergeTree((note, at, v, d, day, region)) ORDER BY id"), "id - - partial");
    assert_eq!(versions("EmbeddedRocksDB PRIMARY KEY (id, region)"), "id,region - -");
    insta::assert_snapshot!(versions("ReplacingMergeTree(v) ORDER BY (toDate(at), id)"), @"ReplacingMergeTree is sorted by toDate(at), which is not a column");
    insta::assert_snapshot!(versions("ReplacingMergeTree(v) ORDER BY tuple()"), @"ReplacingMergeTree is sorted by nothing, so that all its rows are one key's");
    insta::assert_snapshot!(versions("CoalescingMergeTree(note) ORDER BY id"), @"CoalescingMergeTree keeps the first value of region, not the last");
    insta::assert_snapshot!(versions("ReplicatedSummingMergeTree('/a', '{b}', v) ORDER BY id"), @"ReplicatedSummingMergeTree merges the rows of a key in a way of its own, which is not to keep the last");
    insta::assert_snapshot!(versions("Join(ANY, LEFT, id)"), @"Join keeps the first row of a key, not the last");
    insta::assert_snapshot!(versions("Null"), @"Null keeps no row");
    insta::assert_snapshot!(versions("S3('http://x')"), @"S3 is not known to keep one row for each key");
}

#[test]
fn a_table_that_keeps_every_row_comes_with_one_that_would_not() {
    let never = |engine: &str| match facts(engine, COLUMNS).upserts() {
        Upserts::Never { why, hint } => format!("{why}\n{hint}"),
        upserts => panic!("{upserts:?}"),
    };
    insta::assert_snapshot!(never("MergeTree ORDER BY (id, region)"), @"
    MergeTree keeps every row that is written
    CREATE TABLE IF NOT EXISTS `shop`.`orders_by_key` (
        `id` UInt64,
        `region` LowCardinality(String),
        `note` Nullable(String) DEFAULT 'none',
        `at` DateTime64(3),
        `v` UInt64,
        `d` UInt8,
        `day` Date MATERIALIZED toDate(at),
        `_version` UInt64,
        `_deleted` UInt8
    )
    ENGINE = ReplacingMergeTree(_version, _deleted)
    ORDER BY (`id`, `region`)
    SETTINGS non_replicated_deduplication_window = 25000
    ");
    insta::assert_snapshot!(never("Log"), @"
    Log keeps every row that is written
    CREATE TABLE IF NOT EXISTS `shop`.`orders_by_key` (
        `id` UInt64,
        `region` LowCardinality(String),
        `note` Nullable(String) DEFAULT 'none',
        `at` DateTime64(3),
        `v` UInt64,
        `d` UInt8,
        `day` Date MATERIALIZED toDate(at),
        `_version` UInt64,
        `_deleted` UInt8
    )
    ENGINE = ReplacingMergeTree(_version, _deleted)
    ORDER BY (/* the key's columns */)
    SETTINGS non_replicated_deduplication_window = 25000
    ");
}

#[test]
fn a_distributed_table_is_the_one_behind_it() {
    let distributed = |sharding: &str, behind: Option<&str>| {
        let mut facts = facts(&format!("Distributed('main', 'shop', 'local'{sharding})"), COLUMNS);
        facts.behind = behind.map(|engine| Box::new(self::facts(engine, COLUMNS)));
        (facts.versions().map(|versions| versions.key.join(",")), facts.heeds_order())
    };
    let replacing = Some("ReplacingMergeTree(v, d) ORDER BY (id, region)");
    assert_eq!(distributed(", cityHash64(id)", replacing), (Ok("id,region".into()), false));
    assert_eq!(distributed("", replacing).0, Ok("id,region".into()));
    assert_eq!(distributed(", id", Some("ReplacingMergeTree ORDER BY id")), (Ok("id".into()), true));
    insta::assert_snapshot!(distributed(", rand()", replacing).0.unwrap_err(), @"Distributed may send rows of one key to several shards: it shards by rand(), not by the key");
    insta::assert_snapshot!(distributed(", v", replacing).0.unwrap_err(), @"Distributed may send rows of one key to several shards: it shards by v, not by the key");
    insta::assert_snapshot!(distributed(", id", None).0.unwrap_err(), @"Distributed passes rows to a table that cannot be looked at on this server");
    insta::assert_snapshot!(distributed(", id", Some("MergeTree ORDER BY id")).0.unwrap_err(), @"Distributed passes rows to a table of which MergeTree keeps every row that is written");
}

#[test]
fn writes_side_by_side_need_versions_that_differ() {
    for (engine, heeds) in [
        ("MergeTree ORDER BY id", false),
        ("ReplacingMergeTree(v) ORDER BY id", false),
        ("ReplacingMergeTree(at) ORDER BY id", true),
        ("ReplacingMergeTree ORDER BY id", true),
        ("CoalescingMergeTree ORDER BY id", true),
    ] {
        assert_eq!(facts(engine, COLUMNS).heeds_order(), heeds, "{engine}");
    }
    let by_default = [("id", "UInt64", ""), ("v", "UInt64", "DEFAULT now()")];
    assert!(facts("ReplacingMergeTree(v) ORDER BY id", &by_default).heeds_order());
}

#[test]
fn what_upserts_do_not_promise_is_said() {
    let promise = |engine: &str| facts(engine, COLUMNS).promise();
    assert_eq!(promise("ReplacingMergeTree(v) PARTITION BY id % 3 ORDER BY id"), None);
    assert_eq!(promise("MergeTree PARTITION BY region ORDER BY id"), None);
    insta::assert_snapshot!(promise("ReplacingMergeTree(v) PARTITION BY toYYYYMM(at) ORDER BY id").unwrap(), @"rows of one key are in several partitions where toYYYYMM(at) differs: merges do not bring them together, reading with FINAL does");
    insta::assert_snapshot!(promise("CoalescingMergeTree ORDER BY id").unwrap(), @"an upsert that lacks note leaves it alone, in a new row too: its DEFAULT is not used");
}
