//! One topic into many tables: each record says its own, by a field or a header; keys that headers say.

use std::time::Duration;

use insta::assert_snapshot;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::Kafka;

use crate::places::{Database, Place};
use crate::support::{self, ConfigFile, Output, Rowfall};
use crate::workload;

/// A topic that goes into many tables of a place.
struct Course<'p> {
    place: &'p Place,
    kafka: Kafka,
    name: String,
}

const PARTITIONS: i32 = 3;

impl<'p> Course<'p> {
    fn new(place: &'p Place) -> Self {
        let (kafka, name) = (support::services().kafka, support::unique("routing"));
        support::create_topic(&kafka, &name, PARTITIONS, &[]);
        Self { place, kafka, name }
    }

    fn config(&self, route: &str) -> ConfigFile {
        let Self { place, kafka, name } = self;
        support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\nbatch: {{ rows: 500 }}\ntopics:\n  {name}: {{ {route} }}\n",
            kafka.brokers, place.url
        ))
    }

    fn run(&self, route: &str) -> Output {
        let arguments = ["--until-end", "--output", "json"];
        Rowfall::with_config("run", &self.config(route), &arguments).start().wait(Duration::from_secs(120))
    }

    /// What these columns hold, a line for each row, sorted.
    fn rows(&self, kind: &str, columns: &[&str]) -> Vec<String> {
        let table = format!("{}_{kind}", self.name);
        let in_order = format!("ORDER BY {}", self.place.quote(columns[0]));
        let read = |column: &&str| self.place.read(&table, column, &in_order).expect("read");
        let columns: Vec<_> = columns.iter().map(read).collect();
        let row = |row: usize| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<_> = (0..columns[0].len()).map(row).collect();
        rows.sort();
        rows
    }
}

/// Names as they come in data.
const KINDS: [&str; 5] = ["order", "Order", "click.view", "it's \"so\" `☃`", "7"];

fn fields_say_tables(place: &Place) {
    let course = Course::new(place);
    let producer = workload::producer(&course.kafka.brokers);
    // Where names differ by case alone, they are one table in some databases, on some systems: not asked here.
    let kinds: Vec<_> = KINDS.iter().filter(|kind| **kind != "Order").collect();
    let produce = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let kind = kinds[number % kinds.len()];
            let value = match *kind {
                "7" => format!(r#"{{"id":{number},"ev":{{"kind":7,"n":"x"}},"only_seven":true}}"#),
                kind => format!(r#"{{"id":{number},"ev":{{"kind":{}}}}}"#, serde_json::json!(kind)),
            };
            let partition = i32::try_from(number % 3).expect("small");
            workload::send(&producer, BaseRecord::<str, str>::to(&course.name).payload(&value).partition(partition));
        }
        producer.flush(Duration::from_secs(60)).expect("acknowledged");
    };
    let route = "table: '${topic}_${field:ev.kind}', nested: json";
    let expect = |count: usize| {
        for (index, kind) in kinds.iter().enumerate() {
            let mut ids: Vec<_> = (index..count).step_by(kinds.len()).map(|id| id.to_string()).collect();
            ids.sort();
            assert_eq!(course.rows(kind, &["id"]), ids, "{kind}");
        }
    };
    produce(0..2_000);
    let output = course.run(route);
    assert_eq!((output.rows(), output.code()), (2_000, 0), "{output:#?}");
    expect(2_000);
    // Tables that are there, in a process that does not know them.
    produce(2_000..3_000);
    assert_eq!(course.run(route).rows(), 1_000);
    expect(3_000);
    let seven = course.rows("7", &["only_seven"]);
    assert!(seven.len() == 750 && seven.iter().all(|ok| ["1", "true"].contains(&ok.as_str())), "{seven:?}");
}

fn headers_say_tables_and_keys(place: &Place) {
    let course = Course::new(place);
    let producer = workload::producer(&course.kafka.brokers);
    let send = |table: &str, id: &str, value: Option<&str>| {
        let header = |key, value| Header { key, value: Some(value) };
        let headers = OwnedHeaders::new()
            .insert(header("table", "not this one"))
            .insert(header("x-id", id))
            .insert(header("table", table));
        let record = BaseRecord::<str, str>::to(&course.name).partition(0).headers(headers);
        workload::send(&producer, if let Some(value) = value { record.payload(value) } else { record });
    };
    send("a", "1", Some(r#"{"note":"one"}"#));
    send("b", "1", Some(r#"{"note":"other"}"#));
    send("a", "2", Some(r#"{"note":"two"}"#));
    send("a", "1", Some(r#"{"note":"again"}"#));
    send("b", "2", Some(r#"{"note":"gone"}"#));
    send("b", "2", None);
    send("b", "☃", Some(r#"{"note":"snow"}"#));
    producer.flush(Duration::from_secs(60)).expect("acknowledged");
    let route = "table: '${topic}_${header:table}', mode: upsert, primary_key: 'header:x-id', deletes: true, \
                 columns: { id: { from: x-id, type: string, nullable: false }, note: string }";
    let output = course.run(route);
    assert_eq!(output.code(), 0, "{output:#?}");
    assert_eq!(course.rows("a", &["id", "note"]), ["1 again", "2 two"]);
    assert_eq!(course.rows("b", &["id", "note"]), ["1 other", "☃ snow"]);
}

#[test]
fn clickhouse_fields_say_tables() {
    fields_say_tables(&Place::new(Database::ClickHouse));
}

#[test]
fn postgres_fields_and_headers_say_tables() {
    fields_and_headers_say_tables(Database::Postgres);
}

#[test]
fn mariadb_fields_and_headers_say_tables() {
    fields_and_headers_say_tables(Database::MariaDb);
}

#[test]
fn mysql_fields_and_headers_say_tables() {
    fields_and_headers_say_tables(Database::MySql);
}

#[test]
fn sqlite_fields_and_headers_say_tables() {
    fields_and_headers_say_tables(Database::Sqlite);
}

fn fields_and_headers_say_tables(database: Database) {
    let place = Place::new(database);
    fields_say_tables(&place);
    headers_say_tables_and_keys(&place);
}

#[test]
fn what_says_no_table_or_one_too_many_stops_its_partition_by_name() {
    let place = Place::new(Database::ClickHouse);
    let course = Course::new(&place);
    let said =
        |output: &Output| output.stderr.lines().filter(|l| l.starts_with("rowfall: ")).collect::<Vec<_>>().join("\n");
    support::produce(&course.kafka, &course.name, 0, &[r#"{"kind":"a","n":1}"#, r#"{"n":2}"#]);
    support::produce(&course.kafka, &course.name, 1, &[r#"{"kind":"a","n":3}"#, r#"{"kind":"a","n":4}"#]);
    let route = "table: '${topic}_${field:kind}', max_tables: 1";
    let output = course.run(route);
    assert_eq!(output.code(), 1);
    assert_snapshot!(said(&output).replace(&course.name, "NAME"), @"rowfall: stopped: NAME[0] offset 1: table NAME_${field:kind}, field `kind` is missing, and is a part of the table's name");
    assert_eq!(course.rows("a", &["n"]), ["1", "3", "4"]);
    support::produce(&course.kafka, &course.name, 1, &[r#"{"kind":"a","n":5}"#, r#"{"kind":"b","n":6}"#]);
    let output = course.run(route);
    assert_snapshot!(said(&output).replace(&course.name, "NAME"), @"
    rowfall: stopped: NAME[0] offset 1: table NAME_${field:kind}, field `kind` is missing, and is a part of the table's name
    rowfall: stopped: NAME[1] offset 3: table NAME_b would be one more than the 1 that `max_tables` allows
    ");
    assert_eq!(course.rows("a", &["n"]), ["1", "3", "4", "5"]);
}

#[test]
fn plan_shows_the_tables_that_the_first_records_say() {
    let place = Place::new(Database::Postgres);
    let course = Course::new(&place);
    let plan = || {
        let output = Rowfall::with_config("plan", &course.config("table: '${topic}_${field:kind}'"), &[]).output();
        format!("{}{}", output.stdout, output.stderr).replace(&course.name, "NAME")
    };
    assert_snapshot!(plan(), @"topic NAME (3 partitions) → table NAME_${field:kind}: to be created when the topic has a record to infer it from");
    support::produce(&course.kafka, &course.name, 0, &[r#"{"kind":"a","n":1}"#, r#"{"kind":"b","t":"x"}"#]);
    assert_snapshot!(plan(), @r#"
    topic NAME (3 partitions) → table NAME_a: to be created
      columns inferred from 1 record

        CREATE TABLE IF NOT EXISTS "NAME_a" (
            "kind" text,
            "n" bigint
        );

      kind  →  kind text  exact  null where the record lacks it
      n     →  n bigint   exact  null where the record lacks it
      tried with 1 record: all fit

    topic NAME (3 partitions) → table NAME_b: to be created
      columns inferred from 1 record

        CREATE TABLE IF NOT EXISTS "NAME_b" (
            "kind" text,
            "t" text
        );

      kind  →  kind text  exact  null where the record lacks it
      t     →  t text     exact  null where the record lacks it
      tried with 1 record: all fit
    "#);
}
