use std::ffi::OsString;

use miette::{GraphicalReportHandler, GraphicalTheme};
use rowfall_dialects::contract::{ColumnStorage, Compression, Storage, TableName};

use super::*;

mod values;
mod words;

/// What every test file needs besides its subject.
const REST: &str =
    "name: shop\nkafka: { brokers: localhost:9092 }\ntarget: { url: sqlite://orders.db }\ntopics: { orders: {} }\n";

fn environment(name: &str) -> Option<OsString> {
    let value = match name {
        "PASSWORD" => "p@ss:w/rd %",
        "ROWS" => "1000",
        "WORDS" => "some secret words",
        "YES" => "true",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.into())
}

fn load_text(yaml: &str, overrides: &Overrides) -> Result<Settings, ConfigError> {
    settings(Node::parse(yaml, &Place::whole("rowfall.yaml", yaml))?, overrides, &environment)
}

fn loaded(yaml: &str) -> Settings {
    load_text(yaml, &Overrides::default()).unwrap_or_else(|error| panic!("{}", shown(&error)))
}

fn shown(error: &ConfigError) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut text, error).expect("a String takes everything");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The rendered error of a file.
fn refused(yaml: &str) -> String {
    with_flags(yaml, &Overrides::default())
}

/// The rendered error of a file that has all that must be there besides `yaml`, which may not repeat it.
fn refused_with_rest(yaml: &str) -> String {
    let top = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let rest = REST.lines().filter(|line| yaml.lines().all(|other| top(other) != top(line)));
    refused(&format!("{yaml}{}\n", rest.collect::<Vec<_>>().join("\n")))
}

fn with_flags(yaml: &str, overrides: &Overrides) -> String {
    match load_text(yaml, overrides) {
        Ok(settings) => panic!("accepted: {settings:?}"),
        Err(error) => shown(&error),
    }
}

fn set(assignments: &[&str]) -> Overrides {
    Overrides { set: assignments.iter().map(|s| (*s).to_owned()).collect(), ..Overrides::default() }
}

#[test]
fn the_example_of_the_reference_loads() {
    let settings = loaded(&reference::EXAMPLE.replace("CH_PASSWORD", "PASSWORD"));
    assert_eq!(settings.name, "shop");
    assert_eq!(settings.kafka.brokers, "localhost:9092");
    assert_eq!(settings.kafka.start_from, StartFrom::Earliest);
    assert_eq!(settings.kafka.properties["fetch.queue.backoff.ms"], "5");
    assert_eq!(settings.target.url.password(), Some("p%40ss%3Aw%2Frd%20%25"));
    assert_eq!(settings.target.compression, Compression::Auto);
    assert_eq!(settings.batch, BatchLimits { rows: 500_000, bytes: 64 << 20, age: std::time::Duration::from_secs(1) });
    assert_eq!(settings.memory, 256 << 20);
    assert!((1..=8).contains(&settings.workers));
    assert!(!settings.show_values);
    let column = |name: &str, from: &str, type_text: Option<&str>, nullable, drop| ColumnSettings {
        default: None,
        storage: ColumnStorage::default(),
        name: name.to_owned(),
        from: from.to_owned(),
        type_text: type_text.map(str::to_owned),
        nullable,
        drop,
        nested: None,
        unit: None,
    };
    let expected = [
        Route { create: true, ..Route::new("customers", TableName { schema: None, name: "customers".to_owned() }) },
        Route {
            create: true,
            unknown_fields: UnknownFields::Ignore,
            columns: vec![
                column("id", "id", Some("int64"), None, false),
                column("amount", "amt", Some("decimal(18,2)"), Some(false), false),
                column("note", "note", None, None, true),
            ],
            storage: Storage {
                engine: Some("MergeTree".to_owned()),
                order_by: vec!["customer".to_owned(), "id".to_owned()],
                settings: [("index_granularity".to_owned(), "8192".to_owned())].into(),
                ..Storage::default()
            },
            ..Route::new("shop.orders", TableName { schema: None, name: "orders".to_owned() })
        },
    ];
    for route in expected {
        assert_eq!(settings.routes.of(&route.topic), Some(route));
    }
    let table = |topic: &str| settings.routes.of(topic).map(|route| (route.key, route.table.name));
    let pair = |key: &str, table: &str| Some((key.to_owned(), table.to_owned()));
    assert_eq!(table("refunds"), pair("returns, refunds", "returned"));
    assert_eq!(table("events-eu"), pair("/events-(.*)/", "events_eu"));
    assert_eq!(table("orders"), None);
    let names: Vec<_> = settings.routes.names().collect();
    assert_eq!(names, ["customers", "shop.orders", "returns", "refunds"]);
}

#[test]
fn what_is_left_out_takes_its_default_and_defaults_survive_being_written() {
    let bare = loaded(REST);
    assert_eq!((bare.batch.rows, bare.batch.bytes, bare.memory), (500_000, 64 << 20, 256 << 20));
    assert_eq!(loaded(&format!("memory: 64MiB\n{REST}")).batch.bytes, 32 << 20);
    // A key without a value is left out, too.
    let empty = loaded(&format!("{REST}batch:\nmemory:\nworkers: ~\nerrors: {{ show_values: }}\n"));
    let raw = serde_json::to_string(&raw::Raw::default()).expect("defaults can be written");
    let written = raw.replace("\"name\":null,", "").replace("\"brokers\":null", "\"brokers\":\"localhost:9092\"");
    let written = written.replace("\"url\":null", "\"url\":\"sqlite://orders.db\"");
    let written = loaded(
        &written.replacen('{', "{\"name\":\"shop\",", 1).replace("\"topics\":{}", "\"topics\":{\"orders\":null}"),
    );
    for settings in [empty, written] {
        assert_eq!(format!("{settings:?}"), format!("{bare:?}"));
    }
}

#[test]
fn flags_alone_are_enough() {
    let flags = Overrides {
        brokers: Some("localhost:9092".to_owned()),
        topics: vec!["orders".to_owned(), "my.topic".to_owned(), "orders".to_owned()],
        to: Some("sqlite://orders.db".to_owned()),
        ..Overrides::default()
    };
    let settings = load(&flags).unwrap_or_else(|error| panic!("{}", shown(&error)));
    assert_eq!(settings.name, "rowfall-orders-my.topic");
    let tables: Vec<_> = settings.routes.names().filter_map(|name| Some(settings.routes.of(name)?.table)).collect();
    let table = |name: &str| TableName { schema: None, name: name.to_owned() };
    assert_eq!(tables, [table("orders"), table("my.topic")]);
    let named = load(&Overrides { name: Some("shop".to_owned()), ..flags }).expect("as before");
    assert_eq!(named.name, "shop");
}

#[test]
fn flags_go_before_the_file() {
    let file = format!("{REST}  customers: {{ table: c, columns: {{ id: int64 }} }}\n  other: {{}}\n");
    let file = file.replace("orders: {}", "").replace("topics: {  }", "topics:");
    let flags = Overrides {
        set: [
            "batch.rows=7",
            "batch={ rows: 8 }",
            "batch.age=2s",
            "kafka.properties.fetch.min.bytes=10",
            "topics.customers.columns.id.nullable=false",
            "topics.customers.columns.amount=decimal(18,2)",
            "topics.'my.topic'.table=\"s.${topic}\"",
        ]
        .map(str::to_owned)
        .to_vec(),
        brokers: Some("other:9092".to_owned()),
        to: Some("clickhouse://localhost/x".to_owned()),
        topics: vec!["customers".to_owned(), "my.topic".to_owned()],
        ..Overrides::default()
    };
    let settings = load_text(&file, &flags).unwrap_or_else(|error| panic!("{}", shown(&error)));
    assert_eq!(settings.name, "shop");
    assert_eq!((settings.batch.rows, settings.batch.age.as_secs()), (8, 2));
    assert_eq!(settings.kafka.brokers, "other:9092");
    assert_eq!(settings.kafka.properties["fetch.min.bytes"], "10");
    assert_eq!(settings.target.url.as_str(), "clickhouse://localhost/x");
    assert_eq!(settings.routes.names().collect::<Vec<_>>(), ["customers", "my.topic"]);
    let [customers, dotted] = ["customers", "my.topic"].map(|name| settings.routes.of(name).expect("a route"));
    let columns: Vec<_> =
        customers.columns.iter().map(|c| (c.name.as_str(), c.type_text.as_deref(), c.nullable)).collect();
    assert_eq!(columns, [("id", Some("int64"), Some(false)), ("amount", Some("decimal(18,2)"), None)]);
    assert_eq!(dotted.table, TableName { schema: Some("s".to_owned()), name: "my.topic".to_owned() });
}

#[test]
fn values_are_filled_in() {
    let settings = loaded(
        "name: ${env:NONE:-shop}-${env:EMPTY:-x}$${env:X}\n\
         kafka: { brokers: \"${env:WORDS}\" }\n\
         target: { url: \"clickhouse://${env:ROWS}:${env:PASSWORD}@localhost/db\" }\n\
         batch: { rows: \"${env:ROWS}\" }\n\
         workers: ${env:ROWS}\n\
         errors: { show_values: \"${env:YES}\" }\n\
         topics: { a: {} }\n",
    );
    assert_eq!(settings.name, "shop-x${env:X}");
    assert_eq!(settings.kafka.brokers, "some secret words");
    assert_eq!(settings.target.url.as_str(), "clickhouse://1000:p%40ss%3Aw%2Frd%20%25@localhost/db");
    assert_eq!((settings.batch.rows, settings.workers, settings.show_values), (1000, 1000, true));

    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "sqlite://from-file.db\n").expect("it can be written");
    let url = format!("target.url=${{file:{}}}", file.path().display());
    let settings = load_text(REST, &set(&[&url])).unwrap_or_else(|error| panic!("{}", shown(&error)));
    assert_eq!(settings.target.url.as_str(), "sqlite://from-file.db");
}

#[test]
fn debug_shows_no_secret() {
    let settings =
        load_text(REST, &set(&["target.url=clickhouse://app:hunter2@h/d", "kafka.properties.sasl.password=hunter2"]));
    let text = format!("{:?}", settings.unwrap_or_else(|error| panic!("{}", shown(&error))));
    assert!(!text.contains("hunter2"), "{text}");
    let error = load_text(REST, &set(&["target.url=clickhouse://app:hunter2@h/d", "name="])).expect_err("no name");
    assert!(!format!("{error:?}{error}").contains("hunter2"));
}

proptest::proptest! {
    /// Whatever stands in the file or in a flag, it is read or refused, and the refusal can be shown.
    #[test]
    fn nothing_panics(
        edits in proptest::collection::vec((0usize..900, "[a-z:{}\\[\\]$@&*!|>'\"#\n\t\r ü€😀-]{0,3}"), 0..4),
        keep in 0usize..1000,
        flag in "[a-c.='\"ü{ $]{0,8}",
    ) {
        let mut text: Vec<char> = reference::EXAMPLE.chars().take(keep).collect();
        for (at, insert) in edits {
            let at = at.min(text.len());
            text.splice(at..(at + 1).min(text.len()), insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = load_text(&text, &set(&[&flag])) {
            proptest::prop_assert!(!shown(&error).is_empty());
        }
    }
}

#[test]
fn the_schema_is_json_and_knows_all_sections() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).expect("it is JSON");
    assert_eq!(schema["additionalProperties"], false);
    for key in
        ["name", "kafka.brokers", "target.url", "batch.bytes", "topics.*.columns.*.type", "topics.*.clickhouse.ttl"]
    {
        assert!(reference::has_key(key), "{key}");
    }
}

#[test]
fn the_reference_page_is_up_to_date() {
    let committed = include_str!("../../docs/configuration.md");
    assert!(committed == reference_markdown(), "docs/configuration.md is stale: run `./x docs`");
}
