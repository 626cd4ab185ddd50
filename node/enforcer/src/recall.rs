//! What this node has in hand of a tenant's limits and no call holds, given back because an operator wants it elsewhere.

use std::collections::BTreeMap;
use std::ops::Bound;

use only1mcp_domain::State;
use only1mcp_domain::ids::{BudgetId, NodeId, TenantId};
use only1mcp_domain::ledger::{AccountKey, LimitId, amount_of};
use only1mcp_domain::model::Measure;
use only1mcp_domain::time::TimestampMs;
use tokio::time::{Instant, timeout_at};

use crate::batcher::Progress;
use crate::enforcer::Enforcer;
use crate::purse::returns;

/// What went back, once that is applied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recalled {
    /// Units: those of the measure.
    pub amounts: BTreeMap<Measure, i128>,
    pub accounts: u64,
    /// More is in hand than goes back at one time.
    pub more: bool,
}

/// It is on its way, and was not applied in time or not to this node's knowledge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what was given back is not known to be applied")]
pub struct RecallUnknown;

impl Enforcer {
    /// Gives back what no call here holds of the tenant's limits, or of one. What calls here still need is lent again as
    /// they ask for it.
    pub async fn recall(
        &self,
        tenant: &TenantId,
        limit: Option<&LimitId>,
        deadline: Instant,
    ) -> Result<Recalled, RecallUnknown> {
        let state = self.parts.cluster.state();
        let accounts = lent(&state, self.parts.cluster.node(), tenant, limit);
        // No pause before the records are on their way: what is committed for them would stay so.
        let (parts, more) = self.purse.recall(|| self.parts.cluster.state(), &accounts);
        let mut recalled = Recalled { more, ..Recalled::default() };
        for part in &parts {
            recalled.accounts += 1;
            if let Some(limit) = amount_of(&state, &part.account) {
                let sum = recalled.amounts.entry(limit.measure).or_default();
                *sum = sum.saturating_add(part.amount);
            }
        }
        let on_their_way: Vec<_> =
            returns(&parts).into_iter().map(|record| self.intake.owe_and_follow(record)).collect();
        for mut progress in on_their_way {
            let reached = progress.wait_for(|p| matches!(p, Progress::Applied(_) | Progress::Failed));
            match timeout_at(deadline, reached).await {
                Ok(Ok(reached)) if matches!(*reached, Progress::Applied(_)) => {}
                _ => return Err(RecallUnknown),
            }
        }
        Ok(recalled)
    }
}

/// Accounts of limits that stand, of which something is lent to the node.
fn lent(state: &State, node: NodeId, tenant: &TenantId, limit: Option<&LimitId>) -> Vec<AccountKey> {
    // Budgets come first, and no id is less than `0`.
    let Some(first) = limit.cloned().or_else(|| BudgetId::new("0").ok().map(LimitId::Budget)) else {
        return Vec::new();
    };
    let first =
        AccountKey { tenant: tenant.clone(), limit: first, subject: "".into(), start: TimestampMs(0) };
    let asked = state.ledger.accounts.range((Bound::Included(first), Bound::Unbounded));
    let asked =
        asked.take_while(|(key, _)| key.tenant == *tenant && limit.is_none_or(|limit| key.limit == *limit));
    let lent = asked
        .filter(|(key, account)| account.lent_to(node).outstanding > 0 && amount_of(state, key).is_some());
    lent.map(|(key, _)| key.clone()).collect()
}
