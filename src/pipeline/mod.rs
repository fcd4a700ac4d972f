//! The stages, put together: the drawing in `docs/architecture.md`, top to bottom.
//!
//! ```text
//!  Kafka partitions
//!    │  source        a worker thread reads batches of borrowed payloads from its partitions' queue
//!    ▼
//!  decode             each record runs its table's program straight into typed columns
//!    ▼
//!  batch              one open unit per worker × topic; closed on rows | bytes | age | memory | revoke
//!    ▼
//!  reconcile          before the first row: the route's table as the database has it, or created
//!    ▼
//!  write              a lane per worker × topic: retried until written, or refused
//!    ▼
//!  commit             contiguous written offsets, to the group
//! ```
//!
//! [`prepare`] does what comes before the first row, [`run`] the rest. `intake` is what a worker does with each record
//! (decode, batch); `coordinator` is the consumer's thread (rebalances, stops, commits, the end); `lookout` sees topics
//! come and go.

mod coordinator;
mod intake;
mod lookout;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Advice, Connection, Error, Intent, Resumed, Session, TableName, TableSchema};

use crate::budget::Budget;
use crate::config::{Delivery, Mode, Route, Rule, Settings};
use crate::decode::{RowDecoder, RowProgram};
use crate::evolve::Evolver;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::reconcile::{self, Table};
use crate::source::consumer::Consumer;
use crate::source::position::{Offset, Owned, Span};
use crate::source::topics::{self, TopicInfo};
use crate::source::worker::Worker;
use crate::write::{self, Lane};
use coordinator::Coordinator;
use intake::{Intake, TopicIntake};
use lookout::Lookout;

/// Records that are read to infer a missing table's columns.
const SAMPLE: usize = 1_000;

/// Between two attempts to reach a server that does not answer at the start.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// How often such a wait is logged.
const SAY_EVERY: Duration = Duration::from_secs(30);

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

/// A topic with its table, ready to be filled.
pub struct Prepared {
    /// The topic as the brokers know it.
    pub topic: TopicInfo,
    /// Whether it is not read for now.
    pub paused: bool,
    /// What fills the table.
    pub program: Arc<RowProgram>,
    /// What alters the table, where the route allows it.
    pub evolver: Option<Arc<Evolver>>,
}

/// What was prepared before the first row.
pub struct Preparation {
    /// Topics that can be moved.
    pub topics: Vec<Prepared>,
    /// Topics that a pattern takes and that cannot be moved for now. They are tried again while it runs.
    pub unready: Vec<(String, Unready)>,
}

/// Why a topic that a pattern takes cannot be moved for now. For a topic that is called by its name it would be an
/// error.
#[derive(Debug)]
pub enum Unready {
    /// It has no record yet that a missing table could be inferred from.
    Empty,
    /// Something has to be done first.
    Problem(Problem),
}

/// A topic, with its route, as it was found.
pub struct Found {
    /// The route.
    pub route: Route,
    /// The topic.
    pub topic: TopicInfo,
    /// Whether it is not read for now.
    pub paused: bool,
    /// Its table.
    pub table: Result<Table, Unready>,
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

/// Connects to the target and sees that it answers.
///
/// # Errors
/// When it does not, or does not let us in.
pub async fn connect(settings: &Settings) -> Result<(Connection, String), Problem> {
    let doing = format!("target {}", settings.target);
    let connection = rowfall_dialects::connect(&settings.target).await.map_err(|e| Problem::from(e).within(&doing))?;
    let server = connection.session.server().await.map_err(|e| Problem::from(e).within(&doing))?;
    Ok((connection, server))
}

/// As [`connect`], and waits as long as the settings say for a server that does not answer yet; `None` when told to stop
/// meanwhile.
///
/// # Errors
/// When it does not answer in that time, or not as it should.
pub async fn connect_in_time(settings: &Settings, stop: &AtomicBool) -> Result<Option<(Connection, String)>, Problem> {
    let doing = format!("target {}", settings.target);
    let connection = rowfall_dialects::connect(&settings.target).await.map_err(|e| Problem::from(e).within(&doing))?;
    let began = Instant::now();
    let mut said: Option<Instant> = None;
    loop {
        let server = tokio::select! {
            server = connection.session.server() => server,
            () = told(stop) => return Ok(None),
        };
        match server {
            Ok(server) => return Ok(Some((connection, server))),
            Err(error) if error.advice == Advice::Retry && began.elapsed() < settings.wait => {
                if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                    said = Some(Instant::now());
                    let left = (settings.wait - began.elapsed()).as_secs_f64().ceil();
                    let problem = Problem::from(error).within(&doing);
                    tracing::warn!("waiting up to {left:.0} s for the target to answer (`target.wait`): {problem}");
                }
            }
            Err(error) => return Err(Problem::from(error).within(&doing)),
        }
        let pause = CONNECT_EVERY.min(settings.wait.saturating_sub(began.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told(stop) => return Ok(None),
        }
    }
}

/// What is promised of records: what the settings ask for, else the best that the database can.
///
/// # Errors
/// When the database cannot keep the promise that is asked for.
pub fn delivery(settings: &Settings, connection: &Connection) -> Result<Delivery, Problem> {
    match (settings.delivery, connection.transactional) {
        (Some(Delivery::ExactlyOnce), false) => {
            let database = connection.grammar.name();
            let what = format!("`delivery: exactly-once` is not available yet in this version with {database}");
            Err(Problem::new(what, "leave `delivery` out, or say `at-least-once`"))
        }
        (Some(asked), _) => Ok(asked),
        (None, true) => Ok(Delivery::ExactlyOnce),
        (None, false) => Ok(Delivery::AtLeastOnce),
    }
}

async fn told(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Looks at the topics that the routes take and their tables, changes nothing.
///
/// # Errors
/// For the first topic, called by its name, that cannot work.
pub async fn look(settings: &Settings, connection: &Connection) -> Result<Vec<Found>, Problem> {
    let topics = tokio::task::block_in_place(|| topics::find(&settings.kafka, &settings.routes))?;
    let mut found = Vec::new();
    for topic in topics {
        let topic = look_at(settings, connection, topic).await;
        match topic.table {
            Err(Unready::Problem(problem)) if !comes_by_pattern(settings, &topic.topic) => return Err(problem),
            _ => found.push(topic),
        }
    }
    Ok(found)
}

fn comes_by_pattern(settings: &Settings, topic: &TopicInfo) -> bool {
    settings.routes.rule(&topic.name).is_some_and(Rule::is_pattern)
}

/// Looks at one topic, which a route takes, and its table.
async fn look_at(settings: &Settings, connection: &Connection, topic: TopicInfo) -> Found {
    let rule = settings.routes.rule(&topic.name).expect("a route takes it");
    let route = settings.routes.of(&topic.name).expect("a route takes it");
    let mut is_empty = false;
    let sampled = || {
        let sample = sample(settings, &topic)?;
        is_empty = sample.values.is_empty();
        Ok(sample)
    };
    let table = reconcile::look(connection, &route, sampled).await;
    let table = table.map_err(|problem| match is_empty && rule.is_pattern() {
        true => Unready::Empty,
        false => Unready::Problem(problem),
    });
    Found { paused: rule.paused, route, topic, table }
}

/// The first records of a topic.
///
/// # Errors
/// When they cannot be read.
pub fn sample(settings: &Settings, topic: &TopicInfo) -> Result<topics::Sample, Problem> {
    tokio::task::block_in_place(|| topics::sample(&settings.kafka, topic, SAMPLE))
}

/// Everything before the first row: creates what is missing, compiles what fills it.
///
/// # Errors
/// For the first topic, called by its name, that cannot work; and when none can that a pattern takes.
pub async fn prepare(settings: &Settings, connection: &Connection) -> Result<Preparation, Problem> {
    delivery(settings, connection)?;
    let mut found = look(settings, connection).await?;
    // Whatever can be refused is refused before anything is created.
    for Found { route, topic, table, .. } in &mut found {
        let refused = match table {
            Ok(Table::There(schema)) => ready(connection, route, schema).await.err(),
            Ok(Table::Missing { spec, .. }) => first(route, problems(connection, Intent::Create(spec)).await?).err(),
            Err(_) => None,
        };
        if let Some(problem) = refused {
            if !comes_by_pattern(settings, topic) {
                return Err(problem);
            }
            *table = Err(Unready::Problem(problem));
        }
    }
    let mut preparation = Preparation { topics: Vec::new(), unready: Vec::new() };
    for found in found {
        let (name, by_pattern) = (found.topic.name.clone(), comes_by_pattern(settings, &found.topic));
        match settle(connection, found).await {
            Ok(prepared) => preparation.topics.push(prepared),
            Err(Unready::Problem(problem)) if !by_pattern => return Err(problem),
            Err(unready) => preparation.unready.push((name, unready)),
        }
    }
    if preparation.topics.is_empty()
        && let Some((_, Unready::Problem(problem))) =
            preparation.unready.iter().find(|(_, unready)| matches!(unready, Unready::Problem(_)))
    {
        return Err(problem.clone());
    }
    Ok(preparation)
}

/// Makes one topic ready that was looked at.
async fn settle(connection: &Connection, found: Found) -> Result<Prepared, Unready> {
    let Found { route, topic, paused, table } = found;
    let schema = reconcile::settle(connection, &route, table?).await.map_err(Unready::Problem)?;
    let program = ready(connection, &route, &schema).await.map_err(Unready::Problem)?;
    let evolver = Evolver::new(connection, &route, &tokio::runtime::Handle::current()).map(Arc::new);
    Ok(Prepared { topic, paused, program, evolver })
}

/// The program that fills the table, if nothing keeps this user from running it.
async fn ready(connection: &Connection, route: &Route, schema: &Arc<TableSchema>) -> Result<Arc<RowProgram>, Problem> {
    let program = reconcile::compile(route, schema)?;
    first(route, problems(connection, intent(route, schema)).await?)?;
    Ok(program)
}

/// The first of them, with the topic.
fn first(route: &Route, problems: Vec<Problem>) -> Result<(), Problem> {
    let first = problems.into_iter().next();
    first.map_or(Ok(()), |problem| Err(problem.within(&format!("topic {}", route.topic))))
}

/// What the route will do with its table.
pub fn intent<'a>(route: &'a Route, table: &'a TableSchema) -> Intent<'a> {
    Intent::Write { table, keyed: route.mode != Mode::Insert, cluster: route.storage.cluster.as_deref() }
}

/// What would keep this user from doing it.
///
/// # Errors
/// When the database cannot be asked.
pub async fn problems(connection: &Connection, intent: Intent<'_>) -> Result<Vec<Problem>, Problem> {
    let name = match intent {
        Intent::Write { table, .. } => &table.name,
        Intent::Create(spec) => &spec.name,
    };
    let doing = format!("table {name}");
    let found = connection.session.check(intent).await.map_err(|e| Problem::from(e).within(&doing))?;
    Ok(found.into_iter().map(|e| Problem::from(e).within(&doing)).collect())
}

/// What the stages tell the coordinator.
enum Report {
    /// A unit was closed and goes to its lane.
    Closed(Vec<Span>),
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
    let keeper = match delivery(settings, connection)? {
        Delivery::ExactlyOnce => Some(Arc::from(settings.name.as_str())),
        Delivery::AtLeastOnce => None,
    };
    let consumer = Consumer::new(&settings.name, &settings.kafka, read_ahead(settings, &preparation.topics))?;
    let budget = Budget::new(settings.memory - settings.memory / 8);
    // Of each worker one unit that fills and one that is written, and one more for whoever is ahead.
    let largest_unit = settings.memory / 8 * 7 / (2 * settings.workers + 1);

    let (reports, reported) = mpsc::channel();
    let mut workers = Vec::new();
    for number in 0..settings.workers {
        let (topics, arrivals) = mpsc::channel();
        let intake = Intake::new(arrivals, settings.batch, largest_unit, Arc::clone(&budget), reports.clone());
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
    let supply = Supply { session, runtime: runtime.clone(), budget, reports, age, paces, outages, eras, keeper };
    let lookout = Lookout::start(settings, connection, &preparation, &consumer, !options.until_end, runtime)?;
    let start_from = settings.kafka.start_from;
    Coordinator::new(consumer, workers, reported, supply, lookout, start_from, options.clone()).run(preparation)
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
    /// A worker's part of this topic: decoder, units, lane.
    fn intake(&mut self, prepared: &Prepared) -> TopicIntake {
        let Prepared { topic, program, evolver, .. } = prepared;
        let tell = self.reports.clone();
        let tell = move |outcome| drop(tell.send(Report::Outcome(outcome)));
        let pace = self.paces.entry(program.layout.table.name.clone());
        let pace = Arc::clone(pace.or_insert_with(|| Arc::new(Pace::new(self.age))));
        let (session, outages) = (Arc::clone(&self.session), Arc::clone(&self.outages));
        let (table, keeper) = (&program.layout.table, self.keeper.clone());
        let lane = Lane::open(&self.runtime, session, table, Arc::clone(&pace), outages, keeper, tell);
        let (decoder, era) = (RowDecoder::new(Arc::clone(program)), Arc::clone(self.era(&topic.name)));
        TopicIntake::new(&topic.name, decoder, &self.budget, pace, lane, era, evolver.clone())
    }

    /// The era that the topic's workers read.
    fn era(&mut self, topic: &str) -> &Arc<AtomicU16> {
        self.eras.entry(topic.to_owned()).or_default()
    }
}
