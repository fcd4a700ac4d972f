//! Faults without end: two processes move one topic into one table, on servers of their own, while a seed picks what
//! happens to them. Afterwards each record is looked for by its number.
//!
//! `./x chaos --faults 1000 --seed 7` runs it for long; a seed that failed fails again. What is injected, lost and doubled
//! is printed as a table. With `--mutant` a promise is broken, and the suite has to notice.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rowfall_services::{ClickHouse, Kafka};

use crate::load::Load;
use crate::support::{self, ConfigFile, Process, Rowfall};
use crate::topics;

const PATIENCE: Duration = Duration::from_secs(90);
const PARTITIONS: u64 = 4;
const RATE: u64 = 3_000;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// `kill -9`, at any time.
    Kill,
    /// Both at once.
    KillBoth,
    /// It ends by itself at a named place, as if killed there.
    At(&'static str),
    /// It stands still for longer than its session lasts, and wakes up.
    Freeze,
    /// It ends in order, and another comes.
    Leave,
    /// The broker is killed and comes back.
    Broker,
    /// The database is killed and comes back.
    Database,
    /// The table gets a column.
    Alter,
    /// The topic gets a partition.
    Partition,
}

/// Each as often as it stands here.
const FAULTS: &[Fault] = &[
    Fault::Kill,
    Fault::Kill,
    Fault::KillBoth,
    Fault::At("claimed"),
    Fault::At("in the body"),
    Fault::At("sent"),
    Fault::At("written"),
    Fault::At("before the commit"),
    Fault::Leave,
    Fault::Leave,
    Fault::Freeze,
    Fault::Broker,
    Fault::Database,
    Fault::Alter,
    Fault::Partition,
];

/// What one course is about.
struct Chaos {
    seed: u64,
    faults: usize,
    /// `delivery` in the configuration.
    delivery: &'static str,
    /// librdkafka's properties besides the session's, in YAML.
    group: &'static str,
    mutant: Option<&'static str>,
}

/// What became of it.
#[derive(Debug, Default)]
struct Verdict {
    injected: BTreeMap<Fault, u32>,
    produced: u64,
    lost: u64,
    doubled: u64,
}

struct Stage {
    kafka: Kafka,
    clickhouse: ClickHouse,
    name: String,
    configs: [ConfigFile; 2],
    partitions: Cell<usize>,
    mutant: Option<&'static str>,
}

impl Chaos {
    fn run(&self) -> Verdict {
        let began = Instant::now();
        let folder = tempfile::tempdir().expect("a folder");
        let kafka = Kafka::start_private(folder.path().join("kafka")).expect("a broker of its own");
        let clickhouse = ClickHouse::start_private(folder.path().join("clickhouse")).expect("a server of its own");
        let name = support::unique("chaos");
        support::topic_and_table(&kafka, &clickhouse, &name, i32::try_from(PARTITIONS).expect("small"));
        let configs = ["one", "two"].map(|instance| {
            // A static member that is killed between the two steps of a cooperative rebalance comes back without the second:
            // what it had given up is nobody's until the group changes again. So says the protocol.
            let instance =
                if self.group.contains("cooperative") { String::new() } else { format!("instance: {instance}, ") };
            support::config_file(&format!(
                "name: {name}\nkafka: {{ brokers: '{}', {instance}properties: {{ session.timeout.ms: 6000, \
                 heartbeat.interval.ms: 1000, topic.metadata.refresh.interval.ms: 1000{} }} }}\n\
                 target: {{ url: '{}' }}\nbatch: {{ age: 100ms }}\ndelivery: {}\ntopics: {{ {name}: {{}} }}\n",
                kafka.brokers,
                self.group,
                support::target(&clickhouse),
                self.delivery,
            ))
        });
        let partitions = Cell::new(usize::try_from(PARTITIONS).expect("small"));
        let stage = Stage { kafka, clickhouse, name, configs, partitions, mutant: self.mutant };
        let mut random = StdRng::seed_from_u64(self.seed);
        let load = Load::start(&stage.kafka, &stage.name, PARTITIONS, RATE);
        let mut processes = [0, 1].map(|index| stage.start(index, None));
        let mut verdict = Verdict::default();
        for _ in 0..self.faults {
            std::thread::sleep(Duration::from_millis(random.random_range(100..900)));
            let fault = FAULTS[random.random_range(0..FAULTS.len())];
            let which = random.random_range(0..2);
            stage.inject(fault, which, &mut processes, &mut random);
            *verdict.injected.entry(fault).or_default() += 1;
        }
        verdict.produced = load.end();
        // Those that ended at their place without having been replaced.
        for (index, process) in processes.iter_mut().enumerate() {
            if !process.is_running() {
                *process = stage.start(index, None);
            }
        }
        let settled = || stage.rows().is_some_and(|(_, different)| different >= verdict.produced);
        let until = Instant::now() + PATIENCE;
        while !settled() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(200));
        }
        let is_whole = settled();
        for process in processes {
            process.signal("TERM");
            let output = process.wait(PATIENCE);
            assert_eq!(output.code(), 0, "{output:#?}");
            if !is_whole {
                println!("{}", output.stderr);
            }
        }
        let (rows, different) = stage.rows().expect("the server is up");
        verdict.lost = verdict.produced - different.min(verdict.produced);
        verdict.doubled = rows - different;
        self.tell(&verdict, began.elapsed());
        verdict
    }

    fn tell(&self, verdict: &Verdict, took: Duration) {
        let Verdict { injected, produced, lost, doubled } = verdict;
        println!(
            "clickhouse, {}, {}seed {}: {produced} produced, {lost} lost, {doubled} doubled, {:.0} s",
            self.delivery,
            self.mutant.map(|mutant| format!("without {mutant}, ")).unwrap_or_default(),
            self.seed,
            took.as_secs_f64()
        );
        for (fault, times) in injected {
            println!("  {times:>4} × {fault:?}");
        }
    }
}

impl Stage {
    fn start(&self, index: usize, failpoint: Option<&str>) -> Process {
        let mut rowfall = Rowfall::with_config("run", &self.configs[index], &["--output", "json"]);
        for (name, value) in [("ROWFALL_FAILPOINT", failpoint), ("ROWFALL_MUTANT", self.mutant)] {
            if let Some(value) = value {
                rowfall = rowfall.env(name, value);
            }
        }
        rowfall.start()
    }

    /// Rows, and different ones; nothing while the server is away.
    fn rows(&self) -> Option<(u64, u64)> {
        let counts = self.clickhouse.query(&format!("SELECT count(), uniqExact(id) FROM {}", self.name)).ok()?;
        let (rows, different) = counts.trim().split_once('\t')?;
        Some((rows.parse().ok()?, different.parse().ok()?))
    }

    fn inject(&self, fault: Fault, which: usize, processes: &mut [Process; 2], random: &mut StdRng) {
        let replace = |index: usize, processes: &mut [Process; 2], failpoint: Option<&str>| {
            std::mem::replace(&mut processes[index], self.start(index, failpoint)).kill9();
        };
        match fault {
            Fault::Kill => replace(which, processes, None),
            Fault::KillBoth => [0, 1].into_iter().for_each(|index| replace(index, processes, None)),
            Fault::At(place) => {
                let times = random.random_range(1..4);
                replace(which, processes, Some(&format!("{place}@{times}")));
                wait_for_end(&mut processes[which], Duration::from_secs(15));
                replace(which, processes, None);
            }
            Fault::Freeze => {
                processes[which].signal("STOP");
                std::thread::sleep(Duration::from_secs(9));
                processes[which].signal("CONT");
            }
            Fault::Leave => {
                processes[which].signal("TERM");
                wait_for_end(&mut processes[which], Duration::from_secs(10));
                replace(which, processes, None);
            }
            Fault::Broker => {
                self.kafka.server.kill9().expect("killed");
                std::thread::sleep(Duration::from_millis(random.random_range(0..3_000)));
                self.kafka.server.start().expect("started again");
            }
            Fault::Database => {
                self.clickhouse.server.kill9().expect("killed");
                std::thread::sleep(Duration::from_millis(random.random_range(0..3_000)));
                self.clickhouse.server.start().expect("started again");
            }
            Fault::Alter => {
                let column = random.random_range(0..1_000_000);
                let statement = format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS c{column} Nullable(Int8)", self.name);
                support::query(&self.clickhouse, &statement);
            }
            Fault::Partition => {
                self.partitions.set(self.partitions.get() + 1);
                topics::add_partitions(&self.kafka, &self.name, self.partitions.get());
            }
        }
    }
}

/// Waits for a process that is about to end, but not for ever: it may have nothing to end at.
fn wait_for_end(process: &mut Process, at_most: Duration) {
    let until = Instant::now() + at_most;
    while process.is_running() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// So many faults by that seed, or as many as CI has time for.
fn faults(usual: usize, seed: u64) -> (usize, u64) {
    let faults = support::given("ROWFALL_FAULTS").map_or(usual, |faults| usize::try_from(faults).expect("not so many"));
    (faults, support::given("ROWFALL_SEED").unwrap_or(seed))
}

fn exactly_once(group: &'static str, seed: u64) {
    let (faults, seed) = faults(20, seed);
    let verdict = Chaos { seed, faults, delivery: "exactly-once", group, mutant: None }.run();
    assert_eq!((verdict.lost, verdict.doubled), (0, 0), "{verdict:?}");
}

#[test]
fn exactly_once_in_a_classic_group() {
    exactly_once("", 1);
}

#[test]
fn exactly_once_in_a_cooperative_group() {
    exactly_once(", partition.assignment.strategy: cooperative-sticky", 2);
}

#[test]
fn at_least_once() {
    let (faults, seed) = faults(20, 3);
    let verdict = Chaos { seed, faults, delivery: "at-least-once", group: "", mutant: None }.run();
    assert_eq!(verdict.lost, 0, "{verdict:?}");
}

/// Without one of these the suite has to find something; otherwise it finds nothing ever.
fn finds(mutant: &'static str, is_found: impl Fn(&Verdict) -> bool) {
    let verdict = Chaos { seed: 4, faults: 12, delivery: "exactly-once", group: "", mutant: Some(mutant) }.run();
    assert!(is_found(&verdict), "{mutant}: {verdict:?}");
}

#[test]
#[ignore = "`./x chaos --mutants`"]
fn without_deduplication_rows_are_doubled() {
    finds("deduplication", |verdict| verdict.doubled > 0);
}

#[test]
#[ignore = "`./x chaos --mutants`"]
fn with_offsets_that_are_committed_early_rows_are_lost() {
    finds("order", |verdict| verdict.lost > 0);
}

#[test]
#[ignore = "`./x chaos --mutants`"]
fn without_the_fence_rows_are_doubled() {
    finds("fence", |verdict| verdict.doubled > 0);
}
