//! How fast a table takes what is written to it: one for all lanes that write to it and all units that fill for it.
//!
//! A database that falls behind wants fewer and larger writes. So two things follow from how writes went:
//!
//! - after a refusal for that reason all lanes of the table wait, longer with each that follows;
//! - units close at a greater age: twice as great with each refusal, and at least four times as great as a write of
//!   such units takes, up to 30 s. (ClickHouse delays inserts into a table that has many parts long
//!   before it refuses them, so the time that a write takes is the first sign, and costs nothing to ask for.) Rows,
//!   bytes and memory close them as ever. A database that stood still for a moment is not a slow one: the writes that
//!   it held up together count once, and one write makes at most a small difference.
//!
//! When it goes well again, the age comes back by halves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::Rng;
use rowfall_dialects::contract::Advice;

/// The first pause before a failed write is tried again; doubled each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How many times as old as a write takes a unit becomes at least.
const AGES_PER_WRITE: u32 = 4;
/// No age grows beyond this by itself.
const LONGEST_AGE: Duration = Duration::from_secs(30);
/// How long after a refusal the age is halved; and again.
const RECOVERY: Duration = Duration::from_secs(30);

/// The pace of one table.
#[derive(Debug)]
pub struct Pace {
    /// `batch.age`.
    age: Duration,
    /// The age at which units close now, in milliseconds: read often, by every worker.
    current: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What a write of a unit that was closed by its age takes, smoothed.
    write: Duration,
    /// When the last of the writes that `write` comes from ended.
    measured: Option<Instant>,
    /// How often the age was doubled.
    doublings: u32,
    /// When it was last doubled or halved.
    changed: Option<Instant>,
    /// No lane writes before.
    resume: Option<Instant>,
}

impl Pace {
    /// The pace of a table that has not been written to yet.
    #[must_use]
    pub fn new(age: Duration) -> Self {
        let pace = Self { age, current: AtomicU64::new(0), state: Mutex::default() };
        pace.settle(&pace.state());
        pace
    }

    /// The age at which a unit closes.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.current.load(Ordering::Relaxed))
    }

    /// Waits until lanes may write.
    pub async fn turn(&self) {
        while let Some(resume) = self.resume() {
            tokio::time::sleep_until(resume.into()).await;
        }
    }

    fn resume(&self) -> Option<Instant> {
        self.state().resume.filter(|resume| *resume > Instant::now())
    }

    /// A write succeeded. `took` is how long, where that shows the pace: for a unit that its age had closed, written
    /// without an outage. It is believed slowly when it is longer than those before, and soon when it is shorter.
    pub fn written(&self, took: Option<Duration>) {
        self.written_at(Instant::now(), took);
    }

    fn written_at(&self, now: Instant, took: Option<Duration>) {
        let mut state = self.state();
        // Writes that overlap tell one thing, not several.
        let apart = |took: &Duration| state.measured.is_none_or(|measured| now - *took >= measured);
        if let Some(took) = took.filter(apart) {
            let before = if took > state.write { 3 } else { 1 };
            let believed = took.min(2 * state.write.max(self.age / AGES_PER_WRITE));
            state.write = (state.write * before + believed) / (before + 1);
            state.measured = Some(now);
        }
        if state.doublings > 0 && state.changed.is_none_or(|changed| now - changed >= RECOVERY) {
            state.doublings -= 1;
            state.changed = Some(now);
        }
        self.settle(&state);
    }

    /// A write failed in a way that may pass, `attempts` times before. Answers how long its lane has to wait before it
    /// tries again; other lanes may be told to wait too.
    pub fn failed(&self, advice: Advice, attempts: u32) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        let mut wait = pause(attempts);
        // Writes that were under way together are refused together: that is one refusal.
        if advice == Advice::Slow && state.resume.is_none_or(|resume| resume <= now) {
            state.doublings = (state.doublings + 1).min(16);
            state.changed = Some(now);
            wait = wait.max(pause(state.doublings));
            state.resume = Some(now + wait);
            self.settle(&state);
        }
        wait
    }

    fn settle(&self, state: &State) {
        let grown = self.age.saturating_mul(1 << state.doublings).max(state.write * AGES_PER_WRITE).min(LONGEST_AGE);
        let age = u64::try_from(grown.max(self.age).as_millis()).unwrap_or(u64::MAX);
        self.current.store(age, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

/// Before a write is tried again that has failed so often before.
pub(crate) fn pause(attempts: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << attempts.min(16)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(1);

    fn pace() -> Pace {
        Pace::new(AGE)
    }

    /// As if the pauses of earlier refusals were over.
    fn refuse(pace: &Pace) {
        pace.state().resume = None;
        let _ = pace.failed(Advice::Slow, 0);
    }

    #[test]
    fn an_age_doubles_with_refusals_up_to_a_bound_and_comes_back() {
        let pace = pace();
        assert_eq!(pace.age(), AGE);
        refuse(&pace);
        let _ = pace.failed(Advice::Slow, 0); // under way at the same time
        assert_eq!(pace.age(), 2 * AGE);
        (0..10).for_each(|_| refuse(&pace));
        assert_eq!(pace.age(), LONGEST_AGE);
        pace.written(Some(Duration::ZERO));
        assert_eq!(pace.age(), LONGEST_AGE, "not yet");
        for _ in 0..11 {
            pace.state().changed = Some(Instant::now() - RECOVERY);
            pace.written(Some(Duration::ZERO));
        }
        assert_eq!(pace.age(), AGE);
    }

    #[test]
    fn slow_writes_of_small_units_let_them_grow() {
        let pace = pace();
        (0..100).for_each(|_| pace.written(None));
        assert_eq!(pace.age(), AGE, "large units take their time, and so do outages");
        let mut now = Instant::now();
        let mut write = |took| {
            now += took;
            pace.written_at(now, Some(took));
        };
        (0..20).for_each(|_| write(Duration::from_secs(2)));
        assert!(pace.age() > 7 * AGE && pace.age() <= 8 * AGE, "{:?}", pace.age());
        (0..10).for_each(|_| write(Duration::from_millis(20)));
        assert_eq!(pace.age(), AGE);
    }

    #[test]
    fn a_database_that_stood_still_for_a_while_is_not_slow() {
        let pace = pace();
        let now = Instant::now();
        pace.written_at(now, Some(Duration::from_millis(20)));
        let resumed = now + Duration::from_secs(50);
        (0..4).for_each(|_| pace.written_at(resumed, Some(Duration::from_secs(49))));
        assert_eq!(pace.age(), AGE);
    }

    #[test]
    fn an_age_that_is_set_beyond_the_bound_stays() {
        let pace = Pace::new(10 * LONGEST_AGE);
        refuse(&pace);
        assert_eq!(pace.age(), 10 * LONGEST_AGE);
    }

    #[test]
    fn other_failures_leave_the_age_and_the_other_lanes_alone() {
        let pace = pace();
        let wait = pace.failed(Advice::Retry, 3);
        assert!(wait > FIRST_PAUSE && wait <= 8 * FIRST_PAUSE);
        assert_eq!((pace.age(), pace.state().resume), (AGE, None));
    }
}
