//! Records into tables: every value, nothing twice.

use crate::support::{self, Rowfall};
use crate::workload;

#[test]
fn every_value_equals_what_was_produced_and_nothing_is_read_twice() {
    let services = support::services();
    let name = support::unique("moving");
    support::topic_and_table(&services.kafka, &services.clickhouse, &name, 4);
    workload::produce(&services.kafka.brokers, &name, 4, 0..200_000);
    let config = support::one_topic(&services.kafka, &services.clickhouse, &name, "");
    let run = || Rowfall::with_config("run", &config, &["--until-end", "--output", "json"]).output().rows();
    assert_eq!(run(), 200_000);
    support::assert_holds_exactly(&services.clickhouse, &name, 200_000);
    assert_eq!(run(), 0, "started again, nothing is read twice");
    support::assert_holds_exactly(&services.clickhouse, &name, 200_000);
}

/// librdkafka's in-process cluster answers less than a real broker: what is asked of brokers must do without.
#[test]
fn the_demo_moves_its_orders() {
    let output = Rowfall::new(&["demo", "--records", "2000"]).output();
    assert_eq!(output.code(), 0, "{output:#?}");
    assert!(output.stdout.contains("rowfall moved 2,000 records into SQLite"), "{}", output.stdout);
}
