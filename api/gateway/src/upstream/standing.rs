//! How an upstream stands with this node, whichever session uses it: health, backoff, calls in flight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use only1mcp_domain::ids::{TenantId, UpstreamId};
use only1mcp_domain::model::Upstream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::upstream::UpstreamError;

const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// More is not asked of a semaphore.
const CONCURRENCY_MAX: usize = 100_000;

/// What this node last saw of an upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// Not used yet.
    Unknown,
    Ok,
    Failing {
        error: String,
        /// Failures in a row.
        failures: u32,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamHealth {
    /// Who owns it; `system` for a shared one.
    pub tenant: TenantId,
    pub upstream: UpstreamId,
    pub health: Health,
    /// Units: milliseconds since the Unix epoch.
    pub since_ms: u64,
    pub calls_in_flight: usize,
}

struct State {
    health: Health,
    since: Instant,
    retry_at: Option<Instant>,
}

pub(crate) struct Standing {
    pub(crate) upstream: Arc<Upstream>,
    permits: Arc<Semaphore>,
    places: usize,
    state: Mutex<State>,
}

impl Standing {
    pub(crate) fn new(upstream: Arc<Upstream>) -> Arc<Self> {
        let places =
            usize::try_from(upstream.concurrency_max).unwrap_or(CONCURRENCY_MAX).clamp(1, CONCURRENCY_MAX);
        let state = Mutex::new(State { health: Health::Unknown, since: Instant::now(), retry_at: None });
        Arc::new(Self { upstream, permits: Arc::new(Semaphore::new(places)), places, state })
    }

    /// A place among the calls in flight; `None` when none came free within `wait`.
    pub(crate) async fn permit(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        timeout(wait, self.permits.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Errors: `BackingOff` while the last failures are too recent.
    pub(crate) fn may_try(&self) -> Result<(), UpstreamError> {
        let left = self.lock().retry_at.map(|at| at.saturating_duration_since(Instant::now()));
        match left {
            Some(left) if !left.is_zero() => Err(UpstreamError::BackingOff {
                retry_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            }),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn succeeded(&self) {
        let mut state = self.lock();
        state.retry_at = None;
        if state.health != Health::Ok {
            (state.health, state.since) = (Health::Ok, Instant::now());
        }
    }

    /// The first failure is retried at once, the next ones after ever longer.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        let mut state = self.lock();
        let before = match &state.health {
            Health::Failing { failures, .. } => *failures,
            Health::Unknown | Health::Ok => {
                state.since = Instant::now();
                0
            }
        };
        let wait = BACKOFF_MIN.saturating_mul(1u32.checked_shl(before.saturating_sub(1)).unwrap_or(u32::MAX));
        state.retry_at = (before > 0).then(|| Instant::now() + wait.min(BACKOFF_MAX));
        state.health = Health::Failing { error: error.to_string(), failures: before.saturating_add(1) };
    }

    pub(crate) fn report(&self, now_ms: u64) -> UpstreamHealth {
        let state = self.lock();
        let age_ms = u64::try_from(state.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        UpstreamHealth {
            tenant: self.upstream.tenant.clone(),
            upstream: self.upstream.id.clone(),
            health: state.health.clone(),
            since_ms: now_ms.saturating_sub(age_ms),
            calls_in_flight: self.places.saturating_sub(self.permits.available_permits()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
