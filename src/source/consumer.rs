//! The group's member: rebalances, start and end offsets, commits. One thread owns it and polls it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as RdOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::position::{Offset, TopicPartition};
use super::queue::{MessageQueue, requests};
use super::rights::Right;
use super::start::Committed;
use super::topics::Scout;
use super::transactions::Transactions;
use crate::config::KafkaSettings;
use crate::problem::Problem;

/// How long a request to the brokers may take before it counts as failed.
pub(super) const REQUEST: Duration = Duration::from_secs(10);

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

/// The group's member.
pub struct Consumer {
    client: Arc<BaseConsumer<Context>>,
    brokers: String,
    group: String,
}

/// Where a partition is to be read from.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which partition.
    pub partition: TopicPartition,
    /// At this offset; none: at its oldest record, whichever that is when it is asked for.
    pub from: Option<Offset>,
    /// Whether it is read. It is taken from the group in any case.
    pub read: bool,
}

/// An offset to be committed.
#[derive(Clone, Debug)]
pub struct Due {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Everything before it is in the database.
    pub offset: Offset,
    /// What the group is to remember with it.
    pub metadata: String,
}

/// A commit that is under way.
pub struct Commit(Way);

enum Way {
    /// By the group's member alone.
    Plain {
        /// An error when it was not sent.
        request: Result<requests::Commit, Problem>,
        brokers: String,
    },
    Transaction(Receiver<Answer>),
}

/// What the group said to a commit.
#[derive(Clone, Debug)]
pub enum Answer {
    /// All offsets are taken but these, each with the reason.
    Taken(Vec<(TopicPartition, RDKafkaErrorCode)>),
    /// None is.
    Refused(Problem),
    /// None is, as some of the topics may not be read.
    Unreadable,
    /// In a transaction: all are, or none is. That is over; the group has to be asked which.
    Unknown(Problem),
    /// In a transaction: none can be any more.
    Fatal(Problem),
}

impl Commit {
    /// The group's answer, if it comes in this time. It comes once, and it may not come unless the group is served.
    #[must_use]
    pub fn answer(&self, timeout: Duration) -> Option<Answer> {
        match &self.0 {
            Way::Plain { request: Err(problem), .. } => Some(Answer::Refused(problem.clone())),
            Way::Plain { request: Ok(request), brokers } => Some(match request.answer(timeout)? {
                Ok(refused) => Answer::Taken(refused),
                Err(code) => Answer::Refused(client_problem(&KafkaError::ConsumerCommit(code), brokers)),
            }),
            Way::Transaction(answer) => match answer.recv_timeout(timeout) {
                Ok(answer) => Some(answer),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Answer::Fatal(Problem::new(
                    "the committer has ended",
                    "this is a bug of rowfall's: please report it",
                ))),
            },
        }
    }
}

/// The queue type of this consumer's workers.
pub type Queue = MessageQueue<Context>;

impl Consumer {
    /// Makes the member, without joining the group yet. `queued` bounds what librdkafka reads ahead, in bytes per
    /// partition. `tells_ends`: whether its queues tell where partitions end, which whoever reads on does without: see
    /// [`Self::go_on_at`].
    ///
    /// # Errors
    /// For a property that librdkafka refuses.
    pub fn new(group: &str, kafka: &KafkaSettings, queued: usize, tells_ends: bool) -> Result<Self, Problem> {
        let mut config = base_config(kafka);
        let kilobytes = (queued / 1024).clamp(64, 2_097_151);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", if tells_ends { "true" } else { "false" })
            // Where nothing is committed the start is given explicitly: an offset that retention has deleted is an
            // error of its partition, never jumped.
            .set("auto.offset.reset", "error")
            .set("queued.max.messages.kbytes", kilobytes.to_string())
            .set("queued.min.messages", "100000");
        // New partitions and topics are seen after this; librdkafka's own default is five minutes.
        default(&mut config, kafka, TOPICS_EVERY, &DEFAULT_TOPICS_EVERY.as_millis().to_string());
        for (name, value) in [("group.instance.id", &kafka.instance), ("client.rack", &kafka.rack)] {
            if let Some(value) = value {
                config.set(name, value);
            }
        }
        default(&mut config, kafka, "isolation.level", "read_committed");
        // A partition whose queue was full is looked at again after this; librdkafka's own default is a second.
        default(&mut config, kafka, "fetch.queue.backoff.ms", "5");
        default(&mut config, kafka, "max.partition.fetch.bytes", &(queued / 2).clamp(65_536, 1_048_576).to_string());
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        let client = BaseConsumer::from_config_and_context(&config, Context::default())
            .map_err(|e| client_problem(&e, &kafka.brokers))?;
        Ok(Self { client: Arc::new(client), brokers: kafka.brokers.clone(), group: group.to_owned() })
    }

    /// The group's name.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// A queue for a worker.
    #[must_use]
    pub fn queue(&self) -> Arc<Queue> {
        Arc::new(MessageQueue::new(Arc::clone(&self.client)))
    }

    /// Whoever asks about topics meanwhile.
    #[must_use]
    pub fn scout(&self) -> Scout {
        Scout::new(&self.client, &self.brokers)
    }

    /// Fails when some process is in the group, whose offsets are nobody else's to set.
    ///
    /// # Errors
    /// Then, and when the group's coordinator does not answer.
    pub fn refuse_members(&self) -> Result<(), Problem> {
        let groups = self.client.client().fetch_group_list(Some(&self.group), REQUEST);
        let groups = groups.map_err(|e| self.problem(&e))?;
        match groups.groups().iter().find(|group| group.name() == self.group) {
            Some(group) if !group.members().is_empty() => Err(Problem::new(
                format!("group {} has {} members", self.group, group.members().len()),
                "stop all processes of the pipeline first, and wait until their sessions are over",
            )),
            _ => Ok(()),
        }
    }

    /// Joins the group, or tells it that these are the topics from now on. The partitions of topics that are left out
    /// are revoked.
    ///
    /// # Errors
    /// When librdkafka refuses the topics' names.
    pub fn subscribe(&self, topics: &[&str]) -> Result<(), Problem> {
        if topics.is_empty() {
            self.client.unsubscribe();
            return Ok(());
        }
        self.client.subscribe(topics).map_err(|e| client_problem(&e, &self.brokers))
    }

    /// Serves the group, waits up to `timeout` for something to happen. Must be called at least every few seconds.
    pub fn poll(&self, timeout: Duration) -> Option<Event> {
        match self.client.poll(timeout) {
            Some(Err(error)) => {
                if let Some(problem) = self.fenced() {
                    return Some(Event::Fatal(problem));
                }
                if fatal_problem(&error).is_some() {
                    return Some(Event::Fatal(self.problem(&error)));
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

    /// What the group has committed of these partitions.
    ///
    /// # Errors
    /// When the group's coordinator does not answer.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>, Problem> {
        let list = list_of(partitions.iter().map(|p| (p, RdOffset::Invalid)));
        let list = self.client.committed_offsets(list, REQUEST).map_err(|e| self.problem(&e))?;
        let committed = |p: &TopicPartition| {
            let element = list.find_partition(&p.topic, p.partition).expect("every partition that was asked for");
            // An offset that could not be read is another thing than one that was never committed.
            element.error().map_err(|e| self.problem(&e).within(&format!("the offset of {p}")))?;
            let RdOffset::Offset(offset) = element.offset() else { return Ok(None) };
            let metadata = requests::committed_metadata(&list, &p.topic, p.partition);
            Ok(Some(Committed::read(Offset(offset), &metadata.unwrap_or_default())))
        };
        partitions.iter().map(committed).collect()
    }

    /// The partition's oldest record, and behind the last one that a reader may see: the last stable offset with
    /// `read_committed`.
    ///
    /// # Errors
    /// When the partition's leader does not answer.
    pub fn range(&self, partition: &TopicPartition) -> Result<(Offset, Offset), Problem> {
        self.client
            .fetch_watermarks(&partition.topic, partition.partition, REQUEST)
            .map(|(low, high)| (Offset(low), Offset(high)))
            .map_err(|e| client_problem(&e, &self.brokers).within(&format!("the ends of {partition}")))
    }

    /// The partition's first record that is not older than this; `None` when all are.
    ///
    /// # Errors
    /// When the partition's leader does not answer.
    pub fn first_since(&self, partition: &TopicPartition, time: jiff::Timestamp) -> Result<Option<Offset>, Problem> {
        let list = list_of(std::iter::once((partition, RdOffset::Offset(time.as_millisecond()))));
        let failed = |e: KafkaError| client_problem(&e, &self.brokers).within(&format!("a time in {partition}"));
        let found = self.client.offsets_for_times(list, REQUEST).map_err(failed)?;
        let element = found.find_partition(&partition.topic, partition.partition).expect("asked for");
        element.error().map_err(failed)?;
        Ok(match element.offset() {
            RdOffset::Offset(offset) => Some(Offset(offset)),
            _ => None,
        })
    }

    /// These topics as they are now; those that do not exist are left out.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn describe(
        &self,
        topics: &[&str],
    ) -> Result<std::collections::BTreeMap<String, super::topics::TopicInfo>, Problem> {
        super::topics::describe(&self.client, topics).map_err(|e| client_problem(&e, &self.brokers))
    }

    /// Takes newly assigned partitions and begins to read them. Their queues must be forwarded already.
    ///
    /// # Errors
    /// When librdkafka refuses, which leaves the member without partitions.
    pub fn accept(&self, starts: &[Start]) -> Result<(), Problem> {
        let from = |s: &Start| s.from.map_or(RdOffset::Beginning, |o| RdOffset::Offset(o.0));
        let list = list_of(starts.iter().map(|s| (&s.partition, from(s))));
        // librdkafka remembers over rebalances that a partition was paused.
        self.client.resume(&list).map_err(|e| client_problem(&e, &self.brokers))?;
        let unread: Vec<_> = starts.iter().filter(|s| !s.read).map(|s| s.partition.clone()).collect();
        self.pause(&unread);
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
    /// 2.12.1 at least): the record that comes there would be jumped. It also takes that place to be of leader epoch 0, and
    /// a log that has another one by now to be truncated. A queue that is served meanwhile, by a worker that the system
    /// held up, does that still: whoever need not know of ends is not told of them.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn go_on_at(&self, places: &[(TopicPartition, Offset)]) -> Result<(), Problem> {
        let places = places.iter().map(|(partition, offset)| (partition, RdOffset::Offset(offset.0)));
        // Those that have not begun yet, or end, are read from the place that they are assigned with.
        self.seek(list_of(places)).map(drop)
    }

    /// Has the next records of these partitions, which are paused, be those from these places on; none: from the oldest.
    /// Answers those which librdkafka has not begun to serve yet: ask again soon.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn move_to(&self, places: &[(TopicPartition, Option<Offset>)]) -> Result<Vec<TopicPartition>, Problem> {
        let offset = |from: &Option<Offset>| from.map_or(RdOffset::Beginning, |o| RdOffset::Offset(o.0));
        self.seek(list_of(places.iter().map(|(partition, from)| (partition, offset(from)))))
    }

    /// Begins to fetch partitions that are paused, from these places, where they are.
    ///
    /// # Errors
    /// When librdkafka refuses.
    pub fn unpause(&self, places: &[(TopicPartition, Option<Offset>)]) -> Result<(), Problem> {
        let list = list_of(places.iter().map(|(partition, _)| (partition, RdOffset::Invalid)));
        self.client.resume(&list).map_err(|e| client_problem(&e, &self.brokers))?;
        // A thread that had nothing to fetch sleeps for up to a second; a seek wakes it up, and nothing else does.
        self.move_to(places).map(drop)
    }

    /// Answers the partitions that have not begun yet, or end.
    fn seek(&self, places: TopicPartitionList) -> Result<Vec<TopicPartition>, Problem> {
        if places.count() == 0 {
            return Ok(Vec::new());
        }
        let sought = self.client.seek_partitions(places, REQUEST);
        let sought = sought.map_err(|e| client_problem(&e, &self.brokers))?;
        let mut not_begun = Vec::new();
        for element in sought.elements() {
            let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            match element.error().err().and_then(|e| e.rdkafka_error_code()) {
                None => {}
                Some(RDKafkaErrorCode::State | RDKafkaErrorCode::PreviousInProgress) => not_begun.push(partition),
                Some(code) => return Err(Problem::new(format!("cannot go on reading {partition}: {code:?}"), "")),
            }
        }
        Ok(not_begun)
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
        if partitions.is_empty() {
            return;
        }
        let list = list_of(partitions.iter().map(|p| (p, RdOffset::Invalid)));
        if let Err(error) = self.client.pause(&list) {
            tracing::warn!("cannot pause: {error}");
        }
    }

    /// Commits to the group, in a transaction where there are such. Not librdkafka's blocking commit: the group has to be
    /// served meanwhile, or it may not answer. Not its asynchronous one: with `rdkafka` nobody is told what became of that,
    /// nor which partition it was.
    #[must_use]
    pub fn commit(&self, offsets: &[Due], transactions: Option<&Transactions>) -> Commit {
        let mut list = TopicPartitionList::new();
        for Due { partition, offset, metadata } in offsets {
            let mut element = list.add_partition(&partition.topic, partition.partition);
            element.set_offset(RdOffset::Offset(offset.0)).expect("an offset that can be set");
            element.set_metadata(metadata);
        }
        if let Some(transactions) = transactions {
            let group = self.client.group_metadata().expect("it is in a group");
            return Commit(Way::Transaction(transactions.commit(list, group)));
        }
        let request = requests::commit(&self.client, &list);
        let request = request.map_err(|code| client_problem(&KafkaError::ConsumerCommit(code), &self.brokers));
        Commit(Way::Plain { request, brokers: self.brokers.clone() })
    }

    /// Fails when this user may not use the group, as far as the brokers tell.
    ///
    /// # Errors
    /// Then.
    pub fn refuse_without_right(&self) -> Result<(), Problem> {
        match requests::may_read_group(&self.client, &self.group, REQUEST) {
            Ok(Some(false)) => Err(Right::Group(&self.group).missing()),
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!("what this user may do with the group is not known: {error}");
                Ok(())
            }
        }
    }

    /// Those of these topics that this user may not read, as far as the brokers tell.
    #[must_use]
    pub fn unreadable(&self, topics: &[&str]) -> Vec<String> {
        super::topics::unreadable(&self.client, topics)
    }

    fn problem(&self, error: &KafkaError) -> Problem {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Right::Group(&self.group).missing(),
            _ => client_problem(error, &self.brokers),
        }
    }

    /// Another process has taken this one's place in the group.
    fn fenced(&self) -> Option<Problem> {
        let (code, text) = self.client.client().fatal_error()?;
        Some(match code {
            RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::UnreleasedInstanceId => Problem::new(
                format!("another process is in the group {} under the same `kafka.instance`", self.group),
                "give each process a `kafka.instance` of its own, or stop the other one; one that was killed is in the group until its session is over",
            ),
            _ => Problem::new(text, ""),
        })
    }

    /// Behind the partition's newest record, as the last fetch told; no request is made.
    #[must_use]
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        super::queue::high_watermark(&self.client, partition)
    }

    /// Leaves the group, and waits at most this long until the group knows. Rebalances that come on the way are answered at
    /// once.
    pub fn leave(&self, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        self.client.context().leaving.store(true, Ordering::Release);
        // Not by dropping the client: a request about topics may hold it for some time yet.
        if let Err(error) = self.client.close_queue() {
            tracing::debug!("the group is not left: {error}");
            return;
        }
        while !self.client.closed() && Instant::now() < deadline {
            _ = self.client.poll(Duration::from_millis(10));
        }
    }
}

/// How often metadata are asked for.
const TOPICS_EVERY: &str = "topic.metadata.refresh.interval.ms";
const DEFAULT_TOPICS_EVERY: Duration = Duration::from_secs(30);

/// How often to look for new topics and partitions; `None` for never.
#[must_use]
pub fn topics_every(kafka: &KafkaSettings) -> Option<Duration> {
    match kafka.properties.get(TOPICS_EVERY) {
        None => Some(DEFAULT_TOPICS_EVERY),
        // librdkafka takes -1 for never, and refuses what is no number.
        Some(millis) => millis.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis),
    }
}

/// Whether the error says that the place that was read from is not in the partition.
#[must_use]
pub fn is_out_of_range(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset)
}

/// What an error on a partition means: `None` while librdkafka goes on trying by itself.
#[must_use]
pub fn partition_problem(code: RDKafkaErrorCode, topic: &str, text: &str) -> Option<Problem> {
    match code {
        code if is_out_of_range(code) => Some(Problem::new(
            format!("the next offset is no longer in the topic, records were deleted before they were read: {text}"),
            "raise the topic's retention, then say where to go on: kafka-consumer-groups --reset-offsets",
        )),
        RDKafkaErrorCode::TopicAuthorizationFailed => Some(Right::Topic(topic).missing()),
        RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::BadCompression => Some(Problem::new(
            format!("the broker's data cannot be read: {text}"),
            "look at the broker's log and its disk; the batch in the topic is damaged",
        )),
        _ => None,
    }
}

pub(super) fn fatal_problem(error: &KafkaError) -> Option<Problem> {
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

pub(super) fn client_problem(error: &KafkaError, brokers: &str) -> Problem {
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

pub(super) fn base_config(kafka: &KafkaSettings) -> ClientConfig {
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
pub(super) fn plain_client(kafka: &KafkaSettings) -> Result<BaseConsumer<Context>, Problem> {
    let mut config = base_config(kafka);
    // librdkafka assigns partitions only to a client that names a group; nothing is ever asked of this one.
    config.set("group.id", "rowfall-sample").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("isolation.level", "read_committed");
    config.set("auto.offset.reset", "error");
    if let Some(rack) = &kafka.rack {
        config.set("client.rack", rack);
    }
    for (name, value) in kafka.properties.iter().filter(|(name, _)| !name.starts_with("group.")) {
        config.set(name, value);
    }
    BaseConsumer::from_config_and_context(&config, Context { leaving: AtomicBool::new(true), ..Context::default() })
        .map_err(|e| client_problem(&e, &kafka.brokers))
}

pub(super) fn list_of<'p>(partitions: impl Iterator<Item = (&'p TopicPartition, RdOffset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in partitions {
        list.add_partition_offset(&partition.topic, partition.partition, offset).expect("an offset that can be set");
    }
    list
}

/// Collects what librdkafka calls back with, for [`Consumer::poll`] to return.
#[derive(Default)]
pub struct Context {
    events: Mutex<std::collections::VecDeque<Event>>,
    leaving: AtomicBool,
    /// librdkafka says that no broker is connected; whoever sees that one answers takes it back.
    pub(super) down: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Context {
    /// What went wrong last between here and the brokers.
    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().expect("no panic while held").clone()
    }
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
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.down.store(true, Ordering::Relaxed);
        }
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
