//! A producer that goes on until it is told to end: record `n` to partition `n % partitions`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer};
use rowfall_services::Kafka;

use crate::workload;

/// How long the broker may take to acknowledge what was sent last.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Load {
    /// As fast as is said.
    pub(crate) fn start(kafka: &Kafka, topic: &str, partitions: u64, per_second: u64) -> Self {
        let due = move |since: Instant| {
            let due = since.elapsed().as_millis() * u128::from(per_second) / 1_000;
            u64::try_from(due).expect("not for that long")
        };
        Self::start_with(kafka, topic, partitions, due)
    }

    /// As fast as it can, up to the number of records that `due` answers, given when it began.
    pub(crate) fn start_with(
        kafka: &Kafka,
        topic: &str,
        partitions: u64,
        due: impl Fn(Instant) -> u64 + Send + 'static,
    ) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (brokers, topic) = (kafka.brokers.clone(), topic.to_owned());
        let (told, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let producer = workload::producer(&brokers);
            let (mut number, began) = (0, Instant::now());
            let mut text = String::with_capacity(300);
            while !told.load(Ordering::Relaxed) {
                let due = due(began);
                // Not all at once: an end must not wait for it.
                let next = due.min(number + 20_000);
                while number < next {
                    text.clear();
                    workload::write_record(number, &mut text);
                    let partition = i32::try_from(number % partitions).expect("small");
                    workload::send(
                        &producer,
                        BaseRecord::<(), str>::to(&topic).partition(partition).payload(text.as_str()),
                    );
                    number += 1;
                }
                count.store(number, Ordering::Relaxed);
                if number >= due {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            producer.flush(PATIENCE).expect("all are acknowledged");
        });
        Self { stop, sent, thread }
    }

    /// How many records have been produced so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; how many records were produced, all acknowledged.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the producer ends well");
        self.sent.load(Ordering::Relaxed)
    }
}
