//! The access rules as an executable specification: straight over the records, no index, no bit sets, as slow and
//! plain as can be. The compiled evaluator must agree with it in every answer and every reason.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use only1mcp_domain::State;
use only1mcp_domain::decide::{Action, Context, Reason, Request};
use only1mcp_domain::ids::{GrantId, RoleId, RuleId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{
    Constraints, DenySubject, Glob, Grant, Permission, PrincipalKind, Role, TenantStatus, TimeWindow,
    Weekdays,
};

/// What must come out: by which grant, along which roles and whether by a waiver; or why not and by which rule.
pub type Expected = Result<Allowed, (Reason, Option<RuleId>)>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub grant: GrantId,
    pub roles: Vec<RoleId>,
    pub permission: Permission,
    pub mfa_waived: bool,
}

/// Hardest last: a path is as far from allowing as the hardest of its failures.
const HARDNESS: [Reason; 6] = [
    Reason::MfaRequired,
    Reason::ProjectNotAllowed,
    Reason::IpNotAllowed,
    Reason::OutsideTimeWindow,
    Reason::GrantExpired,
    Reason::BrokenRule,
];

pub fn expect(state: &State, request: &Request<'_>) -> Expected {
    who_and_where(state, request).map_err(|reason| (reason, None))?;
    let abroad = request.tenant != request.caller_tenant;
    let grants: Vec<&Grant> = state
        .grants
        .values()
        .map(|grant| &grant.value)
        .filter(|grant| grant.tenant == *request.caller_tenant && grant.principal == *request.principal)
        .collect();
    if let Action::Execute(item) | Action::View(item) = request.action {
        let denied = state.denies.iter().find(|((tenant, _), rule)| {
            let concerns = match &rule.value.subject {
                DenySubject::Everyone => true,
                DenySubject::Principal(id) => !abroad && id == request.principal,
                DenySubject::Role(role) => {
                    !abroad && grants.iter().any(|g| member_for_deny(state, request, g, role))
                }
            };
            tenant == request.tenant && matches(&rule.value.tools, item) && concerns
        });
        if let Some(((_, id), _)) = denied {
            return Err((Reason::ExplicitDeny, Some(id.clone())));
        }
        upstream(state, request.tenant, item).map_err(|reason| (reason, None))?;
    }
    let mut allowed = by_role(state, request, &grants, abroad).map_err(|reason| (reason, None))?;
    if let Action::Execute(item) | Action::View(item) = request.action {
        for ((tenant, id), rule) in &state.restrictions {
            if tenant != request.tenant || !matches(&rule.value.tools, item) {
                continue;
            }
            let memberships = memberships(state, request, &grants, &rule.value.allowed_roles, abroad);
            if memberships.is_empty() {
                return Err((Reason::ToolRestricted, Some(id.clone())));
            }
            if memberships.iter().all(|waived| *waived) {
                allowed.mfa_waived = true;
            }
        }
    }
    Ok(allowed)
}

fn who_and_where(state: &State, request: &Request<'_>) -> Result<(), Reason> {
    let context = &request.context;
    let refuse_if = |refuse: bool, reason: Reason| if refuse { Err(reason) } else { Ok(()) };
    let uses = !matches!(request.action, Action::Administer(_));

    let home = &state.tenants.get(request.caller_tenant).ok_or(Reason::TenantUnknown)?.value;
    refuse_if(home.status != TenantStatus::Active, Reason::TenantSuspended)?;
    let abroad = request.tenant != request.caller_tenant;
    refuse_if(abroad && request.caller_tenant.as_str() != "system", Reason::CrossTenant)?;
    let place = &state.tenants.get(request.tenant).ok_or(Reason::TenantUnknown)?.value;
    refuse_if(place.status != TenantStatus::Active && uses, Reason::TenantSuspended)?;

    let principal = (request.caller_tenant.clone(), request.principal.clone());
    let principal = &state.principals.get(&principal).ok_or(Reason::PrincipalUnknown)?.value;
    refuse_if(!principal.enabled, Reason::PrincipalDisabled)?;

    if let Some(id) = request.key {
        let key = &state.api_keys.get(id).ok_or(Reason::KeyUnknown)?.value;
        refuse_if(key.tenant != *request.caller_tenant, Reason::KeyUnknown)?;
        refuse_if(key.principal != *request.principal, Reason::KeyUnknown)?;
        refuse_if(key.expires_at.is_some_and(|at| at <= context.now), Reason::KeyExpired)?;
        refuse_if(key.revoked_at.is_some_and(|at| at <= context.now), Reason::KeyRevoked)?;
        if !key.projects.is_empty() {
            refuse_if(!key.projects.iter().any(|p| Some(p) == context.project), Reason::KeyScope)?;
        }
        if !key.tools.is_empty() {
            let in_scope = match request.action {
                Action::Execute(item) | Action::View(item) => {
                    key.tools.iter().any(|glob| matches(glob, item))
                }
                Action::Administer(_) => false,
            };
            refuse_if(!in_scope, Reason::KeyScope)?;
        }
    }
    if let Some(project) = context.project {
        refuse_if(!principal.projects.contains(project), Reason::ProjectNotAllowed)?;
    }

    let demanding = if abroad && uses { vec![home, place] } else { vec![home] };
    for tenant in demanding {
        let mut failed = failures(&tenant.constraints, context);
        failed.retain(|reason| *reason != Reason::MfaRequired);
        let networks = &tenant.network_config.ip_allowlist;
        if !networks.is_empty() && !from_one_of(networks, context.ip) {
            failed.push(Reason::IpNotAllowed);
        }
        if let Some(reason) = hardest(&failed) {
            return Err(reason);
        }
    }
    Ok(())
}

fn upstream(state: &State, tenant: &TenantId, item: &str) -> Result<(), Reason> {
    let Some(at) = item.find("__") else { return Ok(()) };
    let (id, name) = (&item[..at], &item[at + 2..]);
    let find = |owner: &str| {
        let mut all = state.upstreams.values().map(|upstream| &upstream.value);
        all.find(|upstream| upstream.tenant.as_str() == owner && upstream.id.as_str() == id)
    };
    let offered = match &state.tenants.get(tenant).unwrap().value.shared_upstreams {
        None => true,
        Some(ids) => ids.iter().any(|offered| offered.as_str() == id),
    };
    let own = find(tenant.as_str());
    let found = if own.is_none() && offered { find("system") } else { own };
    let found = found.ok_or(Reason::UpstreamUnknown)?;
    if !found.enabled {
        return Err(Reason::UpstreamDisabled);
    }
    if found.disabled_tools.iter().any(|tool| tool == name) {
        return Err(Reason::ToolDisabled);
    }
    Ok(())
}

fn by_role(state: &State, request: &Request<'_>, grants: &[&Grant], abroad: bool) -> Result<Allowed, Reason> {
    let uses = !matches!(request.action, Action::Administer(_));
    let tenants = if abroad && uses {
        vec![request.caller_tenant, request.tenant]
    } else {
        vec![request.caller_tenant]
    };
    let mfa_demanded = tenants.iter().any(|t| state.tenants.get(*t).unwrap().value.constraints.mfa_required);

    let mut without_waiver = Vec::new();
    let mut with_waiver = Vec::new();
    let mut refused = Vec::new();
    for grant in grants {
        for path in paths(state, request.caller_tenant, &grant.role) {
            let Some(last) = path.last_role(state, request.caller_tenant) else {
                refused.push(Reason::BrokenRule);
                continue;
            };
            let covering: Vec<&Permission> =
                last.permissions.iter().filter(|p| covers(p, request.action, abroad)).collect();
            let Some(permission) = covering.into_iter().min() else { continue };
            let mut failed = path_failures(state, request, grant, &path);
            if mfa_demanded && !request.context.mfa {
                failed.push(Reason::MfaRequired);
            }
            let needed = waive(state, request, grant, &mut failed);
            match hardest(&failed) {
                Some(reason) => refused.push(reason),
                None => {
                    let (grant, roles) = (grant.id.clone(), path.roles.clone());
                    let found = Allowed { grant, roles, permission: permission.clone(), mfa_waived: needed };
                    if needed { with_waiver.push(found) } else { without_waiver.push(found) }
                }
            }
        }
    }
    let first = |mut found: Vec<Allowed>| {
        found.sort_by(|a, b| (&a.grant, &a.roles).cmp(&(&b.grant, &b.roles)));
        found.into_iter().next()
    };
    if let Some(found) = first(without_waiver).or(first(with_waiver)) {
        return Ok(found);
    }
    let easiest = refused.into_iter().min_by_key(|reason| HARDNESS.iter().position(|r| r == reason).unwrap());
    Err(easiest.unwrap_or(if abroad { Reason::CrossTenant } else { Reason::NoPermission }))
}

/// For each way to one of `allowed`: whether it rests on a waiver.
fn memberships(
    state: &State,
    request: &Request<'_>,
    grants: &[&Grant],
    allowed: &[RoleId],
    abroad: bool,
) -> Vec<bool> {
    let mut found = Vec::new();
    for grant in grants {
        for path in paths(state, request.caller_tenant, &grant.role) {
            let last = path.roles.last().unwrap();
            if path.broken || !allowed.contains(last) || (abroad && !built_in(last)) {
                continue;
            }
            let mut failed = path_failures(state, request, grant, &path);
            let waived = waive(state, request, grant, &mut failed);
            if failed.is_empty() {
                found.push(waived);
            }
        }
    }
    found
}

fn path_failures(state: &State, request: &Request<'_>, grant: &Grant, path: &Path) -> Vec<Reason> {
    let mut failed = failures(&grant.conditions, &request.context);
    for id in &path.roles {
        failed
            .extend(failures(&role(state, request.caller_tenant, id).unwrap().constraints, &request.context));
    }
    if !grant.projects.is_empty() && !grant.projects.iter().any(|p| Some(p) == request.context.project) {
        failed.push(Reason::ProjectNotAllowed);
    }
    if grant.expires_at.is_some_and(|at| at <= request.context.now) {
        failed.push(Reason::GrantExpired);
    }
    failed
}

/// Strikes the second factor where the grant waives it for a service account; true when that was needed.
fn waive(state: &State, request: &Request<'_>, grant: &Grant, failed: &mut Vec<Reason>) -> bool {
    let principal =
        state.principals.get(&(request.caller_tenant.clone(), request.principal.clone())).unwrap();
    let waives = grant.waive_mfa && principal.value.kind == PrincipalKind::Service;
    let needed = waives && failed.contains(&Reason::MfaRequired);
    if waives {
        failed.retain(|reason| *reason != Reason::MfaRequired);
    }
    needed
}

fn hardest(failed: &[Reason]) -> Option<Reason> {
    HARDNESS.into_iter().rev().find(|reason| failed.contains(reason))
}

fn covers(permission: &Permission, action: Action<'_>, abroad: bool) -> bool {
    match (permission, action) {
        (Permission::GlobalAdmin, _) => true,
        (Permission::GlobalRead, Action::View(_)) => true,
        (Permission::GlobalRead, Action::Administer(needed)) => matches!(
            needed,
            Permission::ServerView | Permission::AuditView | Permission::CostView | Permission::GlobalRead
        ),
        _ if abroad => false,
        (Permission::ToolAll, Action::Execute(_) | Action::View(_)) => true,
        (Permission::ToolExecute(glob), Action::Execute(item) | Action::View(item)) => matches(glob, item),
        (Permission::ToolView(glob), Action::View(item)) => matches(glob, item),
        (permission, Action::Administer(needed)) => permission == needed,
        _ => false,
    }
}

/// By trying every way to spend each star.
fn matches(glob: &Glob, item: &str) -> bool {
    fn rest(pattern: &[char], item: &[char]) -> bool {
        match pattern.split_first() {
            None => item.is_empty(),
            Some(('*', pattern)) => (0..=item.len()).any(|eaten| rest(pattern, &item[eaten..])),
            Some((c, pattern)) => item.first() == Some(c) && rest(pattern, &item[1..]),
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<char>>();
    rest(&chars(glob.as_str()), &chars(item))
}

fn failures(constraints: &Constraints, context: &Context<'_>) -> Vec<Reason> {
    let mut failed = Vec::new();
    if let Some(window) = &constraints.time_window {
        match in_window(window, context) {
            None => failed.push(Reason::BrokenRule),
            Some(false) => failed.push(Reason::OutsideTimeWindow),
            Some(true) => {}
        }
    }
    if constraints.ip_allowlist.as_ref().is_some_and(|networks| !from_one_of(networks, context.ip)) {
        failed.push(Reason::IpNotAllowed);
    }
    if constraints.mfa_required && !context.mfa {
        failed.push(Reason::MfaRequired);
    }
    if constraints
        .allowed_projects
        .as_ref()
        .is_some_and(|all| !all.iter().any(|p| Some(p) == context.project))
    {
        failed.push(Reason::ProjectNotAllowed);
    }
    failed
}

/// Minutes since Monday's midnight; what runs past Sunday meets the present minute a week later.
fn in_window(window: &TimeWindow, context: &Context<'_>) -> Option<bool> {
    let local = context.zones.local(&window.zone, context.now)?;
    let told_well = (1..=7).contains(&local.weekday) && local.minute_of_day < 1_440;
    if !told_well
        || window.start_minute >= 1_440
        || window.end_minute >= 1_440
        || window.days.0 > Weekdays::ALL.0
    {
        return None;
    }
    let (start, end) = (u32::from(window.start_minute), u32::from(window.end_minute));
    let now = u32::from(local.weekday - 1) * 1_440 + u32::from(local.minute_of_day);
    Some((0..7u32).filter(|day| window.days.0 >> day & 1 == 1).any(|day| {
        let midnight = day * 1_440;
        let (opens, length) = match start.cmp(&end) {
            std::cmp::Ordering::Equal => (midnight, 1_440),
            std::cmp::Ordering::Less => (midnight + start, end - start),
            std::cmp::Ordering::Greater => (midnight + start, 1_440 - start + end),
        };
        [now, now + 7 * 1_440].iter().any(|minute| (opens..opens + length).contains(minute))
    }))
}

fn from_one_of(networks: &[IpNet], ip: Option<IpAddr>) -> bool {
    let plain = |ip: IpAddr| match ip {
        IpAddr::V6(v6) if v6.segments()[..6] == [0, 0, 0, 0, 0, 0xFFFF] => {
            let [.., a, b, c, d] = v6.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    };
    let Some(ip) = ip.map(plain) else { return false };
    networks.iter().any(|network| match (network, plain(network.addr())) {
        (IpNet::V6(v6), IpAddr::V4(v4)) if v6.prefix_len() >= 96 => {
            Ipv4Net::new(v4, v6.prefix_len() - 96)
                .unwrap()
                .contains(&as_v4(ip).unwrap_or(Ipv4Addr::UNSPECIFIED))
                && as_v4(ip).is_some()
        }
        (network, _) => network.contains(&ip),
    })
}

fn as_v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}

fn built_in(id: &RoleId) -> bool {
    ["admin", "developer", "viewer", "auditor"].contains(&id.as_str())
}

fn role<'s>(state: &'s State, tenant: &TenantId, id: &RoleId) -> Option<&'s Role> {
    let owner = if built_in(id) { "system" } else { tenant.as_str() };
    state.roles.get(&(TenantId::new(owner).unwrap(), id.clone())).map(|role| &role.value)
}

struct Path {
    roles: Vec<RoleId>,
    broken: bool,
}

impl Path {
    fn last_role<'s>(&self, state: &'s State, tenant: &TenantId) -> Option<&'s Role> {
        if self.broken { None } else { role(state, tenant, self.roles.last()?) }
    }
}

/// Every way along inheritance. Too many roles or ways: one broken way.
fn paths(state: &State, tenant: &TenantId, start: &RoleId) -> Vec<Path> {
    fn walk(state: &State, tenant: &TenantId, roles: Vec<RoleId>, found: &mut Vec<Path>) {
        if found.len() > limits::ROLE_PATHS_MAX {
            return;
        }
        let (last, earlier) = roles.split_last().unwrap();
        let record = role(state, tenant, last);
        let broken = record.is_none() || earlier.contains(last) || roles.len() > limits::ROLE_DEPTH_MAX;
        found.push(Path { roles: roles.clone(), broken });
        if broken {
            return;
        }
        let mut parents = record.unwrap().inherits_from.clone();
        parents.sort();
        parents.dedup();
        for parent in parents {
            walk(state, tenant, [roles.clone(), vec![parent]].concat(), found);
        }
    }
    let all_broken = || vec![Path { roles: vec![start.clone()], broken: true }];
    if closure(state, tenant, start).is_none() {
        return all_broken();
    }
    let mut found = Vec::new();
    walk(state, tenant, vec![start.clone()], &mut found);
    if found.len() > limits::ROLE_PATHS_MAX { all_broken() } else { found }
}

/// `None`: too many.
fn closure(state: &State, tenant: &TenantId, start: &RoleId) -> Option<Vec<RoleId>> {
    let mut members = vec![start.clone()];
    let mut at = 0;
    while let Some(id) = members.get(at).cloned() {
        at += 1;
        for parent in role(state, tenant, &id).map(|role| role.inherits_from.clone()).unwrap_or_default() {
            if !members.contains(&parent) {
                members.push(parent);
            }
            if members.len() > limits::ROLE_CLOSURE_MAX {
                return None;
            }
        }
    }
    Some(members)
}

fn member_for_deny(state: &State, request: &Request<'_>, grant: &Grant, role: &RoleId) -> bool {
    let unexpired = grant.expires_at.is_none_or(|at| at > request.context.now);
    let members = closure(state, request.caller_tenant, &grant.role);
    unexpired && members.is_none_or(|members| members.contains(role))
}
