//! Budgets: set, changed within what its open accounts can follow, deleted; and what is lent to a lost node, closed.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::ledger::forfeited;
use crate::apply::tenant::{not_found, open};
use crate::apply::validate::{Check, at_most, description, ensure, filled, revision, zone};
use crate::audit::Severity;
use crate::ids::{BudgetId, NodeId, TenantId};
use crate::ledger::{AccountKey, ForfeitReason};
use crate::limits;
use crate::model::{Budget, PeriodKind};
use crate::outcome::Rejection;

/// What it counts, for whom and over which kind of period stays: its accounts were opened for that.
pub(super) fn put(
    change: &mut Change<'_>,
    budget: &Budget,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &budget.tenant);
    open(state, tenant)?;
    let old = state.budgets.get(&(tenant.clone(), budget.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    check(budget)?;
    let mut budget = budget.clone();
    match &old {
        Some(old) => {
            let Budget { scope, per, measure, period, .. } = &old.value;
            let same = (scope, per, measure, period)
                == (&budget.scope, &budget.per, &budget.measure, &budget.period);
            ensure(same, "budget", "cannot change its scope, measure or period: make another one")?;
            budget.created_at = old.value.created_at;
            budget.created_by.clone_from(&old.value.created_by);
        }
        None => {
            let count = state.lookup.budgets_in.get(tenant).copied().unwrap_or(0);
            at_most(count + 1, limits::BUDGETS_PER_TENANT_MAX, "budgets in one tenant")?;
        }
    }
    let report =
        Report::changed(old.map(|old| describe::budget(&old.value)), Some(describe::budget(&budget)));
    let tenant = tenant.clone();
    change.put_budget(budget);
    change.policy_changed(Some(&tenant));
    Ok(report)
}

fn check(budget: &Budget) -> Check {
    ensure(budget.amount > 0, "amount", "allows nothing: deny the calls instead")?;
    ensure(budget.amount <= limits::BUDGET_AMOUNT_MAX, "amount", "is more than any budget may hold")?;
    let calendar = !matches!(budget.period, PeriodKind::Minute | PeriodKind::Hour | PeriodKind::Total);
    if calendar || !budget.zone.is_empty() {
        zone("zone", &budget.zone)?;
    }
    let named = [("scope.model", &budget.scope.model), ("scope.cost_center", &budget.scope.cost_center)];
    for (field, value) in named {
        if let Some(value) = value {
            filled(field, value, limits::LABEL_BYTES_MAX)?;
        }
    }
    description(&budget.description)
}

/// Its accounts stay until their time comes, and bind nobody.
pub(super) fn delete(change: &mut Change<'_>, tenant: &TenantId, id: &BudgetId) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.budgets.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("budget", id.as_str()))?;
    change.remove_budget(tenant, id);
    change.policy_changed(Some(tenant));
    Ok(Report::changed(Some(describe::budget(&old.value)), None))
}

/// INVARIANT: P1 (nobody knows what the node did with it: all of it counts as spent).
pub(super) fn force_close(
    change: &mut Change<'_>,
    node: NodeId,
    account: Option<&AccountKey>,
) -> Result<Report, Rejection> {
    if !change.state.nodes.contains_key(&node) {
        return Err(crate::apply::member::not_found(node));
    }
    const REASON: ForfeitReason = ForfeitReason::ForceClosed;
    let forfeits = match account {
        Some(key) if !change.state.ledger.accounts.contains_key(key) => {
            return Err(not_found("account", &key.to_string()));
        }
        Some(key) => change.state.forfeit(node, key, REASON).into_iter().collect(),
        None => change.state.forfeit_all(node, REASON),
    };
    let report = Report::changed(None, None)
        .detail("accounts", forfeits.len().to_string())
        .severity(Severity::Critical);
    Ok(forfeited(change, node, report, &forfeits))
}
