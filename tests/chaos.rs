//! Faults without end: two processes move one topic into a database, on servers of their own, while a seed picks what
//! happens to them. Afterwards each record is looked for by its number, and each key for its newest record.
//!
//! `./x chaos --faults 100 --seed 7` runs it for long; a seed that failed fails again. With `--mutants` a promise is broken,
//! and the suite has to notice.

mod fault;
mod place;
mod source;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rowfall_services::Kafka;

use crate::exactly_once::Rows;
use crate::support::{self, ConfigFile, Process, Rowfall};
use fault::Fault;
use place::{Database, Place};
use source::{Kind, PARTITIONS, Source};

const PATIENCE: Duration = Duration::from_secs(90);

/// Members are missed after 6 s, which they say themselves, or the broker.
const SESSION: &str = "session.timeout.ms: 6000, heartbeat.interval.ms: 1000";
const SESSIONS: &str = "group.consumer.min.session.timeout.ms=6000\ngroup.consumer.session.timeout.ms=6000\n\
                        group.consumer.min.heartbeat.interval.ms=1000\ngroup.consumer.heartbeat.interval.ms=1000\n";

/// Which protocol the group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Static members share ranges.
    Static,
    Cooperative,
    /// The broker assigns, KIP-848.
    Consumer,
}

/// What one course is about.
#[derive(Clone, Copy)]
struct Chaos {
    database: Database,
    kind: Kind,
    /// By a field of the record, into three tables.
    is_routed: bool,
    /// `delivery` in the configuration.
    delivery: &'static str,
    group: Group,
    mutant: Option<&'static str>,
}

/// What became of it.
#[derive(Debug, Default)]
struct Verdict {
    /// How long it took each time until all was in the table that had been produced by then, in seconds.
    injected: BTreeMap<Fault, Vec<f64>>,
    produced: i64,
    lost: i64,
    doubled: i64,
    /// Keys whose row is not of their newest record.
    reordered: i64,
    /// Rows of aborted transactions.
    aborted: i64,
}

struct Stage {
    kafka: Kafka,
    place: Place,
    name: String,
    chaos: Chaos,
    /// One for each process, and one for a third.
    configs: [ConfigFile; 3],
    processes: Vec<Process>,
    /// What those that were killed have said.
    said: Vec<String>,
    source: Option<Source>,
    _folder: tempfile::TempDir,
}

impl Chaos {
    /// Of rows into one table.
    const fn of(database: Database, kind: Kind) -> Self {
        Self { database, kind, is_routed: false, delivery: "exactly-once", group: Group::Static, mutant: None }
    }

    fn run(self, faults: usize, seed: u64) -> Verdict {
        let began = Instant::now();
        let mut stage = Stage::new(self);
        let mut random = StdRng::seed_from_u64(seed);
        let mut all = Fault::of(self.database);
        if self.group == Group::Static {
            // After the leader came back as itself nobody looks for new partitions (KIP-814, which librdkafka lacks): they
            // wait for the next change of the group.
            all.retain(|fault| *fault != Fault::AddPartition);
        }
        let mut verdict = Verdict::default();
        stage.wait_until_arrived(1_000);
        for _ in 0..faults {
            std::thread::sleep(Duration::from_millis(random.random_range(100..900)));
            let fault = all[random.random_range(0..all.len())];
            println!("{}: {:.1} s: {}", stage.name, began.elapsed().as_secs_f64(), fault.name());
            fault.inject(&mut stage, &mut random);
            let recovered = verdict.injected.entry(fault).or_default();
            // Half of them meet what has not recovered from the one before.
            if random.random() {
                let sent = stage.source.as_ref().expect("it is not over").sent();
                recovered.push(stage.wait_until_arrived(sent).as_secs_f64());
            } else {
                recovered.push(f64::NAN);
            }
        }
        println!("{}: {:.1} s: the end", stage.name, began.elapsed().as_secs_f64());
        stage.end(&mut verdict);
        self.tell(&verdict, seed, began.elapsed());
        verdict
    }

    fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Rows if self.is_routed => "inserts into three tables",
            Kind::Rows => "inserts",
            Kind::Transactions => "inserts from transactions",
            Kind::Changes => "upserts and deletes",
        };
        let without = self.mutant.map(|mutant| format!(", without {mutant}")).unwrap_or_default();
        format!("{kind}, {:?} group{without}", self.group).to_lowercase()
    }

    /// For people, and for `./x chaos`, which makes a table of all.
    fn tell(&self, verdict: &Verdict, seed: u64, took: Duration) {
        let Verdict { injected, produced, lost, doubled, reordered, aborted } = verdict;
        let (database, delivery, name) = (self.database.name(), self.delivery, self.name());
        let seconds = took.as_secs_f64();
        println!(
            "{database}, {delivery}, {name}, seed {seed}: {produced} produced, {lost} lost, {doubled} doubled, {reordered} \
             reordered, {aborted} of aborted transactions, {seconds:.0} s"
        );
        for (fault, recovered) in injected {
            let times: Vec<_> =
                recovered.iter().filter(|time| !time.is_nan()).map(|time| format!("{time:.1}")).collect();
            println!("  {:>4} × {:<22} {}", recovered.len(), fault.name(), times.join(" "));
        }
        let Ok(path) = std::env::var("ROWFALL_CHAOS") else { return };
        let faults: BTreeMap<_, _> = injected.iter().map(|(fault, recovered)| (fault.name(), recovered)).collect();
        let line = serde_json::json!({
            "database": database, "delivery": delivery, "course": name, "seed": seed, "produced": produced, "lost": lost,
            "doubled": doubled, "reordered": reordered, "aborted": aborted, "seconds": seconds, "faults": faults,
        });
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("it can be written");
        writeln!(file, "{line}").expect("written");
    }
}

impl Stage {
    fn new(chaos: Chaos) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("kafka");
        std::fs::create_dir(&dir)
            .and_then(|()| std::fs::write(dir.join("extra.properties"), SESSIONS))
            .expect("written");
        let kafka = Kafka::start_private(dir).expect("a broker of its own");
        let place = Place::start(chaos.database);
        let name = support::unique("chaos");
        support::create_topic(&kafka, &name, i32::try_from(PARTITIONS).expect("small"), &[]);
        let group = match chaos.group {
            Group::Static => SESSION,
            Group::Cooperative => &format!("{SESSION}, partition.assignment.strategy: cooperative-sticky"),
            Group::Consumer => "group.protocol: consumer",
        };
        let table = match chaos.kind {
            Kind::Changes => {
                // The tables get columns that no record has.
                "mode: upsert, primary_key: 'record-key:k', deletes: true, absent: default, \
                 columns: { id: int64, k: { type: int64, nullable: false } }"
            }
            _ if chaos.is_routed => "table: '${topic}_${field:kind}', columns: { id: int64, k: int64, kind: string }",
            _ => "columns: { id: int64, k: int64, kind: string }",
        };
        let configs = ["one", "two", "three"].map(|instance| {
            // A static member that is killed between the two steps of a cooperative rebalance comes back without the second:
            // what it had given up is nobody's until the group changes again. So says the protocol.
            let instance =
                if chaos.group == Group::Static { format!("instance: {instance}, ") } else { String::new() };
            support::config_file(&format!(
                "name: {name}\nkafka: {{ brokers: '{}', {instance}properties: {{ topic.metadata.refresh.interval.ms: 1000, \
                 {group} }} }}\ntarget: {{ url: '{}' }}\nbatch: {{ age: 100ms }}\ndelivery: {}\ntopics: {{ {name}: {{ {table} }} }}\n",
                kafka.brokers,
                place.url(),
                chaos.delivery,
            ))
        });
        let source = Some(Source::start(&kafka, &name, chaos.kind));
        let mut stage = Self {
            kafka,
            place,
            name,
            chaos,
            configs,
            processes: Vec::new(),
            said: Vec::new(),
            source,
            _folder: folder,
        };
        stage.processes = (0..2).map(|index| stage.start(index, None)).collect();
        stage
    }

    fn tables(&self) -> Vec<String> {
        if self.chaos.is_routed {
            return (0..3).map(|kind| format!("{}_{kind}", self.name)).collect();
        }
        vec![self.name.clone()]
    }

    fn start(&self, index: usize, failpoint: Option<&str>) -> Process {
        let mut rowfall = Rowfall::with_config("run", &self.configs[index], &["--output", "json"]);
        for (name, value) in [("ROWFALL_FAILPOINT", failpoint), ("ROWFALL_MUTANT", self.chaos.mutant)] {
            if let Some(value) = value {
                rowfall = rowfall.env(name, value);
            }
        }
        rowfall.start()
    }

    /// Kills a process, and starts it anew.
    fn replace(&mut self, which: usize, failpoint: Option<&str>) {
        let new = self.start(which, failpoint);
        let killed = std::mem::replace(&mut self.processes[which], new);
        self.said.push(killed.said());
        killed.kill9();
    }

    fn wait_for_end(&mut self, which: usize, at_most: Duration) {
        let until = Instant::now() + at_most;
        while self.processes[which].is_running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `ALTER TABLE`, as soon as it is possible.
    fn for_each_table(&self, change: &str) {
        for table in self.tables() {
            let statement = format!("ALTER TABLE {table} {change}");
            support::eventually(&statement, PATIENCE, || self.place.ask(&statement).is_some());
        }
    }

    /// Waits until the partitions' newest rows are about as new as record `number`; how long that took.
    fn wait_until_arrived(&self, number: i64) -> Duration {
        // The newest may be deletes, and the tables of a route get them in turn.
        let enough = number - 300;
        let has_arrived = |table: &String| {
            let newest = format!(
                "SELECT count(*), min(newest) FROM (SELECT max(id) AS newest FROM {table} WHERE {} GROUP BY k % {PARTITIONS}) AS t",
                source::is_recurring()
            );
            let answer = self.place.ask(&newest);
            answer.is_some_and(|rows| matches!(rows[0][..], [Some(PARTITIONS), Some(newest)] if newest >= enough))
        };
        let began = Instant::now();
        while began.elapsed() < PATIENCE && !self.tables().iter().all(has_arrived) {
            std::thread::sleep(Duration::from_millis(100));
        }
        began.elapsed()
    }

    /// Until everything is where it belongs, or nobody would wait longer; then what is missing.
    fn end(mut self, verdict: &mut Verdict) {
        let source = self.source.take().expect("it is not over");
        let partitions = source.partitions();
        let (produced, newest) = source.end();
        verdict.produced = produced;
        // Those that ended at their place without having been replaced.
        for index in 0..self.processes.len() {
            if !self.processes[index].is_running() {
                self.processes[index] = self.start(index, None);
            }
        }
        // As long as something still comes, on a machine that may be busy.
        let (mut missing, mut since) = (i64::MAX, Instant::now());
        let is_whole = loop {
            let now = if self.count(produced, &newest, verdict) { verdict.lost + verdict.reordered } else { missing };
            if now == 0 {
                break true;
            }
            if now < missing {
                (missing, since) = (now, Instant::now());
            }
            if since.elapsed() > PATIENCE {
                break false;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        for process in std::mem::take(&mut self.processes) {
            process.signal("TERM");
            let output = process.wait(PATIENCE);
            if !is_whole {
                println!("{}", output.stderr);
            }
            assert_eq!(output.code(), 0, "{output:#?}");
        }
        assert!(self.count(produced, &newest, verdict), "the database is up");
        if !is_whole {
            self.said.iter().for_each(|said| println!("one that was killed:\n{said}"));
            self.tell_what_is_missing(produced, partitions);
        }
    }

    /// Which numbers, and how far the group has come.
    fn tell_what_is_missing(&self, produced: i64, partitions: i64) {
        let partitions = i32::try_from(partitions).expect("small");
        for (partition, (committed, end)) in
            support::committed_and_end(&self.kafka, &self.name, &self.name, partitions).into_iter().enumerate()
        {
            println!("partition {partition}: {committed:?} of {end} committed");
        }
        if self.chaos.kind == Kind::Changes {
            return;
        }
        let mut found = vec![false; usize::try_from(produced).expect("small")];
        for table in self.tables() {
            let rows = self.place.ask(&format!("SELECT id FROM {table} WHERE id >= 0")).expect("the database is up");
            rows.iter().for_each(|row| found[usize::try_from(row[0].expect("a number")).expect("small")] = true);
        }
        let missing: Vec<_> = (0..found.len()).filter(|number| !found[*number]).collect();
        println!("missing: {:?} …, the last {:?}", &missing[..missing.len().min(50)], missing.last());
    }

    /// Whether the database answered.
    fn count(&self, produced: i64, newest: &std::collections::HashMap<i64, i64>, verdict: &mut Verdict) -> bool {
        let all = |sql: &dyn Fn(&String) -> String| -> Option<Rows> {
            let each = self.tables().iter().map(|table| self.place.ask(&sql(table))).collect::<Option<Vec<_>>>()?;
            Some(each.concat())
        };
        if self.chaos.kind == Kind::Changes {
            let Some(rows) = all(&|table| format!("SELECT k, id FROM {}", self.place.settled(table))) else {
                return false;
            };
            let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for row in &rows {
                found.entry(row[0].expect("a key")).or_default().push(row[1].unwrap_or(-1));
            }
            let is_right = |key: &i64, ids: &Vec<i64>| newest.get(key) == ids.first();
            verdict.lost = count(newest.keys().filter(|key| !found.contains_key(key)));
            verdict.doubled = count(found.values().filter(|ids| ids.len() > 1));
            verdict.reordered = count(found.iter().filter(|(key, ids)| !is_right(key, ids)));
            return true;
        }
        let Some(counts) = all(&|table| {
            format!("SELECT count(*), count(DISTINCT id), count(CASE WHEN id < 0 THEN 1 END) FROM {table}")
        }) else {
            return false;
        };
        let sum = |column: usize| counts.iter().map(|row| row[column].expect("a number")).sum::<i64>();
        (verdict.lost, verdict.doubled) = ((produced - sum(1) + sum(2)).max(0), sum(0) - sum(1));
        verdict.aborted = sum(2);
        true
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> i64 {
    i64::try_from(all.count()).expect("small")
}

/// As many faults as are asked for, or as CI has time for, by the seed that is given, or one of its own. The usual seeds are
/// such that all kinds of faults are among them.
fn faults(usual: usize, seed: u64) -> (usize, u64) {
    let faults = support::given("ROWFALL_FAULTS").map_or(usual, |faults| usize::try_from(faults).expect("not so many"));
    (faults, support::given("ROWFALL_SEED").unwrap_or(seed))
}

/// Fails unless it keeps what its delivery promises.
fn keeps_its_promise(chaos: Chaos, (faults, seed): (usize, u64)) {
    let verdict = chaos.run(faults, seed);
    assert_eq!((verdict.lost, verdict.reordered, verdict.aborted), (0, 0, 0), "{verdict:?}");
    assert!(verdict.doubled == 0 || chaos.delivery == "at-least-once", "{verdict:?}");
}

/// Without one of these the suite has to find something; otherwise it finds nothing ever.
fn finds(mutant: &'static str, is_found: impl Fn(&Verdict) -> bool) {
    let chaos = Chaos { mutant: Some(mutant), ..Chaos::of(Database::ClickHouse, Kind::Rows) };
    let verdict = chaos.run(12, 4);
    assert!(is_found(&verdict), "{mutant}: {verdict:?}");
}

/// `database { delivery { course: faults and seed, what it is about; … } … }`. CI has time for some of them.
macro_rules! courses {
    ($($database:ident { $($delivery:ident { $($(#[$attribute:meta])* $course:ident: $faults:expr, $chaos:expr;)* })* })*) => {
        $(mod $database { $(mod $delivery {
            #[allow(unused_imports, reason = "not each course has all")]
            use super::super::{Chaos, Database::*, Group::*, Kind::*, faults, keeps_its_promise};
            $(
                #[test]
                $(#[$attribute])*
                fn $course() {
                    keeps_its_promise($chaos, $faults);
                }
            )*
        })* })*
    };
}

courses! {
    clickhouse {
        exactly_once {
            insert: faults(10, 1), Chaos::of(ClickHouse, Rows);
            insert_from_transactions: faults(10, 3), Chaos { group: Cooperative, ..Chaos::of(ClickHouse, Transactions) };
            upsert: faults(8, 5), Chaos::of(ClickHouse, Changes);
            #[ignore = "`./x chaos`"]
            insert_by_the_consumer_protocol: faults(8, 2), Chaos { group: Consumer, ..Chaos::of(ClickHouse, Rows) };
            #[ignore = "`./x chaos`"]
            insert_into_several_tables: faults(8, 4), Chaos { is_routed: true, ..Chaos::of(ClickHouse, Rows) };
        }
        at_least_once {
            insert: faults(8, 6), Chaos { delivery: "at-least-once", ..Chaos::of(ClickHouse, Rows) };
            #[ignore = "`./x chaos`"]
            upsert: faults(8, 7), Chaos { delivery: "at-least-once", ..Chaos::of(ClickHouse, Changes) };
        }
    }
    postgres {
        exactly_once {
            #[ignore = "`./x chaos`"]
            insert: faults(8, 8), Chaos { group: Cooperative, ..Chaos::of(Postgres, Rows) };
            upsert: faults(8, 9), Chaos::of(Postgres, Changes);
        }
        at_least_once {
            #[ignore = "`./x chaos`"]
            upsert: faults(8, 10), Chaos { delivery: "at-least-once", ..Chaos::of(Postgres, Changes) };
        }
    }
    mysql {
        exactly_once {
            #[ignore = "`./x chaos`"]
            insert: faults(8, 11), Chaos { group: Consumer, ..Chaos::of(MySql, Transactions) };
            upsert: faults(6, 12), Chaos::of(MySql, Changes);
        }
        at_least_once {
            #[ignore = "`./x chaos`"]
            upsert: faults(8, 13), Chaos { delivery: "at-least-once", ..Chaos::of(MySql, Changes) };
        }
    }
    mariadb {
        exactly_once {
            #[ignore = "`./x chaos`"]
            insert: faults(8, 14), Chaos::of(MariaDb, Rows);
            upsert: faults(6, 15), Chaos { group: Cooperative, ..Chaos::of(MariaDb, Changes) };
        }
        at_least_once {
            #[ignore = "`./x chaos`"]
            upsert: faults(8, 16), Chaos { delivery: "at-least-once", ..Chaos::of(MariaDb, Changes) };
        }
    }
    sqlite {
        exactly_once {
            #[ignore = "`./x chaos`"]
            insert: faults(8, 17), Chaos { group: Consumer, ..Chaos::of(Sqlite, Rows) };
            upsert: faults(6, 18), Chaos::of(Sqlite, Changes);
        }
        at_least_once {
            #[ignore = "`./x chaos`"]
            upsert: faults(8, 19), Chaos { delivery: "at-least-once", ..Chaos::of(Sqlite, Changes) };
        }
    }
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
