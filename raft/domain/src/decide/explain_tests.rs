//! What people who were refused get to read.

use super::*;
use crate::decide::{Action, Context};
use crate::ids::{GrantId, PrincipalId, TenantId};
use crate::model::{
    Constraints, Glob, Grant, Permission, Principal, PrincipalKind, Role, Tenant, built_in_roles,
};
use crate::state::Versioned;
use crate::time::{LocalTime, TimestampMs, Zones};

struct NoZones;

impl Zones for NoZones {
    fn local(&self, _: &str, _: TimestampMs) -> Option<LocalTime> {
        None
    }
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn stand<T>(value: T) -> Versioned<T> {
    Versioned { revision: 1, value }
}

/// Tenant `acme` with its principal `ann`, who holds nothing yet, and the built-in roles.
fn state() -> State {
    let mut state = State::default();
    let tenant = Tenant {
        id: acme(),
        name: String::new(),
        tier: crate::model::TenantTier::Starter,
        isolation_mode: crate::model::IsolationMode::Logical {
            namespace: String::new(),
            database_schema: String::new(),
        },
        quotas: crate::model::ResourceQuotas::template(crate::model::TenantTier::Starter),
        network_config: crate::model::NetworkConfig::default(),
        data_region: String::new(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: crate::model::BillingAccount::default(),
        cost_center: String::new(),
        created_at: TimestampMs(0),
        updated_at: TimestampMs(0),
        status: crate::model::TenantStatus::Active,
        seal_mode: crate::model::SealMode::Sealed,
        tool_seal_modes: std::collections::BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: Default::default(),
        constraints: Constraints::default(),
    };
    state.tenants.insert(acme(), stand(tenant));
    let ann = Principal {
        tenant: acme(),
        id: PrincipalId::new("ann").unwrap(),
        kind: PrincipalKind::Person,
        display_name: String::new(),
        email: String::new(),
        personal: None,
        projects: Vec::new(),
        attributes: std::collections::BTreeMap::new(),
        enabled: true,
        created_at: TimestampMs(0),
        updated_at: TimestampMs(0),
    };
    state.principals.insert((acme(), ann.id.clone()), stand(ann));
    for role in built_in_roles() {
        state.roles.insert((role.tenant.clone(), role.id.clone()), stand(role));
    }
    state
}

fn hold(state: &mut State, role: &str, conditions: Constraints) {
    let grant = Grant {
        tenant: acme(),
        id: GrantId::new(format!("ann-{role}")).unwrap(),
        principal: PrincipalId::new("ann").unwrap(),
        role: RoleId::new(role).unwrap(),
        projects: Vec::new(),
        conditions,
        waive_mfa: false,
        expires_at: None,
        created_at: TimestampMs(0),
        created_by: String::new(),
    };
    state.grants.insert((acme(), grant.id.clone()), stand(grant));
}

fn told(state: &State, action: Action<'_>, mfa: bool) -> Explanation {
    let (tenant, principal) = (acme(), PrincipalId::new("ann").unwrap());
    let ip = "203.0.113.9".parse().ok();
    let context = Context { now: TimestampMs(0), ip, mfa, project: None, zones: &NoZones };
    let request = Request {
        tenant: &tenant,
        caller_tenant: &tenant,
        principal: &principal,
        key: None,
        action,
        context,
    };
    explain(&CompiledPolicy::build(state), state, &request)
}

#[test]
fn a_missing_permission_is_named_with_roles_that_carry_it() {
    let mut state = state();
    hold(&mut state, "viewer", Constraints::default());
    let told = told(&state, Action::Execute("echo"), false);
    assert_eq!(told.remedies, ["grant a role with ToolExecute(echo), for instance developer"]);
    assert_eq!(told.summary, "ann of acme may not execute echo in acme: no_permission");
    assert_eq!(told.paths.len(), 1);
    assert_eq!((&told.paths[0].permission, told.paths[0].failed.len()), (&None, 0));
}

#[test]
fn a_failed_condition_says_where_it_stands_and_what_would_meet_it() {
    let mut state = state();
    let office = Some(vec!["10.0.0.0/8".parse().unwrap(), "192.168.0.0/16".parse().unwrap()]);
    hold(&mut state, "auditor", Constraints { ip_allowlist: office, ..Constraints::default() });
    let told = told(&state, Action::View("echo"), false);
    assert_eq!(told.paths[0].failed, [Reason::MfaRequired, Reason::IpNotAllowed]);
    assert_eq!(
        told.remedies,
        [
            "sign in with a second factor (demanded by role auditor); for a service account, a grant may waive it",
            "call from one of 10.0.0.0/8, 192.168.0.0/16 (demanded by grant ann-auditor)"
        ]
    );
}

#[test]
fn a_role_path_that_leads_nowhere_is_named() {
    let mut state = state();
    let mut lost = Role::clone(&built_in_roles()[2]);
    (lost.tenant, lost.id) = (acme(), RoleId::new("lost").unwrap());
    lost.permissions = vec![Permission::ToolView(Glob::new("other").unwrap())];
    lost.inherits_from = vec![RoleId::new("gone").unwrap()];
    state.roles.insert((acme(), lost.id.clone()), stand(lost));
    hold(&mut state, "lost", Constraints::default());
    let told = told(&state, Action::Execute("echo"), false);
    let Decision::Deny(denial) = &told.decision else { panic!("allowed: {told:#?}") };
    assert_eq!(denial.reason, Reason::BrokenRule);
    assert!(
        told.remedies[0].starts_with("repair the inheritance lost > gone of grant ann-lost"),
        "{told:#?}"
    );
}

#[test]
fn explain_paths_max() {
    let mut state = state();
    for n in 0..limits::EXPLAIN_PATHS_MAX {
        hold(&mut state, &format!("none{n}"), Constraints::default());
    }
    assert_eq!(told(&state, Action::View("echo"), false).paths.len(), limits::EXPLAIN_PATHS_MAX);
    hold(&mut state, "viewer", Constraints::default());
    let told = told(&state, Action::View("echo"), false);
    assert_eq!(told.paths.len(), limits::EXPLAIN_PATHS_MAX);
    assert_eq!(told.paths[0].path.roles[0].as_str(), "viewer", "the path that decides is always among them");
}
