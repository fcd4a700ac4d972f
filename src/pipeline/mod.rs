//! The stages, put together: the drawing in `docs/architecture.md`, top to bottom.
//!
//! ```text
//!  Kafka partitions
//!    │  source        a worker thread reads batches of borrowed payloads from its partitions' queue
//!    ▼
//!  decode             each record runs its table's program straight into typed columns
//!    ▼
//!  batch              one open unit per worker × topic, or as many as claims need for its partitions; closed together
//!    │                on rows | bytes | age | memory | revoke
//!    ▼
//!  reconcile          before the first row: the route's table as the database has it, or created
//!    ▼
//!  write              a lane per worker × topic: retried until written, or refused
//!    ▼
//!  commit             contiguous written offsets, to the group
//! ```
//!
//! `connect` and `prepare` do what comes before the first row, [`run`] the rest. `intake` is what a worker does with each
//! record (route, decode, batch), `destination` the tables that records say themselves; `coordinator` is the consumer's
//! thread (rebalances, stops, commits, the end); `lookout` sees topics come and go.

mod connect;
mod coordinator;
mod destination;
mod intake;
mod lookout;
mod prepare;
mod rebuild;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use rowfall_dialects::contract::{Connection, Error, ExactlyOnce, Receipt, Resumed, Session, TableName, Token};
use tokio::sync::oneshot;

use crate::budget::Budget;
use crate::config::{Delivery, KafkaSettings, Settings};
use crate::pace::Pace;
use crate::problem::Problem;
use crate::source::consumer::Consumer;
use crate::source::position::{Offset, Owned, Span};
use crate::source::worker::Worker;
use crate::write::{self, Lane};
pub use connect::{connect, connect_in_time, delivery};
use coordinator::{Claims, Coordinator};
pub use destination::{Destination, Destinations, Fill};
use intake::{Intake, TopicIntake};
use lookout::Lookout;
pub use prepare::{Found, Preparation, Prepared, Unready, intent, look, prepare, prepare_in_time, problems, repeats};

/// How a run ends and what it shows meanwhile.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Stop at the end offsets that the partitions have when they are first assigned.
    pub until_end: bool,
    /// Set from outside to end the run: flush, commit, leave.
    pub stop: Arc<AtomicBool>,
    /// Counted while it runs, for whoever shows progress.
    pub progress: Arc<Progress>,
}

/// What a run has done so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows that the database acknowledged.
    pub rows: AtomicU64,
    /// Bytes encoded for it, before compression.
    pub bytes: AtomicU64,
    /// Records between what is written and the partitions' ends.
    pub lag: AtomicU64,
    /// Partitions that this process reads.
    pub partitions: AtomicU64,
}

impl Progress {
    fn count(&self, Receipt { rows, bytes }: Receipt) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Records that ended in their tables.
    pub records: u64,
    /// Rows that the database acknowledged.
    pub rows: u64,
    /// Time from the first assignment to the end.
    pub elapsed: Duration,
    /// Partitions and topics that stopped, each with the reason. Empty when all went well.
    pub stopped: Vec<Problem>,
    /// Rows that were read and given up since the database did not take them in the time there was; the next run reads
    /// them again.
    pub unwritten: bool,
}

/// The runtime that databases are written from.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rowfall-write")
        .enable_all()
        .build()
        .map_err(|e| Problem::new(format!("cannot start threads: {e}"), ""))
}

/// What the stages tell the coordinator.
enum Report {
    /// A unit was closed and goes to its lane; where it has to be claimed first, its token is awaited there.
    Closed(Vec<Span>, Option<oneshot::Sender<Token>>),
    /// A partition has no record in this range.
    Passed(Span),
    /// A unit was written or refused.
    Outcome(write::Outcome),
    /// A partition was stopped by its worker at this offset.
    Stopped(Arc<Owned>, Offset, Problem),
    /// A partition has no record at this offset, where it was to be read on.
    LostPlace(Arc<Owned>, Offset, Problem),
    /// A partition was read to its end.
    Ended(Arc<Owned>),
    /// The database was asked to give these partitions to this process.
    Resumed(Vec<Arc<Owned>>, Result<Vec<Resumed>, Error>),
    /// A claim that was found is done: what it held is in the database, or why not.
    Rebuilt(u64, Result<Receipt, Problem>),
}

/// What keeps this user from committing to the group, and from doing it as is promised. A process that runs has shown
/// that it may: its `transactional.id` is left alone.
///
/// # Errors
/// For a property that librdkafka refuses.
pub fn missing_rights(settings: &Settings, connection: &Connection) -> Result<Vec<Problem>, Problem> {
    let consumer = Consumer::new(&settings.name, &settings.kafka, read_ahead(settings, &[]), false)?;
    let mut problems: Vec<_> = consumer.refuse_without_right().err().into_iter().collect();
    let is_claimed = connection.exactly_once == Some(ExactlyOnce::Tokens)
        && delivery(settings, connection).is_ok_and(|delivery| delivery == Delivery::ExactlyOnce);
    if is_claimed && consumer.refuse_members().is_ok() {
        // Brokers that are busy are not waited for.
        let stop = AtomicBool::new(true);
        problems.extend(Claims::start(settings.name.as_str().into(), &settings.kafka, &stop).err());
    }
    Ok(problems)
}

/// Moves records until told to stop, or to the end.
///
/// # Errors
/// When nothing can go on: Kafka refuses this user, librdkafka gives up. Partitions and topics that stop one by one are
/// told in the summary instead.
pub fn run(
    settings: &Settings,
    connection: &Connection,
    preparation: Preparation,
    options: &RunOptions,
    runtime: &tokio::runtime::Handle,
) -> Result<Summary, Problem> {
    for rule in settings.routes.rules().iter().filter(|rule| rule.is_pattern()) {
        let takes = |name: &str| settings.routes.rule(name).is_some_and(|first| first.key == rule.key);
        let mut names =
            preparation.topics.iter().map(|p| &p.topic.name).chain(preparation.unready.iter().map(|u| &u.0));
        if !names.any(|name| takes(name)) {
            tracing::info!("{}: no topic matches it yet", rule.key);
        }
    }
    let once = match delivery(settings, connection)? {
        Delivery::ExactlyOnce => connection.exactly_once,
        Delivery::AtLeastOnce => None,
    };
    let pipeline: Arc<str> = settings.name.as_str().into();
    let keeper = (once == Some(ExactlyOnce::Transactions)).then(|| Arc::clone(&pipeline));
    let claims = match once {
        Some(ExactlyOnce::Tokens) => match Claims::start(pipeline, &settings.kafka, &options.stop)? {
            None => return Ok(Summary::default()),
            claims => claims,
        },
        _ => None,
    };
    let read_ahead = read_ahead(settings, &preparation.topics);
    let consumer = Consumer::new(&settings.name, &settings.kafka, read_ahead, options.until_end)?;
    let budget = Budget::new(settings.memory - settings.memory / 8);
    // Of each worker once what it fills and once what is written, and once more for whoever is ahead.
    let largest = settings.memory / 8 * 7 / (2 * settings.workers + 1);

    let (reports, reported) = mpsc::channel();
    let mut workers = Vec::new();
    for number in 0..settings.workers {
        let (topics, arrivals) = mpsc::channel();
        let intake = Intake::new(arrivals, settings.batch, largest, Arc::clone(&budget), reports.clone());
        let (commands, commanded) = mpsc::channel();
        let queue = consumer.queue();
        let worker = Worker::new(Arc::clone(&queue), commanded, intake);
        let thread = std::thread::Builder::new().name(format!("rowfall-{number}"));
        let thread =
            thread.spawn(|| worker.run()).map_err(|e| Problem::new(format!("cannot start a thread: {e}"), ""))?;
        workers.push(coordinator::WorkerHandle { queue, commands, topics, thread: Some(thread) });
    }
    let session = Arc::clone(&connection.session);
    let (age, paces, outages) = (settings.batch.age, BTreeMap::new(), Arc::default());
    let eras = BTreeMap::new();
    let kafka = settings.kafka.clone();
    let supply =
        Supply { session, kafka, runtime: runtime.clone(), budget, reports, age, paces, outages, eras, keeper };
    let lookout = Lookout::start(settings, connection, &preparation, &consumer, !options.until_end, runtime)?;
    Coordinator::new(consumer, workers, reported, supply, lookout, claims, options.clone()).run(preparation)
}

/// What librdkafka may read ahead, per partition: all of them an eighth of the memory. The bound cannot be changed
/// later, so that there is room for partitions which appear where patterns make that likely.
fn read_ahead(settings: &Settings, topics: &[Prepared]) -> usize {
    let partitions: usize = topics.iter().map(|p| p.topic.partitions.len()).sum();
    let partitions = if settings.routes.have_patterns() { (2 * partitions).max(32) } else { partitions.max(1) };
    settings.memory / 8 / partitions
}

/// Whatever a topic needs to be filled in, for each worker.
struct Supply {
    session: Arc<dyn Session>,
    kafka: KafkaSettings,
    runtime: tokio::runtime::Handle,
    budget: Arc<Budget>,
    reports: mpsc::Sender<Report>,
    /// `batch.age`.
    age: Duration,
    /// By table, which several topics may share.
    paces: BTreeMap<TableName, Arc<Pace>>,
    outages: Arc<write::Outages>,
    /// By topic: [`CommitNote::era`](crate::source::start::CommitNote::era).
    eras: BTreeMap<String, Arc<AtomicU16>>,
    /// With exactly-once: the pipeline whose progress the database keeps.
    keeper: Option<Arc<str>>,
}

impl Supply {
    /// A worker's part of this topic: decoder, units, lane, whose outcomes are told as these reports. `claims`: whether its
    /// units are to be claimed before they are written.
    fn intake(
        &mut self,
        topic: &str,
        destination: &Destination,
        claims: bool,
        report: impl Fn(write::Outcome) -> Report + Send + Sync + 'static,
    ) -> TopicIntake {
        let tell = self.reports.clone();
        let tell = move |outcome| drop(tell.send(report(outcome)));
        // Units of many tables are written one at a time, and as fast as the slowest table takes them.
        let (table, at_once) = match destination {
            Destination::One(fill) => (destination.table(), fill.program.layout.table.parallel),
            Destination::Many(_) => (destination.table(), 1),
        };
        let pace = self.paces.entry(table.clone()).or_insert_with(|| Arc::new(Pace::new(self.age)));
        let pace = Arc::clone(pace);
        let (session, outages, keeper) = (Arc::clone(&self.session), Arc::clone(&self.outages), self.keeper.clone());
        let lane = Lane::open(&self.runtime, session, at_once, Arc::clone(&pace), outages, keeper, tell);
        let era = Arc::clone(self.era(topic));
        TopicIntake::new(topic, destination, &self.budget, pace, lane, era, claims)
    }

    /// The era that the topic's workers read.
    fn era(&mut self, topic: &str) -> &Arc<AtomicU16> {
        self.eras.entry(topic.to_owned()).or_default()
    }
}
