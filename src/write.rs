//! Closed units into the database: one lane per worker and topic, written by a task of its own.

mod adapt;
mod outage;
mod progress;

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt, TryFutureExt};
use rowfall_dialects::contract::{Advice, Block, Error, Progress, Receipt, Session, TableColumn, Token};
use rowfall_dialects::failpoint;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::batch::Unit;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::source::position::{Owned, Span};
use adapt::adapt;
pub use outage::{Outages, Waiting};
use progress::Moves;

/// A write that takes longer is told of, like one that fails. It is not given up: that would write its rows twice.
const SILENCE: Duration = Duration::from_secs(60);

/// Tables of one unit that are written at once.
const TABLES_AT_ONCE: usize = 4;

/// How often a table may turn out to be another than it was described to be, before one write is given up.
const REFRESHES: u32 = 3;

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
    /// The database keeps other places of its partitions, of which one at least is another process's now: nothing of it
    /// is written.
    Fenced {
        /// What it held.
        spans: Vec<Span>,
        /// What the database said.
        why: Problem,
    },
}

/// Where one worker's units of one topic go to be written, as many at once as the dialect allows (one keeps their order).
/// With exactly-once it is one, and each unit is one transaction with the progress of its partitions.
/// It takes any number of units, since their permits bound what is in it. It ends when it is dropped, with the last unit.
pub struct Lane {
    units: UnboundedSender<Unit>,
    /// Units that were sent and are neither written nor refused.
    under_way: Arc<AtomicUsize>,
    at_once: usize,
}

impl Lane {
    /// Opens a lane into tables whose pace this is, for so many writes at once; each unit's outcome is told. `keeper`: with
    /// exactly-once the pipeline whose progress the database keeps.
    pub fn open(
        runtime: &tokio::runtime::Handle,
        session: Arc<dyn Session>,
        at_once: usize,
        pace: Arc<Pace>,
        outages: Arc<Outages>,
        keeper: Option<Arc<str>>,
        tell: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> Self {
        let (units, receiver) = unbounded_channel();
        let at_once = if keeper.is_some() { 1 } else { at_once.max(1) };
        let under_way = Arc::default();
        let moves = keeper.map(Moves::new);
        let (left, counted) = (Mutex::default(), Arc::clone(&under_way));
        let writer = Writer { session, pace, outages, moves, left, under_way: counted };
        runtime.spawn(writer.run(receiver, at_once, tell));
        Self { units, under_way, at_once }
    }

    /// Has the unit written.
    pub fn send(&self, unit: Unit) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        // The other end goes only with the runtime, and then nothing is committed any more.
        let _ = self.units.send(unit);
    }

    /// Whether a unit that is sent now is begun at once. One that would wait in the lane may as well go on filling.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) < self.at_once
    }
}

/// The lane's other end.
struct Writer {
    session: Arc<dyn Session>,
    /// The table's, shared with its other lanes.
    pace: Arc<Pace>,
    /// Partitions of units that were not written: nothing that stands behind them is.
    left: Mutex<HashMap<Arc<Owned>, Left>>,
    outages: Arc<Outages>,
    /// With exactly-once.
    moves: Option<Moves>,
    under_way: Arc<AtomicUsize>,
}

/// Why a unit was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Refused,
    Fenced,
}

impl Writer {
    async fn run(self, receiver: UnboundedReceiver<Unit>, at_once: usize, tell: impl Fn(Outcome)) {
        let units = futures_util::stream::unfold(receiver, async |mut receiver| {
            let unit = receiver.recv().await?;
            Some((unit, receiver))
        });
        units.map(|unit| self.finish(unit)).buffer_unordered(at_once).for_each(async |outcome| tell(outcome)).await;
    }

    /// Writes a unit and says what became of it, whatever happens: a unit of which nothing is told would hold up its
    /// partitions for ever.
    async fn finish(&self, unit: Unit) -> Outcome {
        let spans = unit.spans.clone();
        let result = AssertUnwindSafe(self.write(unit)).catch_unwind().await.unwrap_or_else(|_| {
            Err((Left::Refused, Problem::new("writing it panicked", "this is a bug of rowfall's: please report it")))
        });
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        match result {
            Ok(Receipt { rows, bytes }) => {
                failpoint::at("written");
                Outcome::Written { spans, rows, bytes }
            }
            Err((left, why)) => {
                self.left().extend(spans.iter().map(|span| (Arc::clone(&span.owned), left)));
                match left {
                    Left::Refused => Outcome::Refused { spans, why },
                    Left::Fenced => Outcome::Fenced { spans, why },
                }
            }
        }
    }

    async fn write(&self, mut unit: Unit) -> Result<Receipt, (Left, Problem)> {
        let token = match unit.claimed.take() {
            Some(claimed) => claimed.await.map_err(|_| (Left::Fenced, Problem::new("it was not claimed", "")))?,
            // Rows that are equal may be meant to be there twice: no two units are taken for one.
            None => Token { text: format!("{:032x}", rand::random::<u128>()).into(), since: None },
        };
        for block in &mut unit.blocks {
            block.token = Some(token.clone());
        }
        // Of a unit behind both kinds some partitions can still be read again.
        let behind = { unit.spans.iter().filter_map(|span| self.left().get(&span.owned).copied()).max() };
        match behind {
            Some(Left::Refused) => {
                return Err((Left::Refused, Problem::new("it stands behind a batch that was refused", "")));
            }
            Some(Left::Fenced) => {
                return Err((Left::Fenced, Problem::new("it stands behind a batch that was not written", "")));
            }
            None => {}
        }
        let unit = unit.fold();
        let blocks: Vec<_> = unit.blocks.iter().filter(|block| block.rows > 0).collect();
        let written = match &self.moves {
            Some(moves) => self.write_together(&blocks, moves, &unit).await?,
            None => self.write_each(&blocks, unit.aged).await?,
        };
        unit.give_back();
        Ok(written)
    }

    fn left(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<Owned>, Left>> {
        self.left.lock().expect("no panic while held")
    }

    /// All blocks and the progress of all partitions, in one transaction.
    async fn write_together(&self, blocks: &[&Block], moves: &Moves, unit: &Unit) -> Result<Receipt, (Left, Problem)> {
        if blocks.is_empty() {
            // Nothing that could be there twice: the next unit's progress covers it.
            return Ok(Receipt::default());
        }
        let progress = moves.of(&unit.spans);
        let receipt = self.write_at_once(blocks, Some(&progress), unit.aged).await.map_err(|error| {
            let left = if error.advice == Advice::Fenced { Left::Fenced } else { Left::Refused };
            (left, told(blocks, error))
        })?;
        moves.done(&unit.spans);
        Ok(receipt)
    }

    async fn write_each(&self, blocks: &[&Block], aged: bool) -> Result<Receipt, (Left, Problem)> {
        let mut each = Vec::with_capacity(blocks.len());
        for block in blocks {
            let write = self.write_block(block, aged);
            each.push(write.map_err(|error| (Left::Refused, told(&[block], error))).boxed());
        }
        // All of them, also when one is refused: a write that is broken off may be done by the database all the same.
        let each: Vec<_> = futures_util::stream::iter(each).buffer_unordered(TABLES_AT_ONCE).collect().await;
        each.into_iter().try_fold(Receipt::default(), |mut written, receipt| {
            written += receipt?;
            Ok(written)
        })
    }

    /// Writes a block, in pieces where the database wants them; each is written once.
    async fn write_block(&self, block: &Block, aged: bool) -> Result<Receipt, Error> {
        let (mut tries, mut refused) = (Tries::default(), false);
        loop {
            let pieces = match self.session.cut(block).await {
                Ok(Some(pieces)) => pieces,
                Ok(None) => match self.write_at_once(&[block], None, aged).await {
                    Err(error) if error.advice == Advice::Cut && !refused => {
                        refused = true;
                        continue;
                    }
                    written => return written,
                },
                Err(error) => {
                    self.wait(&mut tries, &[block], error).await?;
                    continue;
                }
            };
            let mut written = Receipt::default();
            for rows in pieces {
                // One at a time, since it is a copy.
                written += self.write_at_once(&[&block.gather(&rows)], None, aged).await?;
            }
            return Ok(written);
        }
    }

    /// Tries until the database takes the rows, or refuses them for good.
    async fn write_at_once(
        &self,
        blocks: &[&Block],
        progress: Option<&Progress>,
        aged: bool,
    ) -> Result<Receipt, Error> {
        let mut tries = Tries::default();
        let mut blocks: Vec<Cow<'_, Block>> = blocks.iter().map(|block| Cow::Borrowed(*block)).collect();
        loop {
            self.pace.turn().await;
            let began = Instant::now();
            let now: Vec<&Block> = blocks.iter().map(|block| &**block).collect();
            let mut write = self.session.write(&now, progress);
            let result = loop {
                if let Ok(result) = tokio::time::timeout(SILENCE, &mut write).await {
                    break result;
                }
                self.tell(&mut tries, &now, &silence(&now));
            };
            drop(write);
            match result {
                Ok(receipt) => {
                    self.pace.written(Some(began.elapsed()).filter(|_| aged && tries.waiting.is_none()));
                    tries.waiting.into_iter().for_each(Waiting::written);
                    return Ok(receipt);
                }
                Err(error) => {
                    for (index, adapted) in self.wait(&mut tries, &now, error).await? {
                        blocks[index] = Cow::Owned(adapted);
                    }
                }
            }
        }
    }

    /// A write fails or is silent: whoever reads the log hears of it, once for all that wait.
    fn tell(&self, tries: &mut Tries, blocks: &[&Block], error: &Error) {
        let waiting = tries.waiting.get_or_insert_with(|| self.outages.wait(&blocks[0].layout.table.name));
        waiting.failed(error, self.pace.age());
    }

    /// Waits until what failed may be tried again, with other blocks where some are answered; an error when it may not.
    async fn wait(&self, tries: &mut Tries, blocks: &[&Block], error: Error) -> Result<Vec<(usize, Block)>, Error> {
        match error.advice {
            Advice::Retry | Advice::Slow => {
                let pause = self.pace.failed(error.advice, tries.failed);
                tries.failed += 1;
                self.tell(tries, blocks, &error);
                tokio::time::sleep(pause).await;
                Ok(Vec::new())
            }
            Advice::Refresh if tries.refreshed < REFRESHES => {
                tries.refreshed += 1;
                self.compare(blocks, error).await
            }
            _ => Err(error),
        }
    }

    /// After the database said that a table is another: whether the blocks fit still, or which ones do in their places.
    async fn compare(&self, blocks: &[&Block], error: Error) -> Result<Vec<(usize, Block)>, Error> {
        let mut adapted = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let table = &block.layout.table;
            let now = match self.session.describe(&table.name).await {
                Ok(now) => now,
                Err(failure) if failure.advice == Advice::Retry => continue,
                Err(failure) => return Err(failure),
            };
            let Some(now) = now else {
                return Err(
                    Error::pause("the table was dropped").with_hint("create it again, then start rowfall again")
                );
            };
            let same = |c: &TableColumn| now.columns.contains(c);
            if block.layout.columns().all(same) {
                continue;
            }
            let Some(block) = adapt(block, now) else {
                let hint = "the table was altered while it was written: start rowfall again to take it as it is now";
                return Err(Error { advice: Advice::Pause, hint: Some(hint.to_owned()), ..error });
            };
            adapted.push((index, block));
        }
        Ok(adapted)
    }
}

/// What was tried so far.
#[derive(Default)]
struct Tries {
    failed: u32,
    /// How often the table was looked at again.
    refreshed: u32,
    waiting: Option<Waiting>,
}

fn silence(blocks: &[&Block]) -> Error {
    Error::new(Advice::Retry, format!("{}: no answer within {SILENCE:?}", doing(blocks)))
}

fn told(blocks: &[&Block], error: Error) -> Problem {
    let rows_are_bad = error.advice == Advice::Split;
    let problem = Problem::from(error).within(&doing(blocks));
    if rows_are_bad { problem.or_hint("alter the table, or mend the producer") } else { problem }
}

/// What is written, for messages: the first block stands for all.
fn doing(blocks: &[&Block]) -> String {
    let rows: usize = blocks.iter().map(|block| block.rows).sum();
    format!("table {}, batch of {rows} rows", blocks[0].layout.table.name)
}

#[cfg(test)]
mod tests;
