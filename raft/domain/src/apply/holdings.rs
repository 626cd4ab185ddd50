//! What a principal holds, context left out: grants that have not expired, and the roles they reach. The evaluator in
//! `decide` judges context besides; what is not held here is not allowed there.

use std::collections::BTreeSet;

use crate::ids::{PrincipalId, RoleId, TenantId};
use crate::limits;
use crate::lookup::of_tenant;
use crate::model::{BUILT_IN_ROLES, Glob, Grant, Permission, Role};
use crate::state::State;
use crate::time::TimestampMs;

/// The permissions of one principal, whatever their conditions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holdings(BTreeSet<Permission>);

impl Holdings {
    /// By the grants that have not expired at `now`.
    pub fn of(state: &State, tenant: &TenantId, principal: &PrincipalId, now: TimestampMs) -> Self {
        let roles: BTreeSet<RoleId> = grants(state, tenant, principal, now)
            .flat_map(|grant| closure(state, tenant, &grant.role))
            .collect();
        Self::of_roles(state, tenant, &roles)
    }

    pub(super) fn of_roles<'r>(
        state: &State,
        tenant: &TenantId,
        roles: impl IntoIterator<Item = &'r RoleId>,
    ) -> Self {
        let found = roles.into_iter().filter_map(|id| role(state, tenant, id));
        Self(found.flat_map(|role| role.permissions.iter().cloned()).collect())
    }

    /// Whether `permission` is held in the principal's own tenant.
    pub fn has(&self, permission: &Permission) -> bool {
        let any = |list: &[Permission]| list.iter().any(|p| self.0.contains(p));
        if any(&[Permission::GlobalAdmin, permission.clone()]) {
            return true;
        }
        match permission {
            Permission::ServerView | Permission::AuditView | Permission::CostView => {
                any(&[Permission::GlobalRead])
            }
            Permission::ToolExecute(_) | Permission::ToolAll => self.has_every_tool(),
            Permission::ToolView(glob) => {
                let execute = Permission::ToolExecute(glob.clone());
                any(&[Permission::GlobalRead, execute])
                    || self.has_every_tool()
                    || every(Permission::ToolView).is_some_and(|p| self.0.contains(&p))
            }
            _ => false,
        }
    }

    fn has_every_tool(&self) -> bool {
        self.0.contains(&Permission::ToolAll)
            || every(Permission::ToolExecute).is_some_and(|permission| self.0.contains(&permission))
    }

    /// The first permission of `other` that is not held.
    pub(super) fn lacks<'o>(&self, other: &'o Self) -> Option<&'o Permission> {
        other.0.iter().find(|permission| !self.has(permission))
    }
}

/// A permission for every tool.
fn every(kind: impl Fn(Glob) -> Permission) -> Option<Permission> {
    Glob::new("*").ok().map(kind)
}

pub(super) fn is_built_in(role: &RoleId) -> bool {
    BUILT_IN_ROLES.contains(&role.as_str())
}

/// The role that `id` means in `tenant`: built-in ids mean the built-in roles everywhere.
pub(crate) fn role<'s>(state: &'s State, tenant: &TenantId, id: &RoleId) -> Option<&'s Role> {
    let home = if is_built_in(id) { TenantId::system() } else { tenant.clone() };
    state.roles.get(&(home, id.clone())).map(|record| &record.value)
}

/// The grants of a principal that have not expired.
pub(super) fn grants<'s>(
    state: &'s State,
    tenant: &'s TenantId,
    principal: &'s PrincipalId,
    now: TimestampMs,
) -> impl Iterator<Item = &'s Grant> {
    let ids = state.lookup.grants_of(tenant, principal);
    let found =
        ids.filter_map(|id| state.grants.get(&(tenant.clone(), id.clone())).map(|record| &record.value));
    found.filter(move |grant| !is_past(grant.expires_at, now))
}

/// Every role reachable from one, itself included; it stops growing past its bound, which no stored role passes.
pub(super) fn closure(state: &State, tenant: &TenantId, start: &RoleId) -> BTreeSet<RoleId> {
    let mut reached = BTreeSet::from([start.clone()]);
    let mut open = vec![start.clone()];
    while let Some(id) = open.pop() {
        let Some(role) = role(state, tenant, &id) else { continue };
        for parent in &role.inherits_from {
            if reached.len() <= limits::ROLE_CLOSURE_MAX && reached.insert(parent.clone()) {
                open.push(parent.clone());
            }
        }
    }
    reached
}

/// Whether an end has come.
pub(super) fn is_past(end: Option<TimestampMs>, now: TimestampMs) -> bool {
    end.is_some_and(|at| now >= at)
}

/// Whether `system` has an enabled principal that holds everything.
pub(super) fn has_administrator(state: &State) -> bool {
    let system = TenantId::system();
    of_tenant(&state.principals, &system).filter(|principal| principal.enabled).any(|principal| {
        Holdings::of(state, &system, &principal.id, state.log_time).has(&Permission::GlobalAdmin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(permissions: &[&str]) -> Holdings {
        Holdings(permissions.iter().map(|text| Permission::parse(text).unwrap()).collect())
    }

    #[test]
    fn held_and_not_held() {
        for (held, wanted, expected) in [
            ("GlobalAdmin", "GlobalAdmin", true),
            ("GlobalAdmin", "ToolExecute(x)", true),
            ("GlobalRead", "AuditView", true),
            ("GlobalRead", "AuditExport", false),
            ("GlobalRead", "GlobalAdmin", false),
            ("GlobalRead", "ToolView(a)", true),
            ("GlobalRead", "ToolExecute(a)", false),
            ("ToolAll", "ToolExecute(a__*)", true),
            ("ToolAll", "ToolView(a__*)", true),
            ("ToolExecute(*)", "ToolAll", true),
            ("ToolExecute(*)", "ToolExecute(a)", true),
            ("ToolExecute(a__*)", "ToolExecute(a__*)", true),
            // Patterns are compared as they are written: a narrower one counts only where everything is held.
            ("ToolExecute(a__*)", "ToolExecute(a__b)", false),
            ("ToolExecute(a__b)", "ToolExecute(a__*)", false),
            ("ToolExecute(a__b)", "ToolView(a__b)", true),
            ("ToolView(*)", "ToolView(a__b)", true),
            ("ToolView(*)", "ToolExecute(a__b)", false),
            ("UserModify", "UserCreate", false),
            ("RoleAssign", "RoleAssign", true),
        ] {
            let wanted_one = Permission::parse(wanted).unwrap();
            assert_eq!(holding(&[held]).has(&wanted_one), expected, "{held} -> {wanted}");
        }
    }

    #[test]
    fn the_first_lacking_permission_is_named() {
        let lacks =
            |held: &[&str], other: &[&str]| holding(held).lacks(&holding(other)).map(Permission::text);
        assert_eq!(lacks(&["UserModify"], &["UserModify"]), None);
        assert_eq!(lacks(&["UserModify"], &["UserModify", "RoleAssign"]).as_deref(), Some("RoleAssign"));
        assert_eq!(lacks(&[], &[]), None);
    }
}
