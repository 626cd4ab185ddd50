//! Roles of a tenant's own.

use crate::apply::audit::Report;
use crate::apply::authority::may_give;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::holdings::{Holdings, closure, is_built_in};
use crate::apply::role_graph;
use crate::apply::tenant::{not_found, open};
use crate::apply::validate::{
    Check, at_most, constraints, description, distinct, filled, list_of, revision, text,
};
use crate::apply::weigh::fits_row;
use crate::ids::{RoleId, TenantId};
use crate::limits;
use crate::model::Role;
use crate::outcome::Rejection;

/// Creates or replaces; permissions are sorted and stripped of doubles.
pub(super) fn put(
    change: &mut Change<'_>,
    role: &Role,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    open(change.state, &role.tenant)?;
    refuse_built_in(&role.id)?;
    let old = change.state.roles.get(&(role.tenant.clone(), role.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    check(role)?;
    let mut new = role.clone();
    new.permissions.sort_unstable();
    new.permissions.dedup();
    if let Some(old) = &old {
        new.created_at = old.value.created_at;
        new.created_by.clone_from(&old.value.created_by);
    } else {
        let count = change.state.lookup.roles_in.get(&role.tenant).copied().unwrap_or(0);
        at_most(count + 1, limits::ROLES_PER_TENANT_MAX, "roles in one tenant")?;
    }
    role_graph::refuse_cycle(change.state, &new)?;
    let moved = old.as_ref().is_none_or(|old| old.value.inherits_from != new.inherits_from);
    let report = Report::changed(old.map(|old| describe::role(&old.value)), Some(describe::role(&new)));
    change.put_role(new);
    if moved {
        role_graph::check_bounds(change.state, &role.tenant, &role.id)?;
    }
    let given =
        Holdings::of_roles(change.state, &role.tenant, &closure(change.state, &role.tenant, &role.id));
    may_give(change.state, change.actor(), &role.tenant, &given)?;
    change.policy_changed(Some(&role.tenant));
    Ok(report)
}

pub(super) fn delete(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &RoleId,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    refuse_built_in(id)?;
    let old = change.state.roles.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("role", id.as_str()))?;
    revision(if_revision, old.revision)?;
    let grant = change.state.lookup.grants_to(tenant, id).next().map(|grant| format!("grant {grant}"));
    let heir = change.state.lookup.heirs(tenant, id).next().map(|heir| format!("role {heir}"));
    if let Some(by) = grant.or(heir) {
        return Err(Rejection::InUse { kind: "role".to_owned(), id: id.as_str().to_owned(), by });
    }
    change.remove_role(tenant, id);
    change.policy_changed(Some(tenant));
    Ok(Report::changed(Some(describe::role(&old.value)), None))
}

fn refuse_built_in(id: &RoleId) -> Check {
    if !is_built_in(id) {
        return Ok(());
    }
    Err(Rejection::BuiltIn { kind: "role".to_owned(), id: id.as_str().to_owned() })
}

fn check(role: &Role) -> Check {
    filled("name", &role.name, limits::LABEL_BYTES_MAX)?;
    description(&role.description)?;
    text("created_by", &role.created_by, limits::LABEL_BYTES_MAX)?;
    list_of("permissions", role.permissions.len(), limits::ROLE_PERMISSIONS_MAX)?;
    list_of("inherits_from", role.inherits_from.len(), limits::ROLE_PARENTS_MAX)?;
    distinct("inherits_from", &role.inherits_from)?;
    constraints(&role.constraints)?;
    fits_row(role)
}
