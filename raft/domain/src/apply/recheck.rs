//! Whether an admission still stands when it is applied, though the policy moved since it was decided (P4). Context
//! was judged once, by the admitting node; here is only what the state itself says. The caller's tenant answers for
//! the principal, its key, grants and roles; the tenant whose item is used for its status, upstreams and rules, as
//! `decide::evaluate` has it for operators.

use std::collections::BTreeSet;

use crate::activity::{Admission, Caller};
use crate::apply::authority::{is_active, is_good_key};
use crate::apply::holdings::{closure, grants, is_built_in, is_past, role};
use crate::decide::{split_item, upstream_in};
use crate::ids::{ProjectId, RoleId, TenantId};
use crate::lookup::of_tenant;
use crate::model::{Constraints, DenySubject, Grant, Permission, Role};
use crate::state::State;

/// False when authority was reduced since. INVARIANT: P4, P5
pub(super) fn stands(state: &State, admission: &Admission) -> bool {
    admission.revision == state.policy_revision
        || (place_stands(state, admission)
            && identity_stands(state, &admission.caller, &admission.item)
            && path_stands(state, admission)
            && item_stands(state, admission)
            && rules_allow(state, admission))
}

/// In another tenant than its caller's: an operator's call.
fn is_abroad(admission: &Admission) -> bool {
    admission.tenant != admission.caller.tenant
}

/// The tenant may be used, by this caller and for its project. INVARIANT: P7
fn place_stands(state: &State, admission: &Admission) -> bool {
    let Admission { tenant, caller, .. } = admission;
    (!is_abroad(admission) || caller.tenant.is_system()) && tenant_allows(state, tenant, caller)
}

fn tenant_allows(state: &State, tenant: &TenantId, caller: &Caller) -> bool {
    let record = state.tenants.get(tenant).map(|record| &record.value);
    is_active(state, tenant)
        && record.is_some_and(|tenant| project_allowed(&tenant.constraints, caller.project.as_ref()))
}

fn identity_stands(state: &State, caller: &Caller, item: &str) -> bool {
    let identity = (caller.tenant.clone(), caller.principal.clone());
    let principal = state.principals.get(&identity).map(|record| &record.value);
    let key = caller.key.as_ref();
    tenant_allows(state, &caller.tenant, caller)
        && principal.is_some_and(|principal| {
            let project = caller.project.as_ref();
            principal.enabled && project.is_none_or(|project| principal.projects.contains(project))
        })
        && key.is_none_or(|key| is_good_key(state, key, &identity) && key_covers(state, caller, item))
}

fn key_covers(state: &State, caller: &Caller, item: &str) -> bool {
    let key = caller.key.as_ref().and_then(|id| state.api_keys.get(id)).map(|record| &record.value);
    key.is_some_and(|key| {
        let tool = key.tools.is_empty() || key.tools.iter().any(|glob| glob.matches(item));
        tool && in_scope(&key.projects, caller.project.as_ref())
    })
}

/// The deciding grant and every step of its role path are still there.
fn path_stands(state: &State, admission: &Admission) -> bool {
    let Caller { tenant, principal, project, .. } = &admission.caller;
    let grant = state.grants.get(&(tenant.clone(), admission.grant.clone())).map(|record| &record.value);
    let grant_stands = grant.is_some_and(|grant| {
        grant.principal == *principal
            && !is_past(grant.expires_at, state.log_time)
            && grant_allows(grant, project.as_ref())
            && admission.role_path.first() == Some(&grant.role)
    });
    let roles: Option<Vec<&Role>> = admission.role_path.iter().map(|id| role(state, tenant, id)).collect();
    let Some(roles) = roles else { return false };
    let linked = roles
        .iter()
        .zip(admission.role_path.iter().skip(1))
        .all(|(role, next)| role.inherits_from.contains(next));
    let covers = |permission| executes(permission, &admission.item, is_abroad(admission));
    grant_stands
        && linked
        && roles.iter().all(|role| project_allowed(&role.constraints, project.as_ref()))
        && roles.last().is_some_and(|last| last.permissions.iter().any(covers))
}

fn executes(permission: &Permission, item: &str, abroad: bool) -> bool {
    match permission {
        Permission::GlobalAdmin => true,
        Permission::ToolAll => !abroad,
        Permission::ToolExecute(glob) => !abroad && glob.matches(item),
        _ => false,
    }
}

fn grant_allows(grant: &Grant, project: Option<&ProjectId>) -> bool {
    in_scope(&grant.projects, project) && project_allowed(&grant.conditions, project)
}

/// `projects`: of a grant or a key; none is every one.
fn in_scope(projects: &[ProjectId], project: Option<&ProjectId>) -> bool {
    projects.is_empty() || project.is_some_and(|project| projects.contains(project))
}

fn project_allowed(constraints: &Constraints, project: Option<&ProjectId>) -> bool {
    constraints.allowed_projects.as_ref().is_none_or(|allowed| project.is_some_and(|p| allowed.contains(p)))
}

fn item_stands(state: &State, admission: &Admission) -> bool {
    let upstream = upstream_in(state, &admission.tenant, &admission.upstream);
    let own_name = split_item(&admission.item).map_or(admission.item.as_str(), |(_, name)| name);
    upstream.is_some_and(|up| up.enabled && !up.disabled_tools.iter().any(|tool| tool == own_name))
}

/// No explicit deny matches, and every restriction is met by some membership. Abroad the principals that a rule names
/// are the tenant's own, and so are the roles, but for the built-in ones in restrictions.
fn rules_allow(state: &State, admission: &Admission) -> bool {
    let Admission { tenant, caller, item, .. } = admission;
    let abroad = is_abroad(admission);
    let mut memberships = Memberships { state, caller, any: None, effective: None };
    let denied = of_tenant(&state.denies, tenant).any(|rule| {
        rule.tools.matches(item)
            && match &rule.subject {
                DenySubject::Everyone => true,
                DenySubject::Principal(id) => !abroad && *id == caller.principal,
                DenySubject::Role(role) => !abroad && memberships.includes(role),
            }
    });
    let mut admits = |role: &RoleId| (!abroad || is_built_in(role)) && memberships.allows(role);
    !denied
        && of_tenant(&state.restrictions, tenant)
            .filter(|rule| rule.tools.matches(item))
            .all(|rule| rule.allowed_roles.iter().any(&mut admits))
}

/// The caller's roles, found when first asked for.
struct Memberships<'s> {
    state: &'s State,
    caller: &'s Caller,
    any: Option<BTreeSet<RoleId>>,
    effective: Option<BTreeSet<RoleId>>,
}

impl Memberships<'_> {
    /// As a deny sees it: conditions disregarded.
    fn includes(&mut self, role: &RoleId) -> bool {
        let Caller { tenant, principal, .. } = self.caller;
        let state = self.state;
        let find = || {
            let held = grants(state, tenant, principal, state.log_time);
            held.flat_map(|grant| closure(state, tenant, &grant.role)).collect()
        };
        self.any.get_or_insert_with(find).contains(role)
    }

    /// As a restriction sees it: reached by a way that is open to the caller's project.
    fn allows(&mut self, wanted: &RoleId) -> bool {
        let Caller { tenant, principal, project, .. } = self.caller;
        let (state, project) = (self.state, project.as_ref());
        let find = || {
            let held = grants(state, tenant, principal, state.log_time);
            let mut open: Vec<&RoleId> =
                held.filter(|grant| grant_allows(grant, project)).map(|grant| &grant.role).collect();
            let mut reached = BTreeSet::new();
            while let Some(id) = open.pop() {
                let found = role(state, tenant, id);
                let Some(role) = found.filter(|role| project_allowed(&role.constraints, project)) else {
                    continue;
                };
                if reached.insert(id.clone()) {
                    open.extend(&role.inherits_from);
                }
            }
            reached
        };
        self.effective.get_or_insert_with(find).contains(wanted)
    }
}
