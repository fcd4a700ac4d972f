//! The tables that a topic's records go to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Advice, Connection, TableName};

use super::intake::refused;
use super::prepare::{SAMPLE, first_records, settle};
use super::{Found, Prepared, Unready};
use crate::config::{Route, Settings, TableTemplate};
use crate::decode::{Record, RowProgram};
use crate::evolve::Evolver;
use crate::problem::Problem;
use crate::reconcile::{self, Table};
use crate::routing::{Router, Way};
use crate::source::position::{Offset, TopicPartition};
use crate::source::topics::{self, Sample, SampleRecord, TopicInfo};

/// How long a server that does not answer is waited for when a record needs a table that was not seen before. The worker
/// does nothing else meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a topic's records go.
#[derive(Clone)]
pub enum Destination {
    /// All to one table.
    One(Fill),
    /// Each to the one that it says.
    Many(Arc<Destinations>),
}

/// A table, ready to be filled.
#[derive(Clone)]
pub struct Fill {
    /// What fills it.
    pub program: Arc<RowProgram>,
    /// What alters it, where the route allows that.
    pub evolver: Option<Arc<Evolver>>,
}

impl Destination {
    /// The table's name; where there are many, the template of their names.
    #[must_use]
    pub fn table(&self) -> &TableName {
        match self {
            Self::One(fill) => &fill.program.layout.table.name,
            Self::Many(tables) => tables.template(),
        }
    }
}

/// Tables that are made ready when the first record goes to them; shared by all workers.
pub struct Destinations {
    settings: Settings,
    connection: Connection,
    route: Route,
    template: TableTemplate,
    topic: TopicInfo,
    paused: bool,
    runtime: tokio::runtime::Handle,
    ready: Mutex<HashMap<TableName, Fill>>,
}

impl Destinations {
    /// Of a topic; `None` where its records all go to one table. To be called in the runtime.
    #[must_use]
    pub fn of(settings: &Settings, connection: &Connection, topic: &TopicInfo) -> Option<Self> {
        let rule = settings.routes.rule(&topic.name)?;
        let route = settings.routes.of(&topic.name)?;
        Some(Self {
            settings: settings.clone(),
            connection: connection.clone(),
            template: route.by_record.clone()?,
            route,
            paused: rule.paused,
            topic: topic.clone(),
            runtime: tokio::runtime::Handle::current(),
            ready: Mutex::default(),
        })
    }

    /// The topic, whose tables are made ready as records come.
    pub(super) fn prepared(self) -> Prepared {
        Prepared { topic: self.topic.clone(), paused: self.paused, destination: Destination::Many(Arc::new(self)) }
    }

    /// The tables that the topic's first records go to; changes nothing.
    pub(super) async fn look(&self) -> Vec<Found> {
        let records = match first_records(&self.settings, &self.topic) {
            Ok(records) if records.is_empty() => {
                return vec![self.found(self.route.clone(), Err(Unready::Empty), None)];
            }
            Ok(records) => records,
            Err(problem) => return vec![self.found(self.route.clone(), Err(Unready::Problem(problem)), None)],
        };
        let (mut router, mut tables) = (self.router(), Vec::<(TableName, Vec<SampleRecord>)>::new());
        let mut found = Vec::new();
        for record in records {
            match router.way(&record.as_record()) {
                Ok(Way::Known(table)) => tables[table].1.push(record),
                Ok(Way::New(name)) => {
                    router.learn(tables.len());
                    tables.push((name, vec![record]));
                }
                Err(bad) if found.is_empty() => {
                    let (partition, offset) = record.place;
                    let place = format!("topic {}[{partition}] offset {offset}", self.topic.name);
                    let problem = refused(self.template(), bad).within(&place);
                    found.push(self.found(self.route.clone(), Err(Unready::Problem(problem)), None));
                }
                Err(_) => {}
            }
        }
        for (name, records) in tables.into_iter().take(self.route.max_tables) {
            let route = self.route.into_table(name);
            let table = reconcile::look(&self.connection, &route, || Ok(Sample::of(&records))).await;
            found.push(self.found(route, table.map_err(Unready::Problem), Some(records)));
        }
        found
    }

    fn found(&self, route: Route, table: Result<Table, Unready>, records: Option<Vec<SampleRecord>>) -> Found {
        Found { route, topic: self.topic.clone(), paused: self.paused, table, records }
    }

    /// What finds a record's table.
    pub(super) fn router(&self) -> Router {
        Router::new(&self.template)
    }

    /// The tables' names, with what each record says still to be filled in.
    pub(super) fn template(&self) -> &TableName {
        &self.route.table
    }

    /// The table to which this record goes, made ready if it is the first. To be called from threads that are none of
    /// the runtime's.
    ///
    /// # Errors
    /// When the topic has too many tables, when this one cannot be filled, or when the database does not answer in time.
    pub(super) fn get(&self, name: &TableName, record: &Record<'_>) -> Result<Fill, Problem> {
        let mut ready = self.ready.lock().expect("no panic while held");
        if let Some(fill) = ready.get(name) {
            return Ok(fill.clone());
        }
        let Route { max_tables, key, .. } = &self.route;
        if ready.len() >= *max_tables {
            let what = format!("table {name} would be one more than the {max_tables} that `max_tables` allows");
            return Err(Problem::new(what, format!("mend the producer, or raise `topics.{key}.max_tables`")));
        }
        let fill = self.runtime.block_on(self.make_ready(name, record))?;
        tracing::info!("topic {} → table {name}", self.topic.name);
        ready.insert(name.clone(), fill.clone());
        Ok(fill)
    }

    async fn make_ready(&self, name: &TableName, record: &Record<'_>) -> Result<Fill, Problem> {
        let route = self.route.into_table(name.clone());
        let began = Instant::now();
        let mut tried = false;
        loop {
            let sampled = || self.sample(name, record);
            let problem = match reconcile::look(&self.connection, &route, sampled).await {
                Ok(table) => match settle(&self.settings, &self.connection, &route, &self.topic, table).await {
                    Ok(fill) => return Ok(fill),
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            };
            // It may be no more than that the server is away, or was a moment ago.
            let away = matches!(self.connection.session.server().await, Err(e) if e.advice == Advice::Retry);
            if tried && !(away && began.elapsed() < PATIENCE) {
                return Err(problem);
            }
            tried = true;
            tracing::debug!("topic {}: trying again: {problem}", self.topic.name);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The record, and what follows in its partition for the same table.
    fn sample(&self, name: &TableName, record: &Record<'_>) -> Result<Sample, Problem> {
        let partition = TopicPartition { topic: record.topic.into(), partition: record.partition };
        let records = topics::from(&self.settings.kafka, partition, Offset(record.offset), SAMPLE)?;
        let mut router = self.router();
        Ok(Sample::of(records.iter().filter(|record| router.way(&record.as_record()) == Ok(Way::New(name.clone())))))
    }
}
