//! Persons' keys: given, wrapped anew, erased; and when nobody can read what was sealed under them any more.

use only1mcp_domain::audit::{EventKind, decode, encode};
use only1mcp_domain::command::{Actor, AdoptKeys, Command};
use only1mcp_domain::ids::*;
use only1mcp_domain::limits;
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Applied, Rejection};

use crate::apply_world::*;

fn slot(key: u8) -> Slot {
    Slot { key: SubjectKeyId([key; 16]), commitment: Digest([key; 32]), ciphertext: vec![key; 40] }
}

fn wrapped(key: u8, generation: u32) -> WrappedKey {
    WrappedKey { id: SubjectKeyId([key; 16]), generation, bytes: vec![key; 81] }
}

fn subject_key(id: &str, key: u8, generation: u32) -> SubjectKey {
    SubjectKey { tenant: tenant_id("acme"), principal: principal_id(id), key: wrapped(key, generation) }
}

fn sealed(id: &str, key: u8, brings: Option<u32>) -> Principal {
    let personal = Personal { slot: slot(key), key: brings.map(|generation| wrapped(key, generation)) };
    Principal {
        display_name: String::new(),
        email: String::new(),
        personal: Some(personal),
        ..principal("acme", id)
    }
}

fn check(generation: u32) -> Digest {
    Digest([generation as u8; 32])
}

fn by_node(world: &mut World, id: u64, command: Command) -> Applied {
    world.submit(&node(id), command)
}

fn tell(world: &mut World, id: u64, oldest: u32, newest: u32) -> Applied {
    let held = Held { oldest, newest, check: check(newest), destroyed_at: TimestampMs(0) };
    let applied = by_node(world, id, Command::TellGenerations { node: NodeId(id), held });
    assert!(applied.outcome.is_ok(), "{:?}", applied.outcome);
    applied
}

/// Offered by node 1 and held by it alone.
fn generation(world: &mut World, generation: u32) {
    let offer = Offer { generation, check: check(generation), node: NodeId(1) };
    assert!(by_node(world, 1, Command::OfferGeneration(offer)).outcome.is_ok());
    let oldest = world.state.oldest_generation_held().max(1);
    tell(world, 1, oldest, generation);
    let begun = by_node(world, 1, Command::BeginGeneration { generation });
    assert!(begun.outcome.is_ok(), "{:?}", begun.outcome);
}

fn level_3(world: &mut World) {
    let settings = ClusterSettings { feature_level: 3, ..ClusterSettings::new("test") };
    world.must(Command::SetSettings { settings, if_revision: None });
}

fn sealing_world() -> World {
    let mut world = World::with_acme();
    level_3(&mut world);
    generation(&mut world, 1);
    world
}

fn erase(id: &str) -> Command {
    Command::EraseSubject { tenant: tenant_id("acme"), principal: principal_id(id) }
}

fn subject<'a>(world: &'a World, id: &str) -> &'a Subject {
    &world.state.subjects[&(tenant_id("acme"), principal_id(id))]
}

#[test]
fn a_person_comes_with_a_key_and_goes_with_it() {
    let mut world = sealing_world();
    assert!(matches!(
        world.refused(Command::CreatePrincipal(sealed("eve", 7, Some(2)))),
        Rejection::Invalid { .. }
    ));
    assert!(matches!(
        world.refused(Command::CreatePrincipal(sealed("eve", 7, None))),
        Rejection::Invalid { .. }
    ));
    let told_besides = Principal { email: "e@x".to_owned(), ..sealed("eve", 7, Some(1)) };
    assert!(matches!(world.refused(Command::CreatePrincipal(told_besides)), Rejection::Invalid { .. }));
    let actor = Actor { ip: None, user_agent: String::new(), personal: Some(slot(9)), ..operator() };
    assert!(world.submit(&actor, Command::CreatePrincipal(sealed("eve", 7, Some(1)))).outcome.is_ok());
    let event = world.last_event();
    assert_eq!(event.personal, [(SlotPart::Context, slot(9)), (SlotPart::After, slot(7))]);
    assert!(!event.after_state.as_ref().unwrap().contains("display_name"));
    let kept = &world.state.principals[&(tenant_id("acme"), principal_id("eve"))].value;
    assert_eq!(kept.personal, Some(Personal { slot: slot(7), key: None }));
    assert_eq!(subject(&world, "eve").key, Some(wrapped(7, 1)));
    // Another's key is nobody's.
    assert!(matches!(
        world.refused(Command::CreatePrincipal(sealed("mal", 7, Some(1)))),
        Rejection::Invalid { .. }
    ));
    world.must(Command::CreateApiKey(key("acme", "eve", "key-eve")));
    world.must(Command::CreateGrant(grant("acme", "g-eve", "eve", "developer")));
    world.must(erase("eve"));
    let event = world.last_event();
    assert_eq!((event.kind, event.action.as_str()), (EventKind::DataDeletion, "subject.erase"));
    assert_eq!((event.before_state.as_ref(), event.personal.len()), (None, 0));
    assert!(!world.state.principals.contains_key(&(tenant_id("acme"), principal_id("eve"))));
    assert!(!world.state.api_keys.contains_key(&key_id("key-eve")));
    assert_eq!(world.state.lookup.subject_of(SubjectKeyId([7; 16])), None);
    let gone = subject(&world, "eve").clone();
    assert_eq!((gone.key, gone.erased.unwrap().generation), (None, 1));
    assert!(matches!(
        world.refused(Command::CreatePrincipal(principal("acme", "eve"))),
        Rejection::Invalid { .. }
    ));
    assert!(matches!(world.refused(erase("eve")), Rejection::Invalid { .. }));
    assert!(matches!(world.refused(erase("nobody")), Rejection::NotFound { .. }));
    world.assert_mirrored();
}

#[test]
fn a_legal_hold_keeps_from_erasing() {
    let mut world = sealing_world();
    let hold = |text: &str| Command::HoldSubject {
        tenant: tenant_id("acme"),
        principal: principal_id("dev"),
        hold: text.to_owned(),
    };
    world.must(hold("case 7"));
    assert!(matches!(world.refused(erase("dev")), Rejection::InUse { .. }));
    assert!(matches!(
        world.refused(hold(&"x".repeat(limits::LABEL_BYTES_MAX + 1))),
        Rejection::Invalid { .. }
    ));
    world.must(hold(""));
    world.must(erase("dev"));
    assert!(matches!(world.refused(hold("too late")), Rejection::Invalid { .. }));
    world.assert_mirrored();
}

/// INVARIANT: P6: no name is sealed under a key that one node alone has.
#[test]
fn a_generation_begins_once_a_majority_of_voters_hold_its_key() {
    let mut world = World::with_acme();
    let offer = |generation| {
        Command::OfferGeneration(Offer { generation, check: check(generation), node: NodeId(1) })
    };
    assert!(by_node(&mut world, 1, offer(1)).outcome.is_err(), "the feature level is too low");
    level_3(&mut world);
    for (name, id) in [("n2", 2), ("n3", 3)] {
        world.join(name);
        let promote = Command::SetNodeRole { node: NodeId(id), role: NodeRole::Voter };
        assert!(world.submit(&node(1), promote).outcome.is_ok());
    }
    assert!(by_node(&mut world, 1, offer(2)).outcome.is_err(), "not the next one");
    assert!(by_node(&mut world, 1, offer(1)).outcome.is_ok());
    let begin = Command::BeginGeneration { generation: 1 };
    tell(&mut world, 1, 1, 1);
    assert!(by_node(&mut world, 1, begin.clone()).outcome.is_err(), "one of three");
    let other = Held { oldest: 1, newest: 1, check: check(9), destroyed_at: TimestampMs(0) };
    assert!(
        by_node(&mut world, 2, Command::TellGenerations { node: NodeId(2), held: other }).outcome.is_ok()
    );
    assert!(by_node(&mut world, 1, begin.clone()).outcome.is_err(), "another key");
    let held = Held { oldest: 1, newest: 1, check: check(1), destroyed_at: TimestampMs(0) };
    let forged = Command::TellGenerations { node: NodeId(3), held };
    assert!(by_node(&mut world, 1, forged).outcome.is_err(), "each tells for itself");
    tell(&mut world, 2, 1, 1);
    assert!(by_node(&mut world, 1, begin).outcome.is_ok());
    assert_eq!((world.state.erasure.generation, world.state.erasure.check), (1, Some(check(1))));
    assert_eq!(world.state.oldest_generation_held(), 0, "node 3 has not said yet");
    world.assert_mirrored();
}

#[test]
fn who_is_erased_is_unrecoverable_once_every_member_destroyed_the_generation() {
    let mut world = sealing_world();
    let joined = world.join("n2");
    world.must(Command::CreatePrincipal(sealed("eve", 7, Some(1))));
    world.must(Command::CreatePrincipal(sealed("bob", 8, Some(1))));
    tell(&mut world, joined.0, 1, 1);
    world.must(erase("eve"));
    world.must(Command::WantGeneration);
    assert!(world.state.erasure.wanted);
    generation(&mut world, 2);
    assert!(!world.state.erasure.wanted);
    let old = Command::RewrapSubjects(vec![subject_key("bob", 8, 1)]);
    assert!(by_node(&mut world, 1, old).outcome.is_err(), "of a generation that is past");
    let rewrapped = Command::RewrapSubjects(vec![subject_key("bob", 8, 2), subject_key("eve", 7, 2)]);
    assert!(by_node(&mut world, 1, rewrapped).outcome.is_ok());
    assert_eq!(subject(&world, "bob").key, Some(wrapped(8, 2)));
    assert_eq!(subject(&world, "eve").key, None, "nothing brings a person back");
    tell(&mut world, 1, 2, 2);
    assert_eq!(subject(&world, "eve").erased.unwrap().unrecoverable_since, None, "node 2 has it still");
    world.now_ms += 5_000;
    world.tick();
    let told = tell(&mut world, joined.0, 2, 2);
    assert_eq!(told.audit.len(), 1);
    assert_eq!(world.last_event().action, "erasure.destroyed");
    let since = subject(&world, "eve").erased.unwrap().unrecoverable_since;
    assert_eq!(since, Some(world.state.log_time));
    world.assert_mirrored();
}

/// SUBJECT_KEYS_MAX.
#[test]
fn keys_are_given_to_those_who_have_none() {
    let mut world = sealing_world();
    let add = |keys: Vec<SubjectKey>| Command::AddSubjectKeys(keys);
    assert!(
        by_node(&mut world, 1, add(vec![subject_key("dev", 3, 1), subject_key("nobody", 4, 1)]))
            .outcome
            .is_ok()
    );
    assert_eq!(subject(&world, "dev").key, Some(wrapped(3, 1)));
    assert!(!world.state.subjects.contains_key(&(tenant_id("acme"), principal_id("nobody"))));
    assert!(by_node(&mut world, 1, add(vec![subject_key("dev", 5, 1)])).outcome.is_ok());
    assert_eq!(subject(&world, "dev").key, Some(wrapped(3, 1)), "whoever has a key keeps it");
    let many = |n: usize| add(vec![subject_key("dev", 3, 1); n]);
    assert!(by_node(&mut world, 1, many(limits::SUBJECT_KEYS_MAX)).outcome.is_ok());
    assert!(by_node(&mut world, 1, many(limits::SUBJECT_KEYS_MAX + 1)).outcome.is_err());
    assert!(matches!(world.refused(add(Vec::new())), Rejection::Forbidden { .. }), "nodes alone");
    // A key that no member can open any more is replaced.
    generation(&mut world, 2);
    tell(&mut world, 1, 2, 2);
    assert!(by_node(&mut world, 1, add(vec![subject_key("dev", 6, 2)])).outcome.is_ok());
    assert_eq!(subject(&world, "dev").key, Some(wrapped(6, 2)));
    world.assert_mirrored();
}

#[test]
fn keys_are_adopted_where_they_are_lost_alone() {
    let mut world = sealing_world();
    let adopt = |generation: u32| {
        Command::AdoptKeys(Box::new(AdoptKeys {
            generation,
            check: check(generation),
            keys: vec![subject_key("dev", 3, generation)],
            erased: Vec::new(),
        }))
    };
    assert!(matches!(world.refused(adopt(1)), Rejection::Forbidden { .. }), "the host's administrator alone");
    let here = world.submit(&local(), adopt(2));
    assert!(here.outcome.is_err(), "this cluster's generation is not lost");
    assert!(world.submit(&local(), adopt(1)).outcome.is_ok());
    world.assert_mirrored();
}

#[test]
fn an_event_with_sealed_parts_has_a_form_of_its_own() {
    let mut world = sealing_world();
    world.must(Command::CreatePrincipal(sealed("eve", 7, Some(1))));
    let event = world.last_event().clone();
    let bytes = encode(&event);
    assert_eq!(bytes[0], 2);
    assert_eq!(decode(&bytes).unwrap(), event);
    let open = only1mcp_domain::audit::AuditEvent { personal: Vec::new(), ..event };
    let plain = encode(&open);
    assert_eq!(plain[0], 1);
    // Neither is the other with a piece cut off or added.
    let mut swapped = bytes.clone();
    swapped[0] = 1;
    assert!(decode(&swapped).is_err());
    let mut swapped = plain;
    swapped[0] = 2;
    assert!(decode(&swapped).is_err());
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// DELETION_MS_MAX: a key-encryption key that can still be called back makes it later, by so much and no more.
#[test]
fn who_is_erased_is_unrecoverable_when_what_wrapped_the_generation_cannot_be_called_back() {
    let mut world = sealing_world();
    let joined = world.join("n2");
    world.must(Command::CreatePrincipal(sealed("eve", 7, Some(1))));
    tell(&mut world, joined.0, 1, 1);
    world.must(erase("eve"));
    generation(&mut world, 2);
    let destroyed = |world: &mut World, id: u64, at: u64| {
        let held = Held { oldest: 2, newest: 2, check: check(2), destroyed_at: TimestampMs(at) };
        by_node(world, id, Command::TellGenerations { node: NodeId(id), held }).outcome
    };
    let now = world.state.log_time.0;
    let week = limits::DELETION_MS_MAX;
    assert!(destroyed(&mut world, 1, now + week).is_ok());
    assert_eq!(subject(&world, "eve").erased.unwrap().unrecoverable_since, None, "node 2 has it still");
    let mut early = world.clone();
    assert!(destroyed(&mut world, joined.0, now + 3 * week).is_err(), "that is no such time");
    assert!(destroyed(&mut world, joined.0, 0).is_ok());
    let since = subject(&world, "eve").erased.unwrap().unrecoverable_since;
    assert_eq!(since, Some(TimestampMs(now + week)), "the latest of all members");
    // Where all is gone already, it is now.
    let world = &mut early;
    let late = Held { oldest: 2, newest: 2, check: check(2), destroyed_at: TimestampMs(1) };
    assert!(by_node(world, 1, Command::TellGenerations { node: NodeId(1), held: late }).outcome.is_ok());
    assert!(destroyed(world, joined.0, 0).is_ok());
    let since = subject(world, "eve").erased.unwrap().unrecoverable_since.unwrap();
    assert!(since.0 < now + week && since.0 >= now, "{since:?}");
    world.assert_mirrored();
}
