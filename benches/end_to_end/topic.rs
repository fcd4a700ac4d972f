//! The topic with the records, kept for the next run.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rowfall_services::Kafka;

use crate::{PARTITIONS, support, workload};

const PATIENCE: Duration = Duration::from_secs(20);

/// The name of a topic that holds these many records of the workload; produced unless it is there from another run.
pub(crate) fn filled(kafka: &Kafka, records: u32) -> String {
    let topic = format!("bench_{records}");
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("a consumer");
    match held(&client, &topic) {
        Some(held) if held == i64::from(records) => return topic,
        // A run that was interrupted while it produced.
        Some(_) => delete(kafka, &client, &topic),
        None => {}
    }
    eprintln!("producing {records} records into {topic}");
    support::create_topic(kafka, &topic, PARTITIONS, &[]);
    workload::produce(&kafka.brokers, &topic, PARTITIONS, 0..records.into());
    assert_eq!(held(&client, &topic), Some(records.into()), "all were produced, once");
    topic
}

/// The records in the topic; nothing when there is no such topic.
fn held(client: &BaseConsumer, topic: &str) -> Option<i64> {
    // All topics: to ask for a single one may create it.
    let metadata = client.fetch_metadata(None, PATIENCE).expect("the broker answers");
    metadata.topics().iter().find(|t| t.name() == topic)?;
    let of = |partition| {
        let (low, high) = client.fetch_watermarks(topic, partition, PATIENCE).expect("the broker answers");
        high - low
    };
    Some((0..PARTITIONS).map(of).sum())
}

fn delete(kafka: &Kafka, client: &BaseConsumer, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("an admin client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new())).expect("the broker answers");
    let started = Instant::now();
    let is_there = || held(client, topic).is_some();
    while is_there() {
        assert!(started.elapsed() < PATIENCE, "{topic} is still there");
        std::thread::sleep(Duration::from_millis(200));
    }
}
