//! Counters of enforcement, as plain numbers; `node/` gives them names and exports them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::decide::Reason;

#[derive(Debug, Default)]
pub struct Metrics {
    allowed: AtomicU64,
    denied: Mutex<BTreeMap<Reason, u64>>,
    unauthenticated: AtomicU64,
    batches: AtomicU64,
    batch_records: AtomicU64,
    /// Time from taking a record to its being applied, summed. Units: microseconds.
    commit_us: AtomicU64,
    commits: AtomicU64,
    revoked_in_flight: AtomicU64,
}

/// A copy at one instant.
#[derive(Debug, Clone, Default)]
pub struct MetricsSnapshot {
    pub allowed: u64,
    pub denied: BTreeMap<Reason, u64>,
    pub unauthenticated: u64,
    pub batches: u64,
    pub batch_records: u64,
    pub commit_us: u64,
    pub commits: u64,
    pub revoked_in_flight: u64,
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
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_records.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, took: std::time::Duration) {
        self.commit_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn revoked_in_flight(&self) {
        self.revoked_in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn snapshot(&self) -> MetricsSnapshot {
        MetricsSnapshot {
            allowed: self.allowed.load(Ordering::Relaxed),
            denied: self.denied.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            unauthenticated: self.unauthenticated.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            batch_records: self.batch_records.load(Ordering::Relaxed),
            commit_us: self.commit_us.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            revoked_in_flight: self.revoked_in_flight.load(Ordering::Relaxed),
        }
    }
}
