//! What would have to be granted, changed or sent along, in words. Read by people who were refused.

use std::sync::Arc;

use crate::decide::explain::chain;
use crate::decide::guard::{Facts, Failures, Guard, names_one, normalised, within};
use crate::decide::permissions::{PermissionSet, Wanted};
use crate::decide::roles::role_in;
use crate::decide::scan::of_tenant;
use crate::decide::{Action, Denial, Reason, Request, RolePath, split_item};
use crate::ids::{ProjectId, RoleId, TenantId};
use crate::model::{Constraints, Grant, Permission, TimeWindow};
use crate::state::State;

/// Roles named as an example of one that would help.
const EXAMPLES_MAX: usize = 3;

pub(super) fn remedies(
    state: &State,
    request: &Request<'_>,
    facts: &Facts<'_>,
    denial: &Denial,
) -> Vec<String> {
    let rule = denial.rule.as_ref().map(|rule| rule.as_str()).unwrap_or_default();
    let upstream = request.action.item().and_then(split_item);
    match denial.reason {
        Reason::NoPermission => vec![grant_a_role(state, request)],
        Reason::CrossTenant if request.caller_tenant.is_system() => {
            vec!["grant a role with GlobalAdmin in system; GlobalRead suffices for looking".to_owned()]
        }
        Reason::CrossTenant => vec![format!("use a key of tenant {}", request.tenant)],
        Reason::ExplicitDeny => vec![format!("delete or narrow the deny rule {rule}")],
        Reason::ToolRestricted => vec![join_restriction(state, request, rule)],
        Reason::UpstreamUnknown => upstream
            .map(|(id, _)| format!("register upstream {id}, or offer the shared one to the tenant"))
            .into_iter()
            .collect(),
        Reason::UpstreamDisabled => {
            upstream.map(|(id, _)| format!("enable upstream {id}")).into_iter().collect()
        }
        Reason::ToolDisabled => {
            upstream.map(|(id, name)| format!("enable {name} of upstream {id}")).into_iter().collect()
        }
        Reason::OutsideTimeWindow
        | Reason::IpNotAllowed
        | Reason::MfaRequired
        | Reason::ProjectNotAllowed
        | Reason::GrantExpired
        | Reason::BrokenRule => meet_conditions(state, request, facts, denial),
        other => vec![other.ask().to_owned()],
    }
}

fn grant_a_role(state: &State, request: &Request<'_>) -> String {
    let needed = match request.action {
        Action::Execute(item) => format!("ToolExecute({item})"),
        Action::View(item) => format!("ToolView({item})"),
        Action::Administer(permission) => permission.text(),
    };
    let examples = covering_roles(state, request);
    if examples.is_empty() {
        format!("grant a role with {needed}")
    } else {
        format!("grant a role with {needed}, for instance {}", examples.join(" or "))
    }
}

/// Roles that carry the permission themselves; those with `GlobalAdmin` only where no other does.
fn covering_roles(state: &State, request: &Request<'_>) -> Vec<String> {
    let system = TenantId::system();
    let own = of_tenant(&state.roles, request.tenant).filter(|(_, role)| !role.tenant.is_system());
    let mut names = Vec::new();
    let mut administrators = Vec::new();
    let wanted = Wanted::new(request.action);
    for (id, role) in of_tenant(&state.roles, &system).chain(own) {
        if role_in(state, request.tenant, id) != Some(role) {
            continue;
        }
        if role.permissions.contains(&Permission::GlobalAdmin) {
            administrators.push(id.to_string());
        } else if PermissionSet::new(&role.permissions).covering(wanted, false).is_some() {
            names.push(id.to_string());
        }
    }
    let mut found = if names.is_empty() { administrators } else { names };
    found.truncate(EXAMPLES_MAX);
    found
}

fn join_restriction(state: &State, request: &Request<'_>, rule: &str) -> String {
    let allowed = of_tenant(&state.restrictions, request.tenant)
        .find(|(id, _)| id.as_str() == rule)
        .map(|(_, restriction)| list(restriction.allowed_roles.iter().map(RoleId::as_str)));
    match allowed {
        Some(allowed) if !allowed.is_empty() => {
            format!("grant one of the roles {allowed}, which the restriction {rule} asks for")
        }
        _ => format!("change the restriction {rule}: it admits nobody"),
    }
}

/// One remedy per condition that fails, easiest first.
fn meet_conditions(state: &State, request: &Request<'_>, facts: &Facts<'_>, denial: &Denial) -> Vec<String> {
    let mut found = Vec::new();
    let grant = denial.path.as_ref().and_then(|path| grant_of(state, request, path));
    for (source, constraints) in sources(state, request, denial.path.as_ref()) {
        let failed = Guard::new(constraints).failures(facts);
        let waived = grant.is_some_and(|grant| grant.waive_mfa) && denial.reason != Reason::MfaRequired;
        found.extend(constraint_remedies(
            &source,
            constraints,
            if waived { failed.without(Failures::MFA) } else { failed },
        ));
    }
    for tenant in [request.caller_tenant, request.tenant] {
        let networks =
            state.tenants.get(tenant).map(|t| &*t.value.network_config.ip_allowlist).unwrap_or_default();
        if !networks.is_empty() && !within(&normalised(networks), facts.ip) {
            found.push(format!("call from one of {} (demanded by tenant {tenant})", list(networks)));
        }
    }
    if let Some(grant) = grant {
        if !grant.projects.is_empty() && !names_one(&super::guard::sorted(&grant.projects), facts.project) {
            found.push(name_project(&format!("grant {}", grant.id), &grant.projects));
        }
        if facts.expired(grant.expires_at) {
            found.push(format!("renew grant {}, which has expired", grant.id));
        }
    } else if denial.reason == Reason::ProjectNotAllowed && found.is_empty() {
        found.push("name a project of the principal, or add the project to the principal".to_owned());
    }
    if let Some(path) =
        denial.path.as_ref().filter(|_| denial.reason == Reason::BrokenRule && found.is_empty())
    {
        found.push(format!(
            "repair the inheritance {} of grant {}: a role is missing, inherits from itself, or too many are reached",
            chain(path),
            path.grant
        ));
    }
    found.dedup();
    found
}

fn grant_of<'s>(state: &'s State, request: &Request<'_>, path: &RolePath) -> Option<&'s Grant> {
    state.grants.get(&(request.caller_tenant.clone(), path.grant.clone())).map(|grant| &grant.value)
}

/// All constraints that concern `path` (or, without one, every call), each with where it stands.
fn sources<'s>(
    state: &'s State,
    request: &Request<'_>,
    path: Option<&Arc<RolePath>>,
) -> Vec<(String, &'s Constraints)> {
    let tenants = [request.caller_tenant, request.tenant];
    let distinct = if tenants[0] == tenants[1] || request.action.item().is_none() { 1 } else { 2 };
    let mut found: Vec<(String, &Constraints)> = tenants
        .into_iter()
        .take(distinct)
        .filter_map(|id| Some((format!("tenant {id}"), &state.tenants.get(id)?.value.constraints)))
        .collect();
    if let Some(path) = path {
        found.extend(path.roles.iter().filter_map(|id| {
            Some((format!("role {id}"), &role_in(state, request.caller_tenant, id)?.constraints))
        }));
        let grant = grant_of(state, request, path);
        found.extend(grant.map(|grant| (format!("grant {}", grant.id), &grant.conditions)));
    }
    found
}

fn constraint_remedies(source: &str, constraints: &Constraints, failed: Failures) -> Vec<String> {
    let mut found = Vec::new();
    if failed.has(Failures::MFA) {
        found.push(format!(
            "sign in with a second factor (demanded by {source}); for a service account, a grant may waive it"
        ));
    }
    if let Some(projects) = constraints.allowed_projects.as_ref().filter(|_| failed.has(Failures::PROJECT)) {
        found.push(name_project(source, projects));
    }
    if let Some(networks) = constraints.ip_allowlist.as_ref().filter(|_| failed.has(Failures::IP)) {
        found.push(if networks.is_empty() {
            format!("change the IP allowlist of {source}: it admits nobody")
        } else {
            format!("call from one of {} (demanded by {source})", list(networks))
        });
    }
    if let Some(window) = &constraints.time_window {
        if failed.has(Failures::WINDOW) {
            found.push(format!("call {} (demanded by {source})", window_text(window)));
        }
        if failed.has(Failures::BROKEN) {
            found.push(format!("repair the time window of {source}: {}", window_text(window)));
        }
    }
    found
}

fn name_project(source: &str, projects: &[ProjectId]) -> String {
    if projects.is_empty() {
        return format!("change the allowed projects of {source}: they admit none");
    }
    format!("name one of the projects {} (demanded by {source})", list(projects))
}

fn window_text(window: &TimeWindow) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let days = (1u8..).zip(DAYS).filter(|(number, _)| window.days.contains(*number)).map(|(_, name)| name);
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let hours = if window.start_minute == window.end_minute {
        "at any hour".to_owned()
    } else {
        format!("from {} to {}", clock(window.start_minute), clock(window.end_minute))
    };
    format!("on {} {hours}, {} time", list(days), window.zone)
}

fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
