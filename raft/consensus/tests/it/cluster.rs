//! The life of a cluster: forming, joining, losing a leader, coming back, snapshots, removal.

use std::time::Duration;

use only1mcp_consensus::{ProposeError, ReadError, Role};
use only1mcp_domain::audit::Verifier;
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::{AuditIndex, NodeId};
use tokio::time::Instant;

use crate::world::{World, soon, timing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_forms_grows_and_survives_its_leader() {
    let mut world = World::new(3).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;

    // From a follower, through the leader, with the outcome applied there.
    let index = world.tick(3).await;
    assert!(world.handle(3).read_index(soon()).await.unwrap() >= index);
    assert!(world.handle(2).read_lease(soon()).await.unwrap() >= index);
    let state = world.agree(&[1, 2, 3]).await;
    assert_eq!(state.nodes.len(), 3);

    let status = world.handle(1).status();
    assert_eq!(status.role, Role::Leader);
    assert_eq!(status.members.iter().filter(|member| member.voter).count(), 3);
    assert!(status.members.iter().all(|member| member.lag_entries.is_some()));

    // The leader dies; the others go on, within a few elections.
    world.kill(1).await;
    let died = Instant::now();
    let leader = world.wait_leader(&[2, 3]).await;
    assert!(
        died.elapsed() < Duration::from_millis(timing().election_ms_max * 4),
        "took {:?}",
        died.elapsed()
    );
    let follower = if leader == 2 { 3 } else { 2 };
    let after = world.tick(follower).await;

    // It comes back, keeps from voting for a while, and catches up.
    world.start(1).await;
    assert!(world.handle(1).status().votes_withheld);
    world.handle(1).wait_applied(after, soon()).await.unwrap();
    world.agree(&[1, 2, 3]).await;

    // Its audit chain is whole.
    let events = world.handle(1).audit_events(AuditIndex(1), 1_000).unwrap();
    let mut verifier = Verifier::default();
    for event in &events {
        verifier.push(event).unwrap();
    }
    assert_eq!(verifier.head(), world.handle(1).state().chain);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_promised() {
    let mut world = World::new(3).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    world.agree(&[1, 2, 3]).await;
    world.kill(2).await;
    world.kill(3).await;

    let entry = world.entry(Command::Tick { node: NodeId(1) }, Via::Node(NodeId(1)));
    let deadline = Instant::now() + Duration::from_millis(700);
    match world.handle(1).propose(entry, deadline).await {
        Err(ProposeError::Unknown { .. } | ProposeError::NotReady) => {}
        other => panic!("{other:?}"),
    }
    let deadline = Instant::now() + Duration::from_millis(700);
    assert_eq!(world.handle(1).read_index(deadline).await, Err(ReadError::NotReady));
    // Its lease runs out too.
    tokio::time::sleep(Duration::from_millis(timing().election_ms_max)).await;
    let deadline = Instant::now() + Duration::from_millis(300);
    assert_eq!(world.handle(1).read_lease(deadline).await, Err(ReadError::NotReady));

    world.start(2).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_joiner_gets_a_snapshot_and_the_whole_chain() {
    let mut world = World::new(2).await;
    world.snapshot_every = 50;
    world.keep = 5;
    world.form().await;
    for _ in 0..120 {
        world.tick(1).await;
    }
    // The log no longer reaches back to the beginning.
    let deadline = soon();
    while world.handle(1).status().purged == 0 {
        assert!(Instant::now() < deadline, "nothing was purged: {:?}", world.handle(1).status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut notes = None;
    world.register(2).await;
    world.start(2).await;
    notes.replace(world.handle(2).notes());
    let handle = world.handle(1);
    handle.add_learner(NodeId(2), soon()).await.unwrap();
    handle.promote(NodeId(2), soon()).await.unwrap();
    world.agree(&[1, 2]).await;
    assert!(notes.unwrap().recv().await.unwrap().resync);
    assert!(world.handle(2).status().snapshot > 0);

    let events = world.handle(2).audit_events(AuditIndex(1), 1_000).unwrap();
    assert_eq!(events, world.handle(1).audit_events(AuditIndex(1), 1_000).unwrap());
    assert_eq!(events.last().unwrap().index, world.handle(2).state().chain.index);

    // And finds all of it again after a restart.
    world.kill(2).await;
    world.start(2).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_loss_of_all_nodes_loses_nothing_acknowledged() {
    let mut world = World::new(3).await;
    world.snapshot_every = 20;
    world.keep = 5;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    let mut acknowledged = 0;
    for _ in 0..40 {
        acknowledged = world.tick(2).await;
    }
    let before = world.agree(&[1, 2, 3]).await;
    for (id, seed) in [(1, 11), (2, 22), (3, 33)] {
        world.power_loss(id, seed).await;
    }
    for id in 1..=3 {
        world.start(id).await;
    }
    world.wait_leader(&[1, 2, 3]).await;
    let after = world.agree(&[1, 2, 3]).await;
    assert!(after.last_applied >= acknowledged);
    assert!(after.chain.index >= before.chain.index);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_and_a_removed_leader_steps_down() {
    let mut world = World::new(3).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    world.handle(3).transfer_leader(NodeId(2), soon()).await.unwrap();
    assert_eq!(world.wait_leader(&[2]).await, 2);
    world.tick(1).await;

    world.handle(1).remove(NodeId(2), soon()).await.unwrap();
    let leader = world.wait_leader(&[1, 3]).await;
    let status = world.handle(leader).status();
    assert_eq!(status.members.len(), 2);
    world.tick(1).await;
    world.agree(&[1, 3]).await;
    world.handle(1).remove(NodeId(3), soon()).await.unwrap();
    let refused = world.handle(1).remove(NodeId(1), soon()).await;
    assert!(refused.is_err(), "the last voter went");
}

async fn wait_members(world: &World, at: u64, expected: &[u64]) {
    let deadline = soon();
    loop {
        let status = world.handle(at).status();
        let members: Vec<u64> = status.members.iter().map(|member| member.node.0).collect();
        if members == expected && !status.changing {
            return;
        }
        assert!(Instant::now() < deadline, "the members are {members:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The two steps of a removal are two entries, and a leader may die between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_left_halfway_is_finished_by_whoever_leads() {
    let mut world = World::new(4).await;
    world.form().await;
    for id in 2..=4 {
        world.join(id).await;
    }
    let remove = |node| Command::RemoveNode { node: NodeId(node), lose_journal: true };
    world.command(1, remove(4), Via::ApiKey).await;
    wait_members(&world, 1, &[1, 2, 3]).await;
    world.tick(2).await;

    // The leader dies right after the first step; it may or may not have begun the second.
    world.command(1, remove(3), Via::ApiKey).await;
    world.kill(1).await;
    world.start(1).await;
    wait_members(&world, 1, &[1, 2]).await;
    wait_members(&world, 2, &[1, 2]).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;
}
