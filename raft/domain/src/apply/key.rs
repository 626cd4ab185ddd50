//! API keys: made, rotated with overlap, revoked; and the way back in for operators who lost theirs.

use crate::apply::audit::Report;
use crate::apply::authority::may_give;
use crate::apply::change::Change;
use crate::apply::cluster::administrator_grant;
use crate::apply::describe;
use crate::apply::holdings::{Holdings, is_past};
use crate::apply::principal::find;
use crate::apply::tenant::{already_exists, not_found, open};
use crate::apply::validate::{Check, at_most, distinct, ensure, invalid, list, text};
use crate::apply::weigh::fits_row;
use crate::audit::Severity;
use crate::ids::{ApiKeyId, PrincipalId, TenantId};
use crate::limits;
use crate::model::{ApiKey, Permission, Principal};
use crate::outcome::Rejection;
use crate::time::TimestampMs;

pub(super) fn create(change: &mut Change<'_>, key: &ApiKey) -> Result<Report, Rejection> {
    open(change.state, &key.tenant)?;
    find(change.state, &key.tenant, &key.principal)?;
    check(change, key)?;
    // Whoever makes a key can act as its owner.
    may_act_as(change, &key.tenant, &key.principal)?;
    add(change, key.clone(), None)?;
    change.policy_changed(Some(&key.tenant));
    Ok(Report::changed(None, Some(describe::api_key(key))))
}

/// Owner and scope of the new key are the old one's, whatever the command says.
pub(super) fn rotate(
    change: &mut Change<'_>,
    old: &ApiKeyId,
    new: &ApiKey,
    overlap_until: TimestampMs,
) -> Result<Report, Rejection> {
    open(change.state, &new.tenant)?;
    let old = owned(change, &new.tenant, old)?;
    let now = change.now();
    ensure(!is_past(old.revoked_at, now), "old", "is revoked")?;
    may_act_as(change, &old.tenant, &old.principal)?;
    let new = ApiKey {
        principal: old.principal.clone(),
        projects: old.projects.clone(),
        tools: old.tools.clone(),
        rotated_from: Some(old.id.clone()),
        ..new.clone()
    };
    check(change, &new)?;
    let ends = overlap_until.max(now);
    let ending = ApiKey { revoked_at: Some(old.revoked_at.map_or(ends, |at| at.min(ends))), ..old.clone() };
    let report = Report::changed(Some(describe::api_key(&ending)), Some(describe::api_key(&new)));
    add(change, new, Some(&old.id))?;
    change.put_api_key(ending);
    change.policy_changed(Some(&old.tenant));
    Ok(report)
}

pub(super) fn revoke(
    change: &mut Change<'_>,
    tenant: &TenantId,
    key: &ApiKeyId,
) -> Result<Report, Rejection> {
    let old = owned(change, tenant, key)?;
    let new = revoked(&old, change.now());
    let report = Report::changed(Some(describe::api_key(&old)), Some(describe::api_key(&new)));
    change.put_api_key(new);
    change.policy_changed(Some(tenant));
    Ok(report)
}

/// The principal can administer `system` again with the new key alone: enabled, granted `admin`, its other keys
/// revoked.
pub(super) fn recover_admin(change: &mut Change<'_>, key: &ApiKey) -> Result<Report, Rejection> {
    ensure(key.tenant.is_system(), "key.tenant", "is not system")?;
    let principal = find(change.state, &key.tenant, &key.principal)?.value.clone();
    check(change, key)?;
    ensure(key.tools.is_empty(), "key.tools", "would keep the key from administering")?;
    let others: Vec<ApiKeyId> = change.state.lookup.keys_of(&key.tenant, &key.principal).cloned().collect();
    let mut count = 0u32;
    for id in others {
        let other = owned(change, &key.tenant, &id)?;
        if !is_past(other.revoked_at, change.now()) {
            change.put_api_key(revoked(&other, change.now()));
            count += 1;
        }
    }
    let mut report = Report::changed(None, Some(describe::api_key(key)))
        .detail("revoked_keys", count.to_string())
        .severity(Severity::Critical);
    if !principal.enabled {
        change.put_principal(Principal { enabled: true, ..principal });
        report = report.detail("principal", "enabled again");
    }
    let held = Holdings::of(change.state, &key.tenant, &key.principal, change.now());
    if !held.has(&Permission::GlobalAdmin) {
        let id = format!("recovered-{}", change.log_index);
        let grant = administrator_grant(change, &id, key)?;
        change.put_grant(grant);
        report = report.detail("grant", id);
    }
    add(change, key.clone(), None)?;
    change.policy_changed(Some(&key.tenant));
    Ok(report)
}

pub(super) fn check(change: &Change<'_>, key: &ApiKey) -> Check {
    if change.state.api_keys.contains_key(&key.id) {
        return Err(already_exists("api key", key.id.as_str()));
    }
    text("label", &key.label, limits::LABEL_BYTES_MAX)?;
    ensure(!is_past(key.expires_at, change.now()), "expires_at", "is in the past")?;
    ensure(key.revoked_at.is_none(), "revoked_at", "is set on a new key")?;
    ensure(key.last_used_at.is_none(), "last_used_at", "is set on a new key")?;
    list("projects", key.projects.len())?;
    distinct("projects", &key.projects)?;
    list("tools", key.tools.len())?;
    fits_row(key)
}

/// Adds a key within the bound on live ones; `replaced` is on its way out and not counted. Of the dead ones no more are
/// kept than may live, the newest.
fn add(change: &mut Change<'_>, key: ApiKey, replaced: Option<&ApiKeyId>) -> Check {
    let now = change.now();
    let (mut live, mut dead) = (0usize, Vec::new());
    for id in change.state.lookup.keys_of(&key.tenant, &key.principal) {
        let Some(known) = change.state.api_keys.get(id).map(|record| &record.value) else { continue };
        match known.revoked_at.filter(|at| *at <= now) {
            Some(at) => dead.push((at, id.clone())),
            None if replaced == Some(id) => {}
            None => live += 1,
        }
    }
    at_most(live + 1, limits::KEYS_PER_PRINCIPAL_MAX, "api keys of one principal")?;
    dead.sort_unstable();
    let surplus = dead.len().saturating_sub(limits::KEYS_PER_PRINCIPAL_MAX);
    dead.iter().take(surplus).for_each(|(_, id)| change.remove_api_key(id));
    change.put_api_key(key);
    Ok(())
}

fn may_act_as(change: &Change<'_>, tenant: &TenantId, principal: &PrincipalId) -> Check {
    let actor = change.actor();
    if actor.tenant == *tenant && actor.principal == *principal {
        return Ok(());
    }
    let given = Holdings::of(change.state, tenant, principal, change.now());
    may_give(change.state, actor, tenant, &given)
}

fn revoked(key: &ApiKey, now: TimestampMs) -> ApiKey {
    ApiKey { revoked_at: Some(key.revoked_at.map_or(now, |at| at.min(now))), ..key.clone() }
}

/// The tenant's key.
fn owned(change: &Change<'_>, tenant: &TenantId, id: &ApiKeyId) -> Result<ApiKey, Rejection> {
    if id.as_str().is_empty() {
        return Err(invalid("key", "is empty"));
    }
    let key = change.state.api_keys.get(id).map(|record| &record.value).filter(|key| key.tenant == *tenant);
    key.cloned().ok_or_else(|| not_found("api key", id.as_str()))
}
