//! Tenants, principals, keys, roles, grants, rules, upstreams and sessions: what is done, and what is refused.

use only1mcp_domain::audit::EventKind;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{McpSessionId, Revision};
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Effect, Rejection, limits};

use crate::apply_world::*;

fn delete_principal(tenant: &str, id: &str) -> Command {
    Command::DeletePrincipal { tenant: tenant_id(tenant), principal: principal_id(id), if_revision: None }
}

fn revoke_grant(tenant: &str, id: &str) -> Command {
    Command::RevokeGrant { tenant: tenant_id(tenant), grant: grant_id(id) }
}

#[test]
fn a_closed_tenant_stays_closed() {
    let mut world = World::with_acme();
    let status = |status| Command::SetTenantStatus { tenant: tenant_id("acme"), status, if_revision: None };
    world.must(status(TenantStatus::Suspended));
    world.must(Command::CreatePrincipal(principal("acme", "new")));
    world.must(status(TenantStatus::Closed));
    let closed = Rejection::TenantClosed { tenant: "acme".to_owned() };
    assert_eq!(world.refused(status(TenantStatus::Active)), closed);
    assert_eq!(world.refused(Command::CreatePrincipal(principal("acme", "late"))), closed);
    assert_eq!(world.refused(put_upstream(upstream("acme", "late"))), closed);
    let again = Command::CreateTenant(Box::new(tenant("acme")));
    assert!(matches!(world.refused(again), Rejection::AlreadyExists { .. }));
    let system = Command::SetTenantStatus {
        tenant: tenant_id("system"),
        status: TenantStatus::Suspended,
        if_revision: None,
    };
    assert!(matches!(world.refused(system), Rejection::BuiltIn { .. }));
    world.assert_mirrored();
}

#[test]
fn a_custom_domain_belongs_to_one_tenant() {
    let mut world = World::formed();
    let with =
        |id: &str, domain: Option<&str>| Tenant { custom_domain: domain.map(str::to_owned), ..tenant(id) };
    world.must(Command::CreateTenant(Box::new(with("a", Some("mcp.example.com")))));
    let taken =
        Rejection::AlreadyExists { kind: "custom domain".to_owned(), id: "mcp.example.com".to_owned() };
    assert_eq!(world.refused(Command::CreateTenant(Box::new(with("b", Some("mcp.example.com"))))), taken);
    let update = |tenant| Command::UpdateTenant { tenant: Box::new(tenant), if_revision: None };
    world.must(update(with("a", Some("mcp.example.com"))));
    world.must(update(with("a", None)));
    world.must(Command::CreateTenant(Box::new(with("b", Some("mcp.example.com")))));
    assert_eq!(world.refused(update(with("a", Some("mcp.example.com")))), taken);
    world.assert_mirrored();
}

#[test]
fn an_update_keeps_what_is_not_its_to_change() {
    let mut world = World::with_acme();
    let suspend = Command::SetTenantStatus {
        tenant: tenant_id("acme"),
        status: TenantStatus::Suspended,
        if_revision: None,
    };
    world.must(suspend);
    let changed = Tenant { name: "New".to_owned(), created_at: TimestampMs(1), ..tenant("acme") };
    world.must(Command::UpdateTenant { tenant: Box::new(changed), if_revision: None });
    let found = &world.state.tenants.get(&tenant_id("acme")).unwrap().value;
    assert_eq!(
        (found.name.as_str(), found.status, found.created_at.0),
        ("New", TenantStatus::Suspended, START_MS)
    );
    let service = Principal { kind: PrincipalKind::Service, ..principal("acme", "ann") };
    let refused = world.refused(Command::UpdatePrincipal { principal: service, if_revision: None });
    assert!(matches!(refused, Rejection::Invalid { .. }));
}

#[test]
fn a_revision_guards_every_versioned_write() {
    let mut world = World::with_acme();
    let at = world.state.principals.get(&(tenant_id("acme"), principal_id("ann"))).unwrap().revision;
    let update = |if_revision| Command::UpdatePrincipal { principal: principal("acme", "ann"), if_revision };
    assert_eq!(
        world.refused(update(Some(at + 1))),
        Rejection::RevisionMismatch { expected: at + 1, found: at }
    );
    world.must(update(Some(at)));
    assert!(matches!(world.refused(update(Some(at))), Rejection::RevisionMismatch { .. }));
    // Revision 0 means: only if it is not there.
    let put = |if_revision| Command::PutRole { role: role("acme", "r", &[], &[]), if_revision };
    assert_eq!(world.refused(put(Some(5))), Rejection::RevisionMismatch { expected: 5, found: 0 });
    world.must(put(Some(0)));
    assert!(matches!(world.refused(put(Some(0))), Rejection::RevisionMismatch { .. }));
}

#[test]
fn deleting_a_principal_takes_grants_and_keys_along() {
    let mut world = World::with_acme();
    world.must(Command::CreateGrant(grant("acme", "g2", "dev", "viewer")));
    world.must(delete_principal("acme", "dev"));
    assert!(world.state.grants.keys().all(|(_, id)| id.as_str() != "g-dev" && id.as_str() != "g2"));
    assert!(!world.state.api_keys.contains_key(&key_id("key-dev")));
    let event = world.last_event();
    assert_eq!(event.kind, EventKind::DataDeletion);
    assert!(event.details.contains(&("deleted_grants".to_owned(), "g-dev g2".to_owned())));
    assert!(event.details.contains(&("revoked_keys".to_owned(), "key-dev".to_owned())));
    world.assert_mirrored();
}

#[test]
fn system_keeps_an_administrator() {
    let mut world = World::formed();
    let last = Rejection::LastAdministrator {};
    let off = |id| Command::UpdatePrincipal {
        principal: Principal { enabled: false, ..principal("system", id) },
        if_revision: None,
    };
    assert_eq!(world.refused(delete_principal("system", "root")), last);
    assert_eq!(world.refused(revoke_grant("system", "first-administrator")), last);
    assert_eq!(world.refused(off("root")), last);

    // A role of one's own that carries the permission counts as well.
    world.must(put_role("system", "boss", &["GlobalAdmin"], &[]));
    world.must(put_role("system", "chief", &[], &["boss"]));
    world.must(Command::CreatePrincipal(principal("system", "eve")));
    world.must(Command::CreateGrant(grant("system", "g-eve", "eve", "chief")));
    world.must(Command::CreateApiKey(key("system", "eve", "key-eve")));
    let eve = by_key("system", "eve");
    assert!(world.submit(&eve, delete_principal("system", "root")).outcome.is_ok());
    for command in [
        put_role("system", "boss", &["GlobalRead"], &[]),
        put_role("system", "chief", &[], &[]),
        revoke_grant("system", "g-eve"),
        off("eve"),
    ] {
        assert_eq!(world.submit(&eve, command).outcome, Err(last.clone()));
    }
    world.assert_mirrored();
}

#[test]
fn recovery_gives_a_lost_administrator_a_way_in() {
    let mut world = World::formed();
    world.must(Command::CreatePrincipal(principal("system", "eve")));
    let recover = |owner: &str, id: &str| Command::RecoverAdmin { key: key("system", owner, id) };
    let refused = world.submit(&operator(), recover("root", "new")).outcome;
    assert_eq!(refused, Err(Rejection::Forbidden { permission: "local socket".to_owned() }));
    let recovered = world.submit(&local(), recover("root", "new"));
    assert!(recovered.outcome.is_ok());
    assert_eq!(world.last_event().kind, EventKind::SecurityAlert);
    let create = || Command::CreateTenant(Box::new(tenant("acme")));
    let old = world.submit(&operator(), create()).outcome;
    assert!(matches!(old, Err(Rejection::Forbidden { .. })), "the lost key is revoked");
    let mut with_new = operator();
    with_new.key = Some(key_id("new"));
    assert!(world.submit(&with_new, create()).outcome.is_ok());

    let off = Principal { enabled: false, ..principal("system", "eve") };
    let disabled = world.submit(&with_new, Command::UpdatePrincipal { principal: off, if_revision: None });
    assert!(disabled.outcome.is_ok());
    assert!(world.submit(&local(), recover("eve", "key-eve")).outcome.is_ok());
    let eve = world.submit(&by_key("system", "eve"), Command::CreateTenant(Box::new(tenant("b"))));
    assert!(eve.outcome.is_ok(), "enabled and granted again");
    let nobody = world.submit(&local(), recover("nobody", "k")).outcome;
    assert!(matches!(nobody, Err(Rejection::NotFound { .. })));
    world.assert_mirrored();
}

#[test]
fn rotation_overlaps_and_keeps_owner_and_scope() {
    let mut world = World::with_acme();
    let scoped = ApiKey { tools: vec![glob("files__*")], ..key("acme", "bot", "k1") };
    world.must(Command::CreateApiKey(scoped));
    let overlap_until = TimestampMs(START_MS + 60_000);
    let rotate = |old: &str, new: &str| Command::RotateApiKey {
        old: key_id(old),
        new: key("acme", "ann", new),
        overlap_until,
    };
    world.must(rotate("k1", "k2"));
    let found = |world: &World, id: &str| world.state.api_keys.get(&key_id(id)).unwrap().value.clone();
    let (k1, k2) = (found(&world, "k1"), found(&world, "k2"));
    assert_eq!(k1.revoked_at, Some(overlap_until));
    assert_eq!((k2.principal.as_str(), k2.rotated_from), ("bot", Some(key_id("k1"))));
    assert_eq!(k2.tools, [glob("files__*")]);
    world.must(Command::RevokeApiKey { tenant: tenant_id("acme"), key: key_id("k1") });
    assert_eq!(found(&world, "k1").revoked_at, Some(TimestampMs(START_MS)));
    assert!(matches!(world.refused(rotate("k1", "k3")), Rejection::Invalid { .. }));
    assert!(matches!(world.refused(rotate("k2", "key-ann")), Rejection::AlreadyExists { .. }));
    let elsewhere = Command::RevokeApiKey { tenant: tenant_id("system"), key: key_id("k2") };
    assert!(matches!(world.refused(elsewhere), Rejection::NotFound { .. }));
    let text = format!("{:?}", world.events);
    assert!(!text.contains(&"ac".repeat(32)), "no MAC is in the chain");
    world.assert_mirrored();
}

#[test]
fn roles_in_use_and_built_in_ones_stay() {
    let mut world = World::with_acme();
    let delete =
        |id: &str| Command::DeleteRole { tenant: tenant_id("acme"), role: role_id(id), if_revision: None };
    world.must(put_role("acme", "base", &["ServerView"], &[]));
    world.must(put_role("acme", "heir", &[], &["base"]));
    world.must(Command::CreateGrant(grant("acme", "g", "bot", "heir")));
    let in_use = |id: &str, by: &str| Rejection::InUse {
        kind: "role".to_owned(),
        id: id.to_owned(),
        by: by.to_owned(),
    };
    assert_eq!(world.refused(delete("heir")), in_use("heir", "grant g"));
    assert_eq!(world.refused(delete("base")), in_use("base", "role heir"));
    world.must(revoke_grant("acme", "g"));
    world.must(delete("heir"));
    world.must(delete("base"));
    for id in BUILT_IN_ROLES {
        assert!(matches!(world.refused(delete(id)), Rejection::BuiltIn { .. }));
        assert!(matches!(world.refused(put_role("system", id, &[], &[])), Rejection::BuiltIn { .. }));
    }
    assert!(matches!(world.refused(put_role("acme", "x", &[], &["nowhere"])), Rejection::NotFound { .. }));
    world.assert_mirrored();
}

#[test]
fn cycles_are_refused() {
    let mut world = World::with_acme();
    world.must(put_role("acme", "a", &[], &[]));
    world.must(put_role("acme", "b", &[], &["a"]));
    world.must(put_role("acme", "c", &[], &["b"]));
    for parents in [&["a"][..], &["b"], &["c"], &["viewer", "c"]] {
        assert_eq!(
            world.refused(put_role("acme", "a", &[], parents)),
            Rejection::Cycle { role: "a".to_owned() }
        );
    }
    world.must(put_role("acme", "a", &[], &["viewer"]));
}

#[test]
fn permissions_are_sorted_and_distinct() {
    let mut world = World::with_acme();
    world.must(put_role("acme", "a", &["ToolAll", "GlobalRead", "ToolAll"], &[]));
    let stored = &world.state.roles.get(&(tenant_id("acme"), role_id("a"))).unwrap().value;
    assert_eq!(stored.permissions, [Permission::GlobalRead, Permission::ToolAll]);
}

#[test]
fn only_service_accounts_waive_the_second_factor() {
    let mut world = World::with_acme();
    let waiving = |id: &str, owner| {
        Command::CreateGrant(Grant { waive_mfa: true, ..grant("acme", id, owner, "viewer") })
    };
    assert!(matches!(world.refused(waiving("w", "dev")), Rejection::Invalid { .. }));
    world.must(waiving("w", "bot"));
    assert!(world.last_event().details.contains(&("waives".to_owned(), "mfa".to_owned())));
}

#[test]
fn rules_name_roles_and_principals_that_are_there() {
    let mut world = World::with_acme();
    world.must(restriction("acme", "r1", "files__*", &["admin", "developer"]));
    world.must(deny("acme", "d1", "files__rm", DenySubject::Principal(principal_id("dev"))));
    world.must(deny("acme", "d2", "*", DenySubject::Role(role_id("auditor"))));
    world.must(deny("acme", "d3", "files__format", DenySubject::Everyone));
    let unknown = [
        restriction("acme", "r2", "*", &["nowhere"]),
        deny("acme", "d4", "*", DenySubject::Principal(principal_id("nobody"))),
        deny("acme", "d4", "*", DenySubject::Role(role_id("nowhere"))),
        Command::DeleteDeny { tenant: tenant_id("acme"), rule: rule_id("d4") },
        Command::DeleteRestriction { tenant: tenant_id("acme"), rule: rule_id("r2") },
    ];
    for command in unknown {
        assert!(matches!(world.refused(command), Rejection::NotFound { .. }));
    }
    world.must(Command::DeleteDeny { tenant: tenant_id("acme"), rule: rule_id("d1") });
    world.must(Command::DeleteRestriction { tenant: tenant_id("acme"), rule: rule_id("r1") });
    assert_eq!(world.state.policy_revision, Revision(world.state.last_applied));
    world.assert_mirrored();
}

#[test]
fn upstreams_and_tools_are_switched_and_secrets_stay_out_of_the_chain() {
    let mut world = World::with_acme();
    let secret = HeaderSecret { name: "Authorization".to_owned(), value: "Bearer hush-hush".to_owned() };
    let http = Transport::Http { url: "https://up.example/mcp?token=hush-hush".to_owned() };
    let with_secret = Upstream { headers: vec![secret], transport: http, ..upstream("acme", "files") };
    let put = world.submit(&operator(), put_upstream(with_secret));
    let acme = tenant_id("acme");
    assert!(put.effects.contains(&Effect::UpstreamsChanged { tenant: acme.clone() }));
    assert!(put.effects.contains(&Effect::PolicyChanged { tenant: Some(acme.clone()) }));
    assert_eq!(world.last_event().kind, EventKind::ServerModified);
    let env = [("TOKEN".to_owned(), "hush-hush".to_owned())].into();
    let stdio = Transport::Stdio { command: "server".to_owned(), args: Vec::new(), env };
    let shared =
        world.submit(&operator(), put_upstream(Upstream { transport: stdio, ..upstream("system", "tools") }));
    assert!(shared.effects.contains(&Effect::PolicyChanged { tenant: None }), "all tenants may see it");
    assert_eq!(world.last_event().kind, EventKind::ServerAdded);

    let files = upstream_id("files");
    let tool = |enabled| Command::SetToolEnabled {
        tenant: acme.clone(),
        upstream: files.clone(),
        tool: "rm".to_owned(),
        enabled,
    };
    world.must(tool(false));
    world.must(tool(false));
    let disabled =
        |world: &World| world.state.upstreams.get(&(acme.clone(), files.clone())).unwrap().value.clone();
    assert_eq!(disabled(&world).disabled_tools, ["rm"]);
    world.must(tool(true));
    assert!(disabled(&world).disabled_tools.is_empty());
    world.must(Command::SetUpstreamEnabled { tenant: acme.clone(), upstream: files.clone(), enabled: false });
    assert!(!disabled(&world).enabled);
    world.must(Command::DeleteUpstream { tenant: acme.clone(), upstream: files.clone() });
    assert!(matches!(world.refused(tool(true)), Rejection::NotFound { .. }));
    assert!(!format!("{:?}", world.events).contains("hush-hush"));
    world.assert_mirrored();
}

#[test]
fn a_closed_session_is_remembered_until_it_would_have_expired() {
    let mut world = World::with_acme();
    let session = McpSessionId([6; 16]);
    let close = |ms: u64| Command::CloseMcpSession {
        tenant: tenant_id("acme"),
        session,
        expires_at: TimestampMs(START_MS + ms),
    };
    let closed = world.submit(&by_key("acme", "dev"), close(limits::MCP_SESSION_MS_MAX));
    assert_eq!(closed.effects, [Effect::SessionClosed { session }]);
    assert!(world.submit(&node(1), close(5)).outcome.is_ok(), "closing twice is closing once");
    let outsider = world.submit(&by_certificate("system", "nobody"), close(5)).outcome;
    assert!(matches!(outsider, Err(Rejection::Forbidden { .. })));
    world.now_ms += limits::TOMBSTONE_AGE_MS;
    world.tick();
    assert!(world.state.closed_sessions.contains_key(&session));
    world.now_ms += 1;
    world.tick();
    assert!(world.state.closed_sessions.is_empty() && world.state.closed_by_expiry.is_empty());
    world.assert_mirrored();
    // No proposer's clock makes a tombstone stay for ever.
    let far = world.submit(&node(1), close(u64::MAX - START_MS));
    assert!(far.outcome.is_ok());
    let kept = world.state.closed_sessions.get(&session).unwrap();
    assert_eq!(kept.0, world.state.log_time.0 + limits::TOMBSTONE_AGE_MS);
}
