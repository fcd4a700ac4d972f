//! Requests that `rdkafka` does not offer, or whose answers it drops.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataBroker;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::source::position::TopicPartition;

/// A topic as the brokers describe it.
pub(in crate::source) struct Description {
    pub(in crate::source) name: String,
    /// As Kafka's own tools write it; `None` from brokers that know no ids.
    pub(in crate::source) id: Option<String>,
    /// The partitions' numbers, or why the topic cannot be described.
    pub(in crate::source) partitions: Result<Vec<i32>, RDKafkaErrorCode>,
    /// Whether this user may read it; `None` where that was not asked, or the brokers do not tell.
    pub(in crate::source) may_read: Option<bool>,
}

/// Asks the brokers for these topics, and `with_rights` what this user may do with them, and waits for the answer.
///
/// # Errors
/// When none answers in this time; and when they cannot tell of rights.
pub(in crate::source) fn describe_topics<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    names: &[&str],
    with_rights: bool,
    timeout: Duration,
) -> Result<Vec<Description>, RDKafkaErrorCode> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // Any broker knows all topics. Without being told librdkafka would ask the controller, which may be away, and which
    // its own in-process cluster does not have.
    let metadata = consumer.fetch_metadata(Some(names[0]), timeout).map_err(|e| code(&e))?;
    let answered = Some(metadata.orig_broker_id()).filter(|id| *id >= 0);
    let broker = answered.or_else(|| metadata.brokers().first().map(MetadataBroker::id));
    let names: Vec<_> = names.iter().map(|name| CString::new(*name).expect("topic names hold no NUL")).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let client = consumer.client().native_ptr();
    let answers = Answers::new(consumer);
    // SAFETY: the handle is valid; librdkafka copies names and options, which are destroyed once, here.
    unsafe {
        let options = rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), ptr::null_mut(), 0);
        if let Some(broker) = broker {
            rd::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
        }
        if with_rights {
            ask_for_rights(options);
        }
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DescribeTopics(client, topics, options, answers.0.as_ptr());
        rd::rd_kafka_TopicCollection_destroy(topics);
        rd::rd_kafka_AdminOptions_destroy(options);
    }
    // librdkafka answers by then, also when the brokers do not.
    let answer = answers.next(timeout + Duration::from_secs(1)).ok_or(RDKafkaErrorCode::OperationTimedOut)?;
    answer.error()?;
    let mut count = 0;
    let mut described = Vec::new();
    // SAFETY: the result and all that is read of it live as long as the answer.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(answer.0.as_ptr());
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for index in 0..count {
            described.push(description(*topics.add(index)));
        }
    }
    Ok(described)
}

/// Whether this user may read, and commit to, the group; `None` when the brokers do not tell.
///
/// # Errors
/// When the group's coordinator does not answer in this time, or cannot tell of rights.
pub(in crate::source) fn may_read_group<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    name: &str,
    timeout: Duration,
) -> Result<Option<bool>, RDKafkaErrorCode> {
    let name = CString::new(name).expect("group names hold no NUL");
    let client = consumer.client().native_ptr();
    let answers = Answers::new(consumer);
    // SAFETY: the handle is valid; librdkafka copies names and options, which are destroyed once, here.
    unsafe {
        let what = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let options = rd::rd_kafka_AdminOptions_new(client, what);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), ptr::null_mut(), 0);
        ask_for_rights(options);
        let mut names = [name.as_ptr()];
        rd::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options, answers.0.as_ptr());
        rd::rd_kafka_AdminOptions_destroy(options);
    }
    let answer = answers.next(timeout + Duration::from_secs(1)).ok_or(RDKafkaErrorCode::OperationTimedOut)?;
    answer.error()?;
    // SAFETY: the result and all that is read of it live as long as the answer.
    unsafe {
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(answer.0.as_ptr());
        if result.is_null() {
            return Err(RDKafkaErrorCode::Fail);
        }
        let mut count = 0;
        let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Ok(None);
        }
        let group = *groups;
        match rd::rd_kafka_error_code(rd::rd_kafka_ConsumerGroupDescription_error(group)) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED => return Ok(Some(false)),
            error => return Err(error.into()),
        }
        let operations = rd::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut count);
        Ok(may_read(operations, count))
    }
}

/// # Safety
/// The options must be valid.
unsafe fn ask_for_rights(options: *mut rd::rd_kafka_AdminOptions_t) {
    // SAFETY: the caller's; the error is ours, and null when there is none.
    unsafe {
        let error = rd::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !error.is_null() {
            rd::rd_kafka_error_destroy(error);
        }
    }
}

/// Whether reading is among what this user may do; `None` when the brokers do not tell.
///
/// # Safety
/// There must be so many operations, unless there are none.
unsafe fn may_read(operations: *const rd::rd_kafka_AclOperation_t, count: usize) -> Option<bool> {
    if operations.is_null() {
        return None;
    }
    // SAFETY: the caller's.
    let operations = unsafe { std::slice::from_raw_parts(operations, count) };
    Some(operations.contains(&rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ))
}

/// # Safety
/// The description must be valid.
unsafe fn description(topic: *const rd::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: the caller's; what is read lives as long as the description, and is copied.
    unsafe {
        let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let known =
            rd::rd_kafka_Uuid_most_significant_bits(id) != 0 || rd::rd_kafka_Uuid_least_significant_bits(id) != 0;
        let id = known.then(|| CStr::from_ptr(rd::rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned());
        let error = rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(topic));
        let partitions = if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            let mut count = 0;
            let partitions = rd::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
            Ok((0..count).map(|index| rd::rd_kafka_TopicPartitionInfo_partition(*partitions.add(index))).collect())
        } else {
            Err(error.into())
        };
        let mut count = 0;
        let operations = rd::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        Description { name, id, partitions, may_read: may_read(operations, count) }
    }
}

/// Partitions whose offsets were refused, with the reasons.
pub(in crate::source) type Refused = Vec<(TopicPartition, RDKafkaErrorCode)>;

/// A commit that is under way.
pub(in crate::source) struct Commit(Answers);

/// Sends offsets to the group's coordinator, with the metadata that the list holds.
///
/// # Errors
/// When librdkafka does not send them.
pub(in crate::source) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> Result<Commit, RDKafkaErrorCode> {
    let answers = Answers::new(consumer);
    // SAFETY: handle, list and queue are valid; librdkafka copies the list. Without a callback the answer is an event
    // on the queue.
    let error = unsafe {
        let client = consumer.client().native_ptr();
        rd::rd_kafka_commit_queue(client, offsets.ptr(), answers.0.as_ptr(), None, ptr::null_mut())
    };
    match error {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Commit(answers)),
        error => Err(error.into()),
    }
}

impl Commit {
    /// The answer, if it comes in this time; an error when none was taken. It comes once.
    #[must_use]
    pub(in crate::source) fn answer(&self, timeout: Duration) -> Option<Result<Refused, RDKafkaErrorCode>> {
        let answer = self.0.next(timeout)?;
        // SAFETY: the list lives as long as the answer; names are valid texts, and copied.
        let partitions: Vec<_> = unsafe {
            let list = rd::rd_kafka_event_topic_partition_list(answer.0.as_ptr());
            let elements = match list.as_ref() {
                Some(list) if list.cnt > 0 => {
                    std::slice::from_raw_parts(list.elems, usize::try_from(list.cnt).unwrap_or(0))
                }
                _ => &[],
            };
            let named = |element: &rd::rd_kafka_topic_partition_t| TopicPartition {
                topic: CStr::from_ptr(element.topic).to_string_lossy().into(),
                partition: element.partition,
            };
            elements.iter().map(|e| (named(e), e.err)).collect()
        };
        let fine = |error: &RDKafkaRespErr| *error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        match answer.error() {
            // The error is that of one partition; the others have their own.
            Err(error) if partitions.iter().all(|(_, error)| fine(error)) => Some(Err(error)),
            _ => {
                let refused = partitions.into_iter().filter(|(_, error)| !fine(error));
                Some(Ok(refused.map(|(partition, error)| (partition, error.into())).collect()))
            }
        }
    }
}

/// The metadata of a committed offset, as text: other programs may have committed anything.
pub(in crate::source) fn committed_metadata<'l>(
    list: &'l TopicPartitionList,
    topic: &str,
    partition: i32,
) -> Option<Cow<'l, str>> {
    let topic = CString::new(topic).expect("topic names hold no NUL");
    // SAFETY: the list is valid; the element and its metadata live as long as it does, and nobody writes them meanwhile.
    let bytes = unsafe {
        let element = rd::rd_kafka_topic_partition_list_find(list.ptr(), topic.as_ptr(), partition).as_ref()?;
        if element.metadata.is_null() {
            return None;
        }
        std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
    };
    Some(String::from_utf8_lossy(bytes))
}

/// A queue of one's own for answers.
struct Answers(NonNull<rd::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are internally locked and may be used from any thread.
unsafe impl Send for Answers {}

impl Answers {
    fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Self {
        // SAFETY: the client's handle is valid.
        let queue = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self(NonNull::new(queue).expect("librdkafka allocates a queue"))
    }

    fn next(&self, timeout: Duration) -> Option<Answer> {
        // SAFETY: the queue is valid; the event becomes ours.
        NonNull::new(unsafe { rd::rd_kafka_queue_poll(self.0.as_ptr(), millis(timeout)) }).map(Answer)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: the queue is valid and not used after this; an answer that comes later is dropped by librdkafka.
        unsafe { rd::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// An event, ours until it is dropped.
struct Answer(NonNull<rd::rd_kafka_event_t>);

impl Answer {
    fn error(&self) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: the event is valid.
        match unsafe { rd::rd_kafka_event_error(self.0.as_ptr()) } {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(error.into()),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and destroyed once.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
