//! A new epoch: who is lost, what they were lent, and what a restored cluster keeps.

use only1mcp_domain::apply::first_node_of_next_epoch;
use only1mcp_domain::audit::{EventKind, Severity};
use only1mcp_domain::command::{
    BackupNote, BeginEpoch, Command, EpochCause, RegisterNode, Restored, Secret32,
};
use only1mcp_domain::ids::{Digest, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::{Outcome, Rejection};

use crate::apply_world::*;
use crate::ledger::{Books, account, ask, budget, part};

fn begin(epoch: u64, cause: EpochCause) -> Command {
    Command::BeginEpoch(Box::new(BeginEpoch { epoch, cause }))
}

fn restored(name: &str) -> EpochCause {
    EpochCause::Restored(Box::new(Restored {
        cluster_id: Digest([70; 32]),
        session_key: Secret32([90; 32]),
        node: register(name),
        backup: Digest([71; 32]),
    }))
}

fn voter(world: &mut World, name: &str) -> NodeId {
    let id = world.join(name);
    world.must(Command::SetNodeRole { node: id, role: NodeRole::Voter });
    id
}

#[test]
fn a_restored_cluster_has_one_new_member_and_everything_else() {
    let mut world = World::with_acme();
    let before = world.state.clone();
    voter(&mut world, "n2");
    world.must(Command::CreateJoinToken(token("t")));
    assert_eq!(
        world.submit(&operator(), begin(2, restored("n1"))).outcome,
        Err(Rejection::Forbidden { permission: "local socket".to_owned() }),
        "only the host that has the folder to itself"
    );
    let id = first_node_of_next_epoch(world.state.cluster.as_ref().unwrap());
    assert_eq!(id, NodeId(limits::EPOCH_NODE_IDS + 1));
    let done = world.submit(&local(), begin(2, restored("n1")));
    assert!(done.outcome.is_ok(), "{:?}", done.outcome);
    let state = &world.state;
    let cluster = state.cluster.as_ref().unwrap();
    assert_eq!((cluster.epoch, cluster.id, cluster.next_node), (2, Digest([70; 32]), NodeId(id.0 + 1)));
    assert_eq!(cluster.session_key, Secret32([90; 32]));
    assert_eq!(cluster.key_hash_key, before.cluster.as_ref().unwrap().key_hash_key, "keys still work");
    assert_eq!(state.nodes.keys().copied().collect::<Vec<_>>(), [id]);
    assert_eq!(state.nodes.get(&id).unwrap().value.role, NodeRole::Voter);
    assert_eq!((&state.api_keys, &state.grants), (&before.api_keys, &before.grants));
    assert!(state.join_tokens.is_empty() && state.activity.is_empty());
    assert_eq!(state.clocks.keys().copied().collect::<Vec<_>>(), [id]);
    assert!(before.commands_seen.iter().all(|(id, seen)| state.commands_seen.get(id) == Some(seen)));
    world.assert_mirrored();
    let event = world.last_event();
    assert_eq!((event.kind, event.severity), (EventKind::BackupRestored, Severity::Critical));
    let told = |name: &str| event.details.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    assert_eq!(told("epoch").as_deref(), Some("2"));
    assert_eq!(told("backup"), Some(Digest([71; 32]).to_string()));
    assert_eq!(told("members_lost").as_deref(), Some("2"));
    assert!(!format!("{:?}", world.events).contains("5a5a"), "no secret is in the chain");
    // The same name may come again, as a new node.
    assert_eq!(world.join("n2"), NodeId(id.0 + 1));
    world.assert_mirrored();
}

#[test]
fn epochs_follow_each_other() {
    let mut world = World::formed();
    for wrong in [0, 1, 3, u64::MAX] {
        assert!(world.submit(&local(), begin(wrong, restored("n9"))).outcome.is_err(), "{wrong}");
    }
    assert!(world.submit(&local(), begin(2, restored("n9"))).outcome.is_ok());
    assert!(world.submit(&local(), begin(2, restored("n9"))).outcome.is_err(), "not twice");
    let mut empty = World::empty();
    assert_eq!(empty.submit(&local(), begin(2, restored("n9"))).outcome, Err(Rejection::NotFormed {}));
    let mut same = World::formed();
    let EpochCause::Restored(mut cause) = restored("n9") else { panic!() };
    cause.cluster_id = same.state.cluster.as_ref().unwrap().id;
    assert!(same.submit(&local(), begin(2, EpochCause::Restored(cause))).outcome.is_err());
}

/// Ids that the old cluster gave after the backup, up to the bound, are not given again.
#[test]
fn epoch_node_ids() {
    let mut cluster = World::formed().state.cluster.unwrap();
    for (next, first) in [
        (2, limits::EPOCH_NODE_IDS + 1),
        (limits::EPOCH_NODE_IDS, limits::EPOCH_NODE_IDS + 1),
        (limits::EPOCH_NODE_IDS + 1, 2 * limits::EPOCH_NODE_IDS + 1),
    ] {
        cluster.next_node = NodeId(next);
        assert_eq!(first_node_of_next_epoch(&cluster), NodeId(first), "after {next}");
    }
}

/// INVARIANT: P1
#[test]
fn what_lost_members_were_lent_is_spent() {
    for (cause, reason, left) in [
        (restored("n1"), "unattributed_restart", 0),
        (EpochCause::MajorityLost { node: NodeId(1) }, "node_removed", 30),
    ] {
        let mut books = Books::new(&[budget("b", 100), budget("other", 100)]);
        for node in [1, 2] {
            books.post(node, vec![ask(false, 1, vec![part(account("b"), 30, 30)])]);
        }
        books.post(2, vec![ask(false, 2, vec![part(account("other"), 7, 7)])]);
        assert_eq!(books.of("b").outstanding(), 60);
        assert!(books.world.submit(&local(), begin(2, cause)).outcome.is_ok());
        assert_eq!((books.of("b").posted, books.of("b").outstanding()), (60 - left, left));
        assert_eq!((books.of("other").posted, books.of("other").outstanding()), (7, 0));
        let lost: Vec<_> = books.world.events.iter().filter(|event| event.action == "node.lost").collect();
        assert!(lost.iter().all(|event| event.reason == reason));
        let told = lost.iter().flat_map(|event| &event.details);
        let told = told.filter(|(name, _)| name.starts_with("posted in full"));
        let told: i128 = told.map(|(_, amount)| amount.parse::<i128>().unwrap()).sum();
        assert_eq!(told, 67 - left, "all of it stands in the chain");
        books.world.assert_mirrored();
    }
}

#[test]
fn a_survivor_goes_on_alone_and_bars_the_others() {
    let mut world = World::with_acme();
    let (n2, n3) = (voter(&mut world, "n2"), world.join("n3"));
    let id = world.state.cluster.as_ref().unwrap().id;
    let unknown = world.submit(&local(), begin(2, EpochCause::MajorityLost { node: NodeId(9) })).outcome;
    assert!(matches!(unknown, Err(Rejection::NotFound { .. })));
    // A learner may be all that is left.
    assert!(world.submit(&local(), begin(2, EpochCause::MajorityLost { node: n3 })).outcome.is_ok());
    let role = |id| world.state.nodes.get(&id).unwrap().value.role;
    assert_eq!(
        (role(NodeId(1)), role(n2), role(n3)),
        (NodeRole::Removed, NodeRole::Removed, NodeRole::Voter)
    );
    let cluster = world.state.cluster.as_ref().unwrap();
    assert_eq!((cluster.epoch, cluster.id), (2, id));
    assert_eq!(world.last_event().action, "cluster.recover_unsafe");
    world.assert_mirrored();
    let alone = world.submit(&local(), begin(3, EpochCause::MajorityLost { node: n3 })).outcome;
    assert!(alone.is_err(), "there is nobody left to lose");
    let gone = world.submit(&local(), begin(3, EpochCause::MajorityLost { node: n2 })).outcome;
    assert_eq!(gone, Err(Rejection::NodeBarred { name: "n2".to_owned() }));
    world.must(Command::CreateJoinToken(token("again")));
    let back = RegisterNode { token: Some(key_id("again")), ..register("n2") };
    let refused = world.submit(&local(), Command::RegisterNode(back)).outcome;
    assert_eq!(refused, Err(Rejection::NodeBarred { name: "n2".to_owned() }));
}

#[test]
fn a_backup_is_told_before_it_is_given() {
    let mut world = World::with_acme();
    assert!(matches!(world.must(Command::NoteBackup(BackupNote { node: NodeId(1) })), Outcome::Done { .. }));
    assert_eq!(world.last_event().kind, EventKind::BackupCreated);
    world.refused(Command::NoteBackup(BackupNote { node: NodeId(7) }));
    let ann = world.submit(&by_key("acme", "ann"), Command::NoteBackup(BackupNote { node: NodeId(1) }));
    assert!(matches!(ann.outcome, Err(Rejection::Forbidden { .. })));
}
