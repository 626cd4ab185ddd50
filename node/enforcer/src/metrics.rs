//! Counters of enforcement, as plain numbers; `node/` gives them names and exports them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::decide::Reason;

/// Counts in fixed buckets. The last bucket takes everything above the others.
#[derive(Debug)]
pub struct Buckets<const N: usize> {
    upper: [u64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

/// A copy of [`Buckets`]: upper bound and count of each, not summed up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketsSnapshot {
    pub counts: Vec<(u64, u64)>,
    pub above: u64,
    pub sum: u64,
}

impl<const N: usize> Buckets<N> {
    /// `upper`: inclusive upper bounds, ascending.
    pub fn new(upper: [u64; N]) -> Self {
        Self {
            upper,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            above: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub fn observe(&self, value: u64) {
        let bucket = self.upper.iter().zip(&self.counts).find(|(upper, _)| value <= **upper);
        bucket.map_or(&self.above, |(_, count)| count).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> BucketsSnapshot {
        let counts = self.upper.iter().zip(&self.counts);
        BucketsSnapshot {
            counts: counts.map(|(upper, count)| (*upper, count.load(Ordering::Relaxed))).collect(),
            above: self.above.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// Units: microseconds.
pub const COMMIT_US_BUCKETS: [u64; 10] =
    [250, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];
/// Units: records.
pub const BATCH_BUCKETS: [u64; 8] = [1, 2, 5, 10, 50, 100, 500, 1_024];

#[derive(Debug)]
pub struct Metrics {
    allowed: AtomicU64,
    denied: Mutex<BTreeMap<Reason, u64>>,
    unauthenticated: AtomicU64,
    batch_records: Buckets<{ BATCH_BUCKETS.len() }>,
    /// From admission to its being applied here.
    commit_us: Buckets<{ COMMIT_US_BUCKETS.len() }>,
    revoked_in_flight: AtomicU64,
    ledger_broken: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            allowed: AtomicU64::default(),
            denied: Mutex::default(),
            unauthenticated: AtomicU64::default(),
            batch_records: Buckets::new(BATCH_BUCKETS),
            commit_us: Buckets::new(COMMIT_US_BUCKETS),
            revoked_in_flight: AtomicU64::default(),
            ledger_broken: AtomicU64::default(),
        }
    }
}

/// A copy at one instant.
#[derive(Debug, Clone, Default)]
pub struct MetricsSnapshot {
    pub allowed: u64,
    pub denied: BTreeMap<Reason, u64>,
    pub unauthenticated: u64,
    pub batch_records: BucketsSnapshot,
    pub commit_us: BucketsSnapshot,
    pub revoked_in_flight: u64,
    /// Contradictions found in what is lent and spent: defects.
    pub ledger_broken: u64,
}

impl Metrics {
    pub(crate) fn allowed(&self) {
        self.allowed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn denied(&self, reason: Reason) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let count = denied.entry(reason).or_insert(0);
        *count = count.saturating_add(1);
    }

    pub(crate) fn unauthenticated(&self) {
        self.unauthenticated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn batch(&self, records: usize) {
        self.batch_records.observe(records as u64);
    }

    pub(crate) fn committed(&self, took: std::time::Duration) {
        self.commit_us.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn revoked_in_flight(&self) {
        self.revoked_in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ledger_broken(&self) {
        self.ledger_broken.fetch_add(1, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            allowed: self.allowed.load(Ordering::Relaxed),
            denied: self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            unauthenticated: self.unauthenticated.load(Ordering::Relaxed),
            batch_records: self.batch_records.snapshot(),
            commit_us: self.commit_us.snapshot(),
            revoked_in_flight: self.revoked_in_flight.load(Ordering::Relaxed),
            ledger_broken: self.ledger_broken.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_takes_it() {
        let buckets = Buckets::new([10, 20]);
        for value in [0, 10, 11, 20, 21] {
            buckets.observe(value);
        }
        let expected = BucketsSnapshot { counts: vec![(10, 2), (20, 2)], above: 1, sum: 62 };
        assert_eq!(buckets.snapshot(), expected);
    }
}
