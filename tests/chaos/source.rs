//! What is produced while things break: records with consecutive numbers and the keys of rows, until it is told to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rowfall_services::Kafka;

use crate::workload;

/// Partitions that the topic has from the beginning.
pub(super) const PARTITIONS: i64 = 4;
/// Records a second.
const RATE: u128 = 2_000;
/// Keys of each of those partitions that records change again and again.
const KEYS: i64 = 200;
/// Records of one transaction, and how many transactions until one is aborted first.
const AT_ONCE: i64 = 150;
const ABORTED: i64 = 4;

const PATIENCE: Duration = Duration::from_secs(90);

/// What kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each is a row.
    Rows,
    /// The same, in transactions; of some there is an aborted twin with negative numbers.
    Transactions,
    /// Each is what is known of its key from now on: `{"id": NUMBER}`, or nothing any more.
    Changes,
}

pub(super) struct Source {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicI64>,
    partitions: Arc<AtomicI64>,
    thread: JoinHandle<HashMap<i64, i64>>,
}

/// The key of record `number`. It is in one partition only, as a producer would have it.
fn key(number: i64) -> i64 {
    if is_spread(number) {
        return 1_000_000 + number;
    }
    number / PARTITIONS % KEYS * PARTITIONS + number % PARTITIONS
}

/// Whether it goes to the partitions that are added.
fn is_spread(number: i64) -> bool {
    number % 16 == 15
}

fn is_delete(number: i64) -> bool {
    number % 50 == 7
}

/// Of the rows with these keys each partition gets some all the time.
pub(super) fn is_recurring() -> String {
    format!("k < {}", KEYS * PARTITIONS)
}

impl Source {
    pub(super) fn start(kafka: &Kafka, topic: &str, kind: Kind) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let partitions = Arc::new(AtomicI64::new(PARTITIONS));
        let producer = producer(&kafka.brokers, (kind == Kind::Transactions).then_some(topic));
        let mut run = Run {
            producer,
            topic: topic.to_owned(),
            kind,
            newest: HashMap::new(),
            partitions: Arc::clone(&partitions),
            known: PARTITIONS,
            transactions: 0,
        };
        let (told, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let mut number = 0;
            while !told.load(Ordering::Relaxed) {
                let due = i64::try_from(began.elapsed().as_millis() * RATE / 1_000).expect("small");
                while number < due {
                    let next = due.min(number + AT_ONCE);
                    run.produce(number..next);
                    number = next;
                    count.store(number, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            run.producer.flush(PATIENCE).expect("all are acknowledged");
            run.newest
        });
        Self { stop, sent, partitions, thread }
    }

    /// How many have been sent.
    pub(super) fn sent(&self) -> i64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many partitions it fills.
    pub(super) fn partitions(&self) -> i64 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// The topic has so many by now.
    pub(super) fn fill(&self, partitions: i64) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// Ends it: how many were produced, all acknowledged, and the number of the newest of each key that has a row.
    pub(super) fn end(self) -> (i64, HashMap<i64, i64>) {
        self.stop.store(true, Ordering::Relaxed);
        let newest = self.thread.join().expect("the producer ends well");
        (self.sent.load(Ordering::Relaxed), newest)
    }
}

struct Run {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    kind: Kind,
    newest: HashMap<i64, i64>,
    partitions: Arc<AtomicI64>,
    /// Of these the producer knows.
    known: i64,
    transactions: i64,
}

impl Run {
    fn produce(&mut self, numbers: std::ops::Range<i64>) {
        let partitions = self.partitions.load(Ordering::Relaxed);
        while self.known < partitions {
            let metadata = self.producer.client().fetch_metadata(Some(&self.topic), PATIENCE);
            let known = metadata.map_or(0, |all| all.topics()[0].partitions().len());
            self.known = self.known.max(i64::try_from(known).expect("small"));
        }
        if self.kind != Kind::Transactions {
            return numbers.for_each(|number| self.send(number, false));
        }
        self.transactions += 1;
        if self.transactions % ABORTED == 0 {
            self.producer.begin_transaction().expect("none is open");
            numbers.clone().for_each(|number| self.send(number, true));
            self.producer.flush(PATIENCE).expect("acknowledged");
            again(|| self.producer.abort_transaction(PATIENCE)).expect("aborted");
        }
        loop {
            self.producer.begin_transaction().expect("none is open");
            numbers.clone().for_each(|number| self.send(number, false));
            match again(|| self.producer.commit_transaction(PATIENCE)) {
                Ok(()) => return,
                Err(error) => {
                    println!("the producer's transaction is aborted: {error}");
                    again(|| self.producer.abort_transaction(PATIENCE)).expect("aborted");
                }
            }
        }
    }

    fn send(&mut self, number: i64, is_ghost: bool) {
        let key = key(number);
        let partition = match self.known - PARTITIONS {
            more @ 1.. if is_spread(number) => PARTITIONS + number / 16 % more,
            _ => number % PARTITIONS,
        };
        let id = if is_ghost { -1 - number } else { number };
        let text = match self.kind {
            Kind::Changes => format!(r#"{{"id":{id}}}"#),
            Kind::Rows | Kind::Transactions => format!(r#"{{"id":{id},"k":{key},"kind":"{}"}}"#, number % 3),
        };
        let key_text = key.to_string();
        let record = BaseRecord::to(&self.topic).partition(i32::try_from(partition).expect("small")).key(&key_text);
        if self.kind == Kind::Changes && is_delete(number) {
            self.newest.remove(&key);
            return workload::send(&self.producer, record);
        }
        if self.kind == Kind::Changes {
            self.newest.insert(key, number);
        }
        workload::send(&self.producer, record.payload(text.as_str()));
    }
}

/// Transactions may be asked to end again while nobody knows whether they have.
fn again(act: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match act() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            result => return result,
        }
    }
}

fn producer(brokers: &str, transactional: Option<&str>) -> ThreadedProducer<DefaultProducerContext> {
    let Some(topic) = transactional else { return workload::producer(brokers) };
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("transactional.id", format!("source of {topic}"))
        .set("linger.ms", "1");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    again(|| producer.init_transactions(PATIENCE)).expect("it may have transactions");
    producer
}
