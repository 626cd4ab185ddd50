//! Roles are alternatives: where the deciding one's own limit is used up, another that allows the call pays for it.

use std::sync::Arc;

use only1mcp_domain::decide::{Action, Evidence, Reason};
use only1mcp_domain::ids::{CallId, UpstreamId};
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::limits;
use tokio::time::Instant;

use crate::allowance::{Held, NotHeld};
use crate::enforcer::{CallFacts, Enforcer};
use crate::view::View;

impl NotHeld {
    /// Another path would be counted elsewhere.
    fn is_of_path(&self) -> bool {
        let of_path = |limit: &LimitId| match limit {
            LimitId::RoleRequests(_)
            | LimitId::RoleCost(_)
            | LimitId::GrantRequests(_)
            | LimitId::GrantCost(_) => true,
            LimitId::Budget(_)
            | LimitId::QuotaRequests
            | LimitId::QuotaTokens
            | LimitId::QuotaConcurrency
            | LimitId::QuotaConnections
            | LimitId::TenantRequests
            | LimitId::TenantCost
            | LimitId::RuleRate(_) => false,
        };
        self.reason == Reason::BudgetExceeded
            && self.limit.as_ref().is_some_and(|(account, _)| of_path(&account.limit))
    }
}

impl Enforcer {
    /// As [`Enforcer::hold`], by the first allowing path that has room. Errors: those of the deciding path.
    #[expect(clippy::too_many_arguments, reason = "everything a hold is for, each once")]
    pub(crate) async fn hold_by_some_path(
        self: &Arc<Self>,
        view: &View,
        call: CallId,
        facts: &CallFacts,
        item: &str,
        upstream: &UpstreamId,
        decided: Evidence,
        deadline: Instant,
    ) -> Result<(Held, Evidence), NotHeld> {
        let exceeded = match self.hold(call, facts, item, upstream, &decided, deadline).await {
            Ok(held) => return Ok((held, decided)),
            Err(not_held) if not_held.is_of_path() => not_held,
            Err(not_held) => return Err(not_held),
        };
        let others = self.alternatives(view, facts, Action::Execute(item), &decided);
        for other in others.into_iter().take(limits::PATHS_TRIED_MAX) {
            match self.hold(call, facts, item, upstream, &other, deadline).await {
                Ok(held) => return Ok((held, other)),
                Err(not_held) if not_held.is_of_path() => {}
                Err(not_held) => return Err(not_held),
            }
        }
        Err(exceeded)
    }
}
