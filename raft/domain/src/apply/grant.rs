//! Grants: a role given to a principal, and taken back.

use crate::apply::audit::Report;
use crate::apply::authority::may_give;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::holdings::{Holdings, closure, is_past, role};
use crate::apply::principal::find;
use crate::apply::tenant::{already_exists, not_found, open};
use crate::apply::validate::{at_most, constraints, distinct, ensure, list, text};
use crate::apply::weigh::fits_row;
use crate::audit::Severity;
use crate::ids::{GrantId, TenantId};
use crate::limits;
use crate::model::{Grant, PrincipalKind};
use crate::outcome::Rejection;

pub(super) fn create(change: &mut Change<'_>, grant: &Grant) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &grant.tenant);
    open(state, tenant)?;
    if state.grants.contains_key(&(tenant.clone(), grant.id.clone())) {
        return Err(already_exists("grant", grant.id.as_str()));
    }
    let principal = &find(state, tenant, &grant.principal)?.value;
    if role(state, tenant, &grant.role).is_none() {
        return Err(not_found("role", grant.role.as_str()));
    }
    list("projects", grant.projects.len())?;
    distinct("projects", &grant.projects)?;
    constraints(&grant.conditions)?;
    text("created_by", &grant.created_by, limits::LABEL_BYTES_MAX)?;
    ensure(!is_past(grant.expires_at, change.now()), "expires_at", "is in the past")?;
    let waivable = !grant.waive_mfa || principal.kind == PrincipalKind::Service;
    ensure(waivable, "waive_mfa", "is for service accounts only")?;
    fits_row(grant)?;
    let held = state.lookup.grants_of(tenant, &grant.principal).count();
    at_most(held + 1, limits::GRANTS_PER_PRINCIPAL_MAX, "grants of one principal")?;
    let given = Holdings::of_roles(state, tenant, &closure(state, tenant, &grant.role));
    may_give(state, change.actor(), tenant, &given)?;
    let mut report = Report::changed(None, Some(describe::grant(grant)))
        .detail("principal", grant.principal.as_str())
        .detail("role", grant.role.as_str());
    if grant.waive_mfa {
        report = report.detail("waives", "mfa").severity(Severity::Warning);
    }
    change.put_grant(grant.clone());
    change.policy_changed(Some(tenant));
    Ok(report)
}

pub(super) fn revoke(change: &mut Change<'_>, tenant: &TenantId, id: &GrantId) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.grants.get(&(tenant.clone(), id.clone())).map(|record| record.value.clone());
    let old = old.ok_or_else(|| not_found("grant", id.as_str()))?;
    change.remove_grant(tenant, id);
    change.policy_changed(Some(tenant));
    Ok(Report::changed(Some(describe::grant(&old)), None)
        .detail("principal", old.principal.as_str())
        .detail("role", old.role.as_str()))
}
