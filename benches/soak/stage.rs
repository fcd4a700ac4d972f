//! A broker and a server of its own, a topic with its table, and the process that moves one into the other.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use rowfall_services::{ClickHouse, Kafka};

use crate::load::Load;
use crate::report::Report;
use crate::support::{self, ConfigFile, Process, Rowfall};
use crate::watch::Watch;
use crate::workload;

pub(crate) const PARTITIONS: u64 = 4;
/// What the process may occupy beyond `memory`.
pub(crate) const BEYOND_MEMORY: u64 = 100;
/// Rows that are compared at a time, so that the server needs little memory for it.
const COMPARED: u64 = 1_000_000;
/// For everything that is waited for without a promise of how long it takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) kafka: Kafka,
    pub(crate) clickhouse: ClickHouse,
    pub(crate) name: String,
    /// Asks for the group's offsets, and is no member of it.
    group: BaseConsumer,
    config: ConfigFile,
    /// Dropped last: the servers run in it.
    _folder: tempfile::TempDir,
}

/// A process under observation.
pub(crate) struct Run {
    process: Process,
    pub(crate) watch: Watch,
}

/// What became of some of the workload's records.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) changed: u64,
}

impl Stage {
    /// `table` is what stands behind the columns in CREATE TABLE; `more` is further top-level YAML.
    pub(crate) fn new(name: &str, topic: &[(&str, &str)], table: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kafka = Kafka::start_private(folder.path().join("kafka")).expect("a broker");
        let clickhouse = ClickHouse::start_private(folder.path().join("clickhouse")).expect("a server");
        support::create_topic(&kafka, name, i32::try_from(PARTITIONS).expect("small"), topic);
        support::query(&clickhouse, &format!("CREATE TABLE {name} ({}) {table}", workload::COLUMNS));
        let config = support::one_topic(&kafka, &clickhouse, name, more);
        let group = ClientConfig::new().set("bootstrap.servers", &kafka.brokers).set("group.id", name).create();
        let group = group.expect("a consumer");
        Self { kafka, clickhouse, name: name.to_owned(), group, config, _folder: folder }
    }

    pub(crate) fn load(&self, per_second: u64) -> Load {
        Load::start(&self.kafka, &self.name, PARTITIONS, per_second)
    }

    pub(crate) fn start(&self) -> Run {
        let process = Rowfall::with_config("run", &self.config, &["--output", "json"]).start();
        let watch = Watch::start(&process);
        Run { process, watch }
    }

    /// Per partition, what the group has committed; asked again while the group's coordinator is not ready.
    pub(crate) fn committed(&self) -> Vec<u64> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.name, 0, i32::try_from(PARTITIONS).expect("small") - 1);
        let began = Instant::now();
        let committed = loop {
            match self.group.committed_offsets(list.clone(), Duration::from_secs(10)) {
                Ok(committed) => break committed,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        let offset = |element: TopicPartitionListElem<'_>| element.offset().to_raw().unwrap_or(0).max(0);
        committed.elements().into_iter().map(|e| u64::try_from(offset(e)).expect("not negative")).collect()
    }

    /// Records that are produced and not committed yet.
    pub(crate) fn lag(&self, load: &Load) -> u64 {
        load.sent().saturating_sub(self.committed().iter().sum())
    }

    /// Waits until no more than this is behind; how long it took, nothing when it took longer than it may.
    pub(crate) fn catches_up(&self, load: &Load, behind: u64, within: Duration) -> Option<Duration> {
        let began = Instant::now();
        while self.lag(load) > behind {
            if began.elapsed() > within {
                return None;
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        Some(began.elapsed())
    }

    /// Compares the rows of these records with what was produced.
    pub(crate) fn verdict(&self, numbers: Range<u64>) -> Verdict {
        let mut verdict = Verdict::default();
        for from in numbers.clone().step_by(usize::try_from(COMPARED).expect("small")) {
            let (count, table) = (COMPARED.min(numbers.end - from), &self.name);
            let ids = format!("id >= {from} AND id < {from} + {count}");
            let [rows, different] = self.numbers(&format!("SELECT count(), uniqExact(id) FROM {table} WHERE {ids}"));
            let [changed] = self.numbers(&format!(
                "SELECT countIf({}) FROM (SELECT * FROM {table} WHERE {ids}) AS t \
                 JOIN (SELECT {} FROM numbers({from}, {count})) AS e ON t.id = e.id",
                workload::differs(),
                workload::EXPECTED
            ));
            verdict.lost += count - different;
            verdict.doubled += rows - different;
            verdict.changed += changed;
        }
        verdict
    }

    pub(crate) fn numbers<const N: usize>(&self, question: &str) -> [u64; N] {
        let answer = support::query(&self.clickhouse, question);
        let mut numbers = answer.split('\t').map(|number| number.parse().expect("a number"));
        std::array::from_fn(|_| numbers.next().expect("enough columns"))
    }

    /// How often the group began a new generation, as the broker has logged it.
    fn generations(&self) -> usize {
        let log = std::fs::read_to_string(self.kafka.server.logs().join("kafka.log")).expect("the broker's log");
        log.matches(&format!("Stabilized group {} generation", self.name)).count()
    }

    /// Ends the load, waits for the last row, ends the process, and says what must be true after any fault. Rows of records
    /// before `compared` are gone from the table.
    pub(crate) fn end(&self, compared: u64, load: Load, mut run: Run, doubled_at_most: u64, report: &mut Report) {
        let same = run.process.is_running();
        report.promise(same, "it is the same process all along");
        let count = load.end();
        let mut rows = 0;
        let began = Instant::now();
        while same && self.committed().iter().sum::<u64>() < count && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(200));
        }
        let generations = self.generations();
        let code = if same {
            run.process.signal("TERM");
            let output = run.process.wait(PATIENCE);
            rows = serde_json::from_str::<serde_json::Value>(output.stdout.trim()).expect("a summary")["rows"]
                .as_u64()
                .expect("a number");
            output.code()
        } else {
            -1
        };
        run.watch.end();
        report.promise(code == 0, &format!("SIGTERM ends it in order: exit status {code}, {rows} rows told"));
        let Verdict { lost, doubled, changed } = self.verdict(compared..count);
        let [strays] = self.numbers(&format!("SELECT countIf(id < {compared} OR id >= {count}) FROM {}", self.name));
        let doubled = doubled + strays;
        report.promise(lost == 0, &format!("nothing is lost: {lost} of {count} records"));
        report.promise(changed == 0, &format!("nothing is changed: {changed} rows"));
        let may = if doubled_at_most == 0 { "none may be".to_owned() } else { format!("{doubled_at_most} may be") };
        report.promise(doubled <= doubled_at_most, &format!("rows doubled: {doubled}, {may}"));
        let said =
            |what: &str| run.watch.lines_since(began - Duration::from_secs(86_400)).join("\n").matches(what).count();
        let (assigned, revoked) = (said(" assigned: "), said(" revoked: "));
        report.promise(
            (assigned, revoked, generations) == (1, 0, 1),
            &format!("no rebalance: assigned {assigned}×, revoked {revoked}×, {generations} generation of the group"),
        );
    }
}

impl Run {
    /// What was said since then, line by line, and whether it is no more than this.
    pub(crate) fn calm(&self, since: Instant, at_most: u64, report: &mut Report) {
        let lines = self.watch.lines_since(since);
        lines.iter().for_each(|line| println!("        | {line}"));
        let count = lines.len();
        report.promise(
            count <= usize::try_from(at_most).expect("small"),
            &format!("a calm log: {count} lines, {at_most} may be"),
        );
    }

    /// The memory that it occupied, minute by minute, and whether that is what `memory` allows.
    pub(crate) fn within_memory(&self, since: Instant, memory: u64, report: &mut Report) {
        let curve = self.watch.curve(since);
        let shown: Vec<_> = curve.iter().map(ToString::to_string).collect();
        let peak = self.process.peak_memory().unwrap_or(u64::MAX);
        let limit = memory + BEYOND_MEMORY;
        report.promise(
            peak <= limit,
            &format!("memory: peak {peak} MiB, {limit} may be; most in each minute: {}", shown.join(" ")),
        );
    }
}
