//! Bandwidth of tenants: the bytes of their calls are paced, both ways, and never refused.
//!
//! Each node paces by itself, with its share of the quota: the quota over the number of voters. So the cluster as a whole
//! lets no more through, and a tenant whose calls all run on one node gets that node's share. What has been let through is
//! forgotten when the node ends, and a message is paced as a whole: a node's share may be passed by one burst.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use only1mcp_domain::State;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::{NodeRole, Quota};
use tokio::time::{Instant, sleep_until};

/// So much may go through at once after a time of rest.
const BURST: Duration = Duration::from_secs(1);
/// No message waits longer in its turn, whatever the quota: calls have ended long before.
const TOOK_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Tenants remembered before those at rest are forgotten.
const REMEMBERED: usize = 1_024;

/// Per tenant, when all that was let in so far will have gone through at its pace.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<BTreeMap<TenantId, Instant>>);

impl Paces {
    /// Resolves when `bytes` may go on. Others of the tenant wait behind it, those of other tenants never. Dropped
    /// before, it takes nothing.
    pub(crate) async fn pace(self: &Arc<Self>, state: &State, tenant: &TenantId, bytes: u64) {
        let Some(took) = time_for(state, tenant, bytes) else { return };
        let turn = self.enter(tenant, took, Instant::now());
        sleep_until(turn.at).await;
        turn.through();
    }

    fn enter(self: &Arc<Self>, tenant: &TenantId, took: Duration, now: Instant) -> Turn {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paces.len() >= REMEMBERED {
            paces.retain(|_, over| *over > now);
        }
        let before = paces.get(tenant).copied().unwrap_or(now).max(now);
        paces.insert(tenant.clone(), before + took);
        let at = before.checked_sub(BURST).unwrap_or(now).max(now);
        Turn { paces: Some(self.clone()), tenant: tenant.clone(), took, at }
    }
}

/// How long `bytes` take at this node's share; `None` where the tenant has no bound.
fn time_for(state: &State, tenant: &TenantId, bytes: u64) -> Option<Duration> {
    let Quota::AtMost(mbps) = state.tenants.get(tenant)?.value.quotas.bandwidth_mbps else { return None };
    let voters = state.nodes.values().filter(|node| node.value.role == NodeRole::Voter).count();
    let shares = u128::try_from(voters.max(1)).unwrap_or(1);
    // A megabit a second is a bit a microsecond.
    let nanos = (u128::from(bytes) * 8_000 * shares).checked_div(u128::from(mbps)).unwrap_or(u128::MAX);
    Some(u64::try_from(nanos).map_or(TOOK_MAX, Duration::from_nanos).min(TOOK_MAX))
}

struct Turn {
    /// `None` once it has gone through.
    paces: Option<Arc<Paces>>,
    tenant: TenantId,
    took: Duration,
    at: Instant,
}

impl Turn {
    fn through(mut self) {
        self.paces = None;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(paces) = &self.paces else { return };
        let mut paces = paces.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(over) = paces.get_mut(&self.tenant) {
            *over = over.checked_sub(self.took).unwrap_or(*over);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::new(id).unwrap()
    }

    const STEP: Duration = Duration::from_millis(600);

    #[test]
    fn what_is_beyond_a_burst_waits_in_turn_and_other_tenants_do_not() {
        let paces = Arc::new(Paces::default());
        let (now, a, b) = (Instant::now(), tenant("a"), tenant("b"));
        let waits: Vec<Duration> = (0..4)
            .map(|_| {
                let turn = paces.enter(&a, STEP, now);
                let wait = turn.at - now;
                turn.through();
                wait
            })
            .collect();
        // All in all no more than one burst ahead of the pace.
        let ms = Duration::from_millis;
        assert_eq!(waits, [ms(0), ms(0), ms(200), ms(800)]);
        let other = paces.enter(&b, STEP, now);
        assert_eq!(other.at, now);
        // After a rest it begins anew, and a rest saves nothing up.
        let later = now + Duration::from_secs(100);
        let waits = [0, 1, 2].map(|_| {
            let turn = paces.enter(&a, STEP, later);
            let at = turn.at;
            turn.through();
            at - later
        });
        assert_eq!(waits, [ms(0), ms(0), ms(200)]);
    }

    #[test]
    fn a_call_that_is_given_up_takes_nothing_from_those_behind_it() {
        let paces = Arc::new(Paces::default());
        let (now, a) = (Instant::now(), tenant("a"));
        paces.enter(&a, BURST * 2, now).through();
        let given_up = paces.enter(&a, BURST * 50, now);
        assert_eq!(given_up.at, now + BURST);
        drop(given_up);
        assert_eq!(paces.enter(&a, STEP, now).at, now + BURST);
    }

    #[test]
    fn tenants_at_rest_are_forgotten() {
        let paces = Arc::new(Paces::default());
        let now = Instant::now();
        for n in 0..REMEMBERED {
            paces.enter(&tenant(&format!("t{n}")), STEP, now).through();
        }
        assert_eq!(paces.0.lock().unwrap().len(), REMEMBERED);
        paces.enter(&tenant("one-more"), STEP, now + BURST).through();
        assert_eq!(paces.0.lock().unwrap().len(), 1);
    }
}
