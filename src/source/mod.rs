//! Kafka's side: who reads which partition, and the records as librdkafka holds them.
//!
//! - [`position`]: names for places in a topic; the vocabulary that the later stages share
//! - [`queue`]: librdkafka's queues and borrowed messages, and requests that `rdkafka` lacks; the one module with `unsafe`
//! - [`start`]: where a partition begins to be read, and what a commit remembers for that
//! - [`worker`]: a thread that reads its partitions' queue and hands each record to an [`worker::Intake`]
//! - [`topics`]: topics as the brokers know them: which there are, a sample of one, those that come and go
//! - [`consumer`]: the group's member: rebalances, offsets, commits; [`transactions`] are commits that are for all
//!   partitions or none, under the name that [`instance`] gives the process
//! - [`range`]: records between two offsets, read without the group
//! - [`rights`]: what this user may not do there

pub mod consumer;
pub mod instance;
pub mod position;
pub mod queue;
pub mod range;
pub mod rights;
pub mod start;
pub mod topics;
pub mod transactions;
pub mod worker;
