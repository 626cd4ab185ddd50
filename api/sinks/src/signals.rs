//! Which tenants something happened in, from the effects of applied entries: whoever waits need not read the audit rows
//! of others.

use std::collections::BTreeMap;
use std::time::Duration;

use only1mcp_domain::ids::TenantId;
use only1mcp_domain::outcome::Effect;
use tokio::sync::watch;
use tokio::time::timeout;

/// Log indexes at which something was last to be told.
#[derive(Default)]
struct Told {
    tenants: BTreeMap<TenantId, u64>,
    /// Entries up to here may have been missed: whoever has not read past them must read.
    missed: u64,
}

impl Told {
    fn last(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).copied().unwrap_or(0).max(self.missed)
    }
}

pub(crate) struct Signals {
    told: watch::Sender<Told>,
    /// Every entry up to here was looked at.
    seen: watch::Sender<u64>,
}

impl Signals {
    /// `applied`: entries up to here came before anybody listened.
    pub(crate) fn new(applied: u64) -> Self {
        let told = Told { tenants: BTreeMap::new(), missed: applied };
        Self { told: watch::Sender::new(told), seen: watch::Sender::new(0) }
    }

    /// An entry was applied.
    pub(crate) fn note(&self, log_index: u64, effects: &[Effect]) {
        for effect in effects {
            if let Effect::BudgetLevel { account, .. } | Effect::Overrun { account, .. } = effect {
                self.told.send_modify(|told| {
                    told.tenants.insert(account.tenant.clone(), log_index);
                });
            }
        }
        self.seen.send_replace(log_index);
    }

    /// Entries up to `applied` may have been missed.
    pub(crate) fn missed(&self, applied: u64) {
        self.told.send_modify(|told| told.missed = told.missed.max(applied));
        self.seen.send_if_modified(|seen| {
            let behind = *seen < applied;
            *seen = applied.max(*seen);
            behind
        });
    }

    /// Nothing is to be told to `tenant` of the entries after `from`, up to and with `to`.
    pub(crate) async fn is_quiet(&self, tenant: &TenantId, from: u64, to: u64) -> bool {
        /// Notes follow the state closely; where they do not, the rows are read instead.
        const NOTES_WITHIN: Duration = Duration::from_secs(1);
        if self.told.borrow().last(tenant) > from {
            return false;
        }
        let mut seen = self.seen.subscribe();
        let reached = timeout(NOTES_WITHIN, seen.wait_for(|seen| *seen >= to)).await;
        matches!(reached, Ok(Ok(_))) && self.told.borrow().last(tenant) <= from
    }

    /// Resolves once something after the entry `from` may be to be told.
    pub(crate) async fn after(&self, tenant: &TenantId, from: u64) {
        // The sender lives as long as we do.
        let _ = self.told.subscribe().wait_for(|told| told.last(tenant) > from).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use only1mcp_domain::ids::BudgetId;
    use only1mcp_domain::ledger::{AccountKey, LimitId};
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    fn overrun(tenant: &TenantId) -> Effect {
        let account = AccountKey {
            tenant: tenant.clone(),
            limit: LimitId::Budget(BudgetId::new("b").unwrap()),
            subject: "".into(),
            start: TimestampMs(0),
        };
        Effect::Overrun { account, amount: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn only_whoever_has_something_to_read_reads() {
        let [acme, other] = ["acme", "other"].map(|id| TenantId::new(id).unwrap());
        let signals = Signals::new(7);
        assert!(!signals.is_quiet(&acme, 0, 7).await, "nobody listened to the first seven");
        signals.note(8, &[Effect::NodesChanged]);
        assert!(signals.is_quiet(&acme, 7, 8).await);
        assert!(!signals.is_quiet(&acme, 7, 9).await, "the ninth was not looked at");
        assert!(signals.after(&acme, 8).now_or_never().is_none());
        signals.note(9, &[overrun(&acme)]);
        assert!(!signals.is_quiet(&acme, 8, 9).await);
        assert!(signals.after(&acme, 8).now_or_never().is_some());
        assert!(signals.is_quiet(&other, 8, 9).await && signals.is_quiet(&acme, 9, 9).await);
        signals.missed(12);
        assert!(!signals.is_quiet(&other, 9, 12).await && signals.is_quiet(&other, 12, 12).await);
    }
}
