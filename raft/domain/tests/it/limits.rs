//! Both sides of every bound that `apply` enforces.

use only1mcp_domain::command::{Command, RegisterNode};
use only1mcp_domain::ids::*;
use only1mcp_domain::limits::*;
use only1mcp_domain::model::*;
use only1mcp_domain::row::RowValue;
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection, State};

use crate::apply_world::*;

/// `max` passes, one more is refused, whichever way.
#[track_caller]
pub fn both_sides(world: &World, max: usize, command: impl Fn(usize) -> Command) {
    let at = world.clone().submit(&operator(), command(max)).outcome;
    assert!(at.is_ok(), "{max}: {at:?}");
    let over = world.clone().submit(&operator(), command(max + 1)).outcome;
    let refused = matches!(over, Err(Rejection::Invalid { .. } | Rejection::LimitReached { .. }));
    assert!(refused, "{}: {over:?}", max + 1);
}

/// With these rows besides: a state too large to be made command by command.
pub fn with_rows(world: &World, rows: impl IntoIterator<Item = RowValue>) -> World {
    let mut full = world.clone();
    let own = world.state.rows().into_iter().filter_map(|row| row.value);
    full.state = State::from_rows(own.chain(rows)).unwrap();
    full.mirror = full.state.rows().into_iter().map(|row| (row.key, row.value.unwrap())).collect();
    full
}

fn record<T>(value: T) -> Versioned<T> {
    Versioned { revision: 1, value }
}

pub fn letters(count: usize) -> String {
    "x".repeat(count)
}

pub fn put(role: Role) -> Command {
    Command::PutRole { role, if_revision: None }
}

#[test]
fn texts() {
    let world = World::with_acme();
    let tenant_with = |change: &dyn Fn(&mut Tenant)| {
        let mut tenant = tenant("new");
        change(&mut tenant);
        Command::CreateTenant(Box::new(tenant))
    };
    both_sides(&world, LABEL_BYTES_MAX, |n| tenant_with(&|t| t.name = letters(n)));
    both_sides(&world, LABEL_BYTES_MAX, |n| tenant_with(&|t| t.cost_center = letters(n)));
    both_sides(&world, LABEL_BYTES_MAX, |n| tenant_with(&|t| t.billing_account.contact = letters(n)));
    both_sides(&world, LABEL_BYTES_MAX, |n| {
        Command::CreatePrincipal(Principal { email: letters(n), ..principal("acme", "n") })
    });
    both_sides(&world, LABEL_BYTES_MAX, |n| {
        Command::CreateApiKey(ApiKey { label: letters(n), ..key("acme", "dev", "n") })
    });
    both_sides(&world, DESCRIPTION_BYTES_MAX, |n| {
        put(Role { description: letters(n), ..role("acme", "n", &[], &[]) })
    });
    both_sides(&world, DESCRIPTION_BYTES_MAX, |n| {
        put_upstream(Upstream { description: letters(n), ..upstream("acme", "n") })
    });
    both_sides(&world, ATTRIBUTE_BYTES_MAX, |n| {
        let attributes = [("a".to_owned(), letters(n))].into();
        Command::CreatePrincipal(Principal { attributes, ..principal("acme", "n") })
    });
    both_sides(&world, NAME_BYTES_MAX, |n| {
        let attributes = [(letters(n), String::new())].into();
        Command::CreatePrincipal(Principal { attributes, ..principal("acme", "n") })
    });
    both_sides(&world, TOOL_NAME_BYTES_MAX, |n| {
        let (tenant, upstream) = (tenant_id("acme"), upstream_id("files"));
        Command::SetToolEnabled { tenant, upstream, tool: letters(n), enabled: false }
    });
    both_sides(&world, DOMAIN_BYTES_MAX, |n| {
        // Labels of 60 characters and a dot, the rest at the end.
        let domain = format!("{}{}", format!("{}.", letters(60)).repeat(4), letters(n - 4 * 61));
        tenant_with(&|t| t.custom_domain = Some(domain.clone()))
    });
    both_sides(&world, ZONE_BYTES_MAX, |n| {
        let time_window =
            Some(TimeWindow { zone: letters(n), days: Weekdays::ALL, start_minute: 0, end_minute: 0 });
        let constraints = Constraints { time_window, ..Constraints::default() };
        put(Role { constraints, ..role("acme", "n", &[], &[]) })
    });
}

#[test]
fn lists() {
    let world = World::with_acme();
    let numbered = |n: usize| (0..n).map(|i| format!("p{i}"));
    both_sides(&world, LIST_MAX, |n| {
        let projects = numbered(n).map(|p| ProjectId::new(p).unwrap()).collect();
        Command::CreatePrincipal(Principal { projects, ..principal("acme", "n") })
    });
    both_sides(&world, LIST_MAX, |n| {
        let attributes = numbered(n).map(|name| (name, String::new())).collect();
        Command::CreatePrincipal(Principal { attributes, ..principal("acme", "n") })
    });
    both_sides(&world, LIST_MAX, |n| {
        let tools = numbered(n).map(|name| glob(&name)).collect();
        Command::CreateApiKey(ApiKey { tools, ..key("acme", "dev", "n") })
    });
    both_sides(&world, LIST_MAX, |n| {
        let projects = numbered(n).map(|p| ProjectId::new(p).unwrap()).collect();
        Command::CreateGrant(Grant { projects, ..grant("acme", "n", "dev", "viewer") })
    });
    both_sides(&world, LIST_MAX, |n| {
        put_upstream(Upstream { disabled_tools: numbered(n).collect(), ..upstream("acme", "n") })
    });
    both_sides(&world, LIST_MAX, |n| {
        let allowed_projects = Some(numbered(n).map(|p| ProjectId::new(p).unwrap()).collect());
        let conditions = Constraints { allowed_projects, ..Constraints::default() };
        Command::CreateGrant(Grant { conditions, ..grant("acme", "n", "dev", "viewer") })
    });
    both_sides(&world, LIST_MAX, |n| {
        let tool_seal_modes = numbered(n).map(|tool| (tool, SealMode::Completion)).collect();
        Command::CreateTenant(Box::new(Tenant { tool_seal_modes, ..tenant("new") }))
    });
    both_sides(&world, NETWORKS_MAX, |n| {
        let ip_allowlist = Some(vec!["10.0.0.0/8".parse().unwrap(); n]);
        let constraints = Constraints { ip_allowlist, ..Constraints::default() };
        put(Role { constraints, ..role("acme", "n", &[], &[]) })
    });
    both_sides(&world, NETWORKS_MAX, |n| {
        let mut tenant = tenant("new");
        tenant.network_config.ip_allowlist = vec!["10.0.0.0/8".parse().unwrap(); n];
        Command::CreateTenant(Box::new(tenant))
    });
}

#[test]
fn tags() {
    let world = World::with_acme();
    let with = |cost_tags: CostTags| Command::CreateTenant(Box::new(Tenant { cost_tags, ..tenant("new") }));
    let fixed = |key: String, value: String| CostTags { fixed: [(key, value)].into(), ..CostTags::default() };
    let numbered = |n: usize| (0..n).map(|i| format!("k{i}"));
    both_sides(&world, TAG_KEY_BYTES_MAX, |n| with(fixed(letters(n), "v".into())));
    both_sides(&world, TAG_VALUE_BYTES_MAX, |n| with(fixed("k".into(), letters(n))));
    both_sides(&world, TAGS_MAX, |n| {
        with(CostTags { fixed: numbered(n).map(|key| (key, "v".into())).collect(), ..CostTags::default() })
    });
    both_sides(&world, TAGS_MAX, |n| {
        with(CostTags { attributes: numbered(n).collect(), ..CostTags::default() })
    });
    both_sides(&world, TAGS_MAX, |n| {
        with(CostTags { call_keys: numbered(n).collect(), ..CostTags::default() })
    });
    let twice = CostTags { call_keys: vec!["a".into(), "a".into()], ..CostTags::default() };
    for bad in [fixed("a b".into(), "v".into()), fixed("a".into(), String::new()), twice] {
        let refused = world.clone().refused(with(bad));
        assert!(matches!(&refused, Rejection::Invalid { field, .. } if field.starts_with("cost_tags")));
    }
}

#[test]
fn upstreams() {
    let world = World::with_acme();
    let with = |transport| put_upstream(Upstream { transport, ..upstream("acme", "n") });
    let stdio = |args: Vec<String>, env: Vec<(String, String)>| Transport::Stdio {
        command: "server".to_owned(),
        args,
        env: env.into_iter().collect(),
    };
    both_sides(&world, URL_BYTES_MAX, |n| {
        let url = format!("http://h/{}", letters(n - 9));
        with(Transport::Http { url })
    });
    both_sides(&world, UPSTREAM_ARGS_MAX, |n| with(stdio(vec!["a".to_owned(); n], Vec::new())));
    both_sides(&world, UPSTREAM_ARGS_MAX, |n| {
        with(stdio(Vec::new(), (0..n).map(|i| (format!("E{i}"), String::new())).collect()))
    });
    both_sides(&world, ARGUMENT_BYTES_MAX, |n| with(stdio(vec![letters(n)], Vec::new())));
    both_sides(&world, ARGUMENT_BYTES_MAX, |n| with(stdio(Vec::new(), vec![("E".to_owned(), letters(n))])));
    let headers = |headers| put_upstream(Upstream { headers, ..upstream("acme", "n") });
    let header = |name: String, value: String| HeaderSecret { name, value };
    both_sides(&world, UPSTREAM_HEADERS_MAX, |n| {
        headers((0..n).map(|i| header(format!("x-{i}"), "v".to_owned())).collect())
    });
    both_sides(&world, HEADER_VALUE_BYTES_MAX, |n| headers(vec![header("x".to_owned(), letters(n))]));
    both_sides(&world, UPSTREAM_CONCURRENCY_MAX as usize, |n| {
        put_upstream(Upstream { concurrency_max: n as u32, ..upstream("acme", "n") })
    });
    both_sides(&world, CALL_TIMEOUT_MS_MAX as usize, |n| {
        put_upstream(Upstream { call_timeout_ms: n as u64, ..upstream("acme", "n") })
    });
}

/// One more passes where `max - 1` are there, and is refused where `max` are; `there` are there already.
#[track_caller]
fn full_at(world: &World, there: usize, max: usize, row: impl Fn(usize) -> RowValue, one_more: Command) {
    let mut nearly = with_rows(world, (there + 1..max).map(&row));
    assert!(nearly.submit(&operator(), one_more.clone()).outcome.is_ok());
    let mut full = with_rows(world, (there..max).map(&row));
    let refused = full.submit(&operator(), one_more).outcome;
    assert!(
        matches!(refused, Err(Rejection::LimitReached { max: told, .. }) if told == max as u64),
        "{refused:?}"
    );
}

#[test]
fn counts_of_one_tenant_and_of_the_cluster() {
    let world = World::with_acme();
    full_at(
        &world,
        world.state.tenants.len(),
        TENANTS_MAX,
        |n| RowValue::Tenant(record(tenant(&format!("t{n}")))),
        Command::CreateTenant(Box::new(tenant("more"))),
    );
    full_at(
        &world,
        3,
        PRINCIPALS_PER_TENANT_MAX,
        |n| RowValue::Principal(record(principal("acme", &format!("p{n}")))),
        Command::CreatePrincipal(principal("acme", "more")),
    );
    full_at(
        &world,
        0,
        ROLES_PER_TENANT_MAX,
        |n| RowValue::Role(record(role("acme", &format!("r{n}"), &[], &[]))),
        put_role("acme", "more", &[], &[]),
    );
    full_at(
        &world,
        1,
        GRANTS_PER_PRINCIPAL_MAX,
        |n| RowValue::Grant(record(grant("acme", &format!("g{n}"), "dev", "viewer"))),
        Command::CreateGrant(grant("acme", "more", "dev", "viewer")),
    );
    full_at(
        &world,
        0,
        RULES_PER_TENANT_MAX,
        |n| {
            let Command::PutRestriction { rule, .. } = restriction("acme", &format!("r{n}"), "*", &["admin"])
            else {
                unreachable!()
            };
            RowValue::Restriction(record(rule))
        },
        restriction("acme", "more", "*", &["admin"]),
    );
    full_at(
        &world,
        0,
        RULES_PER_TENANT_MAX,
        |n| {
            let Command::PutDeny { rule, .. } = deny("acme", &format!("d{n}"), "*", DenySubject::Everyone)
            else {
                unreachable!()
            };
            RowValue::Deny(record(rule))
        },
        deny("acme", "more", "*", DenySubject::Everyone),
    );
    full_at(
        &world,
        1,
        UPSTREAMS_PER_TENANT_MAX,
        |n| RowValue::Upstream(record(upstream("acme", &format!("u{n}")))),
        put_upstream(upstream("acme", "more")),
    );
    full_at(
        &world,
        0,
        JOIN_TOKENS_MAX,
        |n| RowValue::JoinToken(token(&format!("t{n}"))),
        Command::CreateJoinToken(token("more")),
    );
}

#[test]
fn closed_sessions_max() {
    let world = World::with_acme();
    let id = |n: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        McpSessionId(id)
    };
    let expires_at = TimestampMs(START_MS + 1_000);
    let rows = (1..CLOSED_SESSIONS_MAX).map(|n| RowValue::ClosedSession { id: id(n), expires_at });
    let own = world.state.rows().into_iter().filter_map(|row| row.value);
    let mut state = State::from_rows(own.chain(rows)).unwrap();
    let mut close = |n: usize| {
        let command = Command::CloseMcpSession { tenant: tenant_id("acme"), session: id(n), expires_at };
        let entry = only1mcp_domain::command::Entry {
            actor: node(1),
            command_id: None,
            request_digest: Digest([0; 32]),
            observed_at: TimestampMs(START_MS),
            command,
            signature: None,
        };
        state.apply(100 + n as u64, &entry).outcome
    };
    assert!(close(CLOSED_SESSIONS_MAX).is_ok());
    assert!(matches!(close(CLOSED_SESSIONS_MAX + 1), Err(Rejection::LimitReached { .. })));
    assert!(close(1).is_ok(), "one that is known already");
}

#[test]
fn keys_per_principal_max() {
    let mut world = World::with_acme();
    for n in 1..KEYS_PER_PRINCIPAL_MAX {
        world.must(Command::CreateApiKey(key("acme", "dev", &format!("k{n}"))));
    }
    let more = |id: &str| Command::CreateApiKey(key("acme", "dev", id));
    let full = Rejection::LimitReached {
        what: "api keys of one principal".to_owned(),
        max: KEYS_PER_PRINCIPAL_MAX as u64,
    };
    assert_eq!(world.refused(more("k-more")), full);
    // A rotation replaces; while both keys live, the old one counts.
    let rotate = |old: &str, new: &str| Command::RotateApiKey {
        old: key_id(old),
        new: key("acme", "dev", new),
        overlap_until: TimestampMs(START_MS + 1_000),
    };
    world.must(rotate("k1", "k1-b"));
    assert_eq!(world.refused(rotate("k2", "k2-b")), full);
    // Revoked ones are not counted, and no more of them are kept than may live.
    for n in 0..2 * KEYS_PER_PRINCIPAL_MAX {
        world.must(Command::CreateApiKey(key("acme", "bot", &format!("b{n:03}"))));
        world.must(Command::RevokeApiKey { tenant: tenant_id("acme"), key: key_id(&format!("b{n:03}")) });
    }
    let kept = world.state.lookup.keys_of(&tenant_id("acme"), &principal_id("bot")).count();
    // The one that was there, those that are kept, and the last, which was revoked after it was counted.
    assert_eq!(kept, 1 + KEYS_PER_PRINCIPAL_MAX + 1);
    assert!(!world.state.api_keys.contains_key(&key_id("b000")));
    world.assert_mirrored();
}

#[test]
fn nodes_max() {
    let mut world = World::formed();
    for n in 2..=NODES_MAX {
        world.join(&format!("n{n}"));
    }
    world.must(Command::CreateJoinToken(token("t")));
    let more = Command::RegisterNode(RegisterNode { token: Some(key_id("t")), ..register("more") });
    let refused = world.submit(&local(), more.clone()).outcome;
    assert_eq!(refused, Err(Rejection::LimitReached { what: "nodes".to_owned(), max: NODES_MAX as u64 }));
    world.must(Command::RemoveNode { node: NodeId(5), lose_journal: false });
    let joined = world.submit(&local(), more).outcome;
    assert_eq!(joined, Ok(Outcome::NodeRegistered { node: NodeId(NODES_MAX as u64 + 1) }));
    world.assert_mirrored();
}

#[test]
fn row_bytes_max() {
    let world = World::with_acme();
    let sized = |values: usize, len: usize| {
        let attributes = (0..values).map(|n| (format!("a{n:03}"), letters(len))).collect();
        Command::CreatePrincipal(Principal { attributes, ..principal("acme", "n") })
    };
    assert!(world.clone().submit(&operator(), sized(100, 512)).outcome.is_ok());
    let over = world.clone().submit(&operator(), sized(150, 512)).outcome;
    let full = Rejection::LimitReached { what: "bytes in one record".to_owned(), max: ROW_BYTES_MAX as u64 };
    assert_eq!(over, Err(full.clone()));
    // To the byte: tenant, id, name and mail address, 117 full attributes, and one that fills up the rest.
    let fixed = 1_024 + (4 + 1 + 1 + 13) + 4 * 16 + 117 * (4 + 512 + 32) + (4 + 32);
    let rest = ROW_BYTES_MAX - fixed;
    assert!(rest <= ATTRIBUTE_BYTES_MAX, "{rest}");
    let exact = |rest: usize| {
        let mut attributes: std::collections::BTreeMap<String, String> =
            (0..117).map(|n| (format!("a{n:03}"), letters(512))).collect();
        attributes.insert("rest".to_owned(), letters(rest));
        Command::CreatePrincipal(Principal { attributes, ..principal("acme", "n") })
    };
    assert!(world.clone().submit(&operator(), exact(rest)).outcome.is_ok());
    assert_eq!(world.clone().submit(&operator(), exact(rest + 1)).outcome, Err(full));
}

#[test]
fn an_events_states_are_bounded() {
    let mut world = World::with_acme();
    let attributes = (0..100).map(|n| (format!("a{n:03}"), letters(512))).collect();
    world.must(Command::CreatePrincipal(Principal { attributes, ..principal("acme", "n") }));
    let after = world.last_event().after_state.clone().unwrap();
    assert!(after.starts_with("{\"sha3_256\":\"") && after.len() <= EVENT_STATE_BYTES_MAX);
}

/// SUBJECTS_PER_TENANT_MAX: nobody new comes, and who is there already is as before; below feature level 4 it does not bind.
#[test]
fn persons_of_one_tenant() {
    let mut world = World::with_acme();
    let there = |n: usize| RowValue::Subject {
        tenant: tenant_id("acme"),
        principal: principal_id(&format!("gone{n}")),
        subject: Subject { hold: "h".to_owned(), ..Subject::default() },
    };
    let one_more = Command::CreatePrincipal(principal("acme", "more"));
    let mut before = with_rows(&world, (0..SUBJECTS_PER_TENANT_MAX).map(there));
    assert!(before.submit(&operator(), one_more.clone()).outcome.is_ok());
    let level = FEATURE_LEVEL_GENERATION_KEYS;
    let settings = ClusterSettings { feature_level: level, ..ClusterSettings::new("test") };
    world.must(Command::SetSettings { settings, if_revision: None });
    full_at(&world, 0, SUBJECTS_PER_TENANT_MAX, there, one_more);
    let mut full = with_rows(&world, (0..SUBJECTS_PER_TENANT_MAX).map(there));
    full.must(Command::CreatePrincipal(principal("acme", "gone7")));
    let dev = full.state.principals.keys().find(|(tenant, _)| tenant.as_str() == "acme").unwrap().1.clone();
    let hold =
        Command::HoldSubject { tenant: tenant_id("acme"), principal: dev.clone(), hold: "x".to_owned() };
    full.must(hold);
    full.must(Command::HoldSubject {
        tenant: tenant_id("acme"),
        principal: dev.clone(),
        hold: String::new(),
    });
    full.must(Command::EraseSubject { tenant: tenant_id("acme"), principal: dev });
}
