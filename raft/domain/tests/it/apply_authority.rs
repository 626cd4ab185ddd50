//! Who may give which command: one table, checked against every single permission.

use only1mcp_domain::Rejection;
use only1mcp_domain::activity::Record;
use only1mcp_domain::apply::{Required, required};
use only1mcp_domain::command::{Actor, Command, Via};
use only1mcp_domain::ids::{Incarnation, McpSessionId, NodeId};
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;

use crate::apply_world::*;

/// A world in which, in `acme` and in `system`, a principal `only-P` holds nothing but the permission P.
fn world() -> World {
    let mut world = World::with_acme();
    for tenant in ["acme", "system"] {
        for permission in &Permission::PLAIN {
            let name = format!("only-{}", permission.name());
            world.must(put_role(tenant, &name, &[permission.name()], &[]));
            world.must(Command::CreatePrincipal(principal(tenant, &name)));
            world.must(Command::CreateGrant(grant(tenant, &format!("g-{name}"), &name, &name)));
        }
    }
    world.must(put_role("acme", "spare", &[], &[]));
    world.must(Command::CreateApiKey(key("acme", "bot", "key-spare")));
    world.must(restriction("acme", "r", "*", &["admin"]));
    world.must(deny("acme", "d", "x", DenySubject::Everyone));
    world
}

/// Every command that a person may give in a tenant, with the permission it needs.
fn in_tenant() -> Vec<(Command, Permission)> {
    use Permission::{
        RoleAssign, ServerCreate, ServerDelete, ServerModify, UserCreate, UserDelete, UserModify,
    };
    let acme = || tenant_id("acme");
    let files = || upstream_id("files");
    let update = Command::UpdatePrincipal { principal: principal("acme", "bot"), if_revision: None };
    let delete =
        Command::DeletePrincipal { tenant: acme(), principal: principal_id("bot"), if_revision: None };
    let overlap_until = TimestampMs(START_MS);
    let rotate =
        Command::RotateApiKey { old: key_id("key-spare"), new: key("acme", "bot", "k9"), overlap_until };
    let tool =
        Command::SetToolEnabled { tenant: acme(), upstream: files(), tool: "t".to_owned(), enabled: false };
    vec![
        (Command::CreatePrincipal(principal("acme", "new")), UserCreate),
        (update, UserModify),
        (delete, UserDelete),
        (Command::CreateApiKey(key("acme", "bot", "k9")), UserModify),
        (rotate, UserModify),
        (Command::RevokeApiKey { tenant: acme(), key: key_id("key-spare") }, UserModify),
        (put_role("acme", "r9", &[], &[]), RoleAssign),
        (Command::DeleteRole { tenant: acme(), role: role_id("spare"), if_revision: None }, RoleAssign),
        (Command::CreateGrant(grant("acme", "g9", "bot", "spare")), RoleAssign),
        (Command::RevokeGrant { tenant: acme(), grant: grant_id("g-dev") }, RoleAssign),
        (restriction("acme", "r9", "*", &[]), RoleAssign),
        (Command::DeleteRestriction { tenant: acme(), rule: rule_id("r") }, RoleAssign),
        (deny("acme", "d9", "*", DenySubject::Everyone), RoleAssign),
        (Command::DeleteDeny { tenant: acme(), rule: rule_id("d") }, RoleAssign),
        (put_upstream(upstream("acme", "more")), ServerCreate),
        (put_upstream(upstream("acme", "files")), ServerModify),
        (Command::DeleteUpstream { tenant: acme(), upstream: files() }, ServerDelete),
        (Command::SetUpstreamEnabled { tenant: acme(), upstream: files(), enabled: false }, ServerModify),
        (tool, ServerModify),
    ]
}

/// Every command that only operators give.
fn of_operators() -> Vec<Command> {
    let stdio = Transport::Stdio { command: "sh".to_owned(), args: Vec::new(), env: Default::default() };
    vec![
        Command::SetSettings { settings: ClusterSettings::new("x"), if_revision: None },
        Command::CreateJoinToken(token("t9")),
        Command::RemoveNode { node: NodeId(7), lose_journal: false },
        Command::CreateTenant(Box::new(tenant("b"))),
        Command::UpdateTenant { tenant: Box::new(tenant("acme")), if_revision: None },
        Command::SetTenantStatus {
            tenant: tenant_id("acme"),
            status: TenantStatus::Suspended,
            if_revision: None,
        },
        // A process on every node, also in a tenant of one's own.
        put_upstream(Upstream { transport: stdio, ..upstream("acme", "files") }),
        Command::RegisterNode(register("n9")),
        Command::SetNodeRole { node: NodeId(1), role: NodeRole::Voter },
    ]
}

fn is_forbidden(world: &World, actor: &Actor, command: Command) -> bool {
    let outcome = world.clone().submit(actor, command).outcome;
    matches!(outcome, Err(Rejection::Forbidden { .. }))
}

#[test]
fn each_command_needs_its_permission_and_no_other() {
    let world = world();
    for (command, needed) in in_tenant() {
        for held in &Permission::PLAIN {
            let name = format!("only-{}", held.name());
            let expected = *held != needed && *held != Permission::GlobalAdmin;
            let at_home = is_forbidden(&world, &by_certificate("acme", &name), command.clone());
            assert_eq!(at_home, expected, "{command:?} with {held:?} alone");
            // From `system` only GlobalAdmin reaches into a tenant.
            let from_system = is_forbidden(&world, &by_certificate("system", &name), command.clone());
            assert_eq!(from_system, *held != Permission::GlobalAdmin, "{command:?} with {held:?} in system");
        }
        let actor = by_certificate("acme", "dev");
        let need = Required::Permission { tenant: tenant_id("acme"), permission: needed };
        assert_eq!(required(&world.state, &command, &actor), need);
    }
}

#[test]
fn operators_commands_need_global_admin_in_system() {
    let world = world();
    for command in of_operators() {
        for held in &Permission::PLAIN {
            let name = format!("only-{}", held.name());
            assert!(is_forbidden(&world, &by_certificate("acme", &name), command.clone()), "{command:?}");
            let from_system = is_forbidden(&world, &by_certificate("system", &name), command.clone());
            assert_eq!(from_system, *held != Permission::GlobalAdmin, "{command:?} with {held:?} in system");
        }
    }
}

#[test]
fn neither_node_nor_socket_speaks_for_a_person() {
    let world = world();
    for (command, _) in in_tenant() {
        for via in [Via::LocalSocket, Via::Node(NodeId(1))] {
            // Even under an administrator's name.
            let actor = Actor { via, ..by_certificate("acme", "ann") };
            assert!(is_forbidden(&world, &actor, command.clone()), "{command:?} {via:?}");
        }
    }
}

#[test]
fn a_nodes_own_commands_are_its_own() {
    let world = world();
    let one = NodeId(1);
    let own = [
        Command::Tick { node: one },
        Command::OpenIncarnation { node: one },
        Command::SealJournal { node: one },
        Command::Activity(batch(
            1,
            Incarnation(1),
            1,
            vec![Record::KeyUsed { key: key_id("key-dev"), at: TimestampMs(0) }],
        )),
    ];
    for command in own {
        assert!(!is_forbidden(&world, &node(1), command.clone()));
        for other in [node(2), operator(), local(), by_certificate("system", "root")] {
            assert!(is_forbidden(&world, &other, command.clone()), "{other:?} {command:?}");
        }
    }
    let recover = Command::RecoverAdmin { key: key("system", "root", "k9") };
    assert!(!is_forbidden(&world, &local(), recover.clone()));
    for other in [node(1), operator(), by_certificate("acme", "ann")] {
        assert!(is_forbidden(&world, &other, recover.clone()));
    }
    for command in
        [Command::RegisterNode(register("n9")), Command::SetNodeRole { node: one, role: NodeRole::Voter }]
    {
        assert!(
            !is_forbidden(&world, &node(1), command.clone())
                && !is_forbidden(&world, &local(), command.clone())
        );
        assert!(is_forbidden(&world, &node(9), command));
    }
}

#[test]
fn authority_that_was_withdrawn_on_the_way_is_missing() {
    let create = || Command::CreatePrincipal(principal("acme", "new"));
    let ann = by_key("acme", "ann");
    let may = |world: &World, actor: &Actor| !is_forbidden(world, actor, create());
    let world = world();
    assert!(may(&world, &ann));

    let after = |command: Command| {
        let mut world = world.clone();
        world.must(command);
        may(&world, &ann)
    };
    let off = Principal { enabled: false, ..principal("acme", "ann") };
    assert!(!after(Command::UpdatePrincipal { principal: off, if_revision: None }));
    assert!(!after(Command::RevokeApiKey { tenant: tenant_id("acme"), key: key_id("key-ann") }));
    assert!(!after(Command::RevokeGrant { tenant: tenant_id("acme"), grant: grant_id("g-ann") }));
    let suspended = TenantStatus::Suspended;
    assert!(!after(Command::SetTenantStatus {
        tenant: tenant_id("acme"),
        status: suspended,
        if_revision: None
    }));

    // Time counts as the log tells it.
    let mut expiring = world.clone();
    let end = Some(TimestampMs(START_MS + 1_000));
    expiring.must(Command::CreateApiKey(ApiKey { expires_at: end, ..key("acme", "ann", "key-short") }));
    expiring.must(Command::CreatePrincipal(principal("acme", "tmp")));
    expiring.must(Command::CreateGrant(Grant { expires_at: end, ..grant("acme", "g-tmp", "tmp", "admin") }));
    let short = Actor { key: Some(key_id("key-short")), ..ann.clone() };
    let tmp = by_certificate("acme", "tmp");
    assert!(may(&expiring, &short) && may(&expiring, &tmp));
    expiring.now_ms += 1_000;
    assert!(may(&expiring, &short), "no member's clock has told the time yet");
    expiring.tick();
    assert!(!may(&expiring, &short) && !may(&expiring, &tmp));
    assert!(may(&expiring, &ann));

    // Another's key, no key at all, a key for certain tools.
    assert!(!may(&world, &Actor { key: Some(key_id("key-dev")), ..ann.clone() }));
    assert!(!may(&world, &Actor { key: None, ..ann.clone() }));
    let mut scoped = world.clone();
    scoped.must(Command::CreateApiKey(ApiKey { tools: vec![glob("*")], ..key("acme", "ann", "key-tools") }));
    assert!(!may(&scoped, &Actor { key: Some(key_id("key-tools")), ..ann }));
}

#[test]
fn ones_own_keys_need_no_permission() {
    let world = world();
    let dev = by_key("acme", "dev");
    let revoke = |id: &str| Command::RevokeApiKey { tenant: tenant_id("acme"), key: key_id(id) };
    let rotate = |id: &str| Command::RotateApiKey {
        old: key_id(id),
        new: key("acme", "dev", "k9"),
        overlap_until: TimestampMs(START_MS + 5),
    };
    assert!(!is_forbidden(&world, &dev, revoke("key-dev")));
    assert!(!is_forbidden(&world, &dev, rotate("key-dev")));
    assert!(is_forbidden(&world, &dev, revoke("key-ann")));
    assert!(is_forbidden(&world, &dev, rotate("key-ann")));
    assert!(is_forbidden(&world, &dev, Command::CreateApiKey(key("acme", "dev", "k9"))));
    let close = |tenant| Command::CloseMcpSession {
        tenant: tenant_id(tenant),
        session: McpSessionId([1; 16]),
        expires_at: TimestampMs(START_MS),
    };
    assert!(!is_forbidden(&world, &dev, close("acme")));
    assert!(is_forbidden(&world, &dev, close("system")));
}

#[test]
fn nobody_gives_what_they_do_not_hold() {
    let mut world = world();
    let assigner = by_certificate("acme", "only-RoleAssign");
    let escalation = |permission: &str| Err(Rejection::Escalation { permission: permission.to_owned() });
    for (permissions, parents, lacking) in [
        (&["UserModify"][..], &[][..], "UserModify"),
        (&["RoleAssign", "ToolExecute(*)"], &[], "ToolExecute(*)"),
        (&[], &["viewer"], "ServerView"),
        (&[], &["admin"], "GlobalAdmin"),
    ] {
        let given = world.submit(&assigner, put_role("acme", "more", permissions, parents)).outcome;
        assert_eq!(given, escalation(lacking));
    }
    assert!(world.submit(&assigner, put_role("acme", "same", &["RoleAssign"], &[])).outcome.is_ok());
    let to = |role: &str| Command::CreateGrant(grant("acme", &format!("g9-{role}"), "bot", role));
    assert_eq!(world.submit(&assigner, to("admin")).outcome, escalation("GlobalAdmin"));
    assert_eq!(world.submit(&assigner, to("developer")).outcome, escalation("ServerView"));
    assert!(world.submit(&assigner, to("same")).outcome.is_ok());
    // A role of `system` is out of reach for a tenant's administrator, who gives all of the tenant's.
    let ann = by_key("acme", "ann");
    assert!(world.submit(&ann, to("admin")).outcome.is_ok());
    assert!(is_forbidden(&world, &ann, Command::CreateGrant(grant("system", "g9", "root", "admin"))));

    // Whoever makes another's key can act as its owner.
    let modifier = by_certificate("acme", "only-UserModify");
    let key_for = |owner: &str| Command::CreateApiKey(key("acme", owner, "k-new"));
    assert_eq!(world.clone().submit(&modifier, key_for("ann")).outcome, escalation("GlobalAdmin"));
    let rotate = Command::RotateApiKey {
        old: key_id("key-ann"),
        new: key("acme", "ann", "k-new"),
        overlap_until: TimestampMs(START_MS),
    };
    assert_eq!(world.clone().submit(&modifier, rotate).outcome, escalation("GlobalAdmin"));
    assert!(world.submit(&modifier, key_for("only-UserModify")).outcome.is_ok());
}
