//! The group's member: rebalances, start and end offsets, commits. One thread owns it and polls it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as RdOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::position::{Offset, TopicPartition};
use super::queue::MessageQueue;
use crate::config::{KafkaSettings, StartFrom};
use crate::problem::Problem;

/// How long a request to the brokers may take before it counts as failed.
const REQUEST: Duration = Duration::from_secs(10);
/// How long the brokers may be out of reach at the start.
const CONNECT: Duration = Duration::from_secs(8);

/// What has happened to the group's member.
#[derive(Debug)]
pub enum Event {
    /// The group gives these partitions to this process; answer with [`Consumer::accept`].
    Assigned(Vec<TopicPartition>),
    /// The group takes these back; answer with [`Consumer::give_up`] when no record of theirs is held any more.
    Revoked(Vec<TopicPartition>),
    /// The group has taken these already: nothing of theirs can be committed. Answer with [`Consumer::give_up`].
    Lost(Vec<TopicPartition>),
    /// Nothing works any more before an operator does something.
    Fatal(Problem),
}

/// Where a partition is read from, and where its records end for now.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which partition.
    pub partition: TopicPartition,
    /// The group's committed offset; none: by `start_from`.
    pub committed: Option<Offset>,
}

/// The group's member.
pub struct Consumer {
    client: Arc<BaseConsumer<Context>>,
    start_from: StartFrom,
    brokers: String,
}

/// The queue type of this consumer's workers.
pub type Queue = MessageQueue<Context>;

/// A topic as the brokers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its partitions' numbers.
    pub partitions: Vec<i32>,
}

impl Consumer {
    /// Makes the member, without joining the group yet. `queued` bounds what librdkafka reads ahead, in bytes per
    /// partition.
    ///
    /// # Errors
    /// For a property that librdkafka refuses.
    pub fn new(group: &str, kafka: &KafkaSettings, queued: usize) -> Result<Self, Problem> {
        let mut config = base_config(kafka);
        let kilobytes = (queued / 1024).clamp(64, 2_097_151);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // Where nothing is committed the start is given explicitly: an offset that retention has deleted is an
            // error of its partition, never jumped.
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", kilobytes.to_string())
            .set("queued.min.messages", "100000");
        default(&mut config, kafka, "isolation.level", "read_committed");
        // A partition whose queue was full is looked at again after this; librdkafka's own default is a second.
        default(&mut config, kafka, "fetch.queue.backoff.ms", "5");
        default(&mut config, kafka, "max.partition.fetch.bytes", &(queued / 2).clamp(65_536, 1_048_576).to_string());
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        let client = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|e| client_problem(&e, &kafka.brokers))?;
        Ok(Self { client: Arc::new(client), start_from: kafka.start_from, brokers: kafka.brokers.clone() })
    }

    /// A queue for a worker.
    #[must_use]
    pub fn queue(&self) -> Arc<Queue> {
        Arc::new(MessageQueue::new(Arc::clone(&self.client)))
    }

    /// Joins the group.
    ///
    /// # Errors
    /// When librdkafka refuses the topics' names.
    pub fn subscribe(&self, topics: &[&str]) -> Result<(), Problem> {
        self.client.subscribe(topics).map_err(|e| client_problem(&e, &self.brokers))
    }

    /// Serves the group, waits up to `timeout` for something to happen. Must be called at least every few seconds.
    pub fn poll(&self, timeout: Duration) -> Option<Event> {
        match self.client.poll(timeout) {
            Some(Err(error)) => {
                if let Some(problem) = fatal_problem(&error) {
                    return Some(Event::Fatal(problem));
                }
                tracing::debug!("{error}");
            }
            Some(Ok(message)) => {
                // Cannot be: every partition's queue is forwarded before it is assigned.
                use rdkafka::message::Message;
                let place = format!("{}[{}] at {}", message.topic(), message.partition(), message.offset());
                return Some(Event::Fatal(Problem::new(
                    format!("a record of {place} came by the group's own queue and would be lost"),
                    "this is a bug of rowfall's: please report it",
                )));
            }
            None => {}
        }
        self.client.context().events.lock().expect("no panic while held").pop_front()
    }

    /// The group's committed offsets of these partitions.
    ///
    /// # Errors
    /// When the group's coordinator does not answer.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Start>, Problem> {
        let list = list_of(partitions.iter().map(|p| (p, RdOffset::Invalid)));
        let committed = self.client.committed_offsets(list, REQUEST).map_err(|e| client_problem(&e, &self.brokers))?;
        let start = |p: &TopicPartition| {
            let element = committed.find_partition(&p.topic, p.partition).expect("every partition that was asked for");
            // An offset that could not be read is another thing than one that was never committed.
            element.error().map_err(|e| client_problem(&e, &self.brokers).within(&format!("the offset of {p}")))?;
            let committed = match element.offset() {
                RdOffset::Offset(offset) => Some(Offset(offset)),
                _ => None,
            };
            Ok(Start { partition: p.clone(), committed })
        };
        partitions.iter().map(start).collect()
    }

    /// Whether a partition for which nothing is committed is read from its end.
    #[must_use]
    pub fn starts_at_end(&self) -> bool {
        self.start_from == StartFrom::Latest
    }

    /// Behind the last record of the partition that a reader may see: its last stable offset with `read_committed`.
    ///
    /// # Errors
    /// When the partition's leader does not answer.
    pub fn end(&self, partition: &TopicPartition) -> Result<Offset, Problem> {
        self.client
            .fetch_watermarks(&partition.topic, partition.partition, REQUEST)
            .map(|(_, high)| Offset(high))
            .map_err(|e| client_problem(&e, &self.brokers).within(&format!("the end of {partition}")))
    }

    /// Takes newly assigned partitions and begins to read them.
    ///
    /// # Errors
    /// When librdkafka refuses, which leaves the member without partitions.
    pub fn accept(&self, starts: &[Start]) -> Result<(), Problem> {
        let by_default = match self.start_from {
            StartFrom::Earliest => RdOffset::Beginning,
            StartFrom::Latest => RdOffset::End,
        };
        let list =
            list_of(starts.iter().map(|s| (&s.partition, s.committed.map_or(by_default, |o| RdOffset::Offset(o.0)))));
        // librdkafka remembers over rebalances that a partition was paused.
        self.client.resume(&list).map_err(|e| client_problem(&e, &self.brokers))?;
        let result = match self.client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.client.incremental_assign(&list),
            _ => self.client.assign(&list),
        };
        result.map_err(|e| client_problem(&e, &self.brokers))
    }

    /// Whether a rebalance leaves this member the partitions that it neither takes nor gives.
    #[must_use]
    pub fn keeps_partitions(&self) -> bool {
        matches!(self.client.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    /// Goes on reading at these places. To be called before a rebalance is answered, for every partition that is kept:
    /// librdkafka pauses them meanwhile and then goes on behind what it handed over last, but counts the end of a
    /// partition, handed over in a batch of messages, as if it were a record (`rd_kafka_q_serve_rkmessages`, up to
    /// 2.12.1 at least): the record that comes there would be jumped.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn go_on_at(&self, places: &[(TopicPartition, Offset)]) -> Result<(), Problem> {
        if places.is_empty() {
            return Ok(());
        }
        let sought = self.client.seek_partitions(offsets_list(places), REQUEST);
        let sought = sought.map_err(|e| client_problem(&e, &self.brokers))?;
        for element in sought.elements() {
            let code = element.error().err().and_then(|e| e.rdkafka_error_code());
            // Not begun yet, or ending: it is read from the place that it is assigned with.
            if code.is_some_and(|c| !matches!(c, RDKafkaErrorCode::State | RDKafkaErrorCode::PreviousInProgress)) {
                let place = format!("{}[{}]", element.topic(), element.partition());
                return Err(Problem::new(format!("cannot go on reading {place}: {code:?}"), ""));
            }
        }
        Ok(())
    }

    /// Gives partitions back to the group.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn give_up(&self, partitions: &[TopicPartition]) -> Result<(), Problem> {
        let result = match self.client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.client.incremental_unassign(&list_of(partitions.iter().map(|p| (p, RdOffset::Invalid))))
            }
            _ => self.client.unassign(),
        };
        result.map_err(|e| client_problem(&e, &self.brokers))
    }

    /// Stops fetching these, without giving them up.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        let list = list_of(partitions.iter().map(|p| (p, RdOffset::Invalid)));
        if let Err(error) = self.client.pause(&list) {
            tracing::warn!("cannot pause: {error}");
        }
    }

    /// Commits to the group and hears its answer, on a thread of its own: it may not come unless the group is served
    /// meanwhile. Not librdkafka's asynchronous commit: with `rdkafka` nobody is told what became of that.
    #[must_use]
    pub fn commit_while_served(&self, offsets: &[(TopicPartition, Offset)]) -> Receiver<Result<(), Problem>> {
        let list = offsets_list(offsets);
        let (client, brokers) = (Arc::clone(&self.client), self.brokers.clone());
        let (done, answer) = channel();
        std::thread::spawn(move || {
            // Whoever asked may have given up waiting.
            let _ = done.send(client.commit(&list, CommitMode::Sync).map_err(|e| client_problem(&e, &brokers)));
        });
        answer
    }

    /// Behind the partition's newest record, as the last fetch told; no request is made.
    #[must_use]
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        super::queue::high_watermark(&self.client, partition)
    }

    /// Leaves the group. Rebalances that come on the way are answered at once.
    pub fn leave(self) {
        self.client.context().leaving.store(true, Ordering::Release);
        // Dropping the last reference closes the consumer.
    }
}

/// Asks the brokers for these topics.
///
/// # Errors
/// When no broker answers, or a topic does not exist: names both.
pub fn describe_topics(kafka: &KafkaSettings, topics: &[&str]) -> Result<Vec<TopicInfo>, Problem> {
    let client = plain_client(kafka)?;
    let metadata = client.fetch_metadata(None, CONNECT).map_err(|e| {
        // What went wrong on the way waits in the client's queue.
        while client.poll(Duration::from_millis(10)).is_some() {}
        let last = client.context().last_error.lock().expect("no panic while held").clone();
        let problem = client_problem(&e, &kafka.brokers);
        Problem {
            what: last.map_or(problem.what, |last| format!("cannot reach Kafka at {}: {last}", kafka.brokers)),
            ..problem
        }
    })?;
    let known: BTreeMap<&str, Vec<i32>> =
        metadata.topics().iter().map(|t| (t.name(), t.partitions().iter().map(|p| p.id()).collect())).collect();
    topics
        .iter()
        .map(|topic| match known.get(topic) {
            Some(partitions) if !partitions.is_empty() => {
                Ok(TopicInfo { name: (*topic).to_owned(), partitions: partitions.clone() })
            }
            _ => {
                let near = nearest(topic, known.keys().copied());
                let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}`? otherwise "));
                Err(Problem::new(
                    format!("topic {topic} does not exist at {}, or this user may not see it", kafka.brokers),
                    format!("{hint}create the topic, or grant DESCRIBE and READ on it"),
                ))
            }
        })
        .collect()
}

/// Up to `limit` values from the partitions' beginnings, read without a group; stops at their ends.
///
/// # Errors
/// When a partition cannot be read.
pub fn sample(kafka: &KafkaSettings, topic: &TopicInfo, limit: usize) -> Result<Vec<Vec<u8>>, Problem> {
    use rdkafka::message::Message;
    let client = plain_client(kafka)?;
    let partitions = topic.partitions.iter();
    let partitions: Vec<_> =
        partitions.map(|p| TopicPartition { topic: topic.name.as_str().into(), partition: *p }).collect();
    client
        .assign(&list_of(partitions.iter().map(|p| (p, RdOffset::Beginning))))
        .map_err(|e| client_problem(&e, &kafka.brokers))?;
    let (mut values, mut ended) = (Vec::new(), 0);
    let deadline = Instant::now() + REQUEST;
    while values.len() < limit && ended < partitions.len() && Instant::now() < deadline {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => values.extend(message.payload().map(<[u8]>::to_vec)),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => {
                if let Some(problem) = fatal_problem(&error) {
                    return Err(problem);
                }
            }
            None => {}
        }
    }
    Ok(values)
}

/// What an error on a partition means: `None` while librdkafka goes on trying by itself.
#[must_use]
pub fn partition_problem(code: RDKafkaErrorCode, text: &str) -> Option<Problem> {
    match code {
        RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset => Some(Problem::new(
            format!("the next offset is no longer in the topic, records were deleted before they were read: {text}"),
            "raise the topic's retention, then say where to go on: kafka-consumer-groups --reset-offsets",
        )),
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            Some(Problem::new("not allowed to read the topic", "grant READ on the topic to this user"))
        }
        RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression => Some(Problem::new(
            format!("the broker's data cannot be read: {text}"),
            "look at the broker's log and its disk; the batch in the topic is damaged",
        )),
        _ => None,
    }
}

fn fatal_problem(error: &KafkaError) -> Option<Problem> {
    match error.rdkafka_error_code()? {
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            Some(Problem::new("not allowed to use the consumer group", "grant READ on the group to this user"))
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            Some(Problem::new("not allowed to read a topic", "grant READ on the topic to this user"))
        }
        RDKafkaErrorCode::Authentication => Some(Problem::new(
            format!("Kafka refuses the credentials: {error}"),
            "see `kafka.properties`: sasl.username, sasl.password, sasl.mechanisms, security.protocol",
        )),
        RDKafkaErrorCode::Fatal => Some(Problem::new(error.to_string(), "")),
        _ => None,
    }
}

fn client_problem(error: &KafkaError, brokers: &str) -> Problem {
    if let Some(problem) = fatal_problem(error) {
        return problem;
    }
    match error {
        KafkaError::ClientConfig(_, what, name, _) => {
            Problem::new(format!("kafka.properties: {name}: {what}"), "see librdkafka's CONFIGURATION.md for its names")
        }
        _ => Problem::new(
            format!("cannot reach Kafka at {brokers}: {error}"),
            "see whether the brokers run there and `kafka.brokers` names them",
        ),
    }
}

fn base_config(kafka: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("client.id", "rowfall").set_log_level(RDKafkaLogLevel::Info);
    default(&mut config, kafka, "socket.keepalive.enable", "true");
    default(&mut config, kafka, "reconnect.backoff.max.ms", "2000");
    config
}

fn default(config: &mut ClientConfig, kafka: &KafkaSettings, name: &str, value: &str) {
    if !kafka.properties.contains_key(name) {
        config.set(name, value);
    }
}

/// A client that is no member of any group.
fn plain_client(kafka: &KafkaSettings) -> Result<BaseConsumer<Context>, Problem> {
    let mut config = base_config(kafka);
    // librdkafka assigns partitions only to a client that names a group; nothing is ever asked of this one.
    config.set("group.id", "rowfall-sample").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("isolation.level", "read_committed");
    for (name, value) in kafka.properties.iter().filter(|(name, _)| !name.starts_with("group.")) {
        config.set(name, value);
    }
    BaseConsumer::from_config_and_context(&config, Context { leaving: AtomicBool::new(true), ..Context::default() })
        .map_err(|e| client_problem(&e, &kafka.brokers))
}

fn list_of<'p>(partitions: impl Iterator<Item = (&'p TopicPartition, RdOffset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        list.add_partition_offset(&partition.topic, partition.partition, offset).expect("an offset that can be set");
    }
    list
}

fn offsets_list(offsets: &[(TopicPartition, Offset)]) -> TopicPartitionList {
    list_of(offsets.iter().map(|(partition, offset)| (partition, RdOffset::Offset(offset.0))))
}

fn nearest<'k>(wanted: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= 1 + wanted.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// Collects what librdkafka calls back with, for [`Consumer::poll`] to return.
#[derive(Default)]
pub struct Context {
    events: Mutex<std::collections::VecDeque<Event>>,
    leaving: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::debug!(target: "librdkafka", "{facility}: {message}");
            }
            _ => tracing::trace!(target: "librdkafka", "{facility}: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let text = reason.split_once("]: ").map_or(reason, |(_, text)| text).to_owned();
        let mut last = self.last_error.lock().expect("no panic while held");
        if last.as_deref() != Some(text.as_str()) {
            tracing::debug!(target: "librdkafka", "{error}: {reason}");
        }
        // "All brokers down" follows the error that tells why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) || last.is_none() {
            *last = Some(text);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = || -> Vec<_> {
            let elements = list.elements();
            elements.iter().map(|e| TopicPartition { topic: e.topic().into(), partition: e.partition() }).collect()
        };
        if self.leaving.load(Ordering::Acquire) {
            let result = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = result {
                tracing::debug!("while leaving: {error}");
            }
            return;
        }
        let event = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assigned(partitions()),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if consumer.assignment_lost() => {
                Event::Lost(partitions())
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Event::Revoked(partitions()),
            _ => {
                tracing::warn!("rebalance failed: {}", RDKafkaErrorCode::from(error));
                Event::Lost(partitions())
            }
        };
        self.events.lock().expect("no panic while held").push_back(event);
    }
}
