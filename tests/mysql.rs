//! Topics into MySQL and MariaDB, by the command line as its users type it. What any database does is in `conformance`;
//! what is the servers' own, in `dialects/mysql`.

use insta::assert_snapshot;
use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::{Kafka, MySql, Product};
use sqlx::{AssertSqlSafe, Connection, Row, SqlSafeStr};

use crate::support::{self, Output, Rowfall};
use crate::workload;

const DATABASE: &str = "rowfall_test_real";

/// Runs one statement; the texts of the rows' first column.
fn query(url: &str, sql: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = sqlx::MySqlConnection::connect(url).await.expect("connected");
        let rows = sqlx::query(AssertSqlSafe(sql).into_sql_str()).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    })
}

/// Both servers' URLs, of a database that is there.
fn servers() -> [String; 2] {
    [Product::MariaDb, Product::MySql].map(|product| {
        let server = MySql::running(product).unwrap_or_else(|error| panic!("{error}"));
        query(&server.url(""), &format!("CREATE DATABASE IF NOT EXISTS {DATABASE}"));
        server.url(DATABASE)
    })
}

/// What a command says of this server, with whatever differs from run to run replaced.
fn said(kafka: &Kafka, url: &str, name: &str, output: &Output) -> String {
    let server = url.rsplit_once('@').expect("a user").1.trim_end_matches(DATABASE).trim_end_matches('/');
    let said = output.stdout.replace(name, "NAME").replace(&kafka.brokers, "KAFKA").replace(server, "SERVER");
    said.replace(&query(url, "SELECT version()")[0], "VERSION").trim().to_owned()
}

fn send(kafka: &Kafka, topic: &str, records: &[(&str, Option<&str>)]) {
    let producer = workload::producer(&kafka.brokers);
    for (key, value) in records {
        let mut record = BaseRecord::<str, str>::to(topic).partition(0).key(*key);
        record.payload = *value;
        producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(std::time::Duration::from_secs(60)).expect("all are acknowledged");
}

#[test]
fn a_topic_is_planned_created_and_filled_without_a_file() {
    let kafka = Kafka::running().unwrap_or_else(|error| panic!("{error}"));
    let mut text = String::new();
    for url in servers() {
        let name = support::unique("mysql");
        support::create_topic(&kafka, &name, 1, &[]);
        let values = [
            r#"{"id":1,"note":"é🦀","at":"2024-02-29T12:34:56.789Z","paid":true,"amount":1.5}"#,
            r#"{"id":9007199254740993,"note":null,"at":"1999-12-31T23:59:59Z","paid":false,"amount":-0.25}"#,
        ];
        support::produce(&kafka, &name, 0, &values);
        let to = |command: &str, more: &[&str]| {
            let arguments = [command, "--brokers", &kafka.brokers, "--topic", &name, "--to", &url];
            Rowfall::new(&[arguments.as_slice(), more].concat()).output()
        };
        let plan = to("plan", &[]);
        assert_eq!(plan.code(), 3, "{plan:#?}");
        text += &format!("{}\n\n", said(&kafka, &url, &name, &plan));
        assert_eq!(to("run", &["--until-end", "--output", "json"]).rows(), 2);
        let rows = query(
            &url,
            &format!(
                "SELECT CONCAT_WS(',', id, COALESCE(note, '-'), CAST(at AS CHAR), paid, amount) FROM {name} ORDER BY id"
            ),
        );
        text += &format!("{}\n\n", rows.join("\n"));
        // Nothing is written twice, and more is added.
        support::produce(&kafka, &name, 0, &[r#"{"id":3,"at":"2024-01-01T00:00:00Z"}"#]);
        assert_eq!(to("run", &["--until-end", "--output", "json"]).rows(), 1);
        assert_eq!(query(&url, &format!("SELECT CAST(COUNT(*) AS CHAR) FROM {name}")), ["3"]);
        let check = to("check", &[]);
        assert_eq!(check.code(), 0, "{check:#?}");
        text += &format!("{}\n\n", said(&kafka, &url, &name, &check));
        query(&url, &format!("DROP TABLE {name}"));
    }
    assert_snapshot!(text, @"
    topic NAME (1 partition) → table NAME: to be created
      columns inferred from 2 records

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` bigint,
            `note` longtext,
            `at` datetime(3),
            `paid` tinyint(1),
            `amount` double
        ) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

      id      →  id bigint        exact  null where the record lacks it
      note    →  note longtext    exact  null where the record lacks it
      at      →  at datetime(3)   exact  null where the record lacks it
      paid    →  paid tinyint(1)  exact  null where the record lacks it
      amount  →  amount double    exact  null where the record lacks it
      tried with 2 records: all fit

    1,é🦀,2024-02-29 12:34:56.789,1,1.5
    9007199254740993,-,1999-12-31 23:59:59.000,0,-0.25

    ok      MariaDB VERSION at mysql://rowfall:***@SERVER/rowfall_test_real
    ok      topic NAME at KAFKA: 1 partition
    ok      table rowfall_test_real.NAME InnoDB

    topic NAME (1 partition) → table NAME: to be created
      columns inferred from 2 records

        CREATE TABLE IF NOT EXISTS `NAME` (
            `id` bigint,
            `note` longtext,
            `at` datetime(3),
            `paid` tinyint(1),
            `amount` double
        ) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin;

      id      →  id bigint        exact  null where the record lacks it
      note    →  note longtext    exact  null where the record lacks it
      at      →  at datetime(3)   exact  null where the record lacks it
      paid    →  paid tinyint(1)  exact  null where the record lacks it
      amount  →  amount double    exact  null where the record lacks it
      tried with 2 records: all fit

    1,é🦀,2024-02-29 12:34:56.789,1,1.5
    9007199254740993,-,1999-12-31 23:59:59.000,0,-0.25

    ok      MySQL VERSION at mysql://rowfall:***@SERVER/rowfall_test_real
    ok      topic NAME at KAFKA: 1 partition
    ok      table rowfall_test_real.NAME InnoDB
    ");
}

#[test]
fn rows_are_changed_and_deleted_by_the_records_key() {
    let kafka = Kafka::running().unwrap_or_else(|error| panic!("{error}"));
    for url in servers() {
        let name = support::unique("mysql");
        support::create_topic(&kafka, &name, 1, &[]);
        let config = support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{url}' }}\ntopics: {{ {name}: {{ \
             key: string, mode: upsert, primary_key: record-key:id, deletes: true, evolve: add, unknown_fields: add, \
             columns: {{ id: string, note: string, count: {{ type: int64, default: '7' }} }} }} }}\n",
            kafka.brokers
        ));
        let run = || Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output();
        let rows =
            || query(&url, &format!("SELECT CONCAT_WS(',', id, COALESCE(note, '-'), count) FROM {name} ORDER BY id"));
        send(
            &kafka,
            &name,
            &[
                ("a", Some(r#"{"note":"one","count":1}"#)),
                ("A", Some(r#"{"note":"another"}"#)),
                ("b", Some(r#"{"note":"gone"}"#)),
                ("b", None),
                ("c", Some(r#"{"note":"x","count":3}"#)),
                ("c", None),
                ("c", Some(r#"{"note":"back"}"#)),
            ],
        );
        let output = run();
        assert_eq!(output.code(), 0, "{output:#?}");
        assert_eq!(rows(), ["A,another,7", "a,one,1", "c,back,7"]);
        send(&kafka, &name, &[("a", Some(r#"{"note":null,"more":5}"#)), ("A", None), ("z", None)]);
        let output = run();
        assert_eq!(output.code(), 0, "{output:#?}");
        assert_eq!(rows(), ["a,-,1", "c,back,7"]);
        assert_eq!(query(&url, &format!("SELECT CAST(SUM(more) AS CHAR) FROM {name}")), ["5"]);
        query(&url, &format!("DROP TABLE {name}"));
    }
}
