//! The bytes that may be in flight between Kafka and the database, shared by all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that [`Permit`]s are taken from.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    used: AtomicUsize,
}

/// Bytes taken from a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, used: AtomicUsize::new(0) })
    }

    /// Whether more may be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used.load(Ordering::Acquire) < self.total
    }

    /// A permit for no bytes yet.
    #[must_use]
    pub fn permit(self: &Arc<Self>) -> Permit {
        Permit { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Permit {
    /// Raises the permit to the bytes that its holder occupies now, even when that is more than there is left: they are
    /// occupied already. Whoever finds no room afterwards hands on what it holds and takes no more.
    pub fn raise(&mut self, bytes: usize) {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.budget.used.fetch_add(more, Ordering::AcqRel);
            self.bytes = bytes;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let budget = Budget::new(100);
        let (mut a, mut b) = (budget.permit(), budget.permit());
        a.raise(60);
        assert!(budget.has_room());
        b.raise(40);
        assert!(!budget.has_room());
        b.raise(30);
        assert!(!budget.has_room(), "a permit never shrinks");
        drop(a);
        assert!(budget.has_room());
        b.raise(130);
        assert!(!budget.has_room());
        drop(b);
        assert!(budget.has_room());
    }
}
