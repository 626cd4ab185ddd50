//! What this node decides on: one state and the policy compiled from it, swapped whole.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use only1mcp_domain::State;
use only1mcp_domain::decide::CompiledPolicy;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::price::PriceBook;
use only1mcp_domain::time::TimestampMs;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ports::ClusterPort;

/// A state, and what is compiled from it.
#[derive(Debug)]
pub struct View {
    pub state: Arc<State>,
    pub policy: Arc<CompiledPolicy>,
    pub prices: Arc<PriceBook>,
    /// Index up to which all stand.
    pub applied: u64,
    clock: LogClock,
}

/// Log time as this node estimates it. Between entries it advances with the node's own monotonic clock; log time steps
/// behind by up to a tick where a voter is away, and the estimate then goes on rather than back.
#[derive(Debug, Clone, Copy)]
struct LogClock {
    log_time: TimestampMs,
    base: TimestampMs,
    since: Instant,
}

/// The estimate runs ahead of log time by no more than this, so that a fast clock cannot carry it away.
/// Units: milliseconds.
const AHEAD_MS_MAX: u64 = 1_000;

impl LogClock {
    fn new(log_time: TimestampMs) -> Self {
        Self { log_time, base: log_time, since: Instant::now() }
    }

    fn now(&self) -> TimestampMs {
        let passed = Instant::now().saturating_duration_since(self.since).as_millis();
        self.base.plus_ms(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn seen(self, log_time: TimestampMs) -> Self {
        if log_time == self.log_time {
            return self;
        }
        let base = self.now().max(log_time).min(log_time.plus_ms(AHEAD_MS_MAX));
        Self { log_time, base, since: Instant::now() }
    }
}

impl View {
    /// Log time as this node estimates it at this moment.
    pub fn now(&self) -> TimestampMs {
        self.clock.now()
    }
}

/// Holds the current view and tells when it moves.
pub(crate) struct ViewCell {
    current: ArcSwap<View>,
    moved: watch::Sender<u64>,
}

impl ViewCell {
    pub(crate) fn new(cluster: &dyn ClusterPort) -> Self {
        let applied = *cluster.applied().borrow();
        let state = cluster.state();
        let view = View {
            policy: Arc::new(CompiledPolicy::build(&state)),
            prices: Arc::new(PriceBook::of(&state)),
            applied,
            clock: LogClock::new(state.log_time),
            state,
        };
        let moved = watch::Sender::new(view.applied);
        Self { current: ArcSwap::from_pointee(view), moved }
    }

    pub(crate) fn load(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// The index the view stands at, for waiting on it.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Follows the cluster until its watch closes. The policy is compiled before the view moves, so that whoever sees
    /// an index decides with everything up to it. INVARIANT: P4
    pub(crate) async fn follow(&self, cluster: &dyn ClusterPort, mut applied: watch::Receiver<u64>) {
        loop {
            // The index first: the state is at least as new. Raft's own entries move the index, not the state.
            let index = *applied.borrow_and_update();
            self.advance(index, cluster.state());
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    fn advance(&self, applied: u64, state: Arc<State>) {
        let old = self.current.load_full();
        if applied == old.applied {
            return;
        }
        let policy = if state.policy_revision == old.policy.revision() {
            old.policy.clone()
        } else {
            Arc::new(old.policy.rebuild(&state, changed_tenants(&old.state, &state).as_deref()))
        };
        let prices = if PriceBook::is_current(&old.state, &state) {
            old.prices.clone()
        } else {
            Arc::new(PriceBook::of(&state))
        };
        let clock = old.clock.seen(state.log_time);
        self.current.store(Arc::new(View { state, policy, prices, applied, clock }));
        self.moved.send_replace(applied);
    }
}

/// The tenants whose part of the policy differs; `None` when all may (the operators' own tenant reaches every other).
/// Both states share structure, so this costs what changed, not what there is.
fn changed_tenants(old: &State, new: &State) -> Option<Vec<TenantId>> {
    let mut tenants = BTreeSet::new();
    tenants.extend(changed_keys(&old.tenants, &new.tenants).cloned());
    tenants.extend(changed_keys(&old.principals, &new.principals).map(|(tenant, _)| tenant.clone()));
    tenants.extend(changed_keys(&old.roles, &new.roles).map(|(tenant, _)| tenant.clone()));
    tenants.extend(changed_keys(&old.grants, &new.grants).map(|(tenant, _)| tenant.clone()));
    tenants.extend(changed_keys(&old.restrictions, &new.restrictions).map(|(tenant, _)| tenant.clone()));
    tenants.extend(changed_keys(&old.denies, &new.denies).map(|(tenant, _)| tenant.clone()));
    tenants.extend(changed_keys(&old.upstreams, &new.upstreams).map(|(tenant, _)| tenant.clone()));
    for key in changed_keys(&old.api_keys, &new.api_keys) {
        let holder = new.api_keys.get(key).or_else(|| old.api_keys.get(key));
        tenants.extend(holder.map(|record| record.value.tenant.clone()));
    }
    if tenants.iter().any(TenantId::is_system) { None } else { Some(tenants.into_iter().collect()) }
}

fn changed_keys<'a, K: Ord + Clone, V: Clone + PartialEq>(
    old: &'a OrdMap<K, V>,
    new: &'a OrdMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    old.diff(new).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_estimate_never_steps_back_and_never_runs_far_ahead() {
        let clock = LogClock::new(TimestampMs(10_000));
        tokio::time::advance(Duration::from_millis(900)).await;
        // A voter is away: log time lags behind what this node has counted.
        let clock = clock.seen(TimestampMs(10_100));
        assert_eq!(clock.now(), TimestampMs(10_900));
        tokio::time::advance(Duration::from_millis(5_000)).await;
        let clock = clock.seen(TimestampMs(10_200));
        assert_eq!(clock.now(), TimestampMs(11_200), "at most a second ahead");
        let clock = clock.seen(TimestampMs(20_000));
        assert_eq!(clock.now(), TimestampMs(20_000), "log time ahead is believed");
    }
}
