//! rowfall moves Kafka topics into database tables.
//!
//! The modules in the order in which a record meets them:
//!
//! - [`source`]: Kafka: a consumer, its workers, their queues
//! - [`routing`]: which table it goes to, where the records say that; [`decode`]: its bytes straight into typed columns
//! - [`batch`]: rows on their way, closed and written together; [`budget`]: the bytes that they may occupy
//! - [`reconcile`]: a route and its table, [`infer`]: what a sample shows of a missing one
//! - [`mod@write`]: closed units into the database, retried or refused; [`pace`]: how fast a table takes them
//! - [`claim`]: with exactly once into a database without transactions, what is written next; [`commit`]: what may be
//!   committed
//!
//! Above them [`pipeline`] puts the stages together, [`preview`] shows what they would do, [`offsets`] how far they have
//! come, [`mapping`] how well fields fit columns, [`demo`] feeds them, [`cli`] is the command line. Beside them [`config`],
//! [`schemas`], [`problem`] and [`outage`]; [`allocator`] keeps the process small. The databases are in `rowfall-dialects`.

pub mod allocator;
pub mod batch;
pub mod budget;
pub mod claim;
pub mod cli;
pub mod commit;
pub mod config;
pub mod decode;
pub mod demo;
pub mod evolve;
pub mod fold;
pub mod infer;
pub mod mapping;
pub mod offsets;
pub mod outage;
pub mod pace;
pub mod pipeline;
pub mod preview;
pub mod problem;
pub mod reconcile;
pub mod routing;
pub mod schemas;
pub mod source;
#[cfg(test)]
mod testing;
pub mod write;
