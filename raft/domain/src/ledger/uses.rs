//! Which limits one call touches, from the records of the state.

use std::sync::Arc;

use crate::decide::RolePath;
use crate::ids::{PrincipalId, ProjectId, TenantId, UpstreamId};
use crate::ledger::key::subject;
use crate::ledger::limit::{Limit, of};
use crate::ledger::{AccountKey, LimitId};
use crate::lookup::of_tenant;
use crate::model::{Budget, Dimension};
use crate::state::State;
use crate::time::TimestampMs;

/// A call, as far as limits tell calls apart.
#[derive(Clone, Copy, Debug)]
pub struct CallUse<'a> {
    /// Whose item is used.
    pub tenant: &'a TenantId,
    /// Where the principal, its grants and roles live.
    pub caller_tenant: &'a TenantId,
    pub principal: &'a PrincipalId,
    pub project: Option<&'a ProjectId>,
    /// Exposed name.
    pub item: &'a str,
    pub upstream: &'a UpstreamId,
    /// The model that the item's metering names; empty without one.
    pub model: &'a str,
    pub cost_center: &'a str,
    /// The path by which the call was allowed: its roles' and its grant's limits count.
    pub path: &'a RolePath,
}

/// A limit that a call touches. The key's period is not set yet: `start` is zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitUse {
    pub account: AccountKey,
    pub limit: Limit,
}

/// Every limit that `call` touches, each once.
pub fn uses(state: &State, call: &CallUse<'_>) -> Vec<LimitUse> {
    let mut found = Vec::new();
    let mut touch = |tenant: &TenantId, id: LimitId, subject: Arc<str>| {
        if let Some(limit) = of(state, tenant, &id) {
            let account =
                AccountKey { tenant: tenant.clone(), limit: id, subject, start: TimestampMs::default() };
            found.push(LimitUse { account, limit });
        }
    };
    for id in [LimitId::QuotaRequests, LimitId::QuotaTokens, LimitId::TenantRequests, LimitId::TenantCost] {
        touch(call.tenant, id, Arc::from(""));
    }
    let principal = subject(call.principal.as_str());
    let home = call.caller_tenant;
    for role in &call.path.roles {
        touch(home, LimitId::RoleRequests(role.clone()), principal.clone());
        touch(home, LimitId::RoleCost(role.clone()), principal.clone());
    }
    touch(home, LimitId::GrantRequests(call.path.grant.clone()), principal.clone());
    touch(home, LimitId::GrantCost(call.path.grant.clone()), principal);
    for rule in state.lookup.rated(call.tenant) {
        let key = (call.tenant.clone(), rule.clone());
        if state.restrictions.get(&key).is_some_and(|record| record.value.tools.matches(call.item)) {
            touch(call.tenant, LimitId::RuleRate(rule.clone()), Arc::from(""));
        }
    }
    touch(call.tenant, LimitId::QuotaConcurrency, Arc::from(""));
    for budget in of_tenant(&state.budgets, call.tenant) {
        if let Some(subject) = concerns(budget, call) {
            touch(call.tenant, LimitId::Budget(budget.id.clone()), subject);
        }
    }
    found
}

/// The limit that opening an MCP session in `tenant` touches.
pub fn session_use(state: &State, tenant: &TenantId) -> Option<LimitUse> {
    let id = LimitId::QuotaConnections;
    let limit = of(state, tenant, &id)?;
    let (tenant, subject, start) = (tenant.clone(), Arc::from(""), TimestampMs::default());
    Some(LimitUse { account: AccountKey { tenant, limit: id, subject, start }, limit })
}

/// The subject under which `budget` counts the call; `None` where it does not concern it.
fn concerns(budget: &Budget, call: &CallUse<'_>) -> Option<Arc<str>> {
    let scope = &budget.scope;
    let fits = scope.project.as_ref().is_none_or(|project| call.project == Some(project))
        && scope.principal.as_ref().is_none_or(|principal| {
            // A principal of another tenant may have the same name.
            call.principal == principal && call.caller_tenant == call.tenant
        })
        && scope.tools.as_ref().is_none_or(|tools| tools.matches(call.item))
        && scope.upstream.as_ref().is_none_or(|upstream| call.upstream == upstream)
        && scope.model.as_ref().is_none_or(|model| call.model == model)
        && scope.cost_center.as_ref().is_none_or(|center| call.cost_center == center);
    if !fits {
        return None;
    }
    Some(match budget.per {
        None => Arc::from(""),
        Some(Dimension::Principal) if call.caller_tenant == call.tenant => subject(call.principal.as_str()),
        Some(Dimension::Principal) => subject(&format!("{}/{}", call.caller_tenant, call.principal)),
        Some(Dimension::Project) => subject(call.project.map_or("", |project| project.as_str())),
        Some(Dimension::Tool) => subject(call.item),
        Some(Dimension::Upstream) => subject(call.upstream.as_str()),
        Some(Dimension::Model) => subject(call.model),
        Some(Dimension::CostCenter) => subject(call.cost_center),
    })
}
