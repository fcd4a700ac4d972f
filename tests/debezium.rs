//! Debezium, live: a Postgres table of many column types under a workload of inserts, updates, deletes, changed keys and
//! ALTERs, through Kafka Connect and rowfall into the databases, which then hold what the source holds.
//!
//! What each must hold is asked of the source in SQL, and of the targets in theirs, as texts that mean the same; no code of
//! rowfall's is part of the comparison.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rowfall_services::{Connect, Kafka, MySql, Postgres, Product};
use serde_json::json;

use crate::databases::lines;
use crate::support::{self, Process, Rowfall};

/// How long all may take to be there.
const PATIENCE: Duration = Duration::from_secs(120);

/// Rows that are inserted, changed or deleted; `ROWFALL_RECORDS` says more.
fn operations() -> u64 {
    support::given("ROWFALL_RECORDS").unwrap_or(3_000)
}

/// A column of the source: how its values are made, and how they are read as texts that mean the same.
struct Column {
    name: &'static str,
    kind: &'static str,
    /// Hangs on the number `n`.
    value: &'static str,
    /// Of the source, as an expression over `c`.
    source: &'static str,
    clickhouse: &'static str,
    postgres: &'static str,
    mysql: &'static str,
}

const COLUMNS: &[Column] = &[
    column(["c_bool", "boolean", "n % 3 = 0", "c::int::text", "toString(toUInt8(c))", "c::int::text", "c"]),
    column(["c_int2", "smallint", "(n % 65536) - 32768", "c::text", "toString(c)", "c::text", "c"]),
    column(["c_int4", "integer", "n * 1000003 % 2147483647", "c::text", "toString(c)", "c::text", "c"]),
    column(["c_int8", "bigint", "9223372036854775807 - n", "c::text", "toString(c)", "c::text", "c"]),
    column([
        "c_real",
        "real",
        "n / 8.0",
        "(c * 8)::bigint::text",
        "toString(toInt64(c * 8))",
        "(c * 8)::bigint::text",
        "CAST(c * 8 AS SIGNED)",
    ]),
    column([
        "c_double",
        "double precision",
        "n / 1024.0",
        "(c * 1024)::bigint::text",
        "toString(toInt64(c * 1024))",
        "(c * 1024)::bigint::text",
        "CAST(c * 1024 AS SIGNED)",
    ]),
    column([
        "c_numeric",
        "numeric(12,3)",
        "n / 8.0",
        "(c * 1000)::bigint::text",
        "toString(toInt64(c * 1000))",
        "(c * 1000)::bigint::text",
        "CAST(c * 1000 AS SIGNED)",
    ]),
    column([
        "c_large",
        "numeric(40,10)",
        "n * 12345678901234567890.0123456789",
        "(c * 10000000000)::numeric(50,0)::text",
        "toString(toInt256(c * 10000000000))",
        "(c * 10000000000)::numeric(50,0)::text",
        "CAST(c * 10000000000 AS DECIMAL(50,0))",
    ]),
    column(["c_any", "numeric", "round(n / 100.0, 2) + 0.001", "c::text", "c", "c", "c"]),
    column(["c_text", "text", "'it''s \"' || n || '\" \\ ☃🦀'", "c", "c", "c", "c"]),
    column(["c_varchar", "varchar(40)", "'é' || n", "c", "c", "c", "c"]),
    column(["c_char", "char(8)", "'x' || n % 1000", "rtrim(c)", "trimRight(c)", "rtrim(c)", "rtrim(c)"]),
    column([
        "c_bytea",
        "bytea",
        "decode(md5(n::text), 'hex')",
        "encode(c, 'hex')",
        "lower(hex(c))",
        "encode(c, 'hex')",
        "lower(hex(c))",
    ]),
    column(["c_uuid", "uuid", "md5(n::text)::uuid", "c::text", "toString(c)", "c::text", "c"]),
    column(["c_date", "date", "date '1990-01-01' + (n % 20000)::int", "c::text", "toString(c)", "c::text", "c"]),
    column([
        "c_time",
        "time(6)",
        "time '00:00:00.000001' + (n % 86000) * interval '1 second'",
        "to_char(c, 'HH24:MI:SS.US')",
        "toString(c)",
        "to_char(c, 'HH24:MI:SS.US')",
        "c",
    ]),
    column([
        "c_stamp",
        "timestamp(6)",
        "timestamp '2024-02-29 12:34:56.789012' + n * interval '1 second'",
        "to_char(c, 'YYYY-MM-DD HH24:MI:SS.US')",
        "toString(c)",
        "to_char(c AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        "c",
    ]),
    column([
        "c_stamp3",
        "timestamp(3)",
        "timestamp '2024-02-29 12:34:56.789' + n * interval '1 second'",
        "to_char(c, 'YYYY-MM-DD HH24:MI:SS.MS')",
        "toString(c)",
        "to_char(c AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')",
        "c",
    ]),
    column([
        "c_zoned",
        "timestamptz",
        "timestamptz '2024-02-29 12:34:56.789012+02' + n * interval '1 second'",
        "to_char(c AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        "toString(c)",
        "to_char(c AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
        "c",
    ]),
    column([
        "c_jsonb",
        "jsonb",
        "jsonb_build_object('a', n, 'b', 'x' || n)",
        "(c->>'a') || (c->>'b')",
        "concat(toString(c.a), toString(c.b))",
        "(c->>'a') || (c->>'b')",
        "concat(c->>'$.a', c->>'$.b')",
    ]),
    column(["c_json", "json", "json_build_object('a', n)", "c->>'a'", "toString(c.a)", "c->>'a'", "c->>'$.a'"]),
    column(["c_enum", "MOOD", "CASE n % 2 WHEN 0 THEN 'sad' ELSE 'happy' END", "c::text", "c", "c", "c"]),
    column([
        "c_ints",
        "integer[]",
        "ARRAY[n % 100, -1]",
        "array_to_string(c, ',')",
        "arrayStringConcat(c, ',')",
        "array_to_string(c, ',')",
        "concat(c->>'$[0]', ',', c->>'$[1]')",
    ]),
    column([
        "c_texts",
        "text[]",
        "ARRAY['a' || n, '']",
        "array_to_string(c, ',')",
        "arrayStringConcat(c, ',')",
        "array_to_string(c, ',')",
        "concat(c->>'$[0]', ',', c->>'$[1]')",
    ]),
    column(["c_inet", "inet", "('10.0.0.' || n % 250)::inet", "host(c)", "c", "c", "c"]),
    column(["c_cidr", "cidr", "('10.0.' || n % 250 || '.0/24')::cidr", "c::text", "c", "c", "c"]),
    column([
        "c_mac",
        "macaddr",
        "('08:00:2b:01:02:' || lpad(to_hex(n % 200), 2, '0'))::macaddr",
        "c::text",
        "c",
        "c",
        "c",
    ]),
    column([
        "c_interval",
        "interval",
        "n * interval '1 second'",
        "(extract(epoch FROM c) * 1000000)::bigint::text",
        "toString(c)",
        "c::text",
        "c",
    ]),
    column(["c_xml", "xml", "('<a>' || n || '</a>')::xml", "c::text", "c", "c", "c"]),
    column(["c_null", "text", "NULL", "c", "c", "c", "c"]),
];

/// A column that the table gets later.
const LATER: Column = column(["c_later", "text", "", "c", "c", "c", "c"]);

const fn column([name, kind, value, source, clickhouse, postgres, mysql]: [&'static str; 7]) -> Column {
    Column { name, kind, value, source, clickhouse, postgres, mysql }
}

/// A source table in a server of its own, with its connector.
struct Source {
    kafka: Kafka,
    postgres: Postgres,
    connect: Connect,
    name: String,
    folder: tempfile::TempDir,
}

impl Source {
    fn new(name: &str, converter: serde_json::Value) -> Self {
        let kafka = support::services().kafka;
        let folder = tempfile::tempdir().expect("a folder");
        let connect = Connect::start_private(folder.path().join("connect"), &kafka.brokers);
        let connect = connect.unwrap_or_else(|error| panic!("{error}"));
        let postgres = Postgres::start_private(folder.path().join("postgres"));
        let postgres = postgres.unwrap_or_else(|error| panic!("{error}"));
        let source = Self { kafka, postgres, connect, name: support::unique(name), folder };
        let name = &source.name;
        source.run(&format!("CREATE SCHEMA {name}"));
        source.run(&format!("CREATE TYPE {name}.mood AS ENUM ('sad', 'happy')"));
        let mut columns: Vec<_> = COLUMNS.iter().map(|c| format!("{} {}", c.name, source.own(c.kind))).collect();
        columns.insert(0, "id bigint PRIMARY KEY".to_owned());
        source.run(&format!("CREATE TABLE {name}.t ({})", columns.join(", ")));
        source.run(&format!("ALTER TABLE {name}.t REPLICA IDENTITY FULL"));
        source.run(&format!("CREATE TABLE {name}.large (id bigint PRIMARY KEY, n int, big text)"));
        source.run(&format!("ALTER TABLE {name}.large ALTER big SET STORAGE EXTERNAL"));
        let Postgres { port, user, password, .. } = source.postgres;
        let mut config = json!({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput",
            "database.hostname": "127.0.0.1",
            "database.port": port.to_string(),
            "database.user": user,
            "database.password": password,
            "database.dbname": "postgres",
            "topic.prefix": name,
            "schema.include.list": name,
            "slot.name": name,
            "publication.name": name,
            "publication.autocreate.mode": "filtered",
            "topic.creation.default.replication.factor": "1",
            "topic.creation.default.partitions": "1",
        });
        config.as_object_mut().expect("an object").extend(converter.as_object().expect("an object").clone());
        let connector = json!({ "name": name, "config": config }).to_string();
        source.connect.create(&connector).unwrap_or_else(|error| panic!("{error}"));
        source
    }

    /// A type of the source's own schema.
    fn own(&self, text: &str) -> String {
        text.replace("MOOD", &format!("{}.mood", self.name))
    }

    fn run(&self, sql: &str) {
        self.ask(sql);
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        lines::<sqlx::PgConnection>(&self.postgres.url(), sql)
    }

    /// Rows of these numbers, whose values hang on their number and on `salt`.
    fn values(&self, salt: u64, of: &str) -> String {
        let value = |c: &Column| format!("({})::{} AS {}", c.value, self.own(c.kind), c.name);
        let values: Vec<_> = COLUMNS.iter().map(value).collect();
        format!("SELECT id, {} FROM (SELECT id, abs(id) * 7 + {salt} AS n FROM {of}) AS numbers", values.join(", "))
    }

    /// About so many changes, each statement of some rows. `next`: ids that were used.
    fn work(&self, random: &mut StdRng, next: &mut u64, changes: u64) {
        let table = format!("{}.t", self.name);
        let names: Vec<_> = COLUMNS.iter().map(|c| c.name).collect();
        let set: Vec<_> = names.iter().map(|column| format!("{column} = new.{column}")).collect();
        let mut done = 0;
        while done < changes {
            let (rows, salt): (u64, u64) = (random.random_range(1..60), random.random_range(0..1_000));
            let pick = format!("(SELECT id FROM {table} WHERE abs(id) % 11 = {} LIMIT {rows}) AS picked", salt % 11);
            let sql = match random.random_range(0..10) {
                0..=3 => {
                    let of = format!("generate_series({}::bigint, {}) AS id", *next + 1, *next + rows);
                    *next += rows;
                    format!("INSERT INTO {table} (id, {}) {}", names.join(", "), self.values(salt, &of))
                }
                4..=7 => format!(
                    "UPDATE {table} AS t SET {} FROM ({}) AS new WHERE t.id = new.id",
                    set.join(", "),
                    self.values(salt, &pick)
                ),
                8 => format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {pick})"),
                // A changed key is a row that goes and another that comes.
                _ => format!("UPDATE {table} SET id = -id WHERE id IN (SELECT id FROM {pick})"),
            };
            self.run(&sql);
            done += rows;
        }
    }

    /// A process that moves the topic of a table.
    fn start(&self, target: &str, group: &str, tables: &str, topic: &str) -> Process {
        let config = format!(
            "name: {name}_{group}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{target}' }}\ntopics: {{ '/{name}[.]{name}[.]{tables}/': {topic} }}\n",
            self.kafka.brokers,
            name = self.name,
        );
        let file = self.folder.path().join(format!("{group}.yaml"));
        std::fs::write(&file, config).expect("written");
        let file = file.to_str().expect("UTF-8");
        let often = "kafka.properties.topic.metadata.refresh.interval.ms=1000";
        Rowfall::new(&["run", "-c", file, "--set", often]).start()
    }
}

/// An expression over `c` as one over this column.
fn of_column(expression: &str, column: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '\'' || c == '.';
    let (mut out, mut word) = (String::new(), String::new());
    for c in expression.chars().chain([' ']) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        match word.split_once('.') {
            _ if word == "c" => out.push_str(column),
            Some(("c", rest)) => out.push_str(&format!("{column}.{rest}")),
            _ => out.push_str(&word),
        }
        word.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

/// Each row as a line, by these expressions.
fn row_of(read: fn(&Column) -> &str, null: &str, separator: &str) -> String {
    let text = |c: &Column| format!("{null}({}, '–')", of_column(read(c), c.name));
    COLUMNS.iter().chain([&LATER]).map(text).collect::<Vec<_>>().join(separator)
}

#[test]
fn a_postgres_database_is_mirrored() {
    let source = Source::new(
        "debezium",
        json!({ "key.converter.schemas.enable": "true", "value.converter.schemas.enable": "true" }),
    );
    let name = source.name.clone();
    let clickhouse = support::services().clickhouse;
    let mysql = MySql::running(Product::MySql).unwrap_or_else(|error| panic!("{error}"));
    support::query(&clickhouse, &format!("CREATE DATABASE {name}"));
    source.run(&format!("CREATE SCHEMA {name}_copy"));
    lines::<sqlx::MySqlConnection>(&mysql.url(""), &format!("CREATE DATABASE {name}"));
    let topic = |table: &str, more: &str| {
        format!(
            "{{ table: '{table}${{1}}', value: connect-json, key: connect-json, envelope: debezium, mode: upsert, \
             primary_key: record-key, deletes: true, evolve: add, {more} }}"
        )
    };
    let url = support::target(&clickhouse).replace("/default", &format!("/{name}"));
    let processes = [
        // It replaces rows as a whole: only where the source says them whole.
        source.start(&url, "clickhouse", "(t)", &topic("", "absent: default")),
        source.start(&source.postgres.url(), "postgres", "(.*)", &topic(&format!("{name}_copy."), "absent: keep")),
        source.start(&mysql.url(&name), "mysql", "(.*)", &topic("", "absent: keep")),
    ];

    let (mut random, mut next) = (StdRng::seed_from_u64(8), 0);
    source.work(&mut random, &mut next, operations() / 2);
    source.run(&format!(
        "INSERT INTO {name}.large SELECT id, 0, repeat(md5(id::text), 200) FROM generate_series(1, 20) AS id"
    ));
    source.run(&format!("UPDATE {name}.large SET n = id % 7"));
    source.run(&format!("ALTER TABLE {name}.t ADD COLUMN c_later text"));
    source.work(&mut random, &mut next, operations() / 2);
    source.run(&format!("UPDATE {name}.t SET c_later = 'later ' || id WHERE abs(id) % 3 = 0"));

    let expected = source.ask(&format!(
        "SELECT concat_ws('|', id, {}) FROM {name}.t ORDER BY id",
        row_of(|c| c.source, "coalesce", ", ")
    ));
    assert!(expected.len() > 50, "the workload leaves rows");
    let mirrored = |what: &str, expected: &[String], read: &dyn Fn() -> Vec<String>| {
        let began = Instant::now();
        let stopped = || processes.iter().any(|process| process.said().contains("partition stopped"));
        while began.elapsed() < PATIENCE && !stopped() {
            if catch_unwind(AssertUnwindSafe(read)).is_ok_and(|rows| rows == expected) {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let mut said: Vec<_> = processes.iter().map(Process::said).collect();
        said.push(source.connect.status(&name).unwrap_or_else(|error| error.to_string()));
        let found = catch_unwind(AssertUnwindSafe(read)).unwrap_or_default();
        let differs = found.iter().zip(expected).find(|(found, expected)| found != expected);
        panic!("{what}: {} rows for {}: {differs:#?}\n{}", found.len(), expected.len(), said.join("\n---\n"));
    };
    let sql = row_of(|c| c.clickhouse, "ifNull", ", '|', ");
    let sql = format!("SELECT concat(toString(id), '|', {sql}) FROM {name}.t FINAL ORDER BY id FORMAT TSVRaw");
    mirrored("ClickHouse", &expected, &|| support::query(&clickhouse, &sql).lines().map(str::to_owned).collect());
    let sql = row_of(|c| c.postgres, "coalesce", ", ");
    let sql = format!("SELECT concat_ws('|', id, {sql}) FROM {name}_copy.t ORDER BY id");
    mirrored("Postgres", &expected, &|| source.ask(&sql));
    let sql = row_of(|c| c.mysql, "coalesce", ", ");
    let sql = format!("SELECT concat_ws('|', id, {sql}) FROM t ORDER BY id");
    mirrored("MySQL", &expected, &|| lines::<sqlx::MySqlConnection>(&mysql.url(&name), &sql));
    // What the source did not log of a row, since it had not changed, is there.
    let large = |schema: &str| {
        format!("SELECT concat_ws('|', id, n, concat(length(big), right(big, 32))) FROM {schema}large ORDER BY id")
    };
    let expected = source.ask(&large(&format!("{name}.")));
    mirrored("Postgres, large", &expected, &|| source.ask(&large(&format!("{name}_copy."))));
    mirrored("MySQL, large", &expected, &|| lines::<sqlx::MySqlConnection>(&mysql.url(&name), &large("")));
    for process in processes {
        process.signal("TERM");
        let output = process.wait(Duration::from_secs(60));
        assert_eq!(output.code(), 0, "{output:#?}");
    }
}
