//! A time in which the database does not take what is sent: one account for all lanes, so that a log says it once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rowfall_dialects::contract::{Advice, Error, TableName};

use crate::outage::REMIND;
use crate::problem::Problem;

/// The account. An outage begins with the first write that has to be tried again and is over when none waits any more.
#[derive(Debug, Default)]
pub struct Outages(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many writes wait, by table.
    waiting: BTreeMap<String, usize>,
    since: Option<Instant>,
    /// When an outage was logged last, this one or one before: others that follow within [`REMIND`] are not.
    said: Option<Instant>,
    /// Whether this one was logged: only then is its end.
    told: bool,
}

/// A write that has to be tried again, until it is dropped.
#[derive(Debug)]
pub struct Waiting {
    outages: Arc<Outages>,
    table: String,
    written: bool,
}

impl Outages {
    /// A write into this table has failed for the first time.
    pub fn wait(self: &Arc<Self>, table: &TableName) -> Waiting {
        let table = table.to_string();
        *self.state().waiting.entry(table.clone()).or_default() += 1;
        Waiting { outages: Arc::clone(self), table, written: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }
}

impl Waiting {
    /// It has failed, the first time or again; `age` is how old batches of its table become now.
    pub fn failed(&self, error: &Error, age: Duration) {
        let due = self.outages.state().goes_on(Instant::now());
        if let Some((since, tables)) = due {
            // On one line, the hint too: whoever collects logs takes them line by line.
            let Problem { what, hint } = Problem::from_ref(error);
            let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
            let seconds = since.as_secs();
            if error.advice == Advice::Slow {
                let age = age.as_secs_f64();
                tracing::warn!(
                    tables,
                    seconds,
                    "the database falls behind; batches close after {age:.1} s now: {what}{hint}"
                );
            } else {
                tracing::warn!(tables, seconds, "the database takes no rows; they wait until it does: {what}{hint}");
            }
        }
    }

    /// The database has taken it.
    pub fn written(mut self) {
        self.written = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let ended = self.outages.state().leaves(&self.table, Instant::now());
        if let Some(took) = ended.filter(|_| self.written) {
            tracing::info!(seconds = took.as_secs(), "the database takes rows again");
        }
    }
}

impl State {
    /// A write has failed: since when none has a way, and into which tables, if that is to be said now.
    fn goes_on(&mut self, now: Instant) -> Option<(Duration, String)> {
        let since = *self.since.get_or_insert(now);
        if self.said.is_some_and(|said| now - said < REMIND) {
            return None;
        }
        (self.said, self.told) = (Some(now), true);
        let tables: Vec<_> = self.waiting.keys().map(String::as_str).collect();
        Some((now - since, tables.join(", ")))
    }

    /// A write waits no more: how long the outage took, if it is over and was told of.
    fn leaves(&mut self, table: &str, now: Instant) -> Option<Duration> {
        if let Some(count) = self.waiting.get_mut(table) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(table);
            }
        }
        if !self.waiting.is_empty() {
            return None;
        }
        let told = std::mem::take(&mut self.told);
        self.since.take().filter(|_| told).map(|since| now - since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds after the begin.
    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: u64) -> Instant {
            self.0 + Duration::from_secs(seconds)
        }
    }

    fn state(tables: &[&str]) -> State {
        let mut state = State::default();
        tables.iter().for_each(|table| *state.waiting.entry((*table).to_owned()).or_default() += 1);
        state
    }

    #[test]
    fn an_outage_is_said_once_a_minute_however_many_writes_wait() {
        let (clock, mut state) = (Clock(Instant::now()), state(&["a", "a", "b"]));
        let said: Vec<_> = (0..=150).filter_map(|second| state.goes_on(clock.at(second))).collect();
        let expected = [0, 60, 120].map(|second| (Duration::from_secs(second), "a, b".to_owned()));
        assert_eq!(said, expected);
    }

    #[test]
    fn it_is_over_when_nothing_waits_any_more() {
        let (clock, mut state) = (Clock(Instant::now()), state(&["a", "a", "b"]));
        state.goes_on(clock.at(0));
        assert_eq!(state.leaves("a", clock.at(5)), None);
        assert_eq!(state.leaves("b", clock.at(6)), None);
        state.goes_on(clock.at(7));
        assert_eq!(state.leaves("a", clock.at(9)), Some(Duration::from_secs(9)));
    }

    #[test]
    fn one_that_follows_within_the_minute_is_said_only_if_it_lasts() {
        let (clock, mut outages) = (Clock(Instant::now()), state(&["a"]));
        assert!(outages.goes_on(clock.at(0)).is_some());
        assert!(outages.leaves("a", clock.at(1)).is_some());
        for second in (10..50).step_by(10) {
            outages.waiting = state(&["a"]).waiting;
            assert_eq!(outages.goes_on(clock.at(second)), None);
            assert_eq!(outages.leaves("a", clock.at(second + 1)), None, "nobody was told that it began");
        }
        outages.waiting = state(&["a"]).waiting;
        assert_eq!(outages.goes_on(clock.at(55)), None);
        let since = Duration::from_secs(5);
        assert_eq!(outages.goes_on(clock.at(60)), Some((since, "a".to_owned())));
    }
}
