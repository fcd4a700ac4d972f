//! librdkafka's queues, read in batches of messages that stay where librdkafka put them.
//!
//! `rdkafka` offers one message per call, or an owned copy; per message that costs three to eight times as much as a
//! batch. This is the one module with `unsafe`; `requests` is a part of it.

#![allow(unsafe_code)]

pub(super) mod requests;

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::position::{Offset, TopicPartition};
use crate::decode::Headers;

/// A queue to which partitions' queues are forwarded, so that one thread reads them all.
pub struct MessageQueue<C: ConsumerContext> {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// Keeps the client alive for as long as its queue is.
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues are internally locked and may be used from any thread.
unsafe impl<C: ConsumerContext> Send for MessageQueue<C> {}
// SAFETY: as above.
unsafe impl<C: ConsumerContext> Sync for MessageQueue<C> {}

impl<C: ConsumerContext> MessageQueue<C> {
    /// A new, empty queue of this consumer.
    #[must_use]
    pub fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client's handle is valid for as long as `consumer` is.
        let queue = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue: NonNull::new(queue).expect("librdkafka allocates a queue"), consumer }
    }

    /// Sends a partition's messages here instead of to the consumer's own queue. Call it before the partition is
    /// assigned, so that none slips through; librdkafka keeps it over rebalances.
    pub fn forward(&self, topic: &str, partition: i32) {
        let topic = CString::new(topic).expect("topic names hold no NUL");
        // SAFETY: the handle is valid; librdkafka copies the name. The partition's queue is ours to destroy: it is
        // reference-counted, and the forward outlives our reference.
        unsafe {
            let source =
                rd::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), topic.as_ptr(), partition);
            if !source.is_null() {
                rd::rd_kafka_queue_forward(source, self.queue.as_ptr());
                rd::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// Ends a [`MessageQueue::receive`] that waits.
    pub fn wake(&self) {
        // SAFETY: the queue is valid.
        unsafe { rd::rd_kafka_queue_yield(self.queue.as_ptr()) }
    }

    /// Receives up to the batch's capacity; waits up to `timeout` when there are fewer.
    pub fn receive<'q>(&'q self, batch: &'q mut MessageBatch, timeout: Duration) -> Messages<'q> {
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is valid; `slots` has room for as many pointers as are asked for.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                timeout,
                batch.slots.as_mut_ptr(),
                batch.slots.capacity(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: librdkafka wrote `count` pointers.
        unsafe { batch.slots.set_len(count) };
        Messages { batch, _queue: PhantomData }
    }
}

impl<C: ConsumerContext> Drop for MessageQueue<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is valid and not used after this.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// Behind the partition's newest record, from what the client remembers of its last fetch.
pub(super) fn high_watermark<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partition: &TopicPartition,
) -> Option<Offset> {
    let topic = CString::new(&*partition.topic).expect("topic names hold no NUL");
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the handle is valid, the name and both results live through the call.
    let error = unsafe {
        rd::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition.partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(Offset(high))
}

/// Room for the messages of one receive.
pub struct MessageBatch {
    slots: Vec<*mut rd::rd_kafka_message_t>,
}

impl MessageBatch {
    /// Room for this many messages.
    #[must_use]
    pub fn with_capacity(messages: usize) -> Self {
        Self { slots: Vec::with_capacity(messages) }
    }
}

/// Messages as received. They go back to librdkafka when this is dropped.
pub struct Messages<'q> {
    batch: &'q mut MessageBatch,
    _queue: PhantomData<&'q ()>,
}

impl Messages<'_> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.slots.len()
    }

    /// True when the wait ended without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.slots.is_empty()
    }

    /// In the order of their partitions' offsets.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: librdkafka gave valid messages, which live until this is dropped.
        self.batch.slots.iter().map(|message| Message { raw: unsafe { &**message } })
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.batch.slots.drain(..) {
            // SAFETY: each message is ours and destroyed once.
            unsafe { rd::rd_kafka_message_destroy(message) }
        }
    }
}

/// A message, or an event of a partition.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    raw: &'m rd::rd_kafka_message_t,
}

impl Headers for Message<'_> {
    fn last(&self, name: &CStr) -> Option<Option<&[u8]>> {
        let mut headers = std::ptr::null_mut();
        let (mut value, mut size) = (std::ptr::null(), 0);
        // SAFETY: the message is valid and ours alone, as librdkafka takes its headers apart at the first call; they and
        // their values live as long as it does. An error means that there are none, or no such one.
        unsafe {
            let found = rd::rd_kafka_message_headers(self.raw, &raw mut headers);
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            let found = rd::rd_kafka_header_get_last(headers, name.as_ptr(), &raw mut value, &raw mut size);
            if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            Some((!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size)))
        }
    }
}

/// What a [`Message`] says.
#[derive(Clone, Copy, Debug)]
pub enum Content<'m> {
    /// A record with its value; `None` is a tombstone.
    Record(Option<&'m [u8]>),
    /// There is nothing at this offset or behind it, for now.
    EndOfPartition,
    /// The partition cannot be read; librdkafka goes on trying where that makes sense.
    Error(RDKafkaErrorCode),
}

impl<'m> Message<'m> {
    /// What it says.
    #[inline]
    #[must_use]
    pub fn content(self) -> Content<'m> {
        match self.raw.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR if self.raw.payload.is_null() => Content::Record(None),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {
                // SAFETY: the payload has `len` bytes and lives as long as the message.
                Content::Record(Some(unsafe {
                    std::slice::from_raw_parts(self.raw.payload.cast::<u8>(), self.raw.len)
                }))
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF => Content::EndOfPartition,
            error => Content::Error(error.into()),
        }
    }

    /// The record's key, where it has one.
    #[inline]
    #[must_use]
    pub fn key(self) -> Option<&'m [u8]> {
        if self.raw.key.is_null() {
            return None;
        }
        // SAFETY: the key has `key_len` bytes and lives as long as the message.
        Some(unsafe { std::slice::from_raw_parts(self.raw.key.cast::<u8>(), self.raw.key_len) })
    }

    /// librdkafka's own words for an error.
    #[must_use]
    pub fn error_text(self) -> String {
        // SAFETY: the message is valid; the text lives as long.
        unsafe { CStr::from_ptr(rd::rd_kafka_message_errstr(self.raw)) }.to_string_lossy().into_owned()
    }

    /// The record's offset, or the end's.
    #[inline]
    #[must_use]
    pub fn offset(self) -> Offset {
        Offset(self.raw.offset)
    }

    /// The partition's number.
    #[inline]
    #[must_use]
    pub fn partition(self) -> i32 {
        self.raw.partition
    }

    /// A number that is the same for all messages of a topic, cheaper to compare than its name.
    #[inline]
    #[must_use]
    pub fn topic_handle(self) -> usize {
        self.raw.rkt.addr()
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(self) -> &'m str {
        if self.raw.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic is valid as long as its message, and its name as long as the topic.
        unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(self.raw.rkt)) }.to_str().unwrap_or("")
    }
}
