//! rowfall from Kafka into ClickHouse beside what bounds it: a bare reader of the same topic, and the server's own insert
//! of the same rows. One table from one run, on the real servers.
//!
//! `./x bench -- --records 1000000 --runs 1 --marks`
//!
//! All CPU is counted by the kernel for whole processes: whatever else uses the servers meanwhile is counted as theirs.

mod ceilings;
mod cost;
#[allow(dead_code, reason = "written for the tests, which use the rest")]
#[path = "../../tests/support.rs"]
mod support;
mod table;
mod topic;
#[path = "../workload.rs"]
mod workload;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use rowfall_services::{ClickHouse, Kafka};

use cost::Cost;
use table::Row;

/// Partitions of the topic.
const PARTITIONS: i32 = 4;

/// The marks that `--marks` holds: own CPU seconds per million records, millions of rows per second.
const MOST_CPU: f64 = 1.0;
const LEAST_ROWS: f64 = 0.8;

#[derive(Parser)]
struct Arguments {
    /// Records to move
    #[arg(long, default_value_t = 4_000_000)]
    records: u32,
    /// Runs of everything, of which the median is shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Fail unless rowfall with its defaults keeps the marks
    #[arg(long)]
    marks: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the bare reader
    #[arg(long, hide = true, num_args = 2)]
    read: Option<Vec<String>>,
}

/// One row of the table: what is run for it.
enum Case {
    Reader,
    /// The server's own insert: all rows in one request, or in one per part.
    Native {
        at_once: bool,
    },
    /// rowfall with this in its configuration.
    Rowfall(&'static str),
}

const CASES: [(&str, Case); 7] = [
    ("bare reader", Case::Reader),
    ("Native, one POST", Case::Native { at_once: true }),
    ("Native, POSTs of 500,000", Case::Native { at_once: false }),
    ("**rowfall**", Case::Rowfall("")),
    ("rowfall, LZ4", Case::Rowfall("compression: lz4")),
    ("rowfall, one worker", Case::Rowfall("workers: 1")),
    ("rowfall, batches of 100,000", Case::Rowfall("batch: { rows: 100000 }")),
];
const READER: usize = 0;
const POSTS: usize = 2;
const ROWFALL: usize = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(read) = &arguments.read {
        ceilings::read(&read[0], &read[1], arguments.records);
        return ExitCode::SUCCESS;
    }
    // Under `cargo test --all-targets` there is nothing to measure.
    if !arguments.bench {
        return ExitCode::SUCCESS;
    }
    let services = support::services();
    let bench = Bench { kafka: &services.kafka, clickhouse: &services.clickhouse, records: arguments.records };
    let machine = table::machine(&services);
    let rows = bench.run(arguments.runs);
    let settings = format!(
        "{} records of `benches/workload.rs`, {PARTITIONS} partitions, lz4; {}",
        table::thousands(arguments.records),
        if arguments.runs == 1 { "one run".to_owned() } else { format!("medians of {} runs", arguments.runs) },
    );
    let text = table::markdown(&rows, &rows[READER], &rows[POSTS], &[&settings, &machine]);
    println!("{text}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench.md");
    std::fs::write(&file, &text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));

    let (cpu, rate) = (rows[ROWFALL].cost.own.unwrap_or(f64::NAN), rows[ROWFALL].rate);
    let kept = cpu <= MOST_CPU && rate >= LEAST_ROWS;
    if arguments.marks && !kept {
        eprintln!(
            "the marks are not kept: at most {MOST_CPU} CPU s per million records, at least {LEAST_ROWS} M rows/s; \
             rowfall took {cpu:.2} CPU s and moved {rate:.2} M rows/s"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Bench<'s> {
    kafka: &'s Kafka,
    clickhouse: &'s ClickHouse,
    records: u32,
}

impl Bench<'_> {
    /// All cases in turn, `runs` times, so that whatever else the machine does meets each of them.
    fn run(&self, runs: u32) -> Vec<Row> {
        let topic = topic::filled(self.kafka, self.records);
        let (parts, expected) = self.parts();
        let mut costs: [Vec<Cost>; CASES.len()] = Default::default();
        for run in 1..=runs {
            for ((name, case), costs) in CASES.iter().zip(&mut costs) {
                let cost = match case {
                    Case::Reader => self.reader(&topic),
                    Case::Native { at_once } => self.native(&parts, *at_once, &expected),
                    Case::Rowfall(more) => self.rowfall(&topic, more, &expected),
                };
                eprintln!("run {run}: {} {:.2} s", name.replace('*', ""), cost.seconds);
                costs.push(cost);
            }
        }
        let million = f64::from(self.records) / 1e6;
        let row = |((name, _), costs): (&(&'static str, Case), Vec<Cost>)| {
            let cost = Cost::median(&costs);
            Row { name, rate: million / cost.seconds, cost: cost.per_million(million) }
        };
        CASES.iter().zip(costs).map(row).collect()
    }

    fn reader(&self, topic: &str) -> Cost {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--read", &self.kafka.brokers, topic, "--records", &self.records.to_string()]);
        self.beside(None, || {
            let ran = cost::run(&mut command);
            (ran.stdout.trim().parse().expect("seconds"), Some(ran))
        })
    }

    fn native(&self, parts: &ceilings::Parts, at_once: bool, expected: &str) -> Cost {
        let table = self.table();
        let cost = self.beside(Some(&table), || (parts.insert(self.clickhouse, &table, at_once), None));
        self.check_and_drop(&table, expected);
        cost
    }

    fn rowfall(&self, topic: &str, more: &str, expected: &str) -> Cost {
        let table = self.table();
        let target = support::target(self.clickhouse);
        let (compression, more) =
            if more.starts_with("compression") { (format!(", {more}"), "") } else { (String::new(), more) };
        let config = support::config_file(&format!(
            "name: {table}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{target}'{compression} }}\n\
             topics: {{ {topic}: {{ table: {table} }} }}\n{more}\n",
            self.kafka.brokers
        ));
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowfall"));
        command.args(["run", "--until-end", "--output", "json", "-c"]).arg(&config.path).env_remove("ROWFALL_LOG");
        let cost = self.beside(Some(&table), || {
            let ran = cost::run(&mut command);
            let summary: serde_json::Value = serde_json::from_str(ran.stdout.trim()).expect("a JSON summary");
            (summary["seconds"].as_f64().expect("a number"), Some(ran))
        });
        self.check_and_drop(&table, expected);
        cost
    }

    /// Runs `work`, which tells its seconds, and counts what the servers do meanwhile.
    fn beside(&self, table: Option<&str>, work: impl FnOnce() -> (f64, Option<cost::Ran>)) -> Cost {
        let pid = |pid: Option<u32>| pid.expect("a server that runs");
        let (broker, server) = (pid(self.kafka.server.pid()), pid(self.clickhouse.server.pid()));
        let before = (cost::cpu_seconds(broker), cost::cpu_seconds(server));
        let (seconds, ran) = work();
        let after = (cost::cpu_seconds(broker), cost::cpu_seconds(server));
        let with_merges = table.map(|table| {
            self.wait_for_merges(table);
            cost::cpu_seconds(server) - before.1
        });
        Cost {
            seconds,
            own: ran.as_ref().map(|ran| ran.cpu),
            server: table.map(|_| after.1 - before.1),
            with_merges,
            broker: ran.as_ref().map(|_| after.0 - before.0),
            peak: ran.map(|ran| ran.peak),
        }
    }

    /// Until the server has merged what it wants to merge for now: two seconds without any, at most a minute.
    fn wait_for_merges(&self, table: &str) {
        let mut quiet = 0;
        for _ in 0..120 {
            std::thread::sleep(Duration::from_millis(500));
            let merges =
                support::query(self.clickhouse, &format!("SELECT count() FROM system.merges WHERE table = '{table}'"));
            quiet = if merges == "0" { quiet + 1 } else { 0 };
            if quiet == 4 {
                return;
            }
        }
    }

    /// An empty table of the workload's columns.
    fn table(&self) -> String {
        let name = support::unique("bench");
        let columns = workload::COLUMNS;
        support::query(self.clickhouse, &format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY id"));
        name
    }

    /// The workload's rows as the server itself computes and writes them, and their checksum.
    fn parts(&self) -> (ceilings::Parts, String) {
        let table = self.table();
        let (columns, records) = (workload::EXPECTED, self.records);
        support::query(self.clickhouse, &format!("INSERT INTO {table} SELECT {columns} FROM numbers({records})"));
        let parts = ceilings::Parts::of(self.clickhouse, &table, self.records);
        let checksum = self.checksum(&table);
        support::query(self.clickhouse, &format!("DROP TABLE {table} SYNC"));
        (parts, checksum)
    }

    /// Rows, different ids, and a sum over every value of every row, whatever the rows' order.
    fn checksum(&self, table: &str) -> String {
        support::query(
            self.clickhouse,
            &format!(
                "SELECT count(), uniqExact(id), sum(cityHash64(id, user_id, event, country, price, quantity, ok, score, \
                 at, session, url, ifNull(note, 'null'))) FROM {table}"
            ),
        )
    }

    fn check_and_drop(&self, table: &str, expected: &str) {
        assert_eq!(self.checksum(table), expected, "{table} is not what was produced: count, ids, sum");
        support::query(self.clickhouse, &format!("DROP TABLE {table} SYNC"));
    }
}
