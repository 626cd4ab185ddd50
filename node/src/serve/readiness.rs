//! Whether this node may take requests, and if not, why: one place, asked by the health endpoints and by `status`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use only1mcp_enforcer::Enforcer;

/// What the node is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not a member yet: waits for `init`, or for a member to let it in.
    Waiting {
        until: String,
    },
    Starting,
    /// No key source gives the keys that the data folder is encrypted with, and why.
    Sealed(String),
    Serving,
    Draining,
    Failed(String),
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Starting => "starting",
            Self::Sealed(_) => "sealed",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Failed(_) => "failed",
        }
    }
}

/// Shared by everything that answers for the node.
#[derive(Clone)]
pub struct Readiness {
    phase: Arc<Mutex<Phase>>,
    enforcer: Arc<OnceLock<Arc<Enforcer>>>,
}

/// A wall clock further from log time than this makes a node unready.
pub const CLOCK_OFFSET_MS_MAX: i64 = 1_000;

impl Readiness {
    pub fn new(phase: Phase) -> Self {
        Self { phase: Arc::new(Mutex::new(phase)), enforcer: Arc::default() }
    }

    pub fn set(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub fn phase(&self) -> Phase {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on freshness and clock count too.
    pub fn watch(&self, enforcer: Arc<Enforcer>) {
        let _ = self.enforcer.set(enforcer);
    }

    /// `None` when the node takes requests; otherwise why it does not.
    pub fn why_not(&self) -> Option<String> {
        match self.phase() {
            Phase::Waiting { until } => return Some(format!("waits until {until}")),
            Phase::Starting => return Some("starts".to_owned()),
            Phase::Sealed(why) => return Some(format!("is sealed, and asks again: {why}")),
            Phase::Draining => return Some("shuts down".to_owned()),
            Phase::Failed(why) => return Some(format!("has failed: {why}")),
            Phase::Serving => {}
        }
        let Some(enforcer) = self.enforcer.get() else { return Some("starts".to_owned()) };
        if !enforcer.is_fresh() {
            return Some("is stale: no quorum confirmed its state lately".to_owned());
        }
        if enforcer.is_disk_low() {
            return Some("is low on disk space: make room on the file system of its data_dir".to_owned());
        }
        let offset = clock_offset_ms(enforcer);
        if offset.abs() > CLOCK_OFFSET_MS_MAX {
            return Some(format!("its clock is {offset} ms from the cluster's: check time synchronisation"));
        }
        None
    }
}

/// This host's wall clock minus log time as estimated here. Units: milliseconds.
pub fn clock_offset_ms(enforcer: &Enforcer) -> i64 {
    let log_time = i64::try_from(enforcer.view().now().0).unwrap_or(i64::MAX);
    i64::try_from(enforcer.now().0).unwrap_or(i64::MAX).saturating_sub(log_time)
}
