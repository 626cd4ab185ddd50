//! Persons and service accounts.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::subject;
use crate::apply::tenant::{already_exists, not_found, open, quotas};
use crate::apply::validate::{Check, at_most, distinct, ensure, filled, list, revision, text, within_quota};
use crate::apply::weigh::fits_row;
use crate::ids::{ApiKeyId, GrantId, PrincipalId, TenantId};
use crate::limits;
use crate::model::{Principal, SlotPart};
use crate::outcome::Rejection;
use crate::state::{State, Versioned};

pub(super) fn create(change: &mut Change<'_>, principal: &Principal) -> Result<Report, Rejection> {
    open(change.state, &principal.tenant)?;
    if change.state.principals.contains_key(&(principal.tenant.clone(), principal.id.clone())) {
        return Err(already_exists("principal", principal.id.as_str()));
    }
    check(principal)?;
    let count = change.state.lookup.principals_in.get(&principal.tenant).copied().unwrap_or(0);
    at_most(count + 1, limits::PRINCIPALS_PER_TENANT_MAX, "principals in one tenant")?;
    let quota = quotas(change.state, &principal.tenant)?.max_users;
    within_quota(count + 1, quota, &principal.tenant, "users in this tenant by its quota")?;
    subject::room(change.state, principal)?;
    let report = Report::changed(None, Some(describe::principal(principal)))
        .personal(SlotPart::After, principal.personal.as_ref());
    let principal = subject::received(change, principal)?;
    change.put_principal(principal.clone());
    change.policy_changed(Some(&principal.tenant));
    Ok(report)
}

/// The time of creation stays as it is.
pub(super) fn update(
    change: &mut Change<'_>,
    principal: &Principal,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    open(change.state, &principal.tenant)?;
    let old = find(change.state, &principal.tenant, &principal.id)?.clone();
    revision(if_revision, old.revision)?;
    let old = old.value;
    // A waiver of the second factor rests on it.
    ensure(old.kind == principal.kind, "kind", "cannot be changed")?;
    check(principal)?;
    let principal = subject::received(change, principal)?;
    let new = Principal { created_at: old.created_at, ..principal.clone() };
    let report = Report::changed(Some(describe::principal(&old)), Some(describe::principal(&new)))
        .personal(SlotPart::Before, old.personal.as_ref())
        .personal(SlotPart::After, new.personal.as_ref());
    change.put_principal(new);
    change.policy_changed(Some(&principal.tenant));
    Ok(report)
}

/// Takes grants and keys along.
pub(super) fn delete(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = find(change.state, tenant, id)?.clone();
    revision(if_revision, old.revision)?;
    let report = Report::changed(Some(describe::principal(&old.value)), None)
        .personal(SlotPart::Before, old.value.personal.as_ref());
    Ok(taken_out(change, tenant, id, report))
}

/// The principal, its grants and its keys.
pub(super) fn taken_out(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
    report: Report,
) -> Report {
    let grants: Vec<GrantId> = change.state.lookup.grants_of(tenant, id).cloned().collect();
    let keys: Vec<ApiKeyId> = change.state.lookup.keys_of(tenant, id).cloned().collect();
    let report = report
        .detail("deleted_grants", joined(&grants))
        .detail("deleted_grant_count", grants.len().to_string())
        .detail("revoked_keys", joined(&keys))
        .detail("revoked_key_count", keys.len().to_string());
    grants.iter().for_each(|grant| change.remove_grant(tenant, grant));
    keys.iter().for_each(|key| change.remove_api_key(key));
    change.remove_principal(tenant, id);
    change.policy_changed(Some(tenant));
    report
}

fn joined<T: AsRef<str>>(ids: &[T]) -> String {
    ids.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}

pub(super) fn check(principal: &Principal) -> Check {
    text("display_name", &principal.display_name, limits::LABEL_BYTES_MAX)?;
    text("email", &principal.email, limits::LABEL_BYTES_MAX)?;
    list("projects", principal.projects.len())?;
    distinct("projects", &principal.projects)?;
    list("attributes", principal.attributes.len())?;
    for (name, value) in &principal.attributes {
        filled("attributes", name, limits::NAME_BYTES_MAX)?;
        text("attributes", value, limits::ATTRIBUTE_BYTES_MAX)?;
    }
    fits_row(principal)
}

pub(super) fn find<'s>(
    state: &'s State,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<&'s Versioned<Principal>, Rejection> {
    state.principals.get(&(tenant.clone(), id.clone())).ok_or_else(|| not_found("principal", id.as_str()))
}
