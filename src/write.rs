//! Closed units into the database: one lane per worker and topic, each in its own task.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use rand::Rng;
use rowfall_dialects::contract::{Advice, Block, Error, Receipt, Session, TableColumn};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::batch::Unit;
use crate::outage::Outage;
use crate::problem::Problem;
use crate::source::position::{Owned, Span};

/// The first pause before a failed write is tried again; doubled each time, with full jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What became of a unit.
#[derive(Debug)]
pub enum Outcome {
    /// All its rows are in the database.
    Written {
        /// What it held.
        spans: Vec<Span>,
        /// Rows acknowledged.
        rows: usize,
        /// Bytes encoded, before compression.
        bytes: usize,
    },
    /// The database refuses it: its partitions must stop.
    Refused {
        /// What it held.
        spans: Vec<Span>,
        /// Why.
        why: Problem,
    },
}

/// Opens a lane: units sent to it are written, as many at once as the dialect allows (one keeps their order); each
/// outcome is told. The lane is unbounded since the units' permits bound what is in it. It ends when the sender is
/// dropped.
pub fn lane(
    runtime: &tokio::runtime::Handle,
    session: Arc<dyn Session>,
    tell: impl Fn(Outcome) + Send + Sync + 'static,
) -> UnboundedSender<Unit> {
    let (sender, receiver) = unbounded_channel();
    let lane = Lane { session, refused: Mutex::default(), outage: Mutex::default() };
    runtime.spawn(lane.run(receiver, tell));
    sender
}

struct Lane {
    session: Arc<dyn Session>,
    /// Partitions of refused units: what comes behind would be written twice after a restart.
    refused: Mutex<HashSet<Arc<Owned>>>,
    outage: Mutex<Outage>,
}

impl Lane {
    async fn run(self, receiver: UnboundedReceiver<Unit>, tell: impl Fn(Outcome)) {
        let units = futures_util::stream::unfold(receiver, async |mut receiver| {
            let unit = receiver.recv().await?;
            Some((unit, receiver))
        });
        units
            .map(|unit| self.finish(unit))
            .buffer_unordered(self.session.parallel_writes().max(1))
            .for_each(async |outcome| tell(outcome))
            .await;
    }

    /// Writes a unit and says what became of it, whatever happens: a unit of which nothing is told would hold up its
    /// partitions for ever.
    async fn finish(&self, unit: Unit) -> Outcome {
        let spans = unit.spans.clone();
        let result = AssertUnwindSafe(self.write(unit)).catch_unwind().await.unwrap_or_else(|_| {
            Err(Problem::new("writing it panicked", "this is a bug of rowfall's: please report it"))
        });
        match result {
            Ok(Receipt { rows, bytes }) => Outcome::Written { spans, rows, bytes },
            Err(why) => {
                self.refused().extend(spans.iter().map(|span| Arc::clone(&span.owned)));
                Outcome::Refused { spans, why }
            }
        }
    }

    async fn write(&self, unit: Unit) -> Result<Receipt, Problem> {
        if unit.spans.iter().any(|span| self.refused().contains(&span.owned)) {
            return Err(Problem::new("it stands behind a batch that was refused", ""));
        }
        let mut written = Receipt::default();
        for block in unit.blocks.iter().filter(|block| block.rows > 0) {
            let receipt = self.write_block(block).await.map_err(|error| {
                let doing = format!("table {}, batch of {} rows", block.layout.table.name, block.rows);
                Problem::from(error).within(&doing)
            })?;
            written.rows += receipt.rows;
            written.bytes += receipt.bytes;
        }
        unit.give_back();
        Ok(written)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, HashSet<Arc<Owned>>> {
        self.refused.lock().expect("no panic while held")
    }

    fn outage(&self) -> std::sync::MutexGuard<'_, Outage> {
        self.outage.lock().expect("no panic while held")
    }

    /// Tries until the database takes the block, or refuses it for good.
    async fn write_block(&self, block: &Block) -> Result<Receipt, Error> {
        let table = &block.layout.table;
        let (mut attempts, mut refreshed) = (0, false);
        loop {
            match self.session.write(block).await {
                Ok(receipt) => {
                    if let Some(lasted) = self.outage().over() {
                        tracing::info!(table = %table.name, seconds = lasted.as_secs(), "writing again");
                    }
                    return Ok(receipt);
                }
                Err(error) if error.advice == Advice::Retry => {
                    if let Some(lasts) = self.outage().goes_on() {
                        let (seconds, why) = (lasts.as_secs(), Problem::from_ref(&error));
                        tracing::warn!(table = %table.name, seconds, "cannot write, trying again: {why}");
                    }
                    tokio::time::sleep(pause(attempts)).await;
                    attempts += 1;
                }
                Err(error) if error.advice == Advice::Refresh && !refreshed => {
                    refreshed = true;
                    self.compare(block, error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After the database said that the table is another: whether the block fits it still.
    async fn compare(&self, block: &Block, error: Error) -> Result<(), Error> {
        let table = &block.layout.table;
        let now = match self.session.describe(&table.name).await {
            Ok(now) => now,
            Err(failure) if failure.advice == Advice::Retry => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let Some(now) = now else {
            return Err(Error::pause("the table was dropped").with_hint("create it again, then start rowfall again"));
        };
        let same = |c: &TableColumn| now.columns.contains(c);
        if block.layout.columns().all(same) {
            return Ok(());
        }
        let hint = "the table was altered while it was written: start rowfall again to take it as it is now";
        Err(Error { advice: Advice::Pause, hint: Some(hint.to_owned()), ..error })
    }
}

/// Before a write is tried again that has failed so often before.
fn pause(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}
