//! How old the state is that this node decides on (P4), by its own monotonic clock alone, suspend counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use only1mcp_domain::ids::TenantId;
use only1mcp_domain::limits;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::ports::{Clock, ClusterPort};
use crate::view::ViewCell;

/// Questions asked per bound: a node is fresh again well before it would turn stale.
const QUESTIONS_PER_BOUND: u32 = 5;

/// A moment, so that what passed since can be told though the host slept.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    asleep_ms: u64,
}

impl Moment {
    fn now(clock: &dyn Clock) -> Self {
        let at = Instant::now();
        Self { at, asleep_ms: clock.asleep_ms() }
    }

    fn age(self, clock: &dyn Clock) -> Duration {
        let now = Self::now(clock);
        let slept = Duration::from_millis(now.asleep_ms.saturating_sub(self.asleep_ms));
        now.at.saturating_duration_since(self.at).saturating_add(slept)
    }
}

/// As of when this node's state is known to be the cluster's.
pub struct Freshness {
    clock: Arc<dyn Clock>,
    /// The moment the answered question was sent; `None` before the first answer.
    as_of: watch::Sender<Option<Moment>>,
    waiters: Mutex<BTreeMap<TenantId, usize>>,
}

/// Why a request cannot be decided here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotFresh {
    Stale,
    /// Too many of the tenant's requests wait already.
    QueueFull,
}

impl Freshness {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, as_of: watch::Sender::new(None), waiters: Mutex::new(BTreeMap::new()) }
    }

    /// Age of the state; `None` before the first answer of a quorum.
    pub fn age(&self) -> Option<Duration> {
        self.as_of.borrow().map(|as_of| as_of.age(&*self.clock))
    }

    pub fn is_fresh(&self, staleness_ms_max: u64) -> bool {
        self.age().is_some_and(|age| age <= Duration::from_millis(staleness_ms_max))
    }

    /// What `load` gives, if the node is fresh: loaded once that is known, and not before. What was loaded earlier may be
    /// older than what was found fresh, by all that passed between the two. INVARIANT: P4
    pub(crate) fn within<T>(&self, staleness_ms_max: u64, load: impl FnOnce() -> T) -> Option<T> {
        self.is_fresh(staleness_ms_max).then(load)
    }

    /// Asks for read indexes until dropped. A question that is answered late makes the node fresh only as of when it
    /// was sent. INVARIANT: P4
    pub(crate) async fn keep(&self, cluster: &dyn ClusterPort, view: &ViewCell) {
        let mut moved = view.watch();
        loop {
            let bound = staleness_ms_max(view);
            let interval = Duration::from_millis(bound) / QUESTIONS_PER_BOUND;
            let asked = Moment::now(&*self.clock);
            let sent = asked.at;
            let deadline = sent + Duration::from_millis(bound);
            if let Some(index) = cluster.read_index(deadline).await {
                let reached = timeout_at(deadline, moved.wait_for(|applied| *applied >= index)).await;
                #[cfg(feature = "mutants")]
                let asked =
                    if crate::mutants::is_fresh_at_receipt() { Moment::now(&*self.clock) } else { asked };
                if matches!(reached, Ok(Ok(_))) {
                    self.as_of.send_replace(Some(asked));
                }
            }
            // Never ask faster than the interval: a refusal that comes at once must not become a busy loop.
            sleep(interval.saturating_sub(sent.elapsed()).max(Duration::from_millis(10))).await;
        }
    }

    /// Waits until the node is fresh, at most until `deadline`; a failover delays a request, it does not refuse it.
    pub(crate) async fn wait(
        &self,
        tenant: &TenantId,
        staleness_ms_max: u64,
        deadline: Instant,
    ) -> Result<(), NotFresh> {
        if self.is_fresh(staleness_ms_max) {
            return Ok(());
        }
        let _place = self.queue(tenant).ok_or(NotFresh::QueueFull)?;
        let bound = Duration::from_millis(staleness_ms_max);
        let mut as_of = self.as_of.subscribe();
        let fresh = as_of.wait_for(|as_of| as_of.is_some_and(|as_of| as_of.age(&*self.clock) <= bound));
        match timeout_at(deadline, fresh).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(NotFresh::Stale),
        }
    }

    fn queue(&self, tenant: &TenantId) -> Option<Place<'_>> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiters.entry(tenant.clone()).or_insert(0);
        if *count >= limits::STALE_WAITERS_PER_TENANT_MAX {
            return None;
        }
        *count += 1;
        Some(Place { freshness: self, tenant: tenant.clone() })
    }
}

/// A place in a tenant's queue, given back when dropped.
struct Place<'a> {
    freshness: &'a Freshness,
    tenant: TenantId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiters = self.freshness.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = waiters.get_mut(&self.tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiters.remove(&self.tenant);
            }
        }
    }
}

/// The bound in force.
pub(crate) fn staleness_ms_max(view: &ViewCell) -> u64 {
    let view = view.load();
    view.state.cluster.as_ref().map_or(limits::STALENESS_MS_DEFAULT, |c| c.settings.value.staleness_ms_max)
}

/// How long a request may wait for freshness.
pub(crate) fn stale_wait(view: &ViewCell) -> Duration {
    let view = view.load();
    let ms =
        view.state.cluster.as_ref().map_or(limits::STALE_WAIT_MS_MAX, |c| c.settings.value.stale_wait_ms_max);
    Duration::from_millis(ms.min(limits::STALE_WAIT_MS_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Sleepy(AtomicU64);

    impl Clock for Sleepy {
        fn now_ms(&self) -> u64 {
            0
        }

        fn asleep_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn ago(ms: u64) -> Moment {
        Moment { at: Instant::now() - Duration::from_millis(ms), asleep_ms: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_until_fresh_and_refuses_at_the_deadline() {
        let freshness = Arc::new(Freshness::new(Arc::new(Sleepy::default())));
        let tenant = TenantId::new("acme").unwrap();
        let deadline = Instant::now() + Duration::from_millis(500);
        assert_eq!(freshness.wait(&tenant, 2_000, deadline).await, Err(NotFresh::Stale));

        let waiting = tokio::spawn({
            let (freshness, tenant) = (freshness.clone(), tenant.clone());
            async move { freshness.wait(&tenant, 2_000, Instant::now() + Duration::from_secs(5)).await }
        });
        sleep(Duration::from_millis(100)).await;
        // Answered late: the question was sent longer ago than the bound allows.
        freshness.as_of.send_replace(Some(ago(2_001)));
        sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        freshness.as_of.send_replace(Some(ago(0)));
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    /// The monotonic clock stands still meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_host_that_slept_is_not_fresh() {
        let clock = Arc::new(Sleepy::default());
        let freshness = Freshness::new(clock.clone());
        freshness.as_of.send_replace(Some(ago(0)));
        clock.0.store(2_000, Ordering::Relaxed);
        assert!(freshness.is_fresh(2_000));
        clock.0.store(2_001, Ordering::Relaxed);
        assert!(!freshness.is_fresh(2_000));
        freshness.as_of.send_replace(Some(Moment::now(&*clock)));
        assert!(freshness.is_fresh(0));
    }

    /// Time passes, and entries are applied, while a clock is looked at.
    struct Moving(AtomicU64);

    impl Clock for Moving {
        fn now_ms(&self) -> u64 {
            0
        }

        fn asleep_ms(&self) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_is_no_older_than_what_was_found_fresh() {
        let applied = Arc::new(Moving(AtomicU64::new(1)));
        let freshness = Freshness::new(applied.clone());
        let read = || applied.0.load(Ordering::Relaxed);
        assert_eq!(freshness.within(2_000, read), None);
        freshness.as_of.send_replace(Some(ago(0)));
        let before = read();
        assert!(freshness.within(2_000, read).unwrap() > before);
        freshness.as_of.send_replace(Some(ago(2_001)));
        assert_eq!(freshness.within(2_000, read), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_cannot_fill_the_queue_of_another() {
        let freshness = Arc::new(Freshness::new(Arc::new(Sleepy::default())));
        let abuser = TenantId::new("abuser").unwrap();
        let places: Vec<_> =
            (0..limits::STALE_WAITERS_PER_TENANT_MAX).map(|_| freshness.queue(&abuser).unwrap()).collect();
        let deadline = Instant::now() + Duration::from_millis(1);
        assert_eq!(freshness.wait(&abuser, 2_000, deadline).await, Err(NotFresh::QueueFull));
        let other = TenantId::new("other").unwrap();
        assert_eq!(freshness.wait(&other, 2_000, deadline).await, Err(NotFresh::Stale));
        drop(places);
        assert_eq!(freshness.wait(&abuser, 2_000, deadline).await, Err(NotFresh::Stale));
    }
}
