//! The servers of a target: which one is asked, which one is written to.
//!
//! Questions and DDL go to the first that answers, so that what one statement made the next one sees. Inserts go around
//! all that answer. A server that fails in a way that may pass is left out for a while, longer each time; when all are,
//! the one whose time is up first is tried, since waiting is the caller's business.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::address::Address;
use super::again::Moving;
use super::cut::Cuts;
use super::server::ClickHouse;
use crate::contract::{Advice, Error, Target};

/// How long a server is left out after its first failure; doubled with each further one.
const FIRST_ABSENCE: Duration = Duration::from_secs(1);
/// The longest absence. One insert a minute finds out whether it is back.
const LONGEST_ABSENCE: Duration = Duration::from_secs(60);

/// A target's servers, at least one.
pub(super) struct Hosts {
    hosts: Vec<Host>,
    next: AtomicUsize,
    /// Tables whose blocks have to be cut.
    pub(super) cuts: Cuts,
    /// Columns that must not be left to the server where a block may come again.
    pub(super) moving: Moving,
}

/// One server.
pub(super) struct Host {
    pub(super) server: ClickHouse,
    absence: Mutex<Absence>,
}

#[derive(Default)]
struct Absence {
    failures: u32,
    until: Option<Instant>,
}

impl Hosts {
    pub(super) fn new(target: &Target) -> Result<Self, Error> {
        let host = |address| Host { server: ClickHouse::new(address), absence: Mutex::default() };
        let hosts = Address::all(target)?.into_iter().map(host).collect();
        Ok(Self { hosts, next: AtomicUsize::new(0), cuts: Cuts::default(), moving: Moving::default() })
    }

    /// All of them, for what has to be true of each.
    pub(super) fn all(&self) -> &[Host] {
        &self.hosts
    }

    /// Any of them: what is said of tables and users is the same for all.
    pub(super) fn any(&self) -> &ClickHouse {
        &self.hosts[0].server
    }

    /// Asks the first that answers. An error that may pass is the last one's, when none did.
    pub(super) async fn ask<'a, T, F>(&'a self, question: impl Fn(&'a ClickHouse) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let now = Instant::now();
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|host| host.absent_until(now));
        let mut failure = None;
        for host in hosts {
            let answer = host.remember(question(&host.server).await);
            match answer {
                Err(error) if error.advice == Advice::Retry => failure = Some(error),
                answer => return answer,
            }
        }
        Err(failure.expect("a target has a host"))
    }

    /// The one whose turn it is to take an insert.
    pub(super) fn turn(&self) -> &Host {
        let now = Instant::now();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.hosts.len()).map(|step| &self.hosts[(turn.wrapping_add(step)) % self.hosts.len()]);
        in_turn.min_by_key(|host| host.absent_until(now)).expect("a target has a host")
    }
}

impl Host {
    /// `None` when it is not left out.
    fn absent_until(&self, now: Instant) -> Option<Instant> {
        self.absence().until.filter(|until| *until > now)
    }

    /// Leaves the server out after a failure that may pass, and takes it back in after anything else.
    pub(super) fn remember<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        let mut absence = self.absence();
        match &answer {
            Err(error) if error.advice == Advice::Retry => {
                let now = Instant::now();
                // Inserts that were under way together fail together: that is one failure.
                if absence.until.is_none_or(|until| until <= now) {
                    let length = FIRST_ABSENCE.saturating_mul(1 << absence.failures.min(16)).min(LONGEST_ABSENCE);
                    absence.until = Some(now + length);
                    absence.failures += 1;
                }
            }
            _ => *absence = Absence::default(),
        }
        drop(absence);
        answer
    }

    fn absence(&self) -> std::sync::MutexGuard<'_, Absence> {
        self.absence.lock().expect("no panic while held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Compression;

    fn hosts() -> Hosts {
        Hosts::new(&Target::parse("clickhouse://a,b,c", Compression::None).unwrap()).unwrap()
    }

    fn endpoint(host: &Host) -> &str {
        host.server.address().endpoint.as_str()
    }

    fn fail(host: &Host) {
        let _ = host.remember::<()>(Err(Error::new(Advice::Retry, "away")));
    }

    #[test]
    fn inserts_go_around_those_that_answer() {
        let hosts = hosts();
        let turns = |count: usize| -> Vec<&str> { (0..count).map(|_| endpoint(hosts.turn())).collect() };
        assert_eq!(turns(4), ["http://a:8123", "http://b:8123", "http://c:8123", "http://a:8123"]);
        fail(&hosts.all()[1]);
        let mut seen = turns(6);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, ["http://a:8123", "http://c:8123"]);
        assert!(hosts.all()[1].remember(Ok(())).is_ok());
        assert!(turns(3).contains(&"http://b:8123"), "it is back");
    }

    #[test]
    fn absences_grow_and_the_shortest_is_tried_when_all_are_away() {
        let hosts = hosts();
        for host in hosts.all() {
            fail(host);
        }
        hosts.all()[0].absence().until = Some(Instant::now());
        fail(&hosts.all()[0]);
        fail(&hosts.all()[0]);
        assert_eq!(hosts.all()[0].absence().failures, 2, "a failure within an absence is the same failure");
        hosts.all()[2].absence().until = Some(Instant::now() + Duration::from_secs(30));
        assert_eq!(endpoint(hosts.turn()), "http://b:8123");
    }

    #[test]
    fn an_answer_that_is_no_passing_failure_shows_that_it_is_there() {
        let hosts = hosts();
        fail(&hosts.all()[0]);
        let _ = hosts.all()[0].remember::<()>(Err(Error::pause("no such table")));
        assert!(hosts.all()[0].absence().until.is_none());
    }
}
