//! Offsets with their metadata, committed to the group in Kafka transactions: for all partitions or for none, and never by
//! a process that the group or its own successor has replaced.
//!
//! One thread owns the producer, and one transaction is under way at a time. Its answer says what is known: an outcome
//! that is not known becomes one that does not matter, since a new producer under the same `transactional.id` ends the
//! transaction, and fences whatever of it is still on the way, before the answer comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::consumer::{Answer, REQUEST, base_config, client_problem, fatal_problem};
use super::rights::Right;
use crate::claim::LONGEST;
use crate::config::KafkaSettings;
use crate::problem::Problem;

/// After this the broker gives up a transaction whose process is gone, and whoever waits to read the offsets goes on.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one step of a transaction is tried again by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the brokers have to answer before they are asked again whether what was under way has ended.
const INITIALIZE: Duration = Duration::from_secs(5);
/// How often it is logged that they are.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Between two attempts to end a transaction whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(500);
/// Another process under the same `transactional.id` takes it from this one again and again within this time. A broker
/// that gives up a transaction which took too long looks the same, once.
const RIVAL: Duration = Duration::from_secs(60);
const RIVAL_TIMES: usize = 5;

/// What is to be committed.
struct Request {
    offsets: TopicPartitionList,
    group: ConsumerGroupMetadata,
    answer: Sender<Answer>,
}

/// The one committer of a process.
pub struct Transactions {
    requests: Sender<Request>,
}

impl Transactions {
    /// Begins to commit to this group, and ends what an earlier process under this `transactional.id` has left open,
    /// whatever time that takes; `None` when told to stop meanwhile.
    ///
    /// # Errors
    /// When the brokers have no transactions, or do not allow them.
    pub fn start(id: &str, group: &str, kafka: &KafkaSettings, stop: &AtomicBool) -> Result<Option<Self>, Problem> {
        let mut config = base_config(kafka);
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            // Of a commit that the brokers ask to be sent again most of the time would be spent waiting: 100 ms each.
            .set("retry.backoff.ms", "5")
            .set("retry.backoff.max.ms", "20");
        for (name, value) in kafka.properties.iter().filter(|(name, _)| !name.starts_with("group.")) {
            config.set(name, value);
        }
        let mut committer = Committer {
            id: id.to_owned(),
            group: group.to_owned(),
            brokers: kafka.brokers.clone(),
            config,
            producer: None,
            fenced: Vec::new(),
        };
        if !committer.begin(Some(stop)).map_err(|e| committer.problem(&e))? {
            return Ok(None);
        }
        let (requests, requested) = channel();
        std::thread::Builder::new()
            .name("rowfall-commit".to_owned())
            .spawn(move || committer.run(&requested))
            .map_err(|e| Problem::new(format!("cannot start a thread: {e}"), ""))?;
        Ok(Some(Self { requests }))
    }

    /// Commits these; the answer comes once, and always.
    #[must_use]
    pub(super) fn commit(&self, offsets: TopicPartitionList, group: ConsumerGroupMetadata) -> Receiver<Answer> {
        let (answer, answered) = channel();
        // The thread ends with this.
        let _ = self.requests.send(Request { offsets, group, answer });
        answered
    }
}

struct Committer {
    id: String,
    group: String,
    brokers: String,
    config: ClientConfig,
    producer: Option<BaseProducer<DefaultProducerContext>>,
    /// When another process took the id, within the last minute.
    fenced: Vec<Instant>,
}

impl Committer {
    fn run(mut self, requested: &Receiver<Request>) {
        while let Ok(Request { offsets, group, answer }) = requested.recv() {
            let _ = answer.send(self.commit(&offsets, &group));
        }
    }

    /// A producer, and nothing under way; false when told to stop before.
    fn begin(&mut self, stop: Option<&AtomicBool>) -> Result<bool, KafkaError> {
        // The one before must not be used any more, nor wait for what it has under way.
        self.producer = None;
        let producer: BaseProducer<_> = self.config.create()?;
        let mut said: Option<Instant> = None;
        while let Err(error) = producer.init_transactions(INITIALIZE) {
            // Whatever was under way is being ended, by brokers that may have to start first.
            if !transaction_error(&error).is_some_and(|error| error.is_retriable()) {
                return Err(error);
            }
            if stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Ok(false);
            }
            if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                said = Some(Instant::now());
                tracing::warn!("waiting for what was under way in Kafka to end: {}", self.problem(&error).what);
            }
        }
        self.producer = Some(producer);
        Ok(true)
    }

    fn commit(&mut self, offsets: &TopicPartitionList, group: &ConsumerGroupMetadata) -> Answer {
        let Some(producer) = &self.producer else { return self.start_anew("no producer") };
        let began = Instant::now();
        let sent = producer.begin_transaction().and_then(|()| {
            persistently(|| producer.send_offsets_to_transaction(offsets, group, REQUEST))?;
            persistently(|| producer.commit_transaction(REQUEST))
        });
        tracing::debug!("a transaction of {} partitions took {:?}", offsets.count(), began.elapsed());
        let Err(error) = sent else { return Answer::Taken(Vec::new()) };
        tracing::debug!("a transaction of {}: {error}", self.id);
        if transaction_error(&error).is_some_and(|error| error.txn_requires_abort())
            && persistently(|| producer.abort_transaction(REQUEST)).is_ok()
        {
            return match code(&error) {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Answer::Unreadable,
                // What does not change by itself is not tried again for ever.
                Some(
                    RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                    | RDKafkaErrorCode::OffsetMetadataTooLarge,
                ) => Answer::Fatal(self.problem(&error)),
                _ => Answer::Refused(Problem::new(error.to_string(), "")),
            };
        }
        if is_fenced(&error) {
            self.fenced.retain(|before| before.elapsed() < RIVAL);
            self.fenced.push(Instant::now());
            if self.fenced.len() >= RIVAL_TIMES {
                return Answer::Fatal(Problem::new(
                    format!("another process commits under the same `transactional.id` {}", self.id),
                    "stop the other one, or give each process a `kafka.instance` of its own: without one it is called \
                     as its host is, and hosts may have one name",
                ));
            }
            let id = &self.id;
            return self.start_anew(&format!(
                "another process has taken the `transactional.id` {id}, or the brokers gave a slow transaction up"
            ));
        }
        self.start_anew(&error.to_string())
    }

    /// Ends what is under way, whatever that takes: nothing is known before.
    fn start_anew(&mut self, why: &str) -> Answer {
        tracing::warn!("a commit may or may not have been taken ({why}): it is ended, and the group is asked");
        loop {
            match self.begin(None) {
                Ok(_) => return Answer::Unknown(Problem::new(why.to_owned(), "")),
                Err(error) if is_not_allowed(&error) => return Answer::Fatal(self.problem(&error)),
                Err(error) => {
                    tracing::debug!("a new producer for {}: {error}", self.id);
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    fn problem(&self, error: &KafkaError) -> Problem {
        let id = &self.id;
        let without = "or set `delivery: at-least-once`";
        match code(error) {
            Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => Right::TransactionalId(id).missing(),
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Right::Group(&self.group).missing(),
            Some(RDKafkaErrorCode::OffsetMetadataTooLarge) => Problem::new(
                format!(
                    "the brokers at {} take less than {LONGEST} bytes with an offset, which exactly-once needs",
                    self.brokers
                ),
                format!("set their `offset.metadata.max.bytes` to {LONGEST}, as it is by default, {without}"),
            ),
            Some(RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature) => Problem::new(
                format!("the brokers at {} have no transactions, which exactly-once needs", self.brokers),
                format!("use brokers with Kafka's transactions, {without}"),
            ),
            _ => fatal_problem(error)
                .unwrap_or_else(|| client_problem(error, &self.brokers).within(&format!("`transactional.id` {id}"))),
        }
    }
}

/// Tries for as long as the client says that it may.
fn persistently(mut step: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let began = Instant::now();
    loop {
        match step() {
            Err(error)
                if transaction_error(&error).is_some_and(|error| error.is_retriable())
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    transaction_error(error).map(|error| error.code()).or_else(|| error.rdkafka_error_code())
}

fn is_not_allowed(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
        )
    )
}

fn transaction_error(error: &KafkaError) -> Option<&rdkafka::error::RDKafkaError> {
    match error {
        KafkaError::Transaction(error) => Some(error),
        _ => None,
    }
}

fn is_fenced(error: &KafkaError) -> bool {
    transaction_error(error).is_some_and(|error| {
        matches!(
            error.code(),
            RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch
        )
    })
}
