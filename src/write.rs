//! Closed units into the database: one lane per worker and topic, written by a task of its own.

mod outage;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use rowfall_dialects::contract::{Advice, Block, Error, Receipt, Session, TableColumn, TableSchema};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::batch::Unit;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::source::position::{Owned, Span};
pub use outage::Outages;
use outage::Waiting;

/// A write that takes longer is told of, like one that fails. It is not given up: that would write its rows twice.
const SILENCE: Duration = Duration::from_secs(60);

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

/// Where one worker's units of one topic go to be written, as many at once as the dialect allows (one keeps their order).
/// It takes any number of units, since their permits bound what is in it. It ends when it is dropped, with the last unit.
pub struct Lane {
    units: UnboundedSender<Unit>,
    /// Units that were sent and are neither written nor refused.
    under_way: Arc<AtomicUsize>,
    at_once: usize,
}

impl Lane {
    /// Opens a lane into a table whose pace this is; each unit's outcome is told.
    pub fn open(
        runtime: &tokio::runtime::Handle,
        session: Arc<dyn Session>,
        table: &TableSchema,
        pace: Arc<Pace>,
        outages: Arc<Outages>,
        tell: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> Self {
        let (units, receiver) = unbounded_channel();
        let at_once = table.parallel.max(1);
        let under_way = Arc::default();
        let writer = Writer { session, pace, outages, refused: Mutex::default(), under_way: Arc::clone(&under_way) };
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
    /// Partitions of refused units: what comes behind would be written twice after a restart.
    refused: Mutex<HashSet<Arc<Owned>>>,
    outages: Arc<Outages>,
    under_way: Arc<AtomicUsize>,
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
            Err(Problem::new("writing it panicked", "this is a bug of rowfall's: please report it"))
        });
        self.under_way.fetch_sub(1, Ordering::Relaxed);
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
            written += self.write_block(block, unit.aged).await.map_err(|error| {
                let doing = format!("table {}, batch of {} rows", block.layout.table.name, block.rows);
                Problem::from(error).within(&doing)
            })?;
        }
        unit.give_back();
        Ok(written)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, HashSet<Arc<Owned>>> {
        self.refused.lock().expect("no panic while held")
    }

    /// Writes a block, in pieces where the database wants them; each is written once.
    async fn write_block(&self, block: &Block, aged: bool) -> Result<Receipt, Error> {
        let (mut tries, mut refused) = (Tries::default(), false);
        loop {
            let pieces = match self.session.cut(block).await {
                Ok(Some(pieces)) => pieces,
                Ok(None) => match self.write_piece(block, aged).await {
                    Err(error) if error.advice == Advice::Cut && !refused => {
                        refused = true;
                        continue;
                    }
                    written => return written,
                },
                Err(error) => {
                    self.wait(&mut tries, block, error).await?;
                    continue;
                }
            };
            let mut written = Receipt::default();
            for rows in pieces {
                // One at a time, since it is a copy.
                written += self.write_piece(&block.gather(&rows), aged).await?;
            }
            return Ok(written);
        }
    }

    /// Tries until the database takes the rows, or refuses them for good.
    async fn write_piece(&self, block: &Block, aged: bool) -> Result<Receipt, Error> {
        let mut tries = Tries::default();
        loop {
            self.pace.turn().await;
            let began = Instant::now();
            let blocks = [block];
            let mut write = self.session.write(&blocks, None);
            let result = loop {
                if let Ok(result) = tokio::time::timeout(SILENCE, &mut write).await {
                    break result;
                }
                self.tell(&mut tries, block, &silence(block));
            };
            match result {
                Ok(receipt) => {
                    self.pace.written(Some(began.elapsed()).filter(|_| aged && tries.waiting.is_none()));
                    tries.waiting.into_iter().for_each(Waiting::written);
                    return Ok(receipt);
                }
                Err(error) => self.wait(&mut tries, block, error).await?,
            }
        }
    }

    /// A write fails or is silent: whoever reads the log hears of it, once for all that wait.
    fn tell(&self, tries: &mut Tries, block: &Block, error: &Error) {
        let waiting = tries.waiting.get_or_insert_with(|| self.outages.wait(&block.layout.table.name));
        waiting.failed(error, self.pace.age());
    }

    /// Waits until what failed may be tried again; an error when it may not.
    async fn wait(&self, tries: &mut Tries, block: &Block, error: Error) -> Result<(), Error> {
        match error.advice {
            Advice::Retry | Advice::Slow => {
                let pause = self.pace.failed(error.advice, tries.failed);
                tries.failed += 1;
                self.tell(tries, block, &error);
                tokio::time::sleep(pause).await;
                Ok(())
            }
            Advice::Refresh if !tries.refreshed => {
                tries.refreshed = true;
                self.compare(block, error).await
            }
            _ => Err(error),
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

/// What was tried so far.
#[derive(Default)]
struct Tries {
    failed: u32,
    refreshed: bool,
    waiting: Option<Waiting>,
}

fn silence(block: &Block) -> Error {
    let table = &block.layout.table.name;
    Error::new(Advice::Retry, format!("table {table}, batch of {} rows: no answer within {SILENCE:?}", block.rows))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use rowfall_dialects::contract::{
        ColumnDefault, Ddl, Intent, Layout, LogicalType, Progress, TableName, ValueType, Values,
    };

    use super::*;

    /// A database that takes two rows at a time, and fails every other write.
    #[derive(Default)]
    struct Narrow {
        refused: Mutex<bool>,
        writes: Mutex<Vec<Vec<i64>>>,
        attempts: Mutex<u32>,
    }

    #[async_trait]
    impl Session for Narrow {
        async fn server(&self) -> Result<String, Error> {
            Ok("1".into())
        }

        async fn describe(&self, _: &TableName) -> Result<Option<TableSchema>, Error> {
            Ok(None)
        }

        async fn check(&self, _: Intent<'_>) -> Result<Vec<Error>, Error> {
            Ok(Vec::new())
        }

        async fn execute(&self, _: &Ddl) -> Result<(), Error> {
            Ok(())
        }

        async fn cut(&self, block: &Block) -> Result<Option<Vec<Vec<u32>>>, Error> {
            let rows: Vec<_> = (0..u32::try_from(block.rows).unwrap()).collect();
            Ok(self.refused.lock().unwrap().then(|| rows.chunks(2).map(<[u32]>::to_vec).collect()))
        }

        async fn write(&self, blocks: &[&Block], _: Option<&Progress>) -> Result<Receipt, Error> {
            let [block] = blocks else { panic!("one at a time") };
            if block.rows > 2 {
                *self.refused.lock().unwrap() = true;
                return Err(Error::new(Advice::Cut, "too many"));
            }
            let mut attempts = self.attempts.lock().unwrap();
            *attempts += 1;
            if attempts.is_multiple_of(2) {
                return Err(Error::new(Advice::Retry, "away"));
            }
            let Values::Int64(values) = &block.columns[0].values else { panic!("it holds int64") };
            self.writes.lock().unwrap().push(values.clone());
            Ok(Receipt { rows: block.rows, bytes: 1 })
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn pieces_are_written_once_each_whatever_fails_between_them() {
        let column = TableColumn {
            name: "n".into(),
            type_text: "Int64".into(),
            value: Ok(ValueType::from(LogicalType::Int64)),
            default: ColumnDefault::None,
        };
        let name = TableName { schema: None, name: "narrow".into() };
        let table = TableSchema::new(name, "", vec![column]);
        let layout = Layout::new(Arc::new(table), [0]);
        let mut columns = layout.empty_columns();
        columns[0].values = Values::Int64((0..7).collect());
        let block = Block::new(Arc::new(layout), columns, 7);

        let session = Arc::new(Narrow::default());
        let pace = Arc::new(Pace::new(Duration::from_secs(1)));
        let writer = Writer {
            session: Arc::clone(&session) as _,
            pace,
            outages: Arc::default(),
            refused: Mutex::default(),
            under_way: Arc::default(),
        };
        let receipt = writer.write_block(&block, true).await.expect("written");
        assert_eq!(receipt, Receipt { rows: 7, bytes: 4 });
        assert_eq!(*session.writes.lock().unwrap(), [vec![0, 1], vec![2, 3], vec![4, 5], vec![6]]);
        assert_eq!(*session.attempts.lock().unwrap(), 7, "three failed");
    }
}
