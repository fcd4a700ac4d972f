//! `--until-end` ends, whatever the end of a partition looks like, and the group then lacks nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rowfall_services::{Kafka, Services};

use crate::support::{self, ConfigFile, Output, Rowfall};
use crate::workload;

const PATIENCE: Duration = Duration::from_secs(30);

fn started(config: &ConfigFile) -> support::Process {
    Rowfall::with_config("run", config, &["--until-end", "--output", "json"]).start()
}

fn run(config: &ConfigFile) -> Output {
    started(config).wait(PATIENCE)
}

/// Runs to the end, fails unless it moves so many rows, leaves no lag, and moves nothing when it is started again.
fn assert_moves(services: &Services, config: &ConfigFile, name: &str, partitions: i32, rows: u64) {
    assert_eq!(run(config).rows(), rows);
    assert_no_lag(&services.kafka, name, partitions);
    assert_eq!(run(config).rows(), 0, "started again, nothing is left to move");
    assert_no_lag(&services.kafka, name, partitions);
}

fn assert_no_lag(kafka: &Kafka, name: &str, partitions: i32) {
    for (partition, (committed, end)) in support::committed_and_end(kafka, name, name, partitions).iter().enumerate() {
        assert_eq!(*committed, Some(*end), "partition {partition}: committed and end");
    }
}

fn topic(services: &Services, partitions: i32) -> String {
    let name = support::unique("until_end");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, partitions);
    name
}

/// An open transaction that holds the records of these numbers in one partition.
fn transaction(kafka: &Kafka, topic: &str, partition: i32, numbers: std::ops::Range<u64>) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.brokers)
        .set("transactional.id", format!("{topic}-{partition}-{}", numbers.start))
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("transactions");
    producer.begin_transaction().expect("begun");
    for number in numbers {
        let record = workload::record(number);
        producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(&record)).expect("room in the queue");
    }
    producer.flush(PATIENCE).expect("all are acknowledged");
    producer
}

#[test]
fn of_an_empty_topic() {
    let services = support::services();
    let name = topic(&services, 3);
    let config = support::topic_with(&services, &name, "{}");
    assert_moves(&services, &config, &name, 3, 0);
}

#[test]
fn of_more_partitions_than_records() {
    let services = support::services();
    let name = topic(&services, 24);
    workload::produce(&services.kafka.brokers, &name, 24, 0..5);
    let config = support::topic_with(&services, &name, "{}");
    assert_moves(&services, &config, &name, 24, 5);
    support::assert_holds_exactly(&services.clickhouse, &name, 5);
}

/// One partition ends in an aborted transaction, another holds nothing else.
#[test]
fn behind_an_aborted_transaction() {
    let services = support::services();
    let name = topic(&services, 2);
    workload::produce(&services.kafka.brokers, &name, 1, 0..100);
    for partition in [0, 1] {
        transaction(&services.kafka, &name, partition, 100..150).abort_transaction(PATIENCE).expect("aborted");
    }
    let config = support::topic_with(&services, &name, "{}");
    assert_moves(&services, &config, &name, 2, 100);
    support::assert_holds_exactly(&services.clickhouse, &name, 100);
}

/// A marker stands behind the last record, and gaps where other transactions ended.
#[test]
fn behind_a_committed_transaction() {
    let services = support::services();
    let name = topic(&services, 1);
    for start in [0, 50, 100] {
        transaction(&services.kafka, &name, 0, start..start + 50).commit_transaction(PATIENCE).expect("committed");
    }
    let config = support::topic_with(&services, &name, "{}");
    assert_moves(&services, &config, &name, 1, 150);
    support::assert_holds_exactly(&services.clickhouse, &name, 150);
}

/// What is not decided yet stays unread, and is read once it is.
#[test]
fn before_an_open_transaction() {
    let services = support::services();
    let name = topic(&services, 1);
    workload::produce(&services.kafka.brokers, &name, 1, 0..100);
    let open = transaction(&services.kafka, &name, 0, 100..150);
    let config = support::topic_with(&services, &name, "{}");
    assert_moves(&services, &config, &name, 1, 100);
    assert_eq!(support::committed_and_end(&services.kafka, &name, &name, 1), [(Some(100), 100)]);

    open.commit_transaction(PATIENCE).expect("committed");
    assert_moves(&services, &config, &name, 1, 50);
    support::assert_holds_exactly(&services.clickhouse, &name, 150);
}

/// Only the last record of each key is left, with gaps between them.
#[test]
fn of_a_compacted_topic() {
    const KEYS: u64 = 10;
    let services = support::services();
    let name = support::unique("until_end");
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "1"), ("min.cleanable.dirty.ratio", "0.001")];
    support::create_topic(&services.kafka, &name, 1, &settings);
    support::query(&services.clickhouse, &format!("CREATE TABLE {name} ({}) ORDER BY id", workload::COLUMNS));
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &services.kafka.brokers).create().expect("a producer");
    // The same 10 records 20 times. The last of them stand in the segment that is written, which is not compacted.
    for _ in 0..20 {
        for number in 0..KEYS {
            let (key, value) = (number.to_string(), workload::record(number));
            producer.send(BaseRecord::to(&name).key(&key).payload(&value)).expect("room in the queue");
        }
        producer.flush(PATIENCE).expect("all are acknowledged");
        std::thread::sleep(Duration::from_millis(5));
    }
    support::eventually("the topic is compacted", Duration::from_secs(60), || {
        support::records(&services.kafka, &name) < 100
    });
    let left = support::records(&services.kafka, &name);
    assert_eq!(support::committed_and_end(&services.kafka, &name, &name, 1), [(None, 200)], "offsets stay");

    let config = support::topic_with(&services, &name, "{}");
    assert_moves(&services, &config, &name, 1, left);
    assert_eq!(support::lost_and_doubled(&services.clickhouse, &name, KEYS), (0, left - KEYS, 0));
}

/// The end is the one that was there at the start: a producer that never stops does not keep the run from ending.
#[test]
fn while_a_producer_goes_on() {
    let services = support::services();
    let name = topic(&services, 2);
    let config = support::topic_with(&services, &name, "{}");
    let (stop, produced) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let from = produced.load(Ordering::Relaxed);
                workload::produce(&services.kafka.brokers, &name, 2, from..from + 200);
                produced.store(from + 200, Ordering::Relaxed);
            }
        });
        support::eventually("there is something to move", PATIENCE, || produced.load(Ordering::Relaxed) >= 2_000);
        let (before, started) = (produced.load(Ordering::Relaxed), Instant::now());
        let output = run(&config);
        let (elapsed, after) = (started.elapsed(), produced.load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
        let rows = output.rows();
        assert!(elapsed < Duration::from_secs(15), "{elapsed:?}");
        assert!((before..=after + 200).contains(&rows), "{before} were there at the start, {rows} were moved");
        let prefixes = format!(
            "SELECT groupArray((rows = uniq) AND (rows = last)) FROM \
             (SELECT count() AS rows, uniqExact(id) AS uniq, intDiv(max(id), 2) + 1 AS last FROM {name} GROUP BY id % 2)"
        );
        assert_eq!(support::query(&services.clickhouse, &prefixes), "[1,1]", "each partition's first records");
    });
    let rows = support::query(&services.clickhouse, &format!("SELECT count() FROM {name}"));
    let left = produced.load(Ordering::Relaxed) - rows.parse::<u64>().expect("a number");
    assert!(left > 0, "the producer went on");
    assert_moves(&services, &config, &name, 2, left);
    support::assert_holds_exactly(&services.clickhouse, &name, produced.load(Ordering::Relaxed));
}

#[test]
fn of_two_processes_with_ranges() {
    two_processes("partition.assignment.strategy: range");
}

#[test]
fn of_two_processes_that_cooperate() {
    two_processes("partition.assignment.strategy: cooperative-sticky");
}

#[test]
fn of_two_processes_with_the_new_protocol() {
    two_processes("group.protocol: consumer");
}

/// Two processes of one group share the partitions of a slow table. Neither one that comes late nor one that ends first
/// and leaves keeps the other from the end, and nothing is moved twice.
fn two_processes(property: &str) {
    const RECORDS: u64 = 9_000;
    let services = support::services();
    let name = topic(&services, 6);
    support::query(
        &services.clickhouse,
        &format!("ALTER TABLE {name} ADD CONSTRAINT slow CHECK sleepEachRow(0.002) = 0"),
    );
    workload::produce(&services.kafka.brokers, &name, 6, 0..RECORDS);
    let config = support::config_file(&format!(
        "name: {name}
kafka: {{ brokers: '{}', properties: {{ {property} }} }}
target: {{ url: '{}' }}
batch: {{ rows: 500, bytes: 128KiB }}
memory: 512KiB
workers: 1
topics: {{ {name}: {{}} }}
",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    let first = started(&config);
    support::eventually("the first moves rows", PATIENCE, || {
        support::query(&services.clickhouse, &format!("SELECT count() > 0 FROM {name}")) == "1"
    });
    let second = started(&config);
    let rows = [first, second].map(|process| process.wait(PATIENCE).rows());
    assert_no_lag(&services.kafka, &name, 6);
    support::assert_holds_exactly(&services.clickhouse, &name, RECORDS);
    assert_eq!(rows.iter().sum::<u64>(), RECORDS, "{rows:?}");
}

#[test]
fn starting_from_the_latest() {
    let services = support::services();
    let name = topic(&services, 2);
    workload::produce(&services.kafka.brokers, &name, 2, 0..100);
    let config = support::config_file(&format!(
        "name: {name}
kafka: {{ brokers: '{}', start_from: latest }}
target: {{ url: '{}' }}
topics: {{ {name}: {{}} }}
",
        services.kafka.brokers,
        support::target(&services.clickhouse),
    ));
    assert_moves(&services, &config, &name, 2, 0);
    workload::produce(&services.kafka.brokers, &name, 2, 100..150);
    assert_moves(&services, &config, &name, 2, 50);
    let ids = format!("SELECT min(id), max(id), uniqExact(id) FROM {name}");
    assert_eq!(support::query(&services.clickhouse, &ids), "100\t149\t50");
}
