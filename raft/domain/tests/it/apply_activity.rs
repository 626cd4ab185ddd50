//! Batches: order, duplicates, fencing; admissions that authority left behind.

use only1mcp_domain::activity::*;
use only1mcp_domain::audit::{EventKind, EventOutcome, Severity};
use only1mcp_domain::command::Command;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::*;
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection, limits};

use crate::apply_world::*;

fn post(world: &mut World, batch: Batch) -> Result<Outcome, Rejection> {
    let node_id = batch.node.0;
    let applied = world.submit(&node(node_id), Command::Activity(batch));
    let events = match &applied.outcome {
        Ok(Outcome::BatchApplied { records }) => records.iter().filter(|r| r.audit.is_some()).count(),
        _ => 0,
    };
    assert_eq!(applied.audit.len(), events, "one event a record that leaves one, none for a refused batch");
    applied.outcome
}

fn notice(text: &str) -> Record {
    Record::NodeNotice { kind: NoticeKind::Startup, detail: text.to_owned() }
}

/// Applies one admission in a batch of its own.
fn admit(world: &mut World, incarnation: Incarnation, sequence: u64, admission: Admission) -> RecordApplied {
    let records = vec![Record::Admission(Box::new(admission))];
    match post(world, batch(1, incarnation, sequence, records)) {
        Ok(Outcome::BatchApplied { records }) => records[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn batches_come_in_order_and_once() {
    let mut world = World::formed();
    let life = world.open(1);
    let first = world.state.chain.index.0 + 1;
    let one = batch(1, life, 1, vec![notice("a"), notice("b")]);
    let Ok(Outcome::BatchApplied { records }) = post(&mut world, one.clone()) else { panic!() };
    assert_eq!(records.len(), 2);
    let (index, hash) = records[1].audit.unwrap();
    assert_eq!((index.0, hash), (first + 1, world.state.chain.hash), "the receipt names the event's hash");

    assert_eq!(post(&mut world, one.clone()), Ok(Outcome::BatchDuplicate { first_index: first }));
    let other = Batch { digest: Digest([9; 32]), ..one.clone() };
    assert_eq!(post(&mut world, other), Err(Rejection::BatchMismatch { sequence: 1 }));
    let gap = batch(1, life, 3, vec![notice("c")]);
    assert_eq!(post(&mut world, gap), Err(Rejection::Gap { expected: 2, found: 3 }));
    assert!(matches!(post(&mut world, batch(1, life, 0, Vec::new())), Err(Rejection::Invalid { .. })));
    assert!(post(&mut world, batch(1, life, 2, Vec::new())).is_ok());
    assert_eq!(post(&mut world, one), Ok(Outcome::BatchDuplicate { first_index: first }));
    world.assert_mirrored();
}

#[test]
fn a_new_incarnation_fences_the_old_one() {
    let mut world = World::formed();
    let nothing_open = post(&mut world, batch(1, Incarnation(0), 1, Vec::new()));
    assert_eq!(nothing_open, Err(Rejection::Fenced { incarnation: 0 }));
    let old = world.open(1);
    assert_eq!(old.0, world.state.last_applied);
    assert!(post(&mut world, batch(1, old, 1, Vec::new())).is_ok());
    assert!(world.submit(&node(1), Command::SealJournal { node: NodeId(1) }).outcome.is_ok());
    let late = post(&mut world, batch(1, old, 2, Vec::new()));
    assert!(matches!(late, Err(Rejection::Invalid { .. })), "a sealed journal has no more to say");

    let opened = world.submit(&node(1), Command::OpenIncarnation { node: NodeId(1) });
    assert!(opened.audit.is_empty());
    let Ok(Outcome::IncarnationOpened { incarnation, last_sequence }) = opened.outcome else { panic!() };
    assert_eq!(last_sequence, 1);
    assert!(incarnation > old);
    let window = &world.state.activity[&NodeId(1)].window;
    assert_eq!(window.iter().map(|seen| (seen.incarnation, seen.sequence)).collect::<Vec<_>>(), [(old, 1)]);
    for stale in [old, Incarnation(incarnation.0 + 1)] {
        let refused = post(&mut world, batch(1, stale, 2, Vec::new()));
        assert_eq!(refused, Err(Rejection::Fenced { incarnation: incarnation.0 }));
    }
    assert!(post(&mut world, batch(1, incarnation, 1, Vec::new())).is_ok());
    world.assert_mirrored();
}

#[test]
fn a_batch_that_breaks_a_bound_changes_nothing() {
    let mut world = World::formed();
    let life = world.open(1);
    let sources = (0..=Unauthenticated::SOURCES_MAX as u8).map(|n| ([127, 0, 0, n].into(), 1)).collect();
    let at = TimestampMs(START_MS);
    let mut pathless = admission(Revision(1));
    pathless.role_path.clear();
    let mut long = admission(Revision(1));
    long.role_path = vec![role_id("viewer"); limits::ROLE_DEPTH_MAX + 1];
    let mut wide = admission(Revision(1));
    wide.item = "x".repeat(limits::SLUG_BYTES_MAX + 2 + limits::RESOURCE_URI_BYTES_MAX + 1);
    let uncounted = AuditRead {
        kind: AuditReadKind::Watch,
        caller: caller("acme", "ann"),
        tenant: tenant_id("acme"),
        everyone: false,
        asked: String::new(),
        events: 0,
        count: 0,
        first_at: at,
        last_at: at,
    };
    for bad in [
        Record::AuditRead(Box::new(uncounted)),
        Record::Unauthenticated(Unauthenticated { count: 99, sources, first_at: at, last_at: at }),
        Record::Admission(Box::new(pathless)),
        Record::Admission(Box::new(long)),
        Record::Admission(Box::new(wide)),
    ] {
        let refused = post(&mut world, batch(1, life, 1, vec![notice("good"), bad]));
        assert!(matches!(refused, Err(Rejection::Invalid { .. })));
    }
    assert!(post(&mut world, batch(1, life, 1, vec![notice("good")])).is_ok());
}

#[test]
fn every_record_is_told_as_what_it_is() {
    let mut world = World::with_acme();
    let life = world.open(1);
    let at = TimestampMs(START_MS - 5);
    let session = SessionEvent {
        caller: caller("acme", "dev"),
        tenant: tenant_id("acme"),
        client_name: "ide".to_owned(),
        client_version: "1".to_owned(),
        protocol_version: "2025-11-25".to_owned(),
        observed_at: at,
    };
    let completion = Completion {
        call: CallId([1; 16]),
        tenant: tenant_id("acme"),
        outcome: CallOutcome::TimedOut,
        result_digest: Digest([0; 32]),
        result_bytes: 12,
        duration_ms: 34,
        observed_at: at,
        charges: vec![],
        cost: None,
    };
    let refusal = Refusal {
        decision: DecisionId([3; 16]),
        caller: caller("acme", "bot"),
        tenant: tenant_id("acme"),
        kind: ItemKind::Prompt,
        item: "files__ask".to_owned(),
        reason: Reason::NoPermission,
        revision: Revision(2),
        count: 40,
        first_at: at,
        last_at: TimestampMs(START_MS),
    };
    let administrative = Refusal {
        kind: ItemKind::Administration,
        item: "Tenants/CreateTenant GlobalAdmin".to_owned(),
        tenant: tenant_id("system"),
        count: 1,
        ..refusal.clone()
    };
    let failures = Unauthenticated {
        count: 7,
        sources: vec![("::1".parse().unwrap(), 4), ("203.0.113.9".parse().unwrap(), 3)],
        first_at: at,
        last_at: at,
    };
    let read = AuditRead {
        kind: AuditReadKind::Query,
        caller: caller("system", "root"),
        tenant: tenant_id("acme"),
        everyone: false,
        asked: "kind=AccessDenied".to_owned(),
        events: 70,
        count: 3,
        first_at: at,
        last_at: TimestampMs(START_MS),
    };
    let export = AuditRead {
        kind: AuditReadKind::Export,
        tenant: tenant_id("system"),
        everyone: true,
        asked: "x".repeat(600),
        count: 1,
        ..read.clone()
    };
    let records = vec![
        Record::SessionOpened(Box::new(session.clone())),
        Record::Admission(Box::new(admission(world.state.policy_revision))),
        Record::Completion(completion),
        Record::Refusal(Box::new(refusal)),
        Record::SessionClosed(Box::new(session)),
        Record::Unauthenticated(failures),
        Record::NodeNotice { kind: NoticeKind::Alarm, detail: "cut 12 bytes".to_owned() },
        Record::NodeNotice { kind: NoticeKind::Shutdown, detail: String::new() },
        Record::KeyUsed { key: key_id("key-dev"), at },
        Record::AuditRead(Box::new(read)),
        Record::AuditRead(Box::new(export)),
        Record::Refusal(Box::new(administrative)),
    ];
    let from = world.events.len();
    assert!(post(&mut world, batch(1, life, 1, records)).is_ok());
    let told: Vec<_> = world.events[from..]
        .iter()
        .map(|e| (e.kind, e.action.as_str(), e.tenant.as_str(), e.outcome, e.reason.as_str()))
        .collect();
    use EventOutcome::{Denied, Failure, Success};
    let expected = [
        (EventKind::LoginSuccess, "session.open", "acme", Success, ""),
        (EventKind::AccessGranted, "tools/call", "acme", Success, ""),
        (EventKind::DataAccess, "call.complete", "acme", Failure, "timed_out"),
        (EventKind::AccessDenied, "prompts/get", "acme", Denied, "no_permission"),
        (EventKind::LogoutUser, "session.end", "acme", Success, ""),
        (EventKind::LoginFailure, "authenticate", "system", Failure, "unauthenticated"),
        (EventKind::SecurityAlert, "node.alarm", "system", Success, ""),
        (EventKind::SystemShutdown, "node.stop", "system", Success, ""),
        (EventKind::AuditLogAccess, "audit.query", "acme", Success, ""),
        (EventKind::AuditLogExport, "audit.export", "system", Success, ""),
        (EventKind::AccessDenied, "admin.Tenants/CreateTenant", "acme", Denied, "no_permission"),
    ];
    assert_eq!(told, expected);
    let detail = |at: usize, name: &str| {
        let found = world.events[from + at].details.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(detail(1, "role_path"), Some("developer"));
    assert_eq!(detail(1, "grant"), Some("g-dev"));
    assert_eq!(detail(3, "count"), Some("40"));
    assert_eq!(detail(5, "source ::1"), Some("4"));
    assert_eq!((detail(8, "asked"), detail(8, "events")), (Some("kind=AccessDenied"), Some("70")));
    assert_eq!((detail(8, "count"), detail(9, "count")), (Some("3"), Some("1")));
    assert!(detail(9, "asked").unwrap().len() <= limits::EVENT_TEXT_BYTES_MAX);
    let resource = |at: usize| world.events[from + at].resource.id.as_str();
    assert_eq!((resource(8), resource(9)), ("acme", "*"));
    assert_eq!((resource(10), detail(10, "permission")), ("Tenants/CreateTenant", Some("GlobalAdmin")));
    assert_eq!(
        (world.events[from + 10].resource.kind.as_str(), detail(10, "tenant")),
        ("rpc", Some("system"))
    );
    let admitted = &world.events[from + 1];
    assert_eq!((admitted.call, admitted.decision), (Some(CallId([1; 16])), Some(DecisionId([2; 16]))));
    assert_eq!((admitted.actor.via.as_str(), admitted.node), ("key:key-dev", NodeId(1)));
    world.assert_mirrored();
}

#[test]
fn a_keys_use_is_kept_to_the_minute_and_never_runs_ahead() {
    let mut world = World::with_acme();
    let life = world.open(1);
    let used = |world: &World| world.state.api_keys.get(&key_id("key-dev")).unwrap().value.last_used_at;
    let mut sequence = 0;
    let mut note = |world: &mut World, at: u64| {
        sequence += 1;
        let key = key_id("key-dev");
        let records = vec![Record::KeyUsed { key, at: TimestampMs(at) }];
        assert!(post(world, batch(1, life, sequence, records)).is_ok());
    };
    let minute = START_MS - START_MS % 60_000;
    let revision = world.state.api_keys.get(&key_id("key-dev")).unwrap().revision;
    note(&mut world, u64::MAX);
    assert_eq!(used(&world), Some(TimestampMs(minute)));
    note(&mut world, minute - 60_000);
    assert_eq!(used(&world), Some(TimestampMs(minute)));
    assert_eq!(world.state.api_keys.get(&key_id("key-dev")).unwrap().revision, revision);
    let unknown = vec![Record::KeyUsed { key: key_id("gone"), at: TimestampMs(0) }];
    assert!(post(&mut world, batch(1, life, 3, unknown)).is_ok());
    world.assert_mirrored();
}

#[test]
fn an_admission_that_raced_with_a_change_that_left_it_alone_stands() {
    let mut world = World::with_acme();
    let life = world.open(1);
    let seen = world.state.policy_revision;
    world.must(Command::CreateTenant(Box::new(tenant("other"))));
    world.must(restriction("acme", "r", "files__*", &["developer"]));
    world.must(deny("acme", "d", "files__rm", DenySubject::Everyone));
    world.must(deny("acme", "d2", "*", DenySubject::Role(role_id("auditor"))));
    assert!(!admit(&mut world, life, 1, admission(seen)).revoked_in_flight);
    assert_eq!(world.last_event().outcome, EventOutcome::Success);
}

#[test]
fn an_admission_whose_authority_was_reduced_is_caught() {
    let mut base = World::with_acme();
    base.must(put_role("acme", "base", &["ToolExecute(files__*)"], &[]));
    base.must(put_role("acme", "middle", &[], &["base"]));
    base.must(Command::CreateGrant(grant("acme", "g2", "dev", "middle")));
    let life = base.open(1);
    let seen = base.state.policy_revision;
    let by_path = Admission {
        grant: grant_id("g2"),
        role_path: vec![role_id("middle"), role_id("base")],
        ..admission(seen)
    };
    assert!(!admit(&mut base.clone(), life, 1, by_path.clone()).revoked_in_flight);

    let acme = || tenant_id("acme");
    let off = Principal { enabled: false, ..principal("acme", "dev") };
    let project_only =
        Constraints { allowed_projects: Some(vec![ProjectId::new("p").unwrap()]), ..Constraints::default() };
    let narrowed =
        Role { constraints: project_only, ..role("acme", "base", &["ToolExecute(files__*)"], &[]) };
    let files = || upstream_id("files");
    let reductions = [
        Command::SetTenantStatus { tenant: acme(), status: TenantStatus::Suspended, if_revision: None },
        Command::UpdatePrincipal { principal: off, if_revision: None },
        Command::DeletePrincipal { tenant: acme(), principal: principal_id("dev"), if_revision: None },
        Command::RevokeApiKey { tenant: acme(), key: key_id("key-dev") },
        Command::RevokeGrant { tenant: acme(), grant: grant_id("g2") },
        put_role("acme", "middle", &["ToolAll"], &[]),
        put_role("acme", "base", &["ToolExecute(other__*)", "ToolView(*)"], &[]),
        Command::PutRole { role: narrowed, if_revision: None },
        deny("acme", "d", "files__read", DenySubject::Everyone),
        deny("acme", "d", "files__*", DenySubject::Principal(principal_id("dev"))),
        deny("acme", "d", "*", DenySubject::Role(role_id("base"))),
        deny("acme", "d", "*", DenySubject::Role(role_id("viewer"))),
        restriction("acme", "r", "files__*", &["auditor"]),
        restriction("acme", "r", "files__*", &[]),
        Command::SetUpstreamEnabled { tenant: acme(), upstream: files(), enabled: false },
        Command::SetToolEnabled {
            tenant: acme(),
            upstream: files(),
            tool: "read".to_owned(),
            enabled: false,
        },
        Command::DeleteUpstream { tenant: acme(), upstream: files() },
    ];
    for command in reductions {
        let mut world = base.clone();
        world.must(command.clone());
        assert!(admit(&mut world, life, 1, by_path.clone()).revoked_in_flight, "{command:?}");
        let event = world.last_event();
        assert_eq!((event.kind, event.outcome), (EventKind::AccessGranted, EventOutcome::Denied));
        assert_eq!((event.reason.as_str(), event.severity), ("revoked_in_flight", Severity::Warning));

        // An answer that may be out already cannot be withheld: it is told as late.
        let journaled = Admission { mode: SealMode::Journaled, ..by_path.clone() };
        assert!(!admit(&mut world, life, 2, journaled).revoked_in_flight);
        let event = world.last_event();
        assert_eq!((event.outcome, event.reason.as_str()), (EventOutcome::Success, ""));
        assert!(event.details.contains(&("revoked_in_flight".to_owned(), "late".to_owned())));
    }
}

#[test]
fn an_admission_that_names_what_is_not_so_is_caught() {
    let mut world = World::with_acme();
    let life = world.open(1);
    let seen = Revision(1);
    let other_key = Caller { key: Some(key_id("key-ann")), ..caller("acme", "dev") };
    let project = Caller { project: ProjectId::new("p").ok(), ..caller("acme", "dev") };
    let wrong = [
        Admission { grant: grant_id("g-ann"), ..admission(seen) },
        Admission { role_path: vec![role_id("admin")], ..admission(seen) },
        Admission { role_path: vec![role_id("developer"), role_id("viewer")], ..admission(seen) },
        Admission { caller: other_key, ..admission(seen) },
        Admission { caller: project, ..admission(seen) },
        Admission { caller: caller("other", "dev"), ..admission(seen) },
        Admission { upstream: upstream_id("nowhere"), ..admission(seen) },
        // From a revision that is still to come.
        Admission { grant: grant_id("g-ann"), ..admission(Revision(u64::MAX)) },
    ];
    for (sequence, wrong) in (1..).zip(wrong) {
        assert!(admit(&mut world, life, sequence, wrong.clone()).revoked_in_flight, "{wrong:?}");
    }
}

#[test]
fn grants_and_keys_end_by_log_time() {
    let mut world = World::with_acme();
    let end = Some(TimestampMs(START_MS + 1_000));
    world.must(Command::CreateGrant(Grant {
        expires_at: end,
        ..grant("acme", "g-short", "dev", "developer")
    }));
    let life = world.open(1);
    let seen = Revision(world.state.policy_revision.0 - 1);
    let short = Admission { grant: grant_id("g-short"), ..admission(seen) };
    assert!(!admit(&mut world, life, 1, short.clone()).revoked_in_flight);
    world.now_ms += 1_000;
    world.tick();
    assert!(admit(&mut world, life, 2, short).revoked_in_flight);
}
