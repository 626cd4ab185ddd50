//! Whether an admission still stands when it is applied, though the policy moved since it was decided (P4). Context
//! was judged once, by the admitting node; here is only what the state itself says.

use std::collections::BTreeSet;

use crate::activity::{Admission, Caller};
use crate::apply::authority::{is_active, is_good_key};
use crate::apply::holdings::{closure, grants, is_past, role};
use crate::decide::{split_item, upstream_in};
use crate::ids::{ProjectId, RoleId};
use crate::lookup::of_tenant;
use crate::model::{Constraints, DenySubject, Permission, Role};
use crate::state::State;

/// False when authority was reduced since. INVARIANT: P4, P5
pub(super) fn stands(state: &State, admission: &Admission) -> bool {
    admission.revision == state.policy_revision
        || (identity_stands(state, &admission.caller, &admission.item)
            && path_stands(state, admission)
            && item_stands(state, admission)
            && rules_allow(state, &admission.caller, &admission.item))
}

fn identity_stands(state: &State, caller: &Caller, item: &str) -> bool {
    let identity = (caller.tenant.clone(), caller.principal.clone());
    let principal = state.principals.get(&identity).map(|record| &record.value);
    let tenant = state.tenants.get(&caller.tenant).map(|record| &record.value);
    let key = caller.key.as_ref();
    is_active(state, &caller.tenant)
        && tenant.is_some_and(|tenant| project_allowed(&tenant.constraints, caller.project.as_ref()))
        && principal.is_some_and(|principal| {
            let project = caller.project.as_ref();
            principal.enabled && project.is_none_or(|project| principal.projects.contains(project))
        })
        && key.is_none_or(|key| is_good_key(state, key, &identity) && key_covers(state, caller, item))
}

fn key_covers(state: &State, caller: &Caller, item: &str) -> bool {
    let key = caller.key.as_ref().and_then(|id| state.api_keys.get(id)).map(|record| &record.value);
    key.is_some_and(|key| key.tools.is_empty() || key.tools.iter().any(|glob| glob.matches(item)))
}

/// The deciding grant and every step of its role path are still there.
fn path_stands(state: &State, admission: &Admission) -> bool {
    let Caller { tenant, principal, project, .. } = &admission.caller;
    let grant = state.grants.get(&(tenant.clone(), admission.grant.clone())).map(|record| &record.value);
    let grant_stands = grant.is_some_and(|grant| {
        grant.principal == *principal
            && !is_past(grant.expires_at, state.log_time)
            && admission.role_path.first() == Some(&grant.role)
    });
    let roles: Option<Vec<&Role>> = admission.role_path.iter().map(|id| role(state, tenant, id)).collect();
    let Some(roles) = roles else { return false };
    let linked = roles
        .iter()
        .zip(admission.role_path.iter().skip(1))
        .all(|(role, next)| role.inherits_from.contains(next));
    grant_stands
        && linked
        && roles.iter().all(|role| project_allowed(&role.constraints, project.as_ref()))
        && roles.last().is_some_and(|last| last.permissions.iter().any(|p| executes(p, &admission.item)))
}

fn executes(permission: &Permission, item: &str) -> bool {
    match permission {
        Permission::GlobalAdmin | Permission::ToolAll => true,
        Permission::ToolExecute(glob) => glob.matches(item),
        _ => false,
    }
}

fn project_allowed(constraints: &Constraints, project: Option<&ProjectId>) -> bool {
    constraints.allowed_projects.as_ref().is_none_or(|allowed| project.is_some_and(|p| allowed.contains(p)))
}

fn item_stands(state: &State, admission: &Admission) -> bool {
    let upstream = upstream_in(state, &admission.caller.tenant, &admission.upstream);
    let own_name = split_item(&admission.item).map_or(admission.item.as_str(), |(_, name)| name);
    upstream.is_some_and(|up| up.enabled && !up.disabled_tools.iter().any(|tool| tool == own_name))
}

/// No explicit deny matches, and every restriction is met by some membership, conditions disregarded.
fn rules_allow(state: &State, caller: &Caller, item: &str) -> bool {
    let tenant = &caller.tenant;
    let mut memberships = Memberships { state, caller, known: None };
    let denied = of_tenant(&state.denies, tenant).any(|rule| {
        rule.tools.matches(item)
            && match &rule.subject {
                DenySubject::Everyone => true,
                DenySubject::Principal(id) => *id == caller.principal,
                DenySubject::Role(role) => memberships.includes(role),
            }
    });
    !denied
        && of_tenant(&state.restrictions, tenant)
            .filter(|rule| rule.tools.matches(item))
            .all(|rule| rule.allowed_roles.iter().any(|role| memberships.includes(role)))
}

/// The caller's roles, found when first asked for.
struct Memberships<'s> {
    state: &'s State,
    caller: &'s Caller,
    known: Option<BTreeSet<RoleId>>,
}

impl Memberships<'_> {
    fn includes(&mut self, role: &RoleId) -> bool {
        let Caller { tenant, principal, .. } = self.caller;
        let state = self.state;
        let find = || {
            let held = grants(state, tenant, principal, state.log_time);
            held.flat_map(|grant| closure(state, tenant, &grant.role)).collect()
        };
        self.known.get_or_insert_with(find).contains(role)
    }
}
