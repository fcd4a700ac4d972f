//! Faults in mid-flight: signals, kills, rebalances, servers that go away. Whatever was produced is in the table
//! afterwards; where rowfall could end or hand over in order, nothing is there twice. Each test prints what it counted.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::{ClickHouse, Kafka};

use crate::load::Load;
use crate::support::{self, ConfigFile, Output, Process, Rowfall, eventually};
use crate::workload;

const SECOND: Duration = Duration::from_secs(1);
/// A member that comes back as itself: the group does not wait for the session of one that was killed.
const SAME_MEMBER: &str = "{ group.instance.id: one }";
/// Longer than anything that recovers needs, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topic with its table, on these servers, and the file that has rowfall move one into the other.
struct Course<'s> {
    kafka: &'s Kafka,
    clickhouse: &'s ClickHouse,
    name: String,
    config: ConfigFile,
}

impl<'s> Course<'s> {
    /// `properties` are librdkafka's, in YAML's braces; `more` is further top-level YAML.
    fn new(
        (kafka, clickhouse): (&'s Kafka, &'s ClickHouse),
        name: &str,
        partitions: i32,
        properties: &str,
        more: &str,
    ) -> Self {
        let name = support::unique(name);
        support::topic_and_table(kafka, clickhouse, &name, partitions);
        let config = support::config_file(&format!(
            "name: {name}\nkafka: {{ brokers: '{}', properties: {properties} }}\ntarget: {{ url: '{}' }}\n\
             topics: {{ {name}: {{}} }}\n{more}\n",
            kafka.brokers,
            support::target(clickhouse),
        ));
        Self { kafka, clickhouse, name, config }
    }

    fn load(&self, partitions: u64, per_second: u64) -> Load {
        Load::start(self.kafka, &self.name, partitions, per_second)
    }

    fn start(&self) -> Process {
        Rowfall::with_config("run", &self.config, &["--output", "json"]).start()
    }

    fn start_until_end(&self) -> Process {
        Rowfall::with_config("run", &self.config, &["--until-end", "--output", "json"]).start()
    }

    /// Rows in the table; none while its server is away.
    fn rows(&self) -> u64 {
        let count = self.clickhouse.query(&format!("SELECT count() FROM {}", self.name));
        count.map_or(0, |count| count.trim().parse().expect("a number"))
    }

    /// Waits until so many more rows have come than there are now.
    fn wait_for_more(&self, rows: u64) {
        let before = self.rows();
        eventually(&format!("{rows} more rows in {}", self.name), PATIENCE, || self.rows() >= before + rows);
    }

    /// Lost and doubled of `0..count`, printed. Fails when a value has changed.
    fn verdict(&self, count: u64) -> (u64, u64) {
        let (lost, doubled, changed) = support::lost_and_doubled(self.clickhouse, &self.name, count);
        println!("{}: {count} produced, {lost} lost, {doubled} doubled, {changed} changed", self.name);
        assert_eq!(changed, 0, "values are as they were produced");
        (lost, doubled)
    }
}

/// Sends the signal, and fails unless the process then ends with this status in this time.
fn end_by(process: Process, signal: &str, code: i32, within: Duration) -> Output {
    let asked = Instant::now();
    process.signal(signal);
    let output = process.wait(PATIENCE);
    let took = asked.elapsed();
    println!("{signal}: exit {} after {took:.1?}", output.code());
    assert_eq!(output.code(), code, "{output:#?}");
    assert!(took < within, "{took:?} after {signal}: {}", output.stderr);
    output
}

/// Waits until the process has said this so many times.
fn wait_until_said(process: &Process, what: &str, times: usize) {
    eventually(what, PATIENCE, || process.said().matches(what).count() >= times);
}

#[test]
fn a_signal_in_mid_flight_loses_and_doubles_nothing() {
    let services = support::services();
    let course = Course::new((&services.kafka, &services.clickhouse), "signals", 4, "{}", "");
    let load = course.load(4, 15_000);
    for signal in ["TERM", "INT", "TERM"] {
        let process = course.start();
        course.wait_for_more(15_000);
        end_by(process, signal, 0, 5 * SECOND);
    }
    let count = load.end();
    course.start_until_end().wait(PATIENCE).rows();
    assert_eq!(course.verdict(count), (0, 0));
    assert_eq!(course.start_until_end().wait(PATIENCE).rows(), 0, "all was committed");
}

#[test]
fn kills_in_mid_flight_lose_nothing() {
    const SEED: u64 = 20_251_124;
    let services = support::services();
    let course = Course::new((&services.kafka, &services.clickhouse), "kills", 4, SAME_MEMBER, "batch: { age: 300ms }");
    let load = course.load(4, 15_000);
    let mut random = StdRng::seed_from_u64(SEED);
    for _ in 0..8 {
        let process = course.start();
        wait_until_said(&process, " assigned: ", 1);
        std::thread::sleep(Duration::from_millis(random.random_range(50..1_500)));
        process.kill9();
    }
    let count = load.end();
    course.start_until_end().wait(2 * PATIENCE).rows();
    assert_eq!(course.verdict(count).0, 0, "seed {SEED}");
}

/// One member stays while another joins, leaves, joins again and stays when the first leaves.
fn join_and_leave(name: &str, properties: &str) {
    let services = support::services();
    let course = Course::new((&services.kafka, &services.clickhouse), name, 6, properties, "batch: { age: 500ms }");
    let load = course.load(6, 12_000);
    let first = course.start();
    course.wait_for_more(10_000);
    let joins = || {
        let second = course.start();
        // In a cooperative group it first gets none.
        wait_until_said(&second, &format!(" assigned: {}[", course.name), 1);
        course.wait_for_more(20_000);
        second
    };
    let left = end_by(joins(), "TERM", 0, 5 * SECOND).rows();
    course.wait_for_more(20_000);
    let second = joins();
    let mut rows = left + end_by(first, "TERM", 0, 5 * SECOND).rows();
    course.wait_for_more(20_000);
    rows += end_by(second, "TERM", 0, 5 * SECOND).rows();
    let count = load.end();
    rows += course.start_until_end().wait(PATIENCE).rows();
    assert!(left > 0, "the second member had its share");
    assert_eq!(course.verdict(count), (0, 0), "each hand-over was committed");
    assert_eq!(rows, count);
}

#[test]
fn members_join_and_leave_eagerly() {
    join_and_leave("eager", "{}");
}

#[test]
fn members_join_and_leave_cooperatively() {
    join_and_leave("cooperative", "{ partition.assignment.strategy: cooperative-sticky }");
}

#[test]
fn members_join_and_leave_by_the_consumer_protocol() {
    join_and_leave("kip848", "{ group.protocol: consumer }");
}

#[test]
fn a_broker_that_is_killed_and_comes_back_is_an_episode() {
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::start_private(folder.path()).expect("a broker of its own");
    let course = Course::new((&kafka, &services.clickhouse), "broker", 4, "{}", "");
    let load = course.load(4, 10_000);
    let process = course.start();
    course.wait_for_more(10_000);
    for _ in 0..2 {
        kafka.server.kill9().expect("killed");
        std::thread::sleep(2 * SECOND);
        kafka.server.start().expect("started again");
        course.wait_for_more(30_000);
    }
    let count = load.end();
    eventually("all rows", PATIENCE, || course.rows() >= count);
    let output = end_by(process, "TERM", 0, 5 * SECOND);
    println!("{}", output.stderr);
    assert!(output.stderr.lines().count() <= 20, "a calm log");
    let away = format!("no broker of {} answers, trying again: ", kafka.brokers);
    for said in [away.as_str(), "brokers answer again"] {
        assert_eq!(output.stderr.matches(said).count(), 2, "{said}, once for each time");
    }
    course.start_until_end().wait(PATIENCE).rows();
    assert_eq!(course.verdict(count), (0, 0));
}

#[test]
fn a_signal_while_the_broker_is_away_ends_in_time() {
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::start_private(folder.path()).expect("a broker of its own");
    let course = Course::new((&kafka, &services.clickhouse), "away", 4, SAME_MEMBER, "");
    workload::produce(&kafka.brokers, &course.name, 4, 0..50_000);
    let process = course.start();
    // Read, and in part not yet committed.
    eventually("rows", PATIENCE, || course.rows() > 0);
    kafka.server.kill9().expect("killed");
    std::thread::sleep(SECOND);
    end_by(process, "TERM", 0, 5 * SECOND);
    kafka.server.start().expect("started again");
    course.start_until_end().wait(2 * PATIENCE).rows();
    assert_eq!(course.verdict(50_000), (0, 0));
}

#[test]
fn an_outage_of_clickhouse_is_waited_for() {
    const MEMORY: u64 = 64;
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    let clickhouse = ClickHouse::start_private(folder.path()).expect("a server of its own");
    let more = "memory: 64MiB\nbatch: { bytes: 8MiB }";
    let course = Course::new((&services.kafka, &clickhouse), "outage", 4, "{}", more);
    let load = course.load(4, 15_000);
    let process = course.start();
    course.wait_for_more(15_000);
    for _ in 0..2 {
        clickhouse.server.kill9().expect("killed");
        std::thread::sleep(2 * SECOND);
        clickhouse.server.start().expect("started again");
        course.wait_for_more(15_000);
    }
    clickhouse.server.stop().expect("stopped");
    std::thread::sleep(15 * SECOND);
    println!("{} produced when it comes back", load.sent());
    clickhouse.server.start().expect("started again");
    course.wait_for_more(15_000);
    let count = load.end();
    eventually("all rows", PATIENCE, || course.rows() >= count);
    let peak = process.peak_memory().expect("it runs");
    let output = end_by(process, "TERM", 0, 5 * SECOND);
    println!("{}peak memory {peak} MiB with `memory: {MEMORY}MiB`", output.stderr);
    assert!(peak <= MEMORY + 150, "{peak} MiB");
    assert!(output.stderr.lines().count() <= 30, "a calm log");
    assert_eq!(output.stderr.matches("assigned: ").count(), 1, "its partitions stayed its own");
    course.start_until_end().wait(PATIENCE).rows();
    assert_eq!(course.verdict(count), (0, 0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    let clickhouse = ClickHouse::start_private(folder.path()).expect("a server of its own");
    let course = Course::new((&services.kafka, &clickhouse), "second", 4, SAME_MEMBER, "");
    let load = course.load(4, 5_000);
    let process = course.start();
    course.wait_for_more(5_000);
    clickhouse.server.stop().expect("stopped");
    std::thread::sleep(2 * SECOND);
    process.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    end_by(process, "TERM", 128 + 15, Duration::from_millis(500));
    // The first alone gives up what the database does not take.
    clickhouse.server.start().expect("started again");
    let process = course.start();
    course.wait_for_more(5_000);
    clickhouse.server.stop().expect("stopped");
    std::thread::sleep(2 * SECOND);
    let output = end_by(process, "TERM", 0, 5 * SECOND);
    assert!(output.stderr.contains("the next run reads them again"), "{}", output.stderr);
    clickhouse.server.start().expect("started again");
    let count = load.end();
    course.start_until_end().wait(PATIENCE).rows();
    assert_eq!(course.verdict(count), (0, 0));
}

#[test]
fn a_process_that_was_frozen_beyond_its_session_comes_back() {
    let services = support::services();
    let properties = "{ session.timeout.ms: 6000, heartbeat.interval.ms: 1000 }";
    let course = Course::new((&services.kafka, &services.clickhouse), "frozen", 4, properties, "batch: { age: 300ms }");
    let load = course.load(4, 10_000);
    let first = course.start();
    course.wait_for_more(10_000);
    let second = course.start();
    wait_until_said(&second, " assigned: ", 1);
    course.wait_for_more(10_000);
    first.signal("STOP");
    // First its own, then all.
    wait_until_said(&second, " partitions=4", 1);
    course.wait_for_more(20_000);
    first.signal("CONT");
    let assigned = first.said().matches(" assigned: ").count();
    wait_until_said(&first, " assigned: ", assigned + 1);
    course.wait_for_more(20_000);
    let said = end_by(first, "TERM", 0, 5 * SECOND).stderr;
    assert!(said.contains("lost=true"), "{said}");
    end_by(second, "TERM", 0, 5 * SECOND);
    let count = load.end();
    course.start_until_end().wait(PATIENCE).rows();
    assert_eq!(course.verdict(count), (0, 0));
}

#[test]
fn a_dropped_table_stops_its_topic_alone_and_an_added_column_disturbs_nothing() {
    let services = support::services();
    let (kafka, clickhouse) = (&services.kafka, &services.clickhouse);
    let dropped = support::unique("dropped");
    support::topic_and_table(kafka, clickhouse, &dropped, 2);
    let altered = Course::new((kafka, clickhouse), "altered", 2, "{}", "batch: { age: 200ms }");
    let text = std::fs::read_to_string(&altered.config.path).expect("readable");
    let both = text.replace("topics: { ", &format!("topics: {{ {dropped}: {{}}, "));
    std::fs::write(&altered.config.path, both).expect("written");

    let (load, other) = (altered.load(2, 5_000), Load::start(kafka, &dropped, 2, 5_000));
    let process = altered.start();
    altered.wait_for_more(5_000);
    support::query(clickhouse, &format!("DROP TABLE {dropped} SYNC"));
    support::query(clickhouse, &format!("ALTER TABLE {} ADD COLUMN extra String DEFAULT 'x' FIRST", altered.name));
    wait_until_said(&process, &format!("partition stopped: {dropped}["), 2);
    altered.wait_for_more(15_000);
    let count = load.end();
    other.end();
    eventually("all rows", PATIENCE, || altered.rows() >= count);
    // Its other topic has stopped, and it says so again at the end.
    let output = end_by(process, "TERM", 1, 5 * SECOND);
    println!("{}", output.stderr);
    assert!(output.stderr.contains(&format!("rowfall: stopped: {dropped}[")), "{}", output.stderr);
    assert_eq!(altered.verdict(count), (0, 0));
    for (committed, end) in support::committed_and_end(kafka, &altered.name, &altered.name, 2) {
        assert_eq!(committed, Some(end), "the topic whose table is well is committed to its end");
    }
}

#[test]
fn an_offset_that_retention_has_deleted_is_never_jumped() {
    let services = support::services();
    let course = Course::new((&services.kafka, &services.clickhouse), "retention", 2, "{}", "");
    let (name, brokers) = (&course.name, &services.kafka.brokers);
    workload::produce(brokers, name, 2, 0..10_000);
    assert_eq!(course.start_until_end().wait(PATIENCE).rows(), 10_000);
    workload::produce(brokers, name, 2, 10_000..20_000);
    support::delete_records(&services.kafka, name, 1, 6_000);

    let output = course.start_until_end().wait(PATIENCE);
    println!("{}", output.stderr);
    assert_eq!(output.code(), 1, "{output:#?}");
    let stopped = format!("rowfall: stopped: {name}[1] offset 5000: the next offset is no longer in the topic");
    assert!(output.stderr.contains(&stopped), "{}", output.stderr);
    // The other partition is read to its end, this one not beyond what was deleted.
    assert_eq!(course.rows(), 15_000);
    let places = support::committed_and_end(&services.kafka, name, name, 2);
    assert_eq!(places, [(Some(10_000), 10_000), (Some(5_000), 10_000)]);
}

#[test]
fn many_partitions_with_a_backlog_stay_within_memory() {
    const MEMORY: u64 = 64;
    let services = support::services();
    let more = "memory: 64MiB\nbatch: { bytes: 16MiB }";
    let course = Course::new((&services.kafka, &services.clickhouse), "memory", 64, "{}", more);
    workload::produce(&services.kafka.brokers, &course.name, 64, 0..300_000);
    let mut process = course.start_until_end();
    let mut peak = 0;
    while process.is_running() {
        peak = process.peak_memory().unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(process.wait(PATIENCE).rows(), 300_000);
    println!("{}: peak memory {peak} MiB with `memory: {MEMORY}MiB`", course.name);
    assert_eq!(course.verdict(300_000), (0, 0));
    assert!(peak <= MEMORY + 120, "{peak} MiB");
}

#[test]
fn small_batches_for_a_slow_table_count_against_memory() {
    const MEMORY: u64 = 8;
    let services = support::services();
    let more = "memory: 8MiB\nbatch: { rows: 500, bytes: 4MiB }";
    let course = Course::new((&services.kafka, &services.clickhouse), "small", 4, "{}", more);
    let slow = format!("ALTER TABLE {} ADD CONSTRAINT slow CHECK sleepEachRow(0.001) = 0", course.name);
    support::query(&services.clickhouse, &slow);
    workload::produce(&services.kafka.brokers, &course.name, 4, 0..600_000);
    let process = course.start();
    course.wait_for_more(40_000);
    let peak = process.peak_memory().expect("it runs");
    println!("{}: peak memory {peak} MiB with `memory: {MEMORY}MiB`, {} rows written", course.name, course.rows());
    process.kill9();
    assert!(peak <= MEMORY + 45, "{peak} MiB");
}

#[test]
fn a_run_until_the_end_survives_that_others_join_and_leave() {
    const RECORDS: u64 = 100_000;
    let services = support::services();
    let more = "memory: 512KiB\nbatch: { rows: 500, bytes: 128KiB }\nworkers: 1";
    // Told soon that another has joined.
    let properties = "{ heartbeat.interval.ms: 300 }";
    let course = Course::new((&services.kafka, &services.clickhouse), "until_end", 4, properties, more);
    // A table so slow that the run takes long enough to be joined, and not so slow that a member which is told to leave
    // has to give up the inserts under way: the server would finish them, and their rows come twice.
    let slow = format!("ALTER TABLE {} ADD CONSTRAINT slow CHECK sleepEachRow(0.0005) = 0", course.name);
    support::query(&services.clickhouse, &slow);
    // Three partitions are read to their ends soon; the last one keeps the run busy. Which member it falls to when there
    // are two is left to chance.
    workload::produce(&services.kafka.brokers, &course.name, 4, 0..2_000);
    let producer = workload::producer(&services.kafka.brokers);
    for number in 2_000..RECORDS {
        let text = workload::record(number);
        workload::send(&producer, BaseRecord::<(), str>::to(&course.name).partition(3).payload(text.as_str()));
    }
    producer.flush(PATIENCE).expect("all are acknowledged");

    let first = course.start_until_end();
    course.wait_for_more(3_000);
    let second = course.start();
    wait_until_said(&second, " assigned: ", 1);
    std::thread::sleep(SECOND);
    let behind = RECORDS - course.rows();
    let left = end_by(second, "TERM", 0, 5 * SECOND);
    assert!(!left.stderr.contains("the next run reads them again"), "it left in order: {}", left.stderr);
    let rows = left.rows();
    println!("{behind} rows to go when the second member was told to leave, which had moved {rows}");
    assert!(behind > 2_000, "the second member came and left in mid-flight");
    let rows = rows + first.wait(PATIENCE).rows();
    assert_eq!(course.verdict(RECORDS), (0, 0));
    assert_eq!(rows, RECORDS);
}
