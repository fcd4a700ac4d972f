//! Kafka's side: who reads which partition, and the records as librdkafka holds them.
//!
//! - [`position`]: names for places in a topic; the vocabulary that the later stages share
//! - [`queue`]: librdkafka's queues and borrowed messages; the one module with `unsafe`
//! - [`worker`]: a thread that reads its partitions' queue and hands each record to an [`worker::Intake`]
//! - [`consumer`]: the group's member: rebalances, start and end offsets, commits

pub mod consumer;
pub mod position;
pub mod queue;
pub mod worker;
