//! Records between two offsets of some partitions, read without the group, whoever owns them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset as RdOffset;

use super::consumer::{Context, REQUEST, client_problem, fatal_problem, list_of, partition_problem, plain_client};
use super::position::{Offset, TopicPartition};
use super::queue::{Content, Message, MessageBatch, MessageQueue};
use crate::config::KafkaSettings;
use crate::problem::Problem;

/// Messages taken from librdkafka at once.
const BATCH: usize = 1_000;
/// How long a partition may seem to end before its range does.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the first of them is waited for before looking whether to end.
const TICK: Duration = Duration::from_millis(50);

/// Hands over each record of these ranges `(from, up to and without)`, those of a partition in its order; false when told
/// to stop before the end.
///
/// # Errors
/// What `take` says; and when a range is not whole any more, or cannot be read.
pub fn read(
    kafka: &KafkaSettings,
    ranges: &[(TopicPartition, Offset, Offset)],
    stop: &AtomicBool,
    mut take: impl FnMut(Message<'_>, Option<&[u8]>) -> Result<(), Problem>,
) -> Result<bool, Problem> {
    let client = Arc::new(plain_client(kafka)?);
    let queue = MessageQueue::new(Arc::clone(&client));
    let mut left: HashMap<i32, Offset> = HashMap::new();
    for (partition, start, end) in ranges {
        if !is_whole(&client, kafka, partition, *start, stop)? {
            return Ok(false);
        }
        queue.forward(&partition.topic, partition.partition);
        left.insert(partition.partition, *end);
    }
    let list = list_of(ranges.iter().map(|(partition, start, _)| (partition, RdOffset::Offset(start.0))));
    client.assign(&list).map_err(|e| client_problem(&e, &kafka.brokers))?;
    let mut began = Instant::now();
    let mut batch = MessageBatch::with_capacity(BATCH);
    while !left.is_empty() {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if let Some(Err(error)) = client.poll(Duration::ZERO)
            && let Some(problem) = fatal_problem(&error)
        {
            return Err(problem);
        }
        for message in queue.receive(&mut batch, TICK).iter() {
            let Some(end) = left.get(&message.partition()).copied() else { continue };
            let offset = message.offset();
            let reached = match message.content() {
                Content::Record(_) if offset >= end => true,
                Content::Record(value) => {
                    began = Instant::now();
                    take(message, value)?;
                    offset.next() >= end
                }
                // A broker that has just started may not know yet how far it is.
                Content::EndOfPartition if offset < end && began.elapsed() < PATIENCE => false,
                Content::EndOfPartition if offset < end => {
                    let partition = message.partition();
                    return Err(Problem::new(
                        format!("partition {partition} ends at {offset} now, before {end}: its last records were lost"),
                        "",
                    ));
                }
                Content::EndOfPartition => true,
                Content::Error(code) => match partition_problem(code, message.topic(), &message.error_text()) {
                    Some(problem) => return Err(problem),
                    None => false,
                },
            };
            if reached {
                left.remove(&message.partition());
            }
        }
    }
    Ok(true)
}

/// Fails when retention has deleted what stood at the start; false when told to stop before anyone knows.
fn is_whole(
    client: &BaseConsumer<Context>,
    kafka: &KafkaSettings,
    partition: &TopicPartition,
    start: Offset,
    stop: &AtomicBool,
) -> Result<bool, Problem> {
    while !stop.load(Ordering::Relaxed) {
        match client.fetch_watermarks(&partition.topic, partition.partition, REQUEST) {
            Ok((low, _)) if low > start.0 => {
                return Err(Problem::new(
                    format!("{partition} begins at {low} now, records from {start} on were deleted"),
                    "",
                ));
            }
            Ok(_) => return Ok(true),
            Err(error) => wait_for(&error, kafka)?,
        }
    }
    Ok(false)
}

/// Brokers that are away come again; a user that may not ask does not.
fn wait_for(error: &KafkaError, kafka: &KafkaSettings) -> Result<(), Problem> {
    match fatal_problem(error) {
        Some(problem) => Err(problem),
        None => {
            tracing::debug!("asking again: {}", client_problem(error, &kafka.brokers));
            std::thread::sleep(Duration::from_millis(500));
            Ok(())
        }
    }
}
