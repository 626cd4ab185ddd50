//! Counters of this node's deliveries. No tenant, webhook or address is told apart: `ctl webhook show` does that.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::model::DutyId;

/// What one held duty is about, while there is something to be done.
#[derive(Clone, Copy, Default)]
struct Standing {
    failing: bool,
    /// Audit index up to which all is done; `None` where nothing waits.
    behind: Option<u64>,
}

#[derive(Default)]
pub(crate) struct Metrics {
    delivered: AtomicU64,
    failed: AtomicU64,
    held: Mutex<BTreeMap<DutyId, Standing>>,
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

    pub(crate) fn stands(&self, id: &DutyId, failing: bool, behind: Option<u64>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(id.clone(), Standing { failing, behind });
    }

    pub(crate) fn forget(&self, id: &DutyId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(crate) fn snapshot(&self, head: u64) -> MetricsSnapshot {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = held.values().filter_map(|standing| standing.behind).min();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        MetricsSnapshot {
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            held: count(held.len()),
            failing: count(held.values().filter(|standing| standing.failing).count()),
            lag: behind.map_or(0, |behind| head.saturating_sub(behind)),
        }
    }
}
