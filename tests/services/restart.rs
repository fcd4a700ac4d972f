//! A private server of each kind is killed, started again on its port with its data, and gone when dropped.

use std::io::Write;
use std::process::{Command, Stdio};

use rowfall_services::{ClickHouse, Error, Kafka, Postgres};

fn output_of(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kafka_keeps_records_over_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("extra.properties"), "num.partitions=3\n").unwrap();
    let kafka = Kafka::start_private(dir.path()).unwrap();
    let tool = |class: &str, args: &[&str], input: &str| {
        let mut command = kafka.tool(class);
        command.args(["--bootstrap-server", &kafka.brokers]).args(args);
        output_of(&mut command, input)
    };

    let topics = "org.apache.kafka.tools.TopicCommand";
    tool(topics, &["--create", "--topic", "t"], "");
    let described = tool(topics, &["--describe", "--topic", "t"], "");
    assert!(described.contains("PartitionCount: 3"), "{described}");
    let produce = "org.apache.kafka.tools.ConsoleProducer";
    tool(produce, &["--topic", "t"], "one\ntwo\n");

    let pid = kafka.server.pid();
    kafka.server.kill9().unwrap();
    assert!(!kafka.server.is_up());
    kafka.server.start().unwrap();
    assert_ne!(kafka.server.pid(), pid);

    let consume = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    let all = ["--topic", "t", "--from-beginning", "--max-messages", "2"];
    let mut records: Vec<_> = tool(consume, &all, "").lines().map(str::to_owned).collect();
    records.sort();
    assert_eq!(records, ["one", "two"]);
}

/// Its rows are looked at in `dialects/postgres`, which has a client.
#[test]
fn postgres_comes_back_on_its_port_and_takes_settings() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("extra.conf"), "log_connections = 'all'\n").unwrap();
    let postgres = Postgres::start_private(dir.path()).unwrap();
    for _ in 0..3 {
        let pid = postgres.server.pid().unwrap();
        postgres.server.kill9().unwrap();
        assert!(!postgres.server.is_up());
        postgres.server.start().unwrap();
        assert_ne!(postgres.server.pid(), Some(pid));
    }
    postgres.server.stop().unwrap();
    postgres.server.start().unwrap();
    let log = std::fs::read_to_string(postgres.server.logs().join("output.log")).unwrap();
    assert!(log.contains("received fast shutdown request") && log.contains("connection received"), "{log}");

    let pid = postgres.server.pid().unwrap();
    drop(postgres);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn clickhouse_keeps_rows_over_kill_9_and_has_its_users() {
    let dir = tempfile::tempdir().unwrap();
    let merged = dir.path().join("users.d");
    std::fs::create_dir(&merged).unwrap();
    std::fs::write(
        merged.join("writer.xml"),
        "<clickhouse><users><writer><password>w</password><profile>default</profile><quota>default</quota>
         <networks><ip>127.0.0.1</ip></networks>
         <grants><query>GRANT INSERT ON test.t</query></grants></writer></users></clickhouse>",
    )
    .unwrap();
    let clickhouse = ClickHouse::start_private(dir.path()).unwrap();
    assert_eq!(clickhouse.query("SELECT timezone(), serverTimezone()").unwrap(), "UTC\tUTC\n");
    clickhouse.query("CREATE DATABASE test").unwrap();
    clickhouse.query("CREATE TABLE test.t (a Int64) ENGINE MergeTree ORDER BY a").unwrap();
    clickhouse.query("INSERT INTO test.t VALUES (1), (2)").unwrap();

    clickhouse.server.kill9().unwrap();
    clickhouse.server.start().unwrap();
    clickhouse.query_as(("writer", "w"), "INSERT INTO test.t VALUES (4)").unwrap();
    clickhouse.server.stop().unwrap();
    clickhouse.server.start().unwrap();

    let sum = "SELECT sum(a) FROM test.t";
    assert_eq!(clickhouse.query(sum).unwrap(), "7\n");
    assert_eq!(clickhouse.query_as(ClickHouse::READER, sum).unwrap(), "7\n");
    let denied = |credentials, sql| match clickhouse.query_as(credentials, sql) {
        Err(Error::Refused { body, .. }) => body.contains("ACCESS_DENIED"),
        other => panic!("{other:?}"),
    };
    assert!(denied(ClickHouse::READER, "INSERT INTO test.t VALUES (8)"));
    assert!(denied(ClickHouse::NOGRANT, sum));
    assert!(denied(("writer", "w"), sum));

    clickhouse.query("SYSTEM FLUSH LOGS").unwrap();
    let logged = "SELECT count() > 0 FROM system.query_log WHERE user = 'reader'";
    assert_eq!(clickhouse.query(logged).unwrap(), "1\n");

    let pid = clickhouse.server.pid().unwrap();
    drop(clickhouse);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}
