//! Looks at the topics now and then, on a thread of its own: those that appear are made ready, those that are gone or
//! have been created again are told. Also sees when the brokers do not answer.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rowfall_dialects::contract::Connection;

use super::prepare::prepare_one;
use super::{Preparation, Prepared, Unready};
use crate::config::Settings;
use crate::outage::Outage;
use crate::problem::Problem;
use crate::source::consumer::{Consumer, topics_every};
use crate::source::start::TopicId;
use crate::source::topics::{Scout, TopicInfo};

/// How often it looks whether there is something to do.
const TICK: Duration = Duration::from_secs(1);

/// What was seen.
pub(super) enum Sight {
    /// Those of the topics that are read which are there, as a look that began then found them.
    Seen(Instant, BTreeMap<String, Option<TopicId>>),
    /// A topic is not there any more; or another one of its name is.
    Gone(String, Why),
    /// Topics that routes take have appeared, and are ready: as many as there are at once, since each time the group has
    /// to share its partitions anew.
    Appeared(Vec<Prepared>),
    /// A topic that a route takes has appeared, and cannot be moved for now.
    Unready(String, Problem),
}

/// What has become of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Deleted,
    CreatedAgain,
}

/// The coordinator's end of it.
pub(super) struct Lookout {
    asks: Sender<()>,
    sights: Receiver<Sight>,
}

impl Lookout {
    /// Begins to look. The thread ends by itself when the lookout is dropped or the group is left.
    pub(super) fn start(
        settings: &Settings,
        connection: &Connection,
        preparation: &Preparation,
        consumer: &Consumer,
        takes_new_topics: bool,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, Problem> {
        let (asks, asked) = channel();
        let (tell, sights) = channel();
        let known = preparation.topics.iter().map(|p| (p.topic.name.clone(), Known::of(&p.topic)));
        let said = preparation.unready.iter().map(|(name, unready)| (name.clone(), text(unready)));
        let watch = Watch {
            settings: settings.clone(),
            connection: connection.clone(),
            runtime: runtime.clone(),
            scout: consumer.scout(),
            takes_new_topics,
            known: known.collect(),
            said: said.collect(),
            outage: Outage::default(),
            tell,
        };
        std::thread::Builder::new()
            .name("rowfall-lookout".to_owned())
            .spawn(move || watch.run(&asked))
            .map_err(|e| Problem::new(format!("cannot start a thread: {e}"), ""))?;
        Ok(Self { asks, sights })
    }

    /// Asks for a look, soon.
    pub(super) fn ask(&self) {
        // Without the thread there is no look, and nothing that waits for one goes on.
        let _ = self.asks.send(());
    }

    /// What was seen since it was asked last.
    pub(super) fn next(&self) -> Option<Sight> {
        self.sights.try_recv().ok()
    }
}

/// A topic that is read.
struct Known {
    id: Option<TopicId>,
    /// The last look did not find it. A broker that has just started may not know a topic yet.
    missing: bool,
}

impl Known {
    fn of(topic: &TopicInfo) -> Self {
        Self { id: topic.id.clone(), missing: false }
    }
}

struct Watch {
    settings: Settings,
    connection: Connection,
    runtime: tokio::runtime::Handle,
    scout: Scout,
    takes_new_topics: bool,
    known: BTreeMap<String, Known>,
    /// Why topics cannot be moved, as it was told.
    said: BTreeMap<String, String>,
    outage: Outage,
    tell: Sender<Sight>,
}

impl Watch {
    fn run(mut self, asked: &Receiver<()>) {
        let every = topics_every(&self.settings.kafka);
        let (mut looked, mut wanted) = (Instant::now(), false);
        loop {
            match asked.recv_timeout(every.map_or(TICK, |every| every.min(TICK))) {
                Ok(()) => wanted = true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.brokers_are_away() {
                continue;
            }
            if wanted || every.is_some_and(|every| looked.elapsed() >= every) {
                match self.look() {
                    None => return,
                    Some(Ok(())) => wanted = false,
                    Some(Err(problem)) => tracing::debug!("looking for topics: {problem}"),
                }
                looked = Instant::now();
            }
        }
    }

    fn brokers_are_away(&mut self) -> bool {
        let some_topic = self.known.keys().next().map_or("__consumer_offsets", String::as_str);
        match self.scout.outage(some_topic) {
            Some(why) => {
                if let Some(lasts) = self.outage.goes_on() {
                    let brokers = &self.settings.kafka.brokers;
                    tracing::warn!(seconds = lasts.as_secs(), "no broker of {brokers} answers, trying again: {why}");
                }
                true
            }
            None => {
                if let Some(lasted) = self.outage.over() {
                    tracing::info!(seconds = lasted.as_secs(), "brokers answer again");
                }
                false
            }
        }
    }

    /// `None` when there is nobody to look for any more.
    fn look(&mut self) -> Option<Result<(), Problem>> {
        let began = Instant::now();
        let routes = &self.settings.routes;
        let topics = match self.scout.look(routes.names().chain(self.known.keys().map(String::as_str)), routes)? {
            Ok(topics) => topics,
            Err(problem) => return Some(Err(problem)),
        };
        let mut gone = Vec::new();
        for (name, known) in &mut self.known {
            match topics.get(name) {
                Some(topic) if topic.id.is_some() && known.id.is_some() && topic.id != known.id => {
                    gone.push((name.clone(), Why::CreatedAgain));
                }
                Some(_) => known.missing = false,
                None if known.missing => gone.push((name.clone(), Why::Deleted)),
                None => known.missing = true,
            }
        }
        let there = self.known.keys().filter_map(|name| Some((name.clone(), topics.get(name)?.id.clone()))).collect();
        self.tell.send(Sight::Seen(began, there)).ok()?;
        for (name, why) in gone {
            self.known.remove(&name);
            self.tell.send(Sight::Gone(name, why)).ok()?;
        }
        if self.takes_new_topics {
            let mut ready = Vec::new();
            for topic in topics.into_values() {
                if !self.known.contains_key(&topic.name) && self.settings.routes.rule(&topic.name).is_some() {
                    ready.extend(self.make_ready(topic));
                }
            }
            if !ready.is_empty() {
                self.tell.send(Sight::Appeared(ready)).ok()?;
            }
        }
        Some(Ok(()))
    }

    /// The topic, if it could be made ready; otherwise it is told why, once.
    fn make_ready(&mut self, topic: TopicInfo) -> Option<Prepared> {
        let (name, known) = (topic.name.clone(), Known::of(&topic));
        let unready = match self.runtime.block_on(prepare_one(&self.settings, &self.connection, topic)) {
            Ok(prepared) => {
                self.said.remove(&name);
                self.known.insert(name, known);
                return Some(prepared);
            }
            Err(unready) => unready,
        };
        // It is tried again at each look.
        let text = text(&unready);
        if self.said.insert(name.clone(), text.clone()).is_none_or(|said| said != text) {
            match unready {
                Unready::Empty => say_empty(&name),
                // Whoever is told may have ended.
                Unready::Problem(problem) => drop(self.tell.send(Sight::Unready(name, problem))),
            }
        }
        None
    }
}

pub(super) fn say_empty(topic: &str) {
    tracing::info!("topic {topic} has no record yet to infer its table from: it is read when it has");
}

fn text(unready: &Unready) -> String {
    match unready {
        Unready::Empty => String::new(),
        Unready::Problem(problem) => problem.to_string(),
    }
}
