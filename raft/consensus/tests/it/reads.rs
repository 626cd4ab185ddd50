//! Reads at each consistency, on every kind of member; and when a lease may not be read from.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use only1mcp_consensus::{Consensus, ReadError, Role, StartError, Timing};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use tokio::time::Instant;

use crate::world::{PlainConnector, World, name, soon, timing};

async fn three_voters_and_a_learner() -> World {
    let mut world = World::new(4).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    world.learn(4).await;
    world
}

fn in_a_moment() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_follower_and_learner_read_at_each_consistency() {
    let mut world = three_voters_and_a_learner().await;
    for (reader, role) in [(1, Role::Leader), (2, Role::Follower), (4, Role::Learner)] {
        assert_eq!(world.handle(reader).status().role, role);
        // Written elsewhere, and read here: neither of the two may miss it.
        for lease in [false, true] {
            let written = world.tick(3).await;
            let handle = world.handle(reader);
            let read = if lease { handle.read_lease(soon()).await } else { handle.read_index(soon()).await };
            let index = read.unwrap();
            assert!(index >= written, "node {reader} reads {index}, before {written}");
            assert!(handle.wait_applied(index, soon()).await.unwrap().last_applied >= written);
        }
        // Its own state, once it has that index.
        let written = world.tick(2).await;
        let state = world.handle(reader).wait_applied(written, soon()).await.unwrap();
        assert!(state.last_applied >= written);
    }

    // Without a quorum nothing is confirmed to anybody; local state stays readable.
    world.kill(2).await;
    world.kill(3).await;
    tokio::time::sleep(Duration::from_millis(timing().election_ms_max)).await;
    for reader in [1, 4] {
        let handle = world.handle(reader);
        assert_eq!(handle.read_index(in_a_moment()).await, Err(ReadError::NotReady));
        assert_eq!(handle.read_lease(in_a_moment()).await, Err(ReadError::NotReady));
        assert!(handle.state().nodes.len() == 4);
    }
}

/// By the leader's monotonic clock its lease is as good as new, but the promises it rests on are over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_slept_reads_from_no_lease_until_a_quorum_confirms_it() {
    let mut world = three_voters_and_a_learner().await;
    world.tick(1).await;
    world.asleep[&1].store(60_000, Ordering::Relaxed);
    world.handle(1).read_lease(soon()).await.unwrap();

    world.kill(2).await;
    world.kill(3).await;
    world.asleep[&1].store(120_000, Ordering::Relaxed);
    assert_eq!(world.handle(1).read_lease(in_a_moment()).await, Err(ReadError::NotReady));
    assert_eq!(world.handle(4).read_lease(in_a_moment()).await, Err(ReadError::NotReady));
    world.start(2).await;
    world.handle(1).read_lease(soon()).await.unwrap();
    world.handle(4).read_lease(soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_other_times_than_the_clusters_does_not_start() {
    let mut world = World::new(2).await;
    world.form().await;
    world.join(2).await;
    world.agree(&[1, 2]).await;
    assert_eq!(world.handle(1).state().nodes[&NodeId(2)].value.role, NodeRole::Voter);
    world.kill(2).await;
    let told = Timing { election_ms_max: timing().election_ms_max - 1, ..timing() };
    let mut options = world.options(2);
    options.timing = told;
    let connector = Arc::new(PlainConnector { name: name(2) });
    match Consensus::start(options, world.stores(2), connector).await {
        Err(error @ StartError::Timing { .. }) => {
            assert!(error.to_string().contains("is not the cluster's"), "{error}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    }
    world.start(2).await;
    world.command(2, Command::Tick { node: NodeId(2) }, Via::Node(NodeId(2))).await;
}
