//! Operators' calls in another tenant: they stand in that tenant's trail and are checked again by its rules, while the
//! caller's own part is judged in `system`.

use only1mcp_domain::activity::*;
use only1mcp_domain::audit::EventOutcome;
use only1mcp_domain::command::Command;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::*;
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection};

use crate::apply_world::*;

/// `ops` of `system` holds `GlobalAdmin` and calls a tool of `acme`.
fn by_operator(revision: Revision) -> Admission {
    Admission {
        caller: caller("system", "ops"),
        grant: grant_id("g-ops"),
        role_path: vec![role_id("admin")],
        ..admission(revision)
    }
}

fn world() -> (World, Incarnation) {
    let mut world = World::with_acme();
    world.must(Command::CreatePrincipal(principal("system", "ops")));
    world.must(Command::CreateApiKey(key("system", "ops", "key-ops")));
    world.must(Command::CreateGrant(grant("system", "g-ops", "ops", "admin")));
    let life = world.open(1);
    (world, life)
}

fn post(world: &mut World, life: Incarnation, sequence: u64, record: Record) -> RecordApplied {
    match submit(world, batch(1, life, sequence, vec![record])) {
        Ok(Outcome::BatchApplied { records }) => records[0],
        other => panic!("{other:?}"),
    }
}

fn submit(world: &mut World, batch: Batch) -> Result<Outcome, Rejection> {
    world.submit(&node(1), Command::Activity(batch)).outcome
}

/// Whether `admission` is caught after `changes`.
fn caught(base: &World, life: Incarnation, changes: Vec<Command>, admission: Admission) -> bool {
    let mut world = base.clone();
    changes.into_iter().for_each(|command| drop(world.must(command)));
    assert_ne!(admission.revision, world.state.policy_revision, "nothing to check again");
    post(&mut world, life, 1, Record::Admission(Box::new(admission))).revoked_in_flight
}

#[test]
fn what_an_operator_does_in_a_tenant_stands_in_its_trail() {
    let (mut world, life) = world();
    let at = TimestampMs(START_MS);
    let session = SessionEvent {
        caller: caller("system", "ops"),
        tenant: tenant_id("acme"),
        client_name: String::new(),
        client_version: String::new(),
        protocol_version: String::new(),
        observed_at: at,
    };
    let records = [
        Record::SessionOpened(Box::new(session)),
        Record::Admission(Box::new(by_operator(world.state.policy_revision))),
        Record::Refusal(Box::new(refusal(caller("system", "ops"), "acme"))),
    ];
    for (sequence, record) in (1..).zip(records) {
        assert!(!post(&mut world, life, sequence, record).revoked_in_flight);
        let event = world.last_event();
        assert_eq!(event.tenant, tenant_id("acme"));
        assert_eq!((event.actor.tenant.as_str(), event.actor.id.as_str()), ("system", "ops"));
        assert!(event.details.iter().all(|(name, _)| name != "tenant"));
    }
    world.assert_mirrored();
}

fn refusal(caller: Caller, tenant: &str) -> Refusal {
    Refusal {
        decision: DecisionId([3; 16]),
        caller,
        tenant: tenant_id(tenant),
        kind: ItemKind::Tool,
        item: "files__read".to_owned(),
        reason: Reason::CrossTenant,
        revision: Revision(2),
        count: 1,
        first_at: TimestampMs(START_MS),
        last_at: TimestampMs(START_MS),
    }
}

#[test]
fn nobody_writes_in_a_foreign_trail_or_in_one_that_is_not_there() {
    let (mut world, life) = world();
    world.must(Command::CreateTenant(Box::new(tenant("other"))));
    let foreign = refusal(caller("acme", "dev"), "other");
    let unknown = refusal(caller("system", "ops"), "nowhere");
    for (sequence, (refusal, trail)) in (1..).zip([(foreign, "acme"), (unknown, "system")]) {
        let asked = refusal.tenant.as_str().to_owned();
        post(&mut world, life, sequence, Record::Refusal(Box::new(refusal)));
        let event = world.last_event();
        assert_eq!(event.tenant, tenant_id(trail));
        assert!(event.details.contains(&("tenant".to_owned(), asked)));
    }
}

#[test]
fn an_operators_call_is_caught_by_the_tenants_rules_and_the_operators_own_authority() {
    let (base, life) = world();
    let seen = base.state.policy_revision;
    let (acme, system) = (|| tenant_id("acme"), TenantId::system);
    let off = Principal { enabled: false, ..principal("system", "ops") };
    let files = || upstream_id("files");
    let status = TenantStatus::Suspended;
    let project = ProjectId::new("p").unwrap();
    let constraints = Constraints { allowed_projects: Some(vec![project]), ..Constraints::default() };
    let demanding = Tenant { constraints, ..tenant("acme") };
    for reduction in [
        Command::SetTenantStatus { tenant: acme(), status, if_revision: None },
        Command::UpdateTenant { tenant: Box::new(demanding), if_revision: None },
        deny("acme", "d", "files__*", DenySubject::Everyone),
        restriction("acme", "r", "files__*", &[]),
        restriction("acme", "r", "files__*", &["auditor"]),
        Command::SetUpstreamEnabled { tenant: acme(), upstream: files(), enabled: false },
        Command::SetToolEnabled {
            tenant: acme(),
            upstream: files(),
            tool: "read".to_owned(),
            enabled: false,
        },
        Command::DeleteUpstream { tenant: acme(), upstream: files() },
        Command::UpdatePrincipal { principal: off, if_revision: None },
        Command::RevokeApiKey { tenant: system(), key: key_id("key-ops") },
        Command::RevokeGrant { tenant: system(), grant: grant_id("g-ops") },
    ] {
        let shown = format!("{reduction:?}");
        assert!(caught(&base, life, vec![reduction], by_operator(seen)), "{shown}");
    }
}

#[test]
fn an_operators_call_is_left_alone_by_what_does_not_concern_it() {
    let (mut base, life) = world();
    // Not the operator of that name.
    base.must(Command::CreatePrincipal(principal("acme", "ops")));
    let seen = base.state.policy_revision;
    let ops = principal_id("ops");
    for harmless in [
        deny("system", "d", "*", DenySubject::Everyone),
        deny("system", "d", "*", DenySubject::Principal(ops.clone())),
        restriction("system", "r", "*", &[]),
        // The principals and roles that a tenant's deny names are its own.
        deny("acme", "d", "*", DenySubject::Principal(ops)),
        deny("acme", "d", "*", DenySubject::Role(role_id("admin"))),
        restriction("acme", "r", "files__*", &["admin"]),
        deny("acme", "d", "files__write", DenySubject::Everyone),
    ] {
        let shown = format!("{harmless:?}");
        assert!(!caught(&base, life, vec![harmless], by_operator(seen)), "{shown}");
    }
}

#[test]
fn a_role_of_the_operators_own_meets_no_restriction_abroad() {
    let (mut base, life) = world();
    base.must(put_role("acme", "power", &[], &[]));
    base.must(put_role("system", "power", &["GlobalAdmin"], &[]));
    base.must(Command::CreateGrant(grant("system", "g-power", "ops", "power")));
    let seen = base.state.policy_revision;
    let restricted = || vec![restriction("acme", "r", "files__*", &["power"])];
    assert!(caught(&base, life, restricted(), by_operator(seen)));
}

#[test]
fn only_global_authority_reaches_another_tenant_and_only_from_system() {
    let (mut base, life) = world();
    base.must(put_role("system", "tools", &["ToolAll", "ToolExecute(*)"], &[]));
    base.must(Command::CreateGrant(grant("system", "g-tools", "ops", "tools")));
    base.must(Command::CreateTenant(Box::new(tenant("other"))));
    base.must(Command::PutUpstream { upstream: Box::new(upstream("other", "files")), if_revision: None });
    let seen = base.state.policy_revision;
    let moved = || vec![put_role("acme", "spare", &[], &[])];
    let narrow =
        Admission { grant: grant_id("g-tools"), role_path: vec![role_id("tools")], ..by_operator(seen) };
    assert!(caught(&base, life, moved(), narrow));
    assert!(caught(&base, life, moved(), Admission { tenant: tenant_id("other"), ..admission(seen) }));
    assert!(!caught(&base, life, moved(), admission(seen)));
    assert!(!caught(&base, life, moved(), by_operator(seen)));
}

#[test]
fn scopes_that_shrink_in_flight_are_caught() {
    let (mut base, life) = world();
    let (p, q) = (ProjectId::new("p").unwrap(), ProjectId::new("q").unwrap());
    let member = |projects: Vec<ProjectId>| Command::UpdatePrincipal {
        principal: Principal { projects, ..principal("acme", "dev") },
        if_revision: None,
    };
    base.must(member(vec![p.clone(), q.clone()]));
    let in_projects = |id: &str, projects: &[&ProjectId]| ApiKey {
        projects: projects.iter().map(|id| (*id).clone()).collect(),
        ..key("acme", "dev", id)
    };
    base.must(Command::CreateApiKey(in_projects("key-dev-p", &[&p])));
    let for_tools = |id: &str, tools: &str| ApiKey { tools: vec![glob(tools)], ..key("acme", "dev", id) };
    base.must(Command::CreateApiKey(for_tools("key-dev-files", "files__*")));
    base.must(Command::CreateApiKey(for_tools("key-dev-other", "other__*")));
    let seen = base.state.policy_revision;
    let with = |key: &str, project: Option<&ProjectId>| Admission {
        caller: Caller { key: Some(key_id(key)), project: project.cloned(), ..caller("acme", "dev") },
        ..admission(seen)
    };
    let regranted = |projects: &[&ProjectId]| {
        let projects = projects.iter().map(|id| (*id).clone()).collect();
        let again = Grant { projects, ..grant("acme", "g-dev", "dev", "developer") };
        let revoke = Command::RevokeGrant { tenant: tenant_id("acme"), grant: grant_id("g-dev") };
        vec![revoke, Command::CreateGrant(again)]
    };
    let conditioned = || {
        let mut commands = regranted(&[]);
        if let Some(Command::CreateGrant(again)) = commands.last_mut() {
            again.conditions.allowed_projects = Some(vec![q.clone()]);
        }
        commands
    };
    let moved = || vec![put_role("acme", "spare", &[], &[])];
    for (changes, admission, expected) in [
        (regranted(&[]), with("key-dev", Some(&p)), false),
        (regranted(&[&p]), with("key-dev", Some(&p)), false),
        (regranted(&[&q]), with("key-dev", Some(&p)), true),
        (regranted(&[&q]), with("key-dev", None), true),
        (conditioned(), with("key-dev", Some(&p)), true),
        (conditioned(), with("key-dev", Some(&q)), false),
        (vec![member(vec![q.clone()])], with("key-dev", Some(&p)), true),
        (vec![member(vec![p.clone()])], with("key-dev", Some(&p)), false),
        (moved(), with("key-dev-p", Some(&p)), false),
        (moved(), with("key-dev-p", Some(&q)), true),
        (moved(), with("key-dev-p", None), true),
        (moved(), with("key-dev-files", None), false),
        (moved(), with("key-dev-other", None), true),
    ] {
        let shown = format!("{changes:?} {:?}", admission.caller);
        assert_eq!(caught(&base, life, changes, admission), expected, "{shown}");
    }

    // A membership that a restriction asks for counts in its own projects alone.
    let auditor = |projects: &[&ProjectId]| {
        let projects = projects.iter().map(|id| (*id).clone()).collect();
        Command::CreateGrant(Grant { projects, ..grant("acme", "g-audit", "dev", "auditor") })
    };
    let restricted = || restriction("acme", "r", "files__*", &["auditor"]);
    for (projects, expected) in [(vec![&p], false), (vec![&q], true)] {
        let changes = vec![auditor(&projects), restricted()];
        assert_eq!(caught(&base, life, changes, with("key-dev", Some(&p))), expected, "{projects:?}");
    }
}

#[test]
fn an_operators_call_that_is_caught_is_told_to_the_tenant() {
    let (mut world, life) = world();
    let seen = world.state.policy_revision;
    world.must(deny("acme", "d", "files__*", DenySubject::Everyone));
    assert!(post(&mut world, life, 1, Record::Admission(Box::new(by_operator(seen)))).revoked_in_flight);
    let event = world.last_event();
    assert_eq!((event.tenant.as_str(), event.outcome), ("acme", EventOutcome::Denied));
    assert_eq!(event.reason, Reason::RevokedInFlight.code());
}
