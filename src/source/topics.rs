//! Topics as the brokers know them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::Offset as RdOffset;
use rdkafka::types::RDKafkaErrorCode;

use super::consumer::{Context, REQUEST, client_problem, fatal_problem, list_of, plain_client};
use super::position::{Offset, TopicPartition};
use super::queue::requests;
use super::rights::Right;
use super::start::TopicId;
use crate::config::{KafkaSettings, Routes};
use crate::decode::Record;
use crate::problem::Problem;

/// How long the brokers may be out of reach at the start.
const CONNECT: Duration = Duration::from_secs(8);

/// A topic as the brokers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id; `None` from brokers that know none.
    pub id: Option<TopicId>,
    /// Its partitions' numbers.
    pub partitions: Vec<i32>,
}

impl TopicInfo {
    /// Its partitions.
    pub fn each_partition(&self) -> impl Iterator<Item = TopicPartition> {
        self.partitions.iter().map(|p| TopicPartition { topic: self.name.as_str().into(), partition: *p })
    }
}

/// Asks the brokers for the topics that the routes take, in the routes' order.
///
/// # Errors
/// When no broker answers, or a topic that is called by its name does not exist: names both.
pub fn find(kafka: &KafkaSettings, routes: &Routes) -> Result<Vec<TopicInfo>, Problem> {
    let client = plain_client(kafka)?;
    let all = names(&client, CONNECT).map_err(|e| {
        // What went wrong on the way waits in the client's queue.
        while client.poll(Duration::from_millis(10)).is_some() {}
        let last = client.context().last_error();
        let problem = client_problem(&e, &kafka.brokers);
        Problem {
            what: last.map_or(problem.what, |last| format!("cannot reach Kafka at {}: {last}", kafka.brokers)),
            ..problem
        }
    })?;
    let missing = |name: &str| {
        let near = nearest(name, all.iter().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}`? otherwise "));
        Problem::new(
            format!("topic {name} does not exist at {}, or this user may not see it", kafka.brokers),
            format!("{hint}create the topic, or grant DESCRIBE and READ on it"),
        )
    };
    let wanted = matching(&all, routes);
    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    let mut known = describe(&client, &wanted).map_err(|e| client_problem(&e, &kafka.brokers))?;
    if let Some(name) = routes.names().find(|name| !known.contains_key(*name)) {
        return Err(missing(name));
    }
    let named: Vec<_> = routes.names().collect();
    if let Some(name) = unreadable(&client, &named).first() {
        return Err(Right::Topic(name).missing());
    }
    Ok(wanted.iter().filter_map(|name| known.remove(*name)).collect())
}

/// The names of all topics that the user may see.
pub(super) fn names(client: &BaseConsumer<Context>, timeout: Duration) -> Result<BTreeSet<String>, KafkaError> {
    let metadata = client.fetch_metadata(None, timeout)?;
    // A topic without partitions is on its way in or out.
    let there = metadata.topics().iter().filter(|topic| !topic.partitions().is_empty());
    Ok(there.map(|topic| topic.name().to_owned()).collect())
}

/// Those of `all` that the routes take, in the routes' order.
pub(super) fn matching(all: &BTreeSet<String>, routes: &Routes) -> Vec<String> {
    // Each topic is asked about once: there may be many, and many patterns.
    let mut by_key: HashMap<&str, Vec<String>> = HashMap::new();
    for name in all.iter().filter(|_| routes.have_patterns()) {
        if let Some(rule) = routes.rule(name) {
            by_key.entry(&rule.key).or_default().push(name.clone());
        }
    }
    let mut found = Vec::new();
    for rule in routes.rules() {
        if rule.is_pattern() {
            found.extend(by_key.remove(rule.key.as_str()).unwrap_or_default());
        } else {
            found.extend(rule.names().iter().filter(|name| all.contains(*name)).cloned());
        }
    }
    found
}

/// Those of these topics that this user may not read, as far as the brokers tell.
pub(super) fn unreadable(client: &BaseConsumer<Context>, names: &[&str]) -> Vec<String> {
    match requests::describe_topics(client, names, true, REQUEST) {
        Ok(topics) => topics.into_iter().filter(|t| t.may_read == Some(false)).map(|t| t.name).collect(),
        Err(error) => {
            tracing::debug!("what this user may read is not known: {error}");
            Vec::new()
        }
    }
}

/// These topics; those that do not exist, or that the user may not see, are left out.
pub(super) fn describe(
    client: &BaseConsumer<Context>,
    names: &[&str],
) -> Result<BTreeMap<String, TopicInfo>, KafkaError> {
    let described = requests::describe_topics(client, names, false, REQUEST).map_err(KafkaError::AdminOp)?;
    let mut topics = BTreeMap::new();
    for topic in described {
        match topic.partitions {
            Ok(mut partitions) => {
                partitions.sort_unstable();
                let id = topic.id.as_deref().map(TopicId::new);
                topics.insert(topic.name.clone(), TopicInfo { name: topic.name, id, partitions });
            }
            Err(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => {}
            Err(code) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(topics)
}

/// What some records of a topic hold.
#[derive(Debug, Default)]
pub struct Sample(Vec<SampleRecord>);

impl Sample {
    /// Of these records.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r SampleRecord>) -> Self {
        Self(records.into_iter().cloned().collect())
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.0.iter().map(SampleRecord::as_record)
    }

    /// How many of them have a value.
    #[must_use]
    pub fn values(&self) -> usize {
        self.0.iter().filter(|record| record.value.is_some()).count()
    }
}

/// A record that was read to be looked at.
#[derive(Clone, Debug)]
pub struct SampleRecord {
    /// Its place: partition and offset.
    pub place: (i32, i64),
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl SampleRecord {
    fn new(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            place: (message.partition(), message.offset()),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect(),
        }
    }

    /// The same as a record, of no topic.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        Record {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
            topic: "",
            partition: self.place.0,
            offset: self.place.1,
            era: 0,
        }
    }
}

/// Records with up to `limit` values from the partitions' beginnings, read without a group; stops at their ends.
///
/// # Errors
/// When a partition cannot be read.
pub fn first(kafka: &KafkaSettings, topic: &TopicInfo, limit: usize) -> Result<Vec<SampleRecord>, Problem> {
    read_at(kafka, topic.each_partition().map(|partition| (partition, RdOffset::Beginning)).collect(), limit)
}

/// The same from this record of a partition on.
///
/// # Errors
/// As [`first`].
pub fn from(
    kafka: &KafkaSettings,
    partition: TopicPartition,
    offset: Offset,
    limit: usize,
) -> Result<Vec<SampleRecord>, Problem> {
    read_at(kafka, vec![(partition, RdOffset::Offset(offset.0))], limit)
}

fn read_at(
    kafka: &KafkaSettings,
    places: Vec<(TopicPartition, RdOffset)>,
    limit: usize,
) -> Result<Vec<SampleRecord>, Problem> {
    let client = plain_client(kafka)?;
    let list = list_of(places.iter().map(|(partition, offset)| (partition, *offset)));
    client.assign(&list).map_err(|e| client_problem(&e, &kafka.brokers))?;
    let (mut records, mut values, mut ended) = (Vec::new(), 0, 0);
    let deadline = Instant::now() + REQUEST;
    while values < limit && ended < places.len() && Instant::now() < deadline {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let record = SampleRecord::new(&message);
                values += usize::from(record.value.is_some());
                records.push(record);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => {
                if let Some(problem) = fatal_problem(&error) {
                    return Err(problem);
                }
            }
            None => {}
        }
    }
    Ok(records)
}

/// Asks about topics on a thread of its own, by the group's own client, for as long as there is one.
pub struct Scout {
    client: std::sync::Weak<BaseConsumer<Context>>,
    brokers: String,
}

impl Scout {
    pub(super) fn new(client: &std::sync::Arc<BaseConsumer<Context>>, brokers: &str) -> Self {
        Self { client: std::sync::Arc::downgrade(client), brokers: brokers.to_owned() }
    }

    /// The topics of these names that exist, and all that the routes' patterns take. `None` once the group is left.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub fn look<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        routes: &Routes,
    ) -> Option<Result<BTreeMap<String, TopicInfo>, Problem>> {
        let client = self.client.upgrade()?;
        let ask = || {
            let mut wanted: BTreeSet<_> = names.map(str::to_owned).collect();
            if routes.have_patterns() {
                wanted.extend(matching(&self::names(&client, REQUEST)?, routes));
            }
            describe(&client, &wanted.iter().map(String::as_str).collect::<Vec<_>>())
        };
        Some(ask().map_err(|e| client_problem(&e, &self.brokers)))
    }

    /// Why no broker answers, if librdkafka says that none is connected any more and it is so. `topic` is one to ask
    /// about.
    #[must_use]
    pub fn outage(&self, topic: &str) -> Option<String> {
        let client = self.client.upgrade()?;
        let context = client.context();
        if !context.down.load(Ordering::Relaxed) {
            return None;
        }
        match requests::describe_topics(&client, &[topic], false, Duration::from_secs(2)) {
            Ok(_) => {
                context.down.store(false, Ordering::Relaxed);
                None
            }
            Err(error) => Some(context.last_error().unwrap_or_else(|| error.to_string())),
        }
    }
}

fn nearest<'k>(wanted: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, _)| *distance <= 1 + wanted.len() / 4)
        .min()
        .map(|(_, name)| name)
}
