//! Counters of this node's deliveries. No tenant, webhook or address is told apart: `ctl webhook show` does that.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Nothing waits to be done.
const NOTHING: u64 = u64::MAX;

/// How one held duty stands; counted as long as its worker lives, however that ends.
#[derive(Debug)]
pub(crate) struct Standing {
    failing: AtomicBool,
    /// Audit index up to which all is done, while something is to be done.
    behind: AtomicU64,
}

impl Standing {
    pub(crate) fn idle(&self) {
        self.set(false, NOTHING);
    }

    /// Done up to `behind`, and not yet with the rest.
    pub(crate) fn busy(&self, failing: bool, behind: u64) {
        self.set(failing, behind);
    }

    fn set(&self, failing: bool, behind: u64) {
        self.failing.store(failing, Ordering::Relaxed);
        self.behind.store(behind, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct Metrics {
    delivered: AtomicU64,
    failed: AtomicU64,
    held: Mutex<Vec<Weak<Standing>>>,
}

/// The numbers at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MetricsSnapshot {
    pub delivered: u64,
    pub failed: u64,
    /// Webhooks that this node delivers to.
    pub held: u64,
    /// Those among them whose last attempt failed.
    pub failing: u64,
    /// Audit events past the place of the one that is furthest behind; 0 where nothing waits.
    pub lag: u64,
}

impl Metrics {
    pub(crate) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A duty more; until the standing is dropped.
    pub(crate) fn hold(&self) -> Arc<Standing> {
        let standing =
            Arc::new(Standing { failing: AtomicBool::new(false), behind: AtomicU64::new(NOTHING) });
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|known| known.strong_count() > 0);
        held.push(Arc::downgrade(&standing));
        standing
    }

    pub(crate) fn snapshot(&self, head: u64) -> MetricsSnapshot {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held: Vec<Arc<Standing>> = held.iter().filter_map(Weak::upgrade).collect();
        let behind = held.iter().map(|standing| standing.behind.load(Ordering::Relaxed)).min();
        let failing = held.iter().filter(|standing| standing.failing.load(Ordering::Relaxed)).count();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        MetricsSnapshot {
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            held: count(held.len()),
            failing: count(failing),
            // Nothing to be done anywhere is behind by nothing.
            lag: head.saturating_sub(behind.unwrap_or(NOTHING)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_longer_held_counts_no_more() {
        let metrics = Metrics::default();
        assert_eq!(metrics.snapshot(9), MetricsSnapshot::default());
        let (one, other) = (metrics.hold(), metrics.hold());
        one.busy(true, 3);
        other.busy(false, 5);
        let told = metrics.snapshot(9);
        assert_eq!((told.held, told.failing, told.lag), (2, 1, 6));
        drop(one);
        let told = metrics.snapshot(9);
        assert_eq!((told.held, told.failing, told.lag), (1, 0, 4));
        other.idle();
        assert_eq!(metrics.snapshot(9).lag, 0);
    }
}
