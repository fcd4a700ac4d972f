//! A time in which something does not answer, as a log tells of it: at once, then once a minute, then that it is over.

use std::time::{Duration, Instant};

/// How often an outage that goes on is told.
pub(crate) const REMIND: Duration = Duration::from_secs(60);

/// An outage, or none.
#[derive(Debug, Default)]
pub struct Outage {
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Outage {
    /// It has begun or goes on. How long it has lasted, when it is time to say so.
    pub fn goes_on(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let due = self.said.is_none_or(|said| now - said >= REMIND);
        due.then(|| {
            self.said = Some(now);
            now - since
        })
    }

    /// There is none. How long it has lasted, if there was one.
    pub fn over(&mut self) -> Option<Duration> {
        std::mem::take(self).since.map(|since| since.elapsed())
    }
}
