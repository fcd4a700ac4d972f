//! Kafka topics in Postgres: shown, checked, created and filled from the command line; rows changed by key.

use std::time::Duration;

use insta::assert_snapshot;
use rowfall_services::{Kafka, Postgres};
use sqlx::Row as _;
use sqlx::postgres::PgPool;

use crate::support::{self, Output, Rowfall};

const RECORDS: [&str; 4] = [
    r#"{"id":1,"at":"2024-02-29T12:00:00.5Z","day":"2024-02-29","who":"550e8400-e29b-41d4-a716-446655440000"}"#,
    r#"{"id":2,"at":"2024-02-29T12:00:00.000001+02:00","price":1,"ok":true,"note":null,"tags":["a","b"]}"#,
    r#"{"id":3,"price":2.5,"address":{"city":"Köln","zip":[5,0,6]},"mixed":1,"large":18446744073709551615}"#,
    r#"{"id":4,"price":null,"mixed":"x","large":1,"local":"2024-02-29 12:00:00"}"#,
];

/// A topic with these records in one partition, and the servers.
struct Case {
    kafka: Kafka,
    postgres: Postgres,
    name: String,
}

impl Case {
    fn new(records: &[&str]) -> Self {
        let kafka = Kafka::running().unwrap_or_else(|error| panic!("{error}"));
        let postgres = Postgres::running().unwrap_or_else(|error| panic!("{error}"));
        let name = support::unique("Postgres");
        support::create_topic(&kafka, &name, 1, &[]);
        support::produce(&kafka, &name, 0, records);
        Self { kafka, postgres, name }
    }

    /// What a command says, with whatever differs from run to run replaced.
    fn said(&self, output: &Output, status: i32) -> String {
        assert_eq!(output.code(), status, "{output:#?}");
        assert!(!format!("{output:?}").contains("-secret"), "a password is shown: {output:#?}");
        output
            .stdout
            .replace(&self.name, "NAME")
            .replace(&self.kafka.brokers, "KAFKA")
            .replace(&format!("127.0.0.1:{}", self.postgres.port), "SERVER")
            .trim()
            .to_owned()
    }

    /// One column of text, `NAME` being the table.
    fn ask(&self, sql: &str) -> String {
        let sql = sql.replace("NAME", &format!("\"{}\"", self.name));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let pool = PgPool::connect(&self.postgres.url()).await.expect("the server answers");
            let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&pool).await.expect("an answer");
            rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
        })
    }
}

#[test]
fn a_topic_becomes_a_table_without_a_file() {
    let case = Case::new(&RECORDS);
    let (brokers, url) = (case.kafka.brokers.clone(), case.postgres.url());
    let run = |command: &str, more: &[&str]| {
        let flags = [command, "--brokers", &brokers, "--topic", &case.name, "--to", &url];
        Rowfall::new(&[&flags, more].concat()).output()
    };
    assert_snapshot!(case.said(&run("plan", &[]), 3), @r#"
    topic NAME (1 partition) → table NAME: to be created
      columns inferred from 4 records

        CREATE TABLE IF NOT EXISTS "NAME" (
            "id" bigint,
            "at" timestamp(6) with time zone,
            "day" date,
            "who" uuid,
            "price" double precision,
            "ok" boolean,
            "note" text,
            "tags" text,
            "address" text,
            "mixed" text,
            "large" numeric(20,0),
            "local" text
        );

      id       →  id bigint                       exact   null where the record lacks it
      at       →  at timestamp(6) with time zone  exact   null where the record lacks it
      day      →  day date                        exact   null where the record lacks it
      who      →  who uuid                        exact   null where the record lacks it
      price    →  price double precision          exact   null where the record lacks it
      ok       →  ok boolean                      exact   null where the record lacks it
      note     →  note text                               null where the record lacks it
      tags     →  tags text                       exact   null where the record lacks it
      address  →  address text                    exact   null where the record lacks it
      mixed    →  mixed text                      exact   null where the record lacks it
      large    →  large numeric(20,0)             widens  integers as decimal(20,0); null where the record lacks it
      local    →  local text                      exact   null where the record lacks it
      tried with 4 records: all fit
    "#);
    assert_snapshot!(case.said(&run("check", &[]), 0), @"
    ok      PostgreSQL 18.4 at postgres://rowfall:***@SERVER/postgres
    ok      topic NAME at KAFKA: 1 partition
    ok      table NAME will be created (see `rowfall plan`)
    ");
    assert_eq!(case.ask("SELECT (to_regclass('NAME') IS NULL)::text"), "true", "nothing is made by looking");
    let more = ["--until-end", "--output", "json"];
    assert_eq!(run("run", &more).rows(), 4);
    assert_eq!(run("run", &more).rows(), 0);
    assert_snapshot!(case.ask("SELECT t::text FROM NAME AS t ORDER BY id"), @r#"
    (1,"2024-02-29 12:00:00.5+00",2024-02-29,550e8400-e29b-41d4-a716-446655440000,,,,,,,,)
    (2,"2024-02-29 10:00:00.000001+00",,,1,t,,"[""a"",""b""]",,,,)
    (3,,,,2.5,,,,"{""city"":""Köln"",""zip"":[5,0,6]}",1,18446744073709551615,)
    (4,,,,,,,,,x,1,"2024-02-29 12:00:00")
    "#);
    assert_snapshot!(case.said(&run("check", &[]), 0), @"
    ok      PostgreSQL 18.4 at postgres://rowfall:***@SERVER/postgres
    ok      topic NAME at KAFKA: 1 partition
    ok      table public.NAME table
    ");
}

#[test]
fn rows_are_changed_by_key() {
    let case = Case::new(&[
        r#"{"id":1,"mood":"glad","list":[1,2],"note":"first"}"#,
        r#"{"id":2,"mood":"sad","list":[]}"#,
        r#"{"id":1,"list":[3]}"#,
        r#"{"id":3,"mood":null,"note":"gone soon"}"#,
    ]);
    case.ask("CREATE TABLE NAME (id bigint PRIMARY KEY, mood text DEFAULT 'calm', list integer[], note text)");
    let config = support::config_file(&format!(
        "name: {0}\nkafka: {{ brokers: '{1}' }}\ntarget: {{ url: '{2}' }}\n\
         topics: {{ {0}: {{ mode: upsert, primary_key: [id] }} }}\n",
        case.name,
        case.kafka.brokers,
        case.postgres.url(),
    ));
    let run = || Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
    assert_eq!(run().code(), 0);
    assert_snapshot!(case.ask("SELECT t::text FROM NAME AS t ORDER BY id"), @r#"
    (1,glad,{3},first)
    (2,sad,{},)
    (3,,,"gone soon")
    "#);
    support::produce(&case.kafka, &case.name, 0, &[r#"{"id":3,"list":[null]}"#, r#"{"id":4,"note":"new"}"#]);
    assert_eq!(run().code(), 0);
    assert_snapshot!(case.ask("SELECT t::text FROM NAME AS t ORDER BY id"), @r#"
    (1,glad,{3},first)
    (2,sad,{},)
    (3,,{NULL},"gone soon")
    (4,calm,,new)
    "#);
}

/// Another session makes the table, and does not say yet whether it will be there.
#[test]
fn a_wait_for_a_table_ends_with_a_signal() {
    let case = Case::new(&RECORDS[..1]);
    let config = support::config_file(&format!(
        "name: {0}\nkafka: {{ brokers: '{1}' }}\ntarget: {{ url: '{2}' }}\ntopics: {{ {0}: {{}} }}\n",
        case.name,
        case.kafka.brokers,
        case.postgres.url(),
    ));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let pool = runtime.block_on(PgPool::connect(&case.postgres.url())).expect("the server answers");
    let mut other = runtime.block_on(pool.begin()).expect("a transaction");
    let create = format!("CREATE TABLE \"{}\" (id int)", case.name);
    runtime.block_on(sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut *other)).expect("created");
    let process = Rowfall::with_config("run", &config, &["--output", "json"]).start();
    support::eventually("it creates the table", Duration::from_secs(30), || process.said().contains("CREATE TABLE"));
    process.signal("TERM");
    let output = process.wait(Duration::from_secs(10));
    assert_eq!((output.code(), output.rows()), (0, 0), "{output:#?}");
    runtime.block_on(other.rollback()).expect("rolled back");
}
