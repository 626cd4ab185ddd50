//! Forming, joining, leaving, settings, log time.

use only1mcp_domain::audit::{EventKind, EventOutcome, Severity};
use only1mcp_domain::command::{Command, RegisterNode};
use only1mcp_domain::ids::{Incarnation, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{ClusterSettings, NodeRole};
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Effect, Outcome, Rejection};

use crate::apply_world::*;

#[test]
fn nothing_is_done_before_the_cluster_is_formed() {
    let mut world = World::empty();
    let refused = world.refused(Command::CreateTenant(Box::new(tenant("acme"))));
    assert_eq!(refused, Rejection::NotFormed {});
    assert_eq!(
        world.submit(&node(1), Command::Tick { node: NodeId(1) }).outcome,
        Err(Rejection::NotFormed {})
    );
    assert_eq!(world.events.len(), 1, "the tick leaves no event");
    world.assert_mirrored();
}

#[test]
fn forming_makes_node_one_and_its_administrator() {
    let mut world = World::empty();
    let formed = world.submit(&local(), form());
    assert!(formed.effects.contains(&Effect::PolicyChanged { tenant: None }));
    assert!(
        formed.effects.contains(&Effect::NodesChanged) && formed.effects.contains(&Effect::SettingsChanged)
    );
    let state = &world.state;
    assert_eq!(state.nodes.get(&NodeId(1)).unwrap().value.role, NodeRole::Voter);
    assert_eq!(state.cluster.as_ref().unwrap().next_node, NodeId(2));
    assert_eq!(state.roles.len(), 4);
    assert_eq!(state.log_time, TimestampMs(START_MS));
    assert_eq!(state.policy_revision.0, 1);
    world.assert_mirrored();
    let text = format!("{:?}", world.events);
    assert!(!text.contains("0808") && !text.contains("0909"), "no key of the cluster is in the chain");
    assert_eq!(world.submit(&local(), form()).outcome, Err(Rejection::AlreadyFormed {}));
}

#[test]
fn a_token_admits_one_node_once() {
    let mut world = World::formed();
    let first = world.join("n2");
    assert_eq!(first, NodeId(2));
    assert_eq!(world.state.nodes.get(&first).unwrap().value.role, NodeRole::Learner);
    let again = RegisterNode { token: Some(key_id("t-n2")), ..register("n3") };
    let refused = world.submit(&local(), Command::RegisterNode(again)).outcome;
    assert_eq!(refused, Err(Rejection::TokenInvalid {}));
    let bare = world.submit(&local(), Command::RegisterNode(register("n3"))).outcome;
    assert_eq!(bare, Err(Rejection::TokenInvalid {}));

    world.must(Command::CreateJoinToken(token("t-late")));
    world.now_ms += 3_600_000;
    world.tick();
    let late = RegisterNode { token: Some(key_id("t-late")), ..register("n3") };
    let refused = world.submit(&local(), Command::RegisterNode(late)).outcome;
    assert_eq!(refused, Err(Rejection::TokenInvalid {}));
    world.assert_mirrored();
}

#[test]
fn a_name_in_use_or_barred_is_refused_and_the_token_kept() {
    let mut world = World::formed();
    let n2 = world.join("n2");
    world.must(Command::CreateJoinToken(token("t")));
    let twin = Command::RegisterNode(RegisterNode { token: Some(key_id("t")), ..register("n2") });
    let refused = world.submit(&local(), twin.clone()).outcome;
    assert_eq!(refused, Err(Rejection::AlreadyExists { kind: "node".to_owned(), id: "n2".to_owned() }));
    world.must(Command::RemoveNode { node: n2, lose_journal: false });
    let refused = world.submit(&local(), twin).outcome;
    assert_eq!(refused, Err(Rejection::NodeBarred { name: "n2".to_owned() }));
    let other = Command::RegisterNode(RegisterNode { token: Some(key_id("t")), ..register("n3") });
    let joined = world.submit(&local(), other).outcome;
    assert_eq!(
        joined,
        Ok(Outcome::NodeRegistered { node: NodeId(3) }),
        "the token was not used up; ids are not reused"
    );
    world.assert_mirrored();
}

#[test]
fn a_node_leaves_by_itself_but_neither_takes_others_along_nor_loses_its_journal() {
    let mut world = World::formed();
    let n2 = world.join("n2");
    world.join("n3");
    world.open(2);
    let forbidden = |refused| matches!(refused, Err(Rejection::Forbidden { .. }));
    let leave = |lose_journal| Command::RemoveNode { node: n2, lose_journal };
    assert!(forbidden(world.submit(&node(3), leave(false)).outcome));
    assert!(forbidden(world.submit(&node(2), leave(true)).outcome));
    assert!(world.submit(&node(2), Command::SealJournal { node: n2 }).outcome.is_ok());
    assert!(world.submit(&node(2), leave(false)).outcome.is_ok());
    world.assert_mirrored();
}

#[test]
fn a_node_with_an_unposted_journal_stays() {
    let mut world = World::formed();
    let n2 = world.join("n2");
    let incarnation = world.open(2);
    let posted = world.submit(&node(2), Command::Activity(batch(2, incarnation, 1, Vec::new())));
    assert!(posted.outcome.is_ok());
    let remove = |lose_journal| Command::RemoveNode { node: n2, lose_journal };
    assert_eq!(world.refused(remove(false)), Rejection::JournalUnposted { node: 2, last_sequence: 1 });

    let mut sealed = world.clone();
    assert!(sealed.submit(&node(2), Command::SealJournal { node: n2 }).outcome.is_ok());
    sealed.must(remove(false));
    assert_eq!(sealed.last_event().severity, Severity::Notice);
    sealed.assert_mirrored();

    world.must(remove(true));
    let event = world.last_event();
    assert_eq!((event.severity, event.resource.id.as_str()), (Severity::Critical, "2"));
    assert!(event.details.contains(&("last_sequence".to_owned(), "1".to_owned())));
    assert!(event.details.contains(&("name".to_owned(), "n2".to_owned())));
    assert!(world.state.activity.is_empty());
    world.assert_mirrored();
    let barred = Err(Rejection::NodeBarred { name: "n2".to_owned() });
    let sent = world.submit(&node(2), Command::Activity(batch(2, incarnation, 2, Vec::new()))).outcome;
    assert_eq!(sent, Err(Rejection::Forbidden { permission: "cluster member".to_owned() }));
    assert_eq!(world.submit(&operator(), remove(true)).outcome, barred);
}

#[test]
fn the_only_voter_stays() {
    let mut world = World::formed();
    let n2 = world.join("n2");
    let remove = Command::RemoveNode { node: NodeId(1), lose_journal: true };
    assert!(matches!(world.refused(remove.clone()), Rejection::InUse { .. }));
    let demote = Command::SetNodeRole { node: NodeId(1), role: NodeRole::Learner };
    assert!(matches!(world.refused(demote), Rejection::InUse { .. }));
    let promoted = world.submit(&node(1), Command::SetNodeRole { node: n2, role: NodeRole::Voter });
    assert_eq!(promoted.effects, [Effect::NodesChanged]);
    world.must(remove);
    let by_hand = Command::SetNodeRole { node: n2, role: NodeRole::Removed };
    assert!(matches!(world.refused(by_hand), Rejection::Invalid { .. }));
    world.assert_mirrored();
}

#[test]
fn an_update_without_change_leaves_no_event() {
    let mut world = World::formed();
    let update = |version: &str| Command::UpdateNode {
        node: NodeId(1),
        peer_address: "n1:7100".to_owned(),
        admin_address: "n1:7200".to_owned(),
        http_address: "n1:7300".to_owned(),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        version: version.to_owned(),
    };
    let same = world.submit(&node(1), update("0.1.0"));
    assert!(same.outcome.is_ok() && same.audit.is_empty() && same.effects.is_empty());
    let newer = world.submit(&node(1), update("0.2.0"));
    assert_eq!((newer.audit.len(), newer.effects), (1, vec![Effect::NodesChanged]));
    assert!(world.last_event().after_state.as_ref().unwrap().contains("\"version\":\"0.2.0\""));
    world.join("n2");
    let other = world.submit(&node(2), update("0.3.0")).outcome;
    assert!(matches!(other, Err(Rejection::Forbidden { .. })), "one node does not speak for another");
}

#[test]
fn settings_are_checked_and_versioned() {
    let mut world = World::formed();
    let good = ClusterSettings { staleness_ms_max: 3_000, ..ClusterSettings::new("renamed") };
    let set = |settings: &ClusterSettings, if_revision| Command::SetSettings {
        settings: settings.clone(),
        if_revision,
    };
    world.must(set(&good, Some(1)));
    assert_eq!(world.refused(set(&good, Some(1))), Rejection::RevisionMismatch { expected: 1, found: 2 });
    for bad in [
        ClusterSettings { cluster_name: String::new(), ..good.clone() },
        ClusterSettings { heartbeat_ms: 1, ..good.clone() },
        ClusterSettings { election_ms_min: 100, ..good.clone() },
        ClusterSettings { election_ms_max: 500, ..good.clone() },
        ClusterSettings { election_ms_max: 60_001, ..good.clone() },
        ClusterSettings { staleness_ms_max: 100, ..good.clone() },
        ClusterSettings { staleness_ms_max: 60_001, ..good.clone() },
        ClusterSettings { stale_wait_ms_max: 5_001, ..good.clone() },
        ClusterSettings { feature_level: 0, ..good.clone() },
        ClusterSettings { feature_level: limits::FEATURE_LEVEL_MAX + 1, ..good.clone() },
        ClusterSettings { stable_ms: 600, ..good.clone() },
        ClusterSettings { leader_region: "eu".to_owned(), ..good.clone() },
        ClusterSettings { leader_zone: "a".to_owned(), ..good.clone() },
    ] {
        assert!(matches!(world.refused(set(&bad, None)), Rejection::Invalid { .. }), "{bad:?}");
    }
    world.assert_mirrored();
}

/// FEATURE_LEVEL_MAX, STABLE_MS_MAX: what level 2 brought, and that there is no way back from it.
#[test]
fn feature_level_2_knows_stable_times_and_wanted_leaders() {
    let mut world = World::formed();
    let set =
        |settings: &ClusterSettings| Command::SetSettings { settings: settings.clone(), if_revision: None };
    let level_2 = ClusterSettings { feature_level: 2, ..ClusterSettings::new("test") };
    world.must(set(&level_2));
    let good = ClusterSettings {
        stable_ms: limits::STABLE_MS_MAX,
        leader_region: "eu".to_owned(),
        leader_zone: "x".repeat(limits::NAME_BYTES_MAX),
        ..level_2.clone()
    };
    world.must(set(&good));
    for bad in [
        ClusterSettings { feature_level: 1, ..ClusterSettings::new("test") },
        ClusterSettings { stable_ms: 0, ..good.clone() },
        ClusterSettings { stable_ms: limits::STABLE_MS_MAX + 1, ..good.clone() },
        ClusterSettings { leader_region: "x".repeat(limits::NAME_BYTES_MAX + 1), ..good.clone() },
        ClusterSettings { leader_zone: "x".repeat(limits::NAME_BYTES_MAX + 1), ..good.clone() },
    ] {
        assert!(matches!(world.refused(set(&bad)), Rejection::Invalid { .. }), "{bad:?}");
    }
    world.assert_mirrored();
}

#[test]
fn one_clock_a_year_off_does_not_move_log_time() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let mut world = World::formed();
    for (name, id) in [("n2", 2), ("n3", 3)] {
        world.join(name);
        let promote = Command::SetNodeRole { node: NodeId(id), role: NodeRole::Voter };
        assert!(world.submit(&node(1), promote).outcome.is_ok());
    }
    let tick = |world: &mut World, id: u64, at: u64| {
        world.now_ms = at;
        assert!(world.submit(&node(id), Command::Tick { node: NodeId(id) }).outcome.is_ok());
        world.state.log_time.0 - START_MS
    };
    assert_eq!(tick(&mut world, 3, START_MS + YEAR_MS), 0);
    assert_eq!(
        tick(&mut world, 1, START_MS + 5_000),
        5_000,
        "node 2, which has told none, counts as the earliest"
    );
    assert_eq!(tick(&mut world, 2, START_MS + 4_000), 5_000);
    assert_eq!(tick(&mut world, 3, START_MS + 6_000), 5_000, "a clock that was put right counts again");
    assert_eq!(tick(&mut world, 2, START_MS + 7_000), 6_000);
    // Time stands in who proposes: a person's entry carries no clock that counts.
    world.now_ms = START_MS + YEAR_MS;
    world.must(Command::CreateTenant(Box::new(tenant("acme"))));
    assert_eq!(world.state.log_time.0, START_MS + 6_000);
    assert_eq!(world.last_event().observed_at.0, START_MS + YEAR_MS);
    world.assert_mirrored();
}

#[test]
fn a_stranger_node_has_no_clock_and_no_voice() {
    let mut world = World::formed();
    world.now_ms += 1_000_000;
    let tick = world.submit(&node(9), Command::Tick { node: NodeId(9) });
    assert!(tick.outcome.is_err() && tick.audit.is_empty());
    assert_eq!(world.state.log_time.0, START_MS);
    let batch = world.submit(&node(9), Command::Activity(batch(9, Incarnation(1), 1, Vec::new())));
    assert!(batch.outcome.is_err() && batch.audit.is_empty());
    let forged = world.submit(&node(1), Command::Tick { node: NodeId(9) });
    assert!(matches!(forged.outcome, Err(Rejection::Forbidden { .. })));
}

#[test]
fn a_rejected_command_is_audited_as_such() {
    let mut world = World::with_acme();
    let tried = world.submit(&by_key("acme", "dev"), Command::CreateTenant(Box::new(tenant("mine"))));
    assert_eq!(tried.outcome, Err(Rejection::Forbidden { permission: "GlobalAdmin in system".to_owned() }));
    let event = world.last_event();
    assert_eq!((event.kind, event.outcome), (EventKind::AccessDenied, EventOutcome::Denied));
    assert_eq!((event.reason.as_str(), event.tenant.as_str()), ("FORBIDDEN", "acme"));
    assert_eq!(event.action, "tenant.create");
    world.refused(Command::CreateTenant(Box::new(tenant("acme"))));
    let event = world.last_event();
    assert_eq!((event.kind, event.outcome), (EventKind::ConfigurationChange, EventOutcome::Failure));
    assert_eq!(event.reason, "ALREADY_EXISTS");
}

/// FEATURE_LEVEL_SIGNING: from there on a node has a key of its own, and events that change who signs name all signers.
#[test]
fn signers_are_told_by_every_event_that_changes_them() {
    use only1mcp_domain::audit::{SIGNER_DETAIL, Signers};
    use only1mcp_domain::ids::PublicKey;

    let mut world = World::formed();
    let key = |node: u64, byte| Command::SetSigningKey { node: NodeId(node), key: PublicKey([byte; 32]) };
    let early = world.submit(&node(1), key(1, 1)).outcome;
    assert!(matches!(early, Err(Rejection::Invalid { .. })), "{early:?}");
    let n2 = world.join("n2");
    world.must(Command::SetNodeRole { node: n2, role: NodeRole::Voter });
    let told = |world: &World| Signers::told_by(world.last_event());
    assert_eq!(told(&world), None, "below feature level 3 events are as they were");
    let level =
        ClusterSettings { feature_level: limits::FEATURE_LEVEL_SIGNING, ..ClusterSettings::new("test") };
    world.must(Command::SetSettings { settings: level, if_revision: None });

    let first = world.submit(&node(1), key(1, 1));
    assert!(first.outcome.is_ok());
    let signers = |keys: &[(u64, Option<u8>)]| {
        let key = |(node, byte): &(u64, Option<u8>)| (NodeId(*node), byte.map(|byte| PublicKey([byte; 32])));
        Some(Signers(keys.iter().map(key).collect()))
    };
    assert_eq!(told(&world), signers(&[(1, Some(1)), (2, None)]));
    let again = world.submit(&node(1), key(1, 1));
    assert!(again.outcome.is_ok() && again.audit.is_empty(), "nothing changed, nothing is told");
    let stolen = world.submit(&node(2), key(2, 1)).outcome;
    assert!(matches!(stolen, Err(Rejection::Invalid { .. })), "{stolen:?}");
    let others = world.submit(&node(2), key(1, 9)).outcome;
    assert!(matches!(others, Err(Rejection::Forbidden { .. })), "{others:?}");
    world.submit(&node(2), key(2, 2)).outcome.unwrap();
    world.submit(&node(2), key(2, 3)).outcome.unwrap();
    assert_eq!(told(&world), signers(&[(1, Some(1)), (2, Some(3))]));
    let details = world.last_event().details.clone();
    assert!(details.iter().any(|(name, value)| name == "signing_key_before" && *value == "02".repeat(32)));
    assert_eq!(details.iter().filter(|(name, _)| name.starts_with(SIGNER_DETAIL)).count(), 2);
    world.must(Command::SetNodeRole { node: n2, role: NodeRole::Learner });
    assert_eq!(told(&world), signers(&[(1, Some(1))]));
    world.assert_mirrored();
}
