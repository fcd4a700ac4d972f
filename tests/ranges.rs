//! What was claimed and is not whole any more when it is to be written again: retention and compaction take records,
//! aborted transactions were never any. A claim's token tells of its offsets, not of the records that are left there.

use std::time::Duration;

use insta::assert_snapshot;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rowfall_services::{Kafka, Services};

use crate::claims::{COUNT, die, rowfall, say, until_end};
use crate::support::{self, ConfigFile, eventually, query};
use crate::workload;

const PATIENCE: Duration = Duration::from_secs(60);
/// Records that come after the process died.
const LATER: u64 = 100;

/// An empty topic with its table, and the file that moves one into the other: one worker, so that a claim holds all
/// partitions, and a member that the group knows again when it has died.
fn course(
    services: &Services,
    kafka: &Kafka,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> (String, ConfigFile) {
    let name = support::unique(name);
    support::create_topic(kafka, &name, partitions, settings);
    let table = format!("CREATE TABLE {name} ({}) ENGINE = MergeTree ORDER BY id", workload::COLUMNS);
    query(&services.clickhouse, &table);
    let config = support::config_file(&format!(
        "name: {name}\nkafka: {{ brokers: '{}', instance: one, properties: {{ session.timeout.ms: 6000 }} }}\n\
         target: {{ url: '{}' }}\nworkers: 1\ntopics: {{ {name}: {{}} }}\n",
        kafka.brokers,
        support::target(&services.clickhouse),
    ));
    (name, config)
}

/// A topic of which two partitions are claimed by a process that died there, and whose third has records since. Of the
/// first the oldest records are gone.
fn cut(services: &Services, name: &str, failpoint: &str) -> (String, ConfigFile, String) {
    let (name, config) = course(services, &services.kafka, name, 3, &[]);
    workload::produce(&services.kafka.brokers, &name, 2, 0..COUNT);
    let number = die(&config, failpoint);
    let later: Vec<_> = (COUNT..COUNT + LATER).map(workload::record).collect();
    let later: Vec<_> = later.iter().map(String::as_str).collect();
    support::produce(&services.kafka, &name, 2, &later);
    support::delete_records(&services.kafka, &name, 0, 20);
    (name, config, number)
}

#[test]
fn retention_that_cuts_into_a_claim_stops_its_partitions_alone() {
    let services = support::services();
    let (name, config, number) = cut(&services, "cut", "claimed");
    let output = until_end(&config);
    assert_eq!(output.code(), 1, "{output:#?}");
    let said: Vec<_> = output.stderr.lines().skip_while(|line| !line.starts_with("rowfall: ")).collect();
    assert_snapshot!(said.join("\n").replace(&name, "NAME").replace(&number, "NUMBER"), @"
    rowfall: stopped: topic NAME, writing again what was claimed (partition 0 from 0 to 150, partition 1 from 0 to 150): NAME[0] begins at 20 now, records from 0 on were deleted
      → see whether the table has these rows, stop rowfall, and say so: `rowfall offsets --written NUMBER`, or, if it has none of them, `rowfall offsets --write-again NUMBER`
    rowfall: stopped: topic NAME, writing again what was claimed (partition 0 from 0 to 150, partition 1 from 0 to 150): NAME[0] begins at 20 now, records from 0 on were deleted
      → see whether the table has these rows, stop rowfall, and say so: `rowfall offsets --written NUMBER`, or, if it has none of them, `rowfall offsets --write-again NUMBER`
    ");
    assert_eq!(
        query(&services.clickhouse, &format!("SELECT count(), min(id) FROM {name}")),
        format!("{LATER}\t{COUNT}")
    );

    let said = say(&config, "--write-again", &number).replace(&name, "NAME").replace(&number, "NUMBER");
    assert_snapshot!(said, @"
    NAME[0]: the records from 0 to 20 were deleted
    NUMBER, 2 partitions: the next run writes it again
    ");
    assert_eq!(until_end(&config).rows(), COUNT - 20);
    assert_eq!(support::lost_and_doubled(&services.clickhouse, &name, COUNT + LATER), (20, 0, 0), "lost to retention");
    let offsets = rowfall("offsets", &config, &[]).stdout;
    assert!(!offsets.contains("  begun "), "{offsets}");
}

#[test]
fn what_was_written_before_retention_cut_it_is_said_to_be_there() {
    let services = support::services();
    let (name, config, number) = cut(&services, "kept", "written");
    let output = until_end(&config);
    assert!(output.code() == 1 && output.stderr.contains(&format!("--written {number}")), "{output:#?}");
    say(&config, "--written", &number);
    assert_eq!(until_end(&config).rows(), 0);
    support::assert_holds_exactly(&services.clickhouse, &name, COUNT + LATER);
}

#[test]
fn a_claim_over_aborted_transactions_is_written_again_exactly() {
    let services = support::services();
    for failpoint in ["claimed", "written"] {
        let (name, config) = course(&services, &services.kafka, "aborted", 2, &[]);
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &services.kafka.brokers)
            .set("transactional.id", &name)
            .create()
            .expect("a producer");
        producer.init_transactions(PATIENCE).expect("the broker has transactions");
        for first in (0..COUNT).step_by(50) {
            // The numbers of what is aborted are those of nothing else.
            for (first, is_kept) in [(1_000_000 + first, false), (first, true), (2_000_000 + first, false)] {
                producer.begin_transaction().expect("a transaction");
                for number in first..first + 50 {
                    let text = workload::record(number);
                    let partition = i32::try_from(number % 2).expect("small");
                    producer.send(BaseRecord::<(), _>::to(&name).partition(partition).payload(&text)).expect("room");
                }
                producer.flush(PATIENCE).expect("acknowledged");
                let end =
                    if is_kept { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
                end.expect("it ends");
            }
        }
        die(&config, failpoint);
        let offsets = rowfall("offsets", &config, &[]).stdout;
        assert!(offsets.contains(" to 441, "), "gaps are claimed, too: {offsets}");
        until_end(&config).rows();
        support::assert_holds_exactly(&services.clickhouse, &name, COUNT);
    }
}

/// Compaction leaves the last record of each key. What it took from a claim meanwhile is as if it had never been read;
/// what was written of it stays written.
#[test]
fn a_claim_whose_records_were_compacted_away_is_written_as_far_as_they_are_there() {
    const KEYS: u64 = 10;
    let services = support::services();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("extra.properties"), "log.cleaner.backoff.ms=100\n").expect("written");
    let kafka = Kafka::start_private(folder.path()).expect("a broker of its own");
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("max.compaction.lag.ms", "100")];
    let produce = |name: &str, numbers: std::ops::Range<u64>| {
        let producer = workload::producer(&kafka.brokers);
        for number in numbers {
            let (key, text) = ((number % KEYS).to_string(), workload::record(number));
            workload::send(&producer, BaseRecord::to(name).key(&key).payload(text.as_str()));
        }
        producer.flush(PATIENCE).expect("all are acknowledged");
    };
    // Where the process dies, how many keys come again then, and which rows there are in the end.
    for (failpoint, again, rows) in [("claimed", 4, KEYS), ("claimed", KEYS, KEYS), ("written", 4, COUNT + 4)] {
        let (name, config) = course(&services, &kafka, "compacted", 1, &settings);
        produce(&name, 0..COUNT);
        die(&config, failpoint);
        produce(&name, COUNT..COUNT + again);
        eventually("the log is compacted", PATIENCE, || {
            // Only what a later segment follows is.
            std::thread::sleep(Duration::from_millis(200));
            produce(&name, COUNT..COUNT + 1);
            support::records(&kafka, &name) <= KEYS + 1
        });
        let output = until_end(&config);
        println!("{failpoint}, {again}: {}", output.stderr);
        output.rows();
        let found = query(&services.clickhouse, &format!("SELECT uniqExact(id) FROM {name}"));
        assert_eq!(found, rows.to_string(), "{failpoint}, {again} keys came again");
        let doubled =
            format!("SELECT countIf(n > 1) FROM (SELECT count() AS n FROM {name} WHERE id != {COUNT} GROUP BY id)");
        assert_eq!(query(&services.clickhouse, &doubled), "0");
    }
}
