//! A model of how rowfall writes exactly once into ClickHouse, and a check of all that can happen in it, with
//! [stateright](https://www.stateright.rs).
//!
//! ClickHouse has no transaction that spans a topic. It drops a block that it has, by the block's token, for as long as
//! it remembers that. So whoever owns a partition must be able to send the same block again, after whatever happened:
//!
//! - A [unit](process::Unit) is closed, and its ranges are its [claim](claim::Claim).
//! - The claim is [committed](process::Process::send) before anything is written: whole, in the metadata of each of its
//!   partitions, in one transaction that the group takes for all partitions or for none.
//! - Then it is [inserted](system::Action::Insert), as one block, under a token that names its ranges.
//! - When that is acknowledged, a later transaction advances the offsets, over the contiguous prefix that is written, and
//!   names what is claimed behind it.
//! - Who is given a partition [asks](process::Process::hear_committed) the group, waiting for open transactions. Claims
//!   found there hold: they are [rebuilt](system::Action::Rebuild), records of other owners' partitions too, and sent under
//!   their tokens; then the partition is read on behind them.
//! - A partition is [given back](process::Process::let_go) when no transaction is under way. Claims that are committed
//!   are finished here, or by who finds them, or by both. Units that are not claimed are
//!   [dropped](process::Process::drop_waiting), with all that stands behind them; what they held of others is read again.
//! - When a commit has [no answer](process::Process::hear_nothing), it is ended by a new producer of the same id, and the
//!   group is asked what became of it.
//! - What is older than the table's window [is not sent, nor applied](table::Table::remembers).
//!
//! What may go wrong is in [`system::Faults`]; each rule that matters has a [`mutant::Mutant`] that breaks it.
//!
//! Two things hold always: no record is in the table twice ([`system::NOTHING_DOUBLED`]), and no committed offset has
//! passed one that is not in it ([`system::NOTHING_LOST`]). And from wherever the system gets to, with nothing more
//! going wrong, all is written in the end ([`goal`]), but of partitions that stopped and say so: retention that cut into a
//! claim or overtook the reader is never jumped.
//!
//! Not in the model: several topics, workers and tables of a process (a claim is one worker's and one topic's); the size
//! of metadata, which only delays claims; what decodes a record, dead letters, exclusions; inserts that the server takes
//! for some partitions of its table only (it has a token for each); brokers that lose what they acknowledged; static
//! membership. Generations are told apart only as current or past, nonces only among claims of equal ranges, and time is
//! the number of blocks that entered the table: what differs in nothing else is one state.
//!
//! A record's way is that of the modules:
//!
//! - [`claim`]: ranges that are written together
//! - [`broker`]: the topic, the group and what is on its way to it
//! - [`process`]: what rowfall does
//! - [`table`]: the database
//! - [`system`]: what can happen next, and what must hold
//! - [`goal`]: whether it gets done
//! - [`mutant`]: mistakes, and what comes of them

pub mod broker;
pub mod claim;
pub mod goal;
pub mod mutant;
pub mod process;
pub mod system;
pub mod table;

#[cfg(test)]
mod tests;
