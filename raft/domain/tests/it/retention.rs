//! Retention: which class an event is of, that nothing goes early, and who may drop what.

use only1mcp_domain::audit::{
    AuditEvent, DropRule, EventKind, EventOutcome, Expired, RetentionClass, decode, encode, stays,
};
use only1mcp_domain::command::{Command, DutyProgress};
use only1mcp_domain::ids::*;
use only1mcp_domain::limits::*;
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection};
use proptest::prelude::*;

use crate::apply_world::*;

const DAY_MS: u64 = 24 * 3_600_000;

/// The specification's groups and days, written down once more.
const LISTED: [(RetentionClass, u32, &str); 6] = [
    (
        RetentionClass::Default,
        2_555,
        "AccessGranted AccessDenied PermissionChanged RoleAssigned RoleRevoked SystemStartup SystemShutdown \
         BackupCreated BackupRestored",
    ),
    (
        RetentionClass::Authentication,
        365,
        "LoginSuccess LoginFailure LogoutUser SessionExpired MfaSuccess MfaFailure",
    ),
    (RetentionClass::DataAccess, 2_555, "DataAccess DataModification DataDeletion DataExport DataImport"),
    (RetentionClass::Configuration, 1_095, "ConfigurationChange ServerAdded ServerRemoved ServerModified"),
    (RetentionClass::Security, 2_555, "SecurityAlert PolicyViolation AnomalyDetected"),
    (RetentionClass::Compliance, 3_650, "AuditLogAccess AuditLogExport ComplianceCheck"),
];

#[test]
fn every_event_is_of_the_class_that_the_specification_lists() {
    let mut kinds = 0;
    for (class, days, names) in LISTED {
        assert_eq!(RetentionDays::default().of(class), days);
        assert_eq!(RetentionClass::parse(class.name()), Some(class));
        assert_eq!(RetentionClass::from_number(class.number()), Some(class));
        for name in names.split_whitespace() {
            assert_eq!(RetentionClass::of(EventKind::parse(name).unwrap()), class, "{name}");
            kinds += 1;
        }
    }
    assert_eq!(kinds, EventKind::ALL.len());
}

#[test]
fn a_mark_is_no_event_and_no_event_is_a_mark() {
    for class in RetentionClass::ALL {
        let mark = Expired { class, number: 7 };
        assert_eq!(Expired::parse(&mark.bytes()), Some(mark));
        assert!(decode(&mark.bytes()).is_err());
    }
    assert_eq!(Expired { class: RetentionClass::Authentication, number: 1 }.bytes(), [0, 2, 0, 0, 0, 1]);
    for bad in
        [&[][..], &[0], &[0, 2, 0, 0, 0], &[0, 2, 0, 0, 0, 0], &[0, 9, 0, 0, 0, 1], &[1, 2, 0, 0, 0, 1]]
    {
        assert_eq!(Expired::parse(bad), None);
    }
    let mut world = World::with_acme();
    world.tick();
    assert!(world.events.iter().all(|event| Expired::parse(&encode(event)).is_none()));
}

/// At the feature level of retention, with the duty in the hands of node 1.
fn world() -> World {
    let mut world = World::with_acme();
    world.join("two");
    level(&mut world, FEATURE_LEVEL_RETENTION);
    let assign = Command::AssignDuty { duty: DutyId::Retention, node: NodeId(1), after: 0 };
    world.submit(&node(1), assign).outcome.unwrap();
    world.assert_mirrored();
    world
}

fn level(world: &mut World, feature_level: u32) {
    let settings = ClusterSettings { feature_level, ..ClusterSettings::new("test") };
    world.must(Command::SetSettings { settings, if_revision: None });
}

fn fence(world: &World) -> u64 {
    world.state.duties[&DutyId::Retention].assigned_at
}

fn later(world: &mut World, days: u64) {
    world.now_ms += days * DAY_MS;
    for id in [1, 2] {
        world.submit(&node(id), Command::Tick { node: NodeId(id) }).outcome.unwrap();
    }
}

fn a_drop(first: u64, last: u64, classes: &[RetentionClass]) -> PayloadDrop {
    PayloadDrop {
        first: AuditIndex(first),
        last: AuditIndex(last),
        number: 1,
        from: Digest([1; 32]),
        address: Digest([2; 32]),
        bytes: 100,
        rule: DropRule { classes: classes.to_vec(), held: Vec::new() },
        newest: TimestampMs(START_MS),
        dropped: 1,
        digest: Digest([3; 32]),
    }
}

fn dropping(world: &World, drop: PayloadDrop) -> Command {
    Command::DropPayloads { fence: fence(world), drop: Box::new(drop) }
}

fn submit(world: &mut World, drop: PayloadDrop) -> Result<Outcome, Rejection> {
    let command = dropping(world, drop);
    let outcome = world.submit(&node(1), command).outcome;
    world.assert_mirrored();
    outcome
}

/// RETENTION_DAYS_MIN, RETENTION_DAYS_MAX, FEATURE_LEVEL_RETENTION.
#[test]
fn days_are_set_within_bounds_by_operators_alone() {
    let mut world = World::with_acme();
    let set = |class, days| {
        let mut all = RetentionDays::default();
        all.set(class, days);
        Command::SetRetention { days: all, if_revision: None }
    };
    let good = set(RetentionClass::Security, RETENTION_DAYS_MIN);
    level(&mut world, FEATURE_LEVEL_RETENTION - 1);
    assert!(matches!(world.refused(good.clone()), Rejection::Invalid { .. }));
    assert!(matches!(world.refused(Command::RunRetention), Rejection::Invalid { .. }));
    level(&mut world, FEATURE_LEVEL_RETENTION);
    for class in RetentionClass::ALL {
        for (days, fits) in [
            (RETENTION_DAYS_MIN - 1, false),
            (RETENTION_DAYS_MIN, true),
            (RETENTION_DAYS_MAX, true),
            (RETENTION_DAYS_MAX + 1, false),
        ] {
            let outcome = world.submit(&operator(), set(class, days)).outcome;
            assert_eq!(outcome.is_ok(), fits, "{class:?} {days}: {outcome:?}");
        }
    }
    world.must(good.clone());
    world.assert_mirrored();
    assert_eq!(world.state.retention.days.security, RETENTION_DAYS_MIN);
    let event = world.last_event();
    assert_eq!((event.kind, event.action.as_str()), (EventKind::ConfigurationChange, "audit.set_retention"));
    assert!(event.after_state.as_ref().unwrap().contains(r#""security":30"#), "{event:?}");
    let stale = Command::SetRetention { days: RetentionDays::default(), if_revision: Some(1) };
    assert!(matches!(world.refused(stale), Rejection::RevisionMismatch { .. }));
    for actor in [by_key("acme", "ann"), node(1)] {
        for command in [good.clone(), Command::RunRetention] {
            let outcome = world.submit(&actor, command).outcome;
            assert!(matches!(outcome, Err(Rejection::Forbidden { .. })), "{outcome:?}");
        }
    }
}

#[test]
fn a_run_is_asked_for_and_ends_when_the_holder_has_looked() {
    let mut world = world();
    world.must(Command::RunRetention);
    assert!(world.state.retention.wanted);
    assert_eq!(world.last_event().action, "audit.run_retention");
    let progress = |attempts| DutyProgress {
        duty: DutyId::Retention,
        fence: fence(&world),
        cursor: AuditIndex(1),
        attempts,
        last_error: String::new(),
    };
    let (failed, done) = (progress(1), progress(0));
    world.submit(&node(1), Command::AdvanceDuty(failed)).outcome.unwrap();
    assert!(world.state.retention.wanted, "it did not look at all of it");
    world.submit(&node(1), Command::AdvanceDuty(done)).outcome.unwrap();
    assert!(!world.state.retention.wanted);
    world.assert_mirrored();
}

/// INVARIANT: P6
#[test]
fn nothing_goes_a_millisecond_early() {
    for class in RetentionClass::ALL {
        let mut world = world();
        let days = u64::from(RetentionDays::default().of(class));
        let early = days * DAY_MS - 1;
        world.now_ms = START_MS + early;
        later(&mut world, 0);
        assert_eq!(world.state.log_time, TimestampMs(START_MS + early));
        let refused = submit(&mut world, a_drop(1, 3, &[class])).unwrap_err();
        let expected = Rejection::RetentionTooEarly { class: class.name().to_owned(), days };
        assert_eq!(refused, expected);
        assert_eq!(refused.code(), "RETENTION_TOO_EARLY");
        assert!(world.state.dropped.is_empty());
        world.now_ms += 1;
        later(&mut world, 0);
        submit(&mut world, a_drop(1, 3, &[class])).unwrap();
        assert_eq!(world.state.dropped.len(), 1);
    }
}

#[test]
fn of_several_classes_the_one_kept_longest_decides() {
    let mut world = world();
    later(&mut world, 400);
    let both = [RetentionClass::Authentication, RetentionClass::Compliance];
    assert!(matches!(submit(&mut world, a_drop(1, 3, &both)), Err(Rejection::RetentionTooEarly { .. })));
    submit(&mut world, a_drop(1, 3, &both[..1])).unwrap();
}

#[test]
fn what_was_dropped_is_recorded_in_an_event_that_itself_stays() {
    let mut world = world();
    later(&mut world, 366);
    submit(&mut world, a_drop(1, 3, &[RetentionClass::Authentication])).unwrap();
    let event = world.last_event().clone();
    assert_eq!((event.kind, event.action.as_str()), (EventKind::DataDeletion, "audit.drop_payloads"));
    assert!(event.tenant.is_system() && event.outcome == EventOutcome::Success && stays(&event));
    assert_eq!(event.resource.id, "1-3");
    let detail = |name: &str| event.details.iter().find(|(n, _)| n == name).unwrap().1.as_str();
    let told = ["first", "last", "number", "dropped", "classes"].map(detail);
    assert_eq!(told, ["1", "3", "1", "1", "authentication"]);
    assert_eq!(detail("digest"), Digest([3; 32]).to_string());
    let dropped = world.state.drops_of(AuditIndex(1)).next().unwrap();
    assert_eq!(dropped.record, world.state.chain.index);
    for (index, found) in [(0, 0), (1, 1), (3, 1), (4, 0)] {
        assert_eq!(world.state.drops_at(AuditIndex(index)).count(), found, "{index}");
    }
    // Nothing to go: it is remembered that somebody looked, and no event tells of it.
    let head = world.state.chain;
    let none = PayloadDrop {
        dropped: 0,
        address: Digest([1; 32]),
        ..a_drop(4, 6, &[RetentionClass::Authentication])
    };
    submit(&mut world, none).unwrap();
    assert_eq!((world.state.chain, world.state.dropped.len()), (head, 2));
}

#[test]
fn segments_do_not_overlap_and_each_drop_follows_the_last() {
    let mut world = world();
    later(&mut world, 4_000);
    let one = [RetentionClass::Authentication];
    submit(&mut world, a_drop(4, 6, &one)).unwrap();
    let next =
        PayloadDrop { number: 2, from: Digest([2; 32]), address: Digest([4; 32]), ..a_drop(4, 6, &one) };
    let end = world.state.chain.index.0;
    for bad in [
        a_drop(0, 3, &one),
        a_drop(3, 2, &one),
        a_drop(1, 4, &one),
        a_drop(1, 9, &one),
        a_drop(5, 5, &one),
        a_drop(6, 9, &one),
        a_drop(7, end + 1_000, &one),
        a_drop(4, 6, &one),
        PayloadDrop { number: 2, ..a_drop(7, 9, &one) },
        PayloadDrop { number: 3, ..next.clone() },
        PayloadDrop { from: Digest([9; 32]), ..next.clone() },
        PayloadDrop { dropped: 4, ..next.clone() },
        PayloadDrop { dropped: 0, ..next.clone() },
        PayloadDrop { address: next.from, ..next.clone() },
        a_drop(7, 9, &[]),
        a_drop(7, 9, &[RetentionClass::Security, RetentionClass::Authentication]),
        a_drop(7, 9, &[RetentionClass::Security, RetentionClass::Security]),
    ] {
        let refused = submit(&mut world, bad.clone());
        assert!(matches!(refused, Err(Rejection::Invalid { .. })), "{bad:?}: {refused:?}");
    }
    submit(&mut world, next).unwrap();
    submit(&mut world, a_drop(7, 9, &one)).unwrap();
    submit(&mut world, a_drop(1, 3, &one)).unwrap();
    assert_eq!(world.state.dropped.len(), 4);
}

#[test]
fn only_the_duty_s_holder_drops() {
    let mut world = world();
    later(&mut world, 4_000);
    let command = dropping(&world, a_drop(1, 3, &[RetentionClass::Security]));
    for actor in [operator(), by_key("acme", "ann"), local()] {
        let outcome = world.submit(&actor, command.clone()).outcome;
        assert!(matches!(outcome, Err(Rejection::Forbidden { .. })), "{outcome:?}");
    }
    let outcome = world.submit(&node(2), command.clone()).outcome;
    assert!(matches!(outcome, Err(Rejection::DutyFenced { .. })));
    let again = Command::AssignDuty { duty: DutyId::Retention, node: NodeId(2), after: fence(&world) };
    world.submit(&node(1), again).outcome.unwrap();
    for id in [1, 2] {
        let outcome = world.submit(&node(id), command.clone()).outcome;
        assert!(matches!(outcome, Err(Rejection::DutyFenced { .. })), "a fence of before");
    }
    let command = dropping(&world, a_drop(1, 3, &[RetentionClass::Security]));
    world.submit(&node(2), command).outcome.unwrap();
}

/// RETENTION_HOLDS_MAX: whoever is held when it is applied must be among those whom the proposer spared.
#[test]
fn a_hold_that_the_proposer_did_not_know_of_stops_it() {
    let mut world = world();
    later(&mut world, 4_000);
    let dev = (tenant_id("acme"), principal_id("dev"));
    let hold = |hold: &str| Command::HoldSubject {
        tenant: dev.0.clone(),
        principal: dev.1.clone(),
        hold: hold.to_owned(),
    };
    let spared = || {
        let held = vec![dev.clone()];
        let drop = a_drop(1, 3, &[RetentionClass::Security]);
        PayloadDrop { rule: DropRule { held, ..drop.rule }, ..drop }
    };
    assert!(submit(&mut world, spared()).is_err(), "nobody is held");
    world.must(hold("a case"));
    assert_eq!(world.state.held_persons(), std::slice::from_ref(&dev));
    assert!(submit(&mut world, a_drop(1, 3, &[RetentionClass::Security])).is_err());
    submit(&mut world, spared()).unwrap();
    for (count, fits) in [(RETENTION_HOLDS_MAX, true), (RETENTION_HOLDS_MAX + 1, false)] {
        let rows = (1..count).map(|n| only1mcp_domain::row::RowValue::Subject {
            tenant: tenant_id("acme"),
            principal: principal_id(&format!("p{n}")),
            subject: Subject { hold: "x".to_owned(), ..Subject::default() },
        });
        let mut full = crate::limits::with_rows(&world, rows);
        let held = full.state.held_persons();
        assert_eq!(held.len(), count);
        let drop = a_drop(4, 6, &[RetentionClass::Security]);
        let outcome = submit(&mut full, PayloadDrop { rule: DropRule { held, ..drop.rule }, ..drop });
        assert_eq!(outcome.is_ok(), fits, "{count}: {outcome:?}");
    }
}

#[test]
fn retention_drops_per_segment_max() {
    let mut world = world();
    later(&mut world, 4_000);
    for number in 1..=u32::try_from(RETENTION_DROPS_PER_SEGMENT_MAX).unwrap() + 1 {
        let at = |number: u32| Digest([u8::try_from(number).unwrap(); 32]);
        let drop = a_drop(1, 3, &[RetentionClass::Security]);
        let drop = PayloadDrop { number, from: at(number), address: at(number + 1), ..drop };
        let fits = number <= u32::try_from(RETENTION_DROPS_PER_SEGMENT_MAX).unwrap();
        assert_eq!(submit(&mut world, drop).is_ok(), fits, "{number}");
    }
}

fn event(world: &World, action: &str) -> AuditEvent {
    world.events.iter().find(|event| event.action == action).unwrap().clone()
}

#[test]
fn what_later_events_are_judged_by_stays_and_so_does_what_concerns_a_held_person() {
    let mut world = World::with_acme();
    world.must(Command::RevokeApiKey { tenant: tenant_id("acme"), key: key_id("key-dev") });
    let all = DropRule { classes: RetentionClass::ALL.to_vec(), held: Vec::new() };
    assert_eq!(all.takes(&event(&world, "cluster.form")), None);
    let grant = event(&world, "grant.create");
    assert_eq!(all.takes(&grant), Some(RetentionClass::Default));
    let other = AuditEvent { action: "cluster.form".to_owned(), ..grant.clone() };
    assert!(all.takes(&other).is_some(), "a tenant's event is not kept for its action's name");
    let held = |tenant: &str, id: &str| DropRule {
        held: vec![(tenant_id(tenant), principal_id(id))],
        ..all.clone()
    };
    let of_dev = world.events.iter().filter(|event| {
        format!("{event:?}").contains("\"dev\"") || format!("{event:?}").contains("\\\"dev\\\"")
    });
    let of_dev: Vec<&AuditEvent> = of_dev.collect();
    assert!(of_dev.len() >= 3, "{of_dev:?}");
    for event in of_dev {
        assert_eq!(held("acme", "dev").takes(event), None, "{event:?}");
    }
    assert!(held("acme", "nobody").takes(&grant).is_some());
    assert!(held("other", "ann").takes(&grant).is_some(), "another tenant's person of the same id");
    let root = event(&world, "tenant.create");
    assert_eq!(held("system", "root").takes(&root), None, "he did it");
}

proptest! {
    /// For any days and times: past its days is at least so many days old, and a day longer keeps at least as much.
    #[test]
    fn is_past_is_never_early(days in RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX, at: u64, age: u64) {
        for class in RetentionClass::ALL {
            let mut settings = RetentionDays::default();
            settings.set(class, days);
            let now = at.saturating_add(age);
            let past = settings.is_past(class, TimestampMs(at), TimestampMs(now));
            let kept = u64::from(days) * DAY_MS;
            prop_assert_eq!(past, now - at >= kept && at.checked_add(kept).is_some());
            settings.set(class, days + 1);
            prop_assert!(past || !settings.is_past(class, TimestampMs(at), TimestampMs(now)));
        }
    }
}
