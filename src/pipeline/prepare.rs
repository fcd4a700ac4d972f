//! Everything before the first row: the topics, their tables, and the programs that fill these.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rowfall_dialects::contract::{Connection, ExactlyOnce, Intent, TableSchema};

use super::connect::{delivery, told};
use super::destination::{Destination, Destinations, Fill};
use crate::claim::PARTITIONS;
use crate::config::{Delivery, Mode, Route, Rule, Settings};
use crate::decode::RowProgram;
use crate::evolve::Evolver;
use crate::problem::Problem;
use crate::reconcile::{self, Table};
use crate::source::topics::{self, Sample, SampleRecord, TopicInfo};

/// Records that are read to infer a missing table's columns.
pub(super) const SAMPLE: usize = 1_000;

/// A topic with its tables, ready to be filled.
pub struct Prepared {
    /// The topic as the brokers know it.
    pub topic: TopicInfo,
    /// Whether it is not read for now.
    pub paused: bool,
    /// Where its records go.
    pub destination: Destination,
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
    /// The first records that go to it, where they were read already.
    pub(super) records: Option<Vec<SampleRecord>>,
}

/// Looks at the topics that the routes take and their tables, changes nothing. A topic whose records say their tables
/// is found once for each table that its first records say.
///
/// # Errors
/// For the first topic, called by its name, that cannot work.
pub async fn look(settings: &Settings, connection: &Connection) -> Result<Vec<Found>, Problem> {
    let mut found = Vec::new();
    for topic in find(settings)? {
        let one = match Destinations::of(settings, connection, &topic) {
            None => look_at(settings, connection, topic).await,
            Some(many) => {
                found.extend(many.look().await);
                continue;
            }
        };
        found.push(one);
    }
    named(settings, found)
}

fn find(settings: &Settings) -> Result<Vec<TopicInfo>, Problem> {
    tokio::task::block_in_place(|| topics::find(&settings.kafka, &settings.routes))
}

/// The same, unless one that is called by its name cannot work.
fn named(settings: &Settings, found: Vec<Found>) -> Result<Vec<Found>, Problem> {
    found
        .into_iter()
        .map(|found| match found.table {
            Err(Unready::Problem(problem)) if !comes_by_pattern(settings, &found.topic) => Err(problem),
            _ => Ok(found),
        })
        .collect()
}

fn comes_by_pattern(settings: &Settings, topic: &TopicInfo) -> bool {
    settings.routes.rule(&topic.name).is_some_and(Rule::is_pattern)
}

/// Looks at one topic, which a route takes, and its table.
async fn look_at(settings: &Settings, connection: &Connection, topic: TopicInfo) -> Found {
    let rule = settings.routes.rule(&topic.name).expect("a route takes it");
    let route = settings.routes.of(&topic.name).expect("a route takes it");
    let (mut records, mut is_empty) = (None, false);
    let sampled = || {
        let sample = Sample::of(&*records.insert(first_records(settings, &topic)?));
        is_empty = sample.values() == 0;
        Ok(sample)
    };
    let table = reconcile::look(connection, &route, sampled).await;
    let table = table.map_err(|problem| match is_empty && rule.is_pattern() {
        true => Unready::Empty,
        false => Unready::Problem(problem),
    });
    Found { paused: rule.paused, route, topic, table, records }
}

/// The first records of a topic.
pub(super) fn first_records(settings: &Settings, topic: &TopicInfo) -> Result<Vec<SampleRecord>, Problem> {
    tokio::task::block_in_place(|| topics::first(&settings.kafka, topic, SAMPLE))
}

impl Found {
    /// The topic's first records, of those that go to this table.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn take_records(&mut self, settings: &Settings) -> Result<Vec<SampleRecord>, Problem> {
        self.records.take().map_or_else(|| first_records(settings, &self.topic), Ok)
    }
}

/// Everything before the first row: creates what is missing, compiles what fills it. Tables that the records say are
/// made ready when the first record goes to them.
///
/// # Errors
/// For the first topic, called by its name, that cannot work; and when none can that a pattern takes.
pub async fn prepare(settings: &Settings, connection: &Connection) -> Result<Preparation, Problem> {
    delivery(settings, connection)?;
    let mut preparation = Preparation { topics: Vec::new(), unready: Vec::new() };
    let mut found = Vec::new();
    for topic in find(settings)? {
        match Destinations::of(settings, connection, &topic) {
            Some(many) => preparation.topics.push(many.prepared()),
            None => found.push(look_at(settings, connection, topic).await),
        }
    }
    let mut found = named(settings, found)?;
    // Whatever can be refused is refused before anything is created.
    for Found { route, topic, table, .. } in &mut found {
        let refused = match table {
            Ok(Table::There(schema)) => ready(settings, connection, route, topic, schema).await.err(),
            Ok(Table::Missing { spec, .. }) => {
                first(route, problems(settings, connection, topic, Intent::Create(spec)).await?).err()
            }
            Err(_) => None,
        };
        if let Some(problem) = refused {
            if !comes_by_pattern(settings, topic) {
                return Err(problem);
            }
            *table = Err(Unready::Problem(problem));
        }
    }
    for found in found {
        let (name, by_pattern) = (found.topic.name.clone(), comes_by_pattern(settings, &found.topic));
        match settle_found(settings, connection, found).await {
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

/// As [`prepare`]; `None` when told to stop meanwhile.
///
/// # Errors
/// As there.
pub async fn prepare_in_time(
    settings: &Settings,
    connection: &Connection,
    stop: &AtomicBool,
) -> Result<Option<Preparation>, Problem> {
    tokio::select! {
        preparation = prepare(settings, connection) => preparation.map(Some),
        () = told(stop) => Ok(None),
    }
}

/// Makes a topic ready that has appeared.
pub(super) async fn prepare_one(
    settings: &Settings,
    connection: &Connection,
    topic: TopicInfo,
) -> Result<Prepared, Unready> {
    match Destinations::of(settings, connection, &topic) {
        Some(many) => Ok(many.prepared()),
        None => settle_found(settings, connection, look_at(settings, connection, topic).await).await,
    }
}

/// Makes one topic ready that was looked at.
async fn settle_found(settings: &Settings, connection: &Connection, found: Found) -> Result<Prepared, Unready> {
    let Found { route, topic, paused, table, .. } = found;
    let fill = settle(settings, connection, &route, &topic, table?).await.map_err(Unready::Problem)?;
    Ok(Prepared { topic, paused, destination: Destination::One(fill) })
}

/// Makes one table ready that was looked at.
pub(super) async fn settle(
    settings: &Settings,
    connection: &Connection,
    route: &Route,
    topic: &TopicInfo,
    table: Table,
) -> Result<Fill, Problem> {
    let schema = reconcile::settle(connection, route, table).await?;
    let program = ready(settings, connection, route, topic, &schema).await?;
    let evolver = Evolver::new(connection, route, &tokio::runtime::Handle::current()).map(Arc::new);
    Ok(Fill { program, evolver })
}

/// The program that fills the table, if nothing keeps this user from running it.
async fn ready(
    settings: &Settings,
    connection: &Connection,
    route: &Route,
    topic: &TopicInfo,
    schema: &Arc<TableSchema>,
) -> Result<Arc<RowProgram>, Problem> {
    let program = reconcile::compile(route, schema)?;
    first(route, problems(settings, connection, topic, intent(route, schema)).await?)?;
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

/// What would keep this user from doing it with the records of this topic, and from doing it as is promised.
///
/// # Errors
/// When the database cannot be asked.
pub async fn problems(
    settings: &Settings,
    connection: &Connection,
    topic: &TopicInfo,
    intent: Intent<'_>,
) -> Result<Vec<Problem>, Problem> {
    let mut problems = ask(connection, intent).await?;
    match intent {
        Intent::Write { table, .. } => problems.extend(repeats(settings, connection, topic, table).await?),
        Intent::Create(spec) => {
            if let Some(table) = connection.grammar.create_table(spec).ok().and_then(|ddl| ddl.described) {
                problems.extend(repeats(settings, connection, topic, &table).await?);
            }
        }
        Intent::Deduplicate { .. } => {}
    }
    Ok(problems)
}

/// How long after its claim was made a block may come again, when nobody has looked whether it is there: a process that
/// was frozen or cut off, its successor, and what they have on the way.
const REPEATED: Duration = Duration::from_secs(600);

/// With exactly-once into a database that keeps tokens: what would have a block that comes again be there twice.
///
/// # Errors
/// When the database cannot be asked.
pub async fn repeats(
    settings: &Settings,
    connection: &Connection,
    topic: &TopicInfo,
    table: &TableSchema,
) -> Result<Vec<Problem>, Problem> {
    if connection.exactly_once != Some(ExactlyOnce::Tokens) || delivery(settings, connection)? != Delivery::ExactlyOnce
    {
        return Ok(Vec::new());
    }
    // Each worker closes about one batch in this time, and there may be as many others as this process has.
    let age = u64::try_from(settings.batch.age.as_millis()).unwrap_or(u64::MAX).max(1);
    let units = topic.partitions.len().div_ceil(settings.workers).div_ceil(PARTITIONS).max(1);
    let at_once = u64::try_from(2 * settings.workers * units).unwrap_or(u64::MAX);
    let blocks = (u64::try_from(REPEATED.as_millis()).unwrap_or(u64::MAX) / age).saturating_mul(at_once);
    ask(connection, Intent::Deduplicate { table, blocks, within: REPEATED }).await
}

async fn ask(connection: &Connection, intent: Intent<'_>) -> Result<Vec<Problem>, Problem> {
    let name = match intent {
        Intent::Write { table, .. } | Intent::Deduplicate { table, .. } => &table.name,
        Intent::Create(spec) => &spec.name,
    };
    let doing = format!("table {name}");
    let found = connection.session.check(intent).await.map_err(|e| Problem::from(e).within(&doing))?;
    Ok(found.into_iter().map(|e| Problem::from(e).within(&doing)).collect())
}
