//! Two processes at once alter the tables that both write: each round, records come to both that the table has no columns
//! for, or only narrower ones. Both find room, and nobody who reads their logs hears of it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rowfall_services::Kafka;

use crate::places::{Database, Place};
use crate::support::{self, ConfigFile, Rowfall};
use crate::workload;

/// So that a table's columns stay few.
const TABLES: usize = 8;

const PATIENCE: Duration = Duration::from_secs(60);

/// How often both alter a table; `ROWFALL_ROUNDS` says otherwise. By default 200 over all databases.
fn rounds() -> usize {
    std::env::var("ROWFALL_ROUNDS").map_or(40, |rounds| rounds.parse().expect("a number"))
}

/// A column that is too narrow for what comes: its type in each database, what it holds now, what it has to hold, and how
/// that is read back.
struct Narrow {
    types: [&'static str; 5],
    now: &'static str,
    then: &'static str,
    read: &'static str,
}

/// SQLite changes no column; here it has no need to.
const NARROW: [Narrow; 4] = [
    Narrow {
        types: ["Nullable(Int32)", "integer", "int", "int", "INTEGER"],
        now: "1",
        then: "3000000000",
        read: "3000000000",
    },
    Narrow { types: ["Nullable(Float32)", "real", "float", "float", "REAL"], now: "0.5", then: "1e39", read: "1e39" },
    Narrow {
        types: ["DateTime64(0, 'UTC')", "timestamptz(0)", "datetime(0)", "datetime(0)", "DATETIME(6)"],
        now: "\"2024-02-29T12:00:00Z\"",
        then: "\"2024-02-29T12:00:00.123456Z\"",
        read: "2024-02-29 12:00:00.123456",
    },
    Narrow {
        types: ["Int64", "bigint NOT NULL", "bigint NOT NULL", "bigint NOT NULL", "INTEGER"],
        now: "1",
        then: "null",
        read: "NULL",
    },
];

/// How many of these a table has that is there from the start: one for each time that it is altered.
fn narrow_columns() -> usize {
    rounds().div_ceil(TABLES)
}

fn narrow(column: usize) -> &'static Narrow {
    &NARROW[column % NARROW.len()]
}

/// Whether a table is there from the start, with columns that become too narrow. The others both processes make at once.
fn is_there(table: usize) -> bool {
    table.is_multiple_of(2)
}

/// Two processes, each with topics of its own, and the tables that both write.
struct Course {
    place: Place,
    name: String,
    kafka: Kafka,
    producer: ThreadedProducer<DefaultProducerContext>,
}

/// Which of the two.
const BOTH: [&str; 2] = ["a", "b"];

/// The row that the process writes in this turn.
fn id(turn: Option<usize>, process: usize) -> usize {
    turn.map_or(0, |turn| turn + 1) * BOTH.len() + process
}

impl Course {
    fn new(database: Database) -> Self {
        let (place, name) = (Place::new(database), support::unique("evolving"));
        let kafka = Kafka::running().unwrap_or_else(|error| panic!("{error}"));
        let topics = (0..TABLES).flat_map(|table| BOTH.map(|process| format!("{name}_{process}_{table}")));
        support::create_topics(&kafka, &topics.collect::<Vec<_>>());
        for table in (0..TABLES).filter(|table| is_there(*table)) {
            let (id, rest) = match database {
                Database::ClickHouse => ("Int64", ") ENGINE = MergeTree ORDER BY id"),
                _ => ("bigint", ")"),
            };
            let column = |column| format!(", n{column} {}", narrow(column).types[database as usize]);
            let columns: String = (0..narrow_columns()).map(column).collect();
            let table = place.table(&format!("t{table}"));
            (place.ask)(&format!("CREATE TABLE {table} (id {id}{columns}{rest}")).expect("created");
        }
        let producer = workload::producer(&kafka.brokers);
        Self { place, name, kafka, producer }
    }

    fn config(&self, process: &str) -> ConfigFile {
        let name = &self.name;
        support::config_file(&format!(
            "name: {name}_{process}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}' }}\nbatch: {{ age: 100ms }}\n\
             topics: {{ '/{name}_{process}_(.*)/': {{ table: 't${{1}}', evolve: widen }} }}\n",
            self.kafka.brokers, self.place.url,
        ))
    }

    /// A record for each of the two, at once, with all that the table's `turn`th change brings; before the first it brings
    /// nothing.
    fn produce(&self, table: usize, turn: Option<usize>) {
        for (number, process) in BOTH.iter().enumerate() {
            let id = id(turn, number);
            let mut record = format!("{{\"id\":{id}");
            for column in (0..narrow_columns()).filter(|_| is_there(table)) {
                let Narrow { now, then, .. } = narrow(column);
                let value = if turn.is_some_and(|turn| column <= turn) { then } else { now };
                write!(record, ",\"n{column}\":{value}").expect("a String");
            }
            if let Some(turn) = turn {
                // Each also has a field that the other lacks.
                write!(record, ",\"f{turn}\":{id},\"{process}{turn}\":\"x\"").expect("a String");
            }
            let topic = format!("{}_{process}_{table}", self.name);
            workload::send(&self.producer, BaseRecord::<(), str>::to(&topic).partition(0).payload(&(record + "}")));
        }
        self.producer.flush(PATIENCE).expect("all are acknowledged");
    }

    /// Waits until both records are in the table as they were produced.
    fn expect_both(&self, table: usize, turn: Option<usize>) {
        for (number, process) in BOTH.iter().enumerate() {
            let id = id(turn, number).to_string();
            self.expect(table, &id, "id", &id);
            if let Some(turn) = turn {
                self.expect(table, &id, &format!("f{turn}"), &id);
                self.expect(table, &id, &format!("{process}{turn}"), "x");
                for column in (0..=turn).filter(|_| is_there(table)) {
                    self.expect(table, &id, &format!("n{column}"), narrow(column).read);
                }
            }
        }
    }

    /// Waits until the row has this value.
    fn expect(&self, table: usize, id: &str, column: &str, value: &str) {
        let is_it = |read: &str| {
            let number = |text: &str| text.parse::<f64>().ok();
            // Postgres shows the zone.
            read.trim_end_matches("+00") == value || number(read).is_some() && number(read) == number(value)
        };
        let began = Instant::now();
        loop {
            let read = self.place.read(&format!("t{table}"), column, &format!("WHERE id = {id}"));
            if read.as_ref().is_ok_and(|rows| rows.len() == 1 && is_it(&rows[0])) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "table t{table}, row {id}, `{column}`: {read:?}, not {value}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn evolves(database: Database) {
    let course = Course::new(database);
    let configs = BOTH.map(|process| course.config(process));
    // These show the columns of the tables that are not there.
    (0..TABLES).for_each(|table| course.produce(table, None));
    let processes = configs.each_ref().map(|config| Rowfall::with_config("run", config, &[]).start());
    (0..TABLES).for_each(|table| course.expect_both(table, None));
    for round in 0..rounds() {
        let (table, turn) = (round % TABLES, Some(round / TABLES));
        course.produce(table, turn);
        course.expect_both(table, turn);
    }
    for process in processes {
        process.signal("TERM");
        let output = process.wait(PATIENCE);
        assert_eq!(output.code(), 0, "{}", output.stderr);
        let is_heard = |line: &&str| ["WARN", "ERROR"].iter().any(|word| line.contains(word));
        let heard: Vec<_> = output.stderr.lines().filter(is_heard).collect();
        assert!(heard.is_empty(), "{}", heard.join("\n"));
    }
}

#[test]
fn two_processes_evolve_tables_of_clickhouse() {
    evolves(Database::ClickHouse);
}

#[test]
fn two_processes_evolve_tables_of_postgres() {
    evolves(Database::Postgres);
}

#[test]
fn two_processes_evolve_tables_of_mysql() {
    evolves(Database::MySql);
}

#[test]
fn two_processes_evolve_tables_of_mariadb() {
    evolves(Database::MariaDb);
}

#[test]
fn two_processes_evolve_tables_of_sqlite() {
    evolves(Database::Sqlite);
}
