//! Rules over tools: restrictions and explicit denies.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::holdings::role;
use crate::apply::principal::find;
use crate::apply::tenant::{not_found, open};
use crate::apply::validate::{Check, at_most, description, distinct, ensure, list, revision};
use crate::apply::weigh::fits_row;
use crate::ids::{RoleId, RuleId, TenantId};
use crate::limits;
use crate::model::{DenyRule, DenySubject, ToolRestriction};
use crate::outcome::Rejection;
use crate::state::State;

pub(super) fn put_restriction(
    change: &mut Change<'_>,
    rule: &ToolRestriction,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &rule.tenant);
    open(state, tenant)?;
    let old = state.restrictions.get(&(tenant.clone(), rule.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    list("allowed_roles", rule.allowed_roles.len())?;
    distinct("allowed_roles", &rule.allowed_roles)?;
    rule.allowed_roles.iter().try_for_each(|id| known_role(state, tenant, id))?;
    ensure(rule.rate_limit.is_none_or(|limit| limit.count > 0), "rate_limit", "allows nothing")?;
    description(&rule.description)?;
    fits_row(rule)?;
    if old.is_none() {
        let count = state.lookup.restrictions_in.get(tenant).copied().unwrap_or(0);
        at_most(count + 1, limits::RULES_PER_TENANT_MAX, "tool restrictions in one tenant")?;
    }
    let before = old.map(|old| describe::restriction(&old.value));
    change.put_restriction(rule.clone());
    change.policy_changed(Some(tenant));
    Ok(Report::changed(before, Some(describe::restriction(rule))))
}

pub(super) fn delete_restriction(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &RuleId,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.restrictions.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("tool restriction", id.as_str()))?;
    change.remove_restriction(tenant, id);
    change.policy_changed(Some(tenant));
    Ok(Report::changed(Some(describe::restriction(&old.value)), None))
}

pub(super) fn put_deny(
    change: &mut Change<'_>,
    rule: &DenyRule,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &rule.tenant);
    open(state, tenant)?;
    let old = state.denies.get(&(tenant.clone(), rule.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    match &rule.subject {
        DenySubject::Everyone => {}
        DenySubject::Principal(id) => find(state, tenant, id).map(drop)?,
        DenySubject::Role(id) => known_role(state, tenant, id)?,
    }
    description(&rule.description)?;
    if old.is_none() {
        let count = state.lookup.denies_in.get(tenant).copied().unwrap_or(0);
        at_most(count + 1, limits::RULES_PER_TENANT_MAX, "explicit denies in one tenant")?;
    }
    let before = old.map(|old| describe::deny(&old.value));
    change.put_deny(rule.clone());
    change.policy_changed(Some(tenant));
    Ok(Report::changed(before, Some(describe::deny(rule))))
}

pub(super) fn delete_deny(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &RuleId,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.denies.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("explicit deny", id.as_str()))?;
    change.remove_deny(tenant, id);
    change.policy_changed(Some(tenant));
    Ok(Report::changed(Some(describe::deny(&old.value)), None))
}

fn known_role(state: &State, tenant: &TenantId, id: &RoleId) -> Check {
    role(state, tenant, id).map(drop).ok_or_else(|| not_found("role", id.as_str()))
}
