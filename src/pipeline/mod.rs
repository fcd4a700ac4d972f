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
//! (decode, batch); `coordinator` is the consumer's thread (rebalances, stops, commits, the end).

mod coordinator;
mod intake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Advice, Connection, Session, TableSchema, TableSpec};

use crate::budget::Budget;
use crate::config::{Route, Settings};
use crate::decode::{Decoder, Program};
use crate::pace::Pace;
use crate::problem::Problem;
use crate::reconcile::{self, Table};
use crate::source::consumer::{self, Consumer, TopicInfo};
use crate::source::position::{Offset, Owned, Span, TopicPartition};
use crate::source::worker::Worker;
use crate::write;
use coordinator::Coordinator;
use intake::{Intake, TopicIntake};

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
    /// Partitions that stopped, each with the reason. Empty when all went well.
    pub stopped: Vec<Problem>,
    /// Rows that were read and given up since the database did not take them in the time there was; the next run reads
    /// them again.
    pub unwritten: bool,
}

/// A topic with its table, ready to be filled.
pub struct Prepared {
    /// The topic as the brokers know it.
    pub topic: TopicInfo,
    /// What fills the table.
    pub program: Arc<Program>,
}

/// A route as it was found.
pub struct Found<'s> {
    /// The route.
    pub route: &'s Route,
    /// Its topic.
    pub topic: TopicInfo,
    /// Its table.
    pub table: Table,
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

async fn told(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Looks at every route's topic and table, changes nothing.
///
/// # Errors
/// For the first that cannot work.
pub async fn look<'s>(settings: &'s Settings, connection: &Connection) -> Result<Vec<Found<'s>>, Problem> {
    let names: Vec<_> = settings.routes.iter().map(|route| route.topic.as_str()).collect();
    let topics = tokio::task::block_in_place(|| consumer::describe_topics(&settings.kafka, &names))?;
    let mut found = Vec::new();
    for (route, topic) in settings.routes.iter().zip(topics) {
        let sample = || tokio::task::block_in_place(|| consumer::sample(&settings.kafka, &topic, SAMPLE));
        let table = reconcile::look(connection, route, sample).await?;
        found.push(Found { route, topic, table });
    }
    Ok(found)
}

/// Everything before the first row: creates what is missing, compiles what fills it.
///
/// # Errors
/// For the first route that cannot work.
pub async fn prepare(settings: &Settings, connection: &Connection) -> Result<Vec<Prepared>, Problem> {
    let found = look(settings, connection).await?;
    // Whatever can be refused is refused before anything is created.
    for Found { route, table, .. } in &found {
        match table {
            Table::There(schema) => _ = ready(connection, route, schema).await?,
            Table::Missing { spec, .. } => first(create_problems(connection.session.as_ref(), spec).await?)?,
        }
    }
    let mut prepared = Vec::new();
    for Found { route, topic, table } in found {
        let schema = reconcile::settle(connection, route, table).await?;
        prepared.push(Prepared { topic, program: ready(connection, route, &schema).await? });
    }
    Ok(prepared)
}

/// The program that fills the table, if nothing keeps this user from running it.
async fn ready(connection: &Connection, route: &Route, schema: &Arc<TableSchema>) -> Result<Arc<Program>, Problem> {
    let program = reconcile::compile(route, schema)?;
    first(problems(connection.session.as_ref(), schema).await?)?;
    Ok(program)
}

fn first(problems: Vec<Problem>) -> Result<(), Problem> {
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// What would keep this user from writing the table.
///
/// # Errors
/// When the database cannot be asked.
pub async fn problems(session: &dyn Session, table: &TableSchema) -> Result<Vec<Problem>, Problem> {
    let doing = format!("table {}", table.name);
    let found = session.check(table).await.map_err(|e| Problem::from(e).within(&doing))?;
    Ok(found.into_iter().map(|e| Problem::from(e).within(&doing)).collect())
}

/// What would keep this user from creating the table.
///
/// # Errors
/// When the database cannot be asked.
pub async fn create_problems(session: &dyn Session, table: &TableSpec) -> Result<Vec<Problem>, Problem> {
    let doing = format!("table {}", table.name);
    let found = session.check_create(table).await.map_err(|e| Problem::from(e).within(&doing))?;
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
    /// A partition was read to its end.
    Ended(Arc<Owned>),
}

/// Moves records until told to stop, or to the end.
///
/// # Errors
/// When nothing can go on: Kafka refuses this user, librdkafka gives up. Partitions that stop one by one are told in the
/// summary instead.
pub fn run(
    settings: &Settings,
    connection: &Connection,
    prepared: &[Prepared],
    options: &RunOptions,
    runtime: &tokio::runtime::Handle,
) -> Result<Summary, Problem> {
    // An eighth for what librdkafka reads ahead, the rest for columns: of each worker one unit that fills and one that
    // is written, and one more for whoever is ahead.
    let partitions: usize = prepared.iter().map(|p| p.topic.partitions.len()).sum();
    let read_ahead = settings.memory / 8 / partitions.max(1);
    let budget = Budget::new(settings.memory - settings.memory / 8);
    let largest_unit = settings.memory / 8 * 7 / (2 * settings.workers + 1);

    let pace = |p: &Prepared| p.program.layout.table.name.to_string();
    let paces: BTreeMap<_, _> =
        prepared.iter().map(pace).map(|t| (t, Arc::new(Pace::new(settings.batch.age)))).collect();

    let consumer = Consumer::new(&settings.name, &settings.kafka, read_ahead)?;
    let (reports, reported) = mpsc::channel();
    let outages: Arc<write::Outages> = Arc::default();
    let mut workers = Vec::new();
    for number in 0..settings.workers {
        let topics = prepared.iter().map(|p| {
            let tell = reports.clone();
            let tell = move |outcome| drop(tell.send(Report::Outcome(outcome)));
            let pace = &paces[&pace(p)];
            let lane =
                write::lane(runtime, Arc::clone(&connection.session), Arc::clone(pace), Arc::clone(&outages), tell);
            TopicIntake::new(&p.topic.name, Decoder::new(Arc::clone(&p.program)), &budget, Arc::clone(pace), lane)
        });
        let intake = Intake::new(topics.collect(), settings.batch, largest_unit, Arc::clone(&budget), reports.clone());
        let (commands, commanded) = mpsc::channel();
        let queue = consumer.queue();
        let worker = Worker::new(Arc::clone(&queue), commanded, intake);
        let thread = std::thread::Builder::new().name(format!("rowfall-{number}"));
        let thread =
            thread.spawn(|| worker.run()).map_err(|e| Problem::new(format!("cannot start a thread: {e}"), ""))?;
        workers.push(coordinator::WorkerHandle { queue, commands, thread: Some(thread) });
    }
    let topics: Vec<_> = prepared.iter().map(|p| p.topic.name.as_str()).collect();
    consumer.subscribe(&topics)?;
    let of_topic = |t: &TopicInfo| -> Vec<_> {
        t.partitions.iter().map(|p| TopicPartition { topic: t.name.as_str().into(), partition: *p }).collect()
    };
    let partitions = prepared.iter().flat_map(|p| of_topic(&p.topic)).collect();
    Coordinator::new(consumer, workers, reported, partitions, options.clone()).run()
}
