//! The topic with the records, kept for the next run.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rowfall_services::Kafka;

use crate::{support, workload};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) records: u32,
    partitions: i32,
}

impl Topic {
    /// A topic that holds these many records of the workload; produced unless it is there from another run.
    pub(crate) fn filled(kafka: &Kafka, records: u32, partitions: i32) -> Self {
        let topic = Self { name: format!("bench_{records}_in_{partitions}"), records, partitions };
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("a consumer");
        match topic.held(&client) {
            Some(held) if held == i64::from(records) => return topic,
            // A run that was interrupted while it produced.
            Some(_) => topic.delete(kafka, &client),
            None => {}
        }
        eprintln!("producing {records} records into {}", topic.name);
        support::create_topic(kafka, &topic.name, partitions, &[]);
        workload::produce(&kafka.brokers, &topic.name, partitions, 0..records.into());
        assert_eq!(topic.held(&client), Some(records.into()), "all were produced, once");
        topic
    }

    /// The records in the topic; nothing when there is no such topic.
    fn held(&self, client: &BaseConsumer) -> Option<i64> {
        // All topics: to ask for a single one may create it.
        let metadata = client.fetch_metadata(None, PATIENCE).expect("the broker answers");
        metadata.topics().iter().find(|topic| topic.name() == self.name)?;
        let of = |partition| {
            let (low, high) = client.fetch_watermarks(&self.name, partition, PATIENCE).expect("the broker answers");
            high - low
        };
        Some((0..self.partitions).map(of).sum())
    }

    fn delete(&self, kafka: &Kafka, client: &BaseConsumer) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &kafka.brokers).create().expect("an admin client");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(admin.delete_topics(&[&self.name], &AdminOptions::new())).expect("the broker answers");
        let started = Instant::now();
        while self.held(client).is_some() {
            assert!(started.elapsed() < PATIENCE, "{} is still there", self.name);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
