//! Places at which tests have a process end as a kill would end it, and promises that they have it break, to see that they
//! would notice. Both are there only in builds with debug assertions, and only where the environment asks for them.

/// Ends the process here, with `ROWFALL_FAILPOINT=NAME`; with `NAME@3` at the third time.
#[inline]
pub fn at(name: &str) {
    #[cfg(debug_assertions)]
    debug::at(name);
    let _ = name;
}

/// Whether this promise is to be broken, with `ROWFALL_MUTANT=NAME`.
#[inline]
#[must_use]
pub fn breaks(name: &str) -> bool {
    #[cfg(debug_assertions)]
    return std::env::var("ROWFALL_MUTANT").is_ok_and(|mutant| mutant == name);
    #[cfg(not(debug_assertions))]
    {
        let _ = name;
        false
    }
}

#[cfg(debug_assertions)]
mod debug {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Point {
        name: String,
        left: AtomicU32,
    }

    pub(super) fn at(name: &str) {
        static POINT: OnceLock<Option<Point>> = OnceLock::new();
        let point = POINT.get_or_init(|| {
            let text = std::env::var("ROWFALL_FAILPOINT").ok()?;
            let (name, times) = text.split_once('@').unwrap_or((&text, "1"));
            Some(Point { name: name.to_owned(), left: AtomicU32::new(times.parse().ok()?) })
        });
        let Some(point) = point.as_ref().filter(|point| point.name == name) else { return };
        if point.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }
}
