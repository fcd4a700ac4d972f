//! The most memory that a backlog makes a run occupy: partitions, compression, wide records, large values.

use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::{ClickHouse, Kafka};

use crate::report::Report;
use crate::stage::BEYOND_MEMORY;
use crate::support::{self, Rowfall};
use crate::workload;

/// Fields of a wide record.
const FIELDS: u64 = 100;
/// Bytes of a large value.
const LARGE: usize = 1_000_000;

/// What stands in the topic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Records {
    /// Of `benches/workload.rs`, 250 bytes.
    Usual,
    Wide,
    Large,
}

/// For each kind of records with so many partitions: `memory` in MiB, compression, further top-level YAML.
const SETTINGS: [(u64, &str, &str); 5] =
    [(256, "none", ""), (256, "lz4", ""), (64, "none", ""), (64, "lz4", ""), (256, "none", "workers: 8")];

pub(crate) fn run(millions: u32, report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let kafka = Kafka::start_private(folder.path().join("kafka")).expect("a broker");
    let clickhouse = ClickHouse::start_private(folder.path().join("clickhouse")).expect("a server");
    let millions = u64::from(millions);
    let cases = [
        (Records::Usual, "250 B, 12 fields", millions * 1_000_000),
        (Records::Wide, "1.5 kB, 100 fields", millions * 100_000),
        (Records::Large, "1 MB in one field", millions * 150),
    ];
    println!("| records | count | partitions | memory | compression | further | peak MiB | beyond |");
    println!("| ------- | ----: | ---------: | -----: | ----------- | ------- | -------: | -----: |");
    for (records, what, count) in cases {
        for partitions in [4, 64] {
            let topic = format!("{}_{partitions}", ["usual", "wide", "large"][records as usize]);
            support::create_topic(&kafka, &topic, partitions, &[("max.message.bytes", "4194304")]);
            produce(&kafka, &topic, partitions, records, count);
            for (memory, compression, more) in SETTINGS {
                let peak = peak(&kafka, &clickhouse, &topic, records, count, (memory, compression, more));
                let beyond = peak.saturating_sub(memory);
                println!("| {what} | {count} | {partitions} | {memory} | {compression} | {more} | {peak} | {beyond} |");
                report.promise(
                    beyond <= BEYOND_MEMORY,
                    &format!(
                        "{what}, {partitions} partitions, {compression}: {beyond} MiB beyond `memory: {memory}MiB`"
                    ),
                );
            }
        }
    }
}

/// Runs to the end; the most memory that it took, in MiB.
fn peak(
    kafka: &Kafka,
    clickhouse: &ClickHouse,
    topic: &str,
    records: Records,
    count: u64,
    (memory, compression, more): (u64, &str, &str),
) -> u64 {
    let table = support::unique("memory");
    let fields = || (1..FIELDS).map(|field| format!(", f{field} {}", if field % 2 == 0 { "String" } else { "UInt64" }));
    let columns = match records {
        Records::Usual => workload::COLUMNS.to_owned(),
        Records::Wide => format!("id UInt64{}", fields().collect::<String>()),
        Records::Large => "id UInt64, text String".to_owned(),
    };
    support::query(clickhouse, &format!("CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY id"));
    let config = support::config_file(&format!(
        "name: {table}\nkafka: {{ brokers: '{}' }}\ntarget: {{ url: '{}', compression: {compression} }}\n\
         topics: {{ {topic}: {{ table: {table} }} }}\nmemory: {memory}MiB\n{more}\n",
        kafka.brokers,
        support::target(clickhouse),
    ));
    let mut process = Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).start();
    let mut peak = 0;
    while process.is_running() {
        peak = process.peak_memory().unwrap_or(0).max(peak);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let output = process.wait(std::time::Duration::from_secs(5));
    assert_eq!(output.rows(), count, "all are written");
    let held = support::query(clickhouse, &format!("SELECT count(), uniqExact(id), max(id) + 1 FROM {table}"));
    assert_eq!(held, format!("{count}\t{count}\t{count}"), "rows, different ids, the greatest");
    support::query(clickhouse, &format!("DROP TABLE {table} SYNC"));
    peak
}

fn produce(kafka: &Kafka, topic: &str, partitions: i32, records: Records, count: u64) {
    if records == Records::Usual {
        return workload::produce(&kafka.brokers, topic, partitions, 0..count);
    }
    let producer = workload::producer_of(&kafka.brokers, &[("message.max.bytes", "4000000")]);
    for number in 0..count {
        let text = match records {
            Records::Wide => wide(number),
            _ => large(number),
        };
        let partition = i32::try_from(number % u64::try_from(partitions).expect("positive")).expect("small");
        workload::send(&producer, BaseRecord::<(), str>::to(topic).partition(partition).payload(text.as_str()));
    }
    producer.flush(std::time::Duration::from_secs(60)).expect("all are acknowledged");
}

fn wide(id: u64) -> String {
    let field = |field| match field % 2 {
        0 => format!(r#","f{field}":"text {}""#, id * field),
        _ => format!(r#","f{field}":{}"#, id * field),
    };
    format!(r#"{{"id":{id}{}}}"#, (1..FIELDS).map(field).collect::<String>())
}

fn large(id: u64) -> String {
    // Digits that repeat too late for lz4.
    let mut state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(LARGE + 16);
    while text.len() < LARGE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    format!(r#"{{"id":{id},"text":"{text}"}}"#)
}
