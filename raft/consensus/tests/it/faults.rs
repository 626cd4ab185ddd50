//! What a node does when its own disk or its own memory cannot be trusted.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_consensus::{Consensus, ProposeError, Role, StartError};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::NodeId;
use only1mcp_proto::peer;
use only1mcp_storage::{Fault, MemDisk, MemOptions};
use tokio::time::Instant;

use crate::peers::{channel, vote_request};
use crate::world::{PlainConnector, World, name, soon, timing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_rows_are_made_again_from_the_log_or_from_a_member() {
    let mut world = World::new(2).await;
    world.snapshot_every = 30;
    world.keep = 5;
    world.form().await;
    world.join(2).await;
    world.agree(&[1, 2]).await;

    // The log still reaches back to the beginning: no help is needed.
    world.kill(2).await;
    world.row_disks.insert(2, MemDisk::new(MemOptions::default()));
    world.start(2).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;

    // Nor is anybody's word: its own log names the members.
    world.handle(1).transfer_leader(NodeId(2), soon()).await.unwrap();
    world.kill(1).await;
    world.row_disks.insert(1, MemDisk::new(MemOptions::default()));
    world.start(1).await;
    world.wait_leader(&[1, 2]).await;
    world.agree(&[1, 2]).await;

    // It no longer does: a member is asked for a snapshot.
    for _ in 0..80 {
        world.tick(1).await;
    }
    world.agree(&[1, 2]).await;
    let deadline = soon();
    while world.handle(2).status().purged == 0 {
        assert!(Instant::now() < deadline, "nothing was purged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.kill(2).await;
    world.row_disks.insert(2, MemDisk::new(MemOptions::default()));
    world.start(2).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;

    // And with nobody to ask it does not start on half a state.
    world.kill(2).await;
    world.row_disks.insert(2, MemDisk::new(MemOptions::default()));
    let mut options = world.options(2);
    options.seeds.clear();
    let connector = Arc::new(PlainConnector { name: name(2) });
    let started = Consensus::start(options, world.stores(2), connector).await;
    assert!(matches!(started, Err(StartError::NoSnapshot { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_voter_says_no_until_every_promise_has_run_out() {
    let mut world = World::new(3).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    world.agree(&[1, 2, 3]).await;
    world.kill(1).await;
    world.kill(3).await;
    world.kill(2).await;
    let started = Instant::now();
    world.start(2).await;
    let mut asker = channel(&world, 2, &name(3));
    let last = Some(only1mcp_proto::log::LogId { term: 1_000, node: 3, index: 1_000 });
    let wait = Duration::from_millis(timing().election_ms_max * 11 / 10);
    loop {
        let request = peer::VoteRequest { last, ..vote_request(3, 2) };
        let (asked, answer) = (Instant::now(), asker.pre_vote(request).await.unwrap().into_inner());
        if answer.granted {
            assert!(started.elapsed() >= wait, "granted after {:?}", started.elapsed());
            break;
        }
        assert!(asked < started + wait + Duration::from_secs(5), "never granted");
        // Nor does it stand for election itself, or take over leadership.
        assert_ne!(world.handle(2).status().role, Role::Candidate);
        let vote = Some(only1mcp_proto::log::Vote { term: 1_000, node: 3, committed: true });
        let transfer = peer::TransferLeaderRequest { from: 3, to: 2, vote, successor: 2, last: None };
        if started.elapsed() + Duration::from_millis(200) < wait {
            let refused = asker.transfer_leader(transfer).await.unwrap().into_inner();
            assert!(!refused.refusal.is_empty());
            assert!(!asker.vote(request).await.unwrap().into_inner().granted);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_disk_stops_the_node_and_says_so() {
    let mut world = World::new(1).await;
    world.form().await;
    world.tick(1).await;
    let handle = world.handle(1);
    world.disks[&1].fail_after(0, Fault::Io);
    let entry = world.entry(Command::Tick { node: NodeId(1) }, Via::Node(NodeId(1)));
    match handle.propose(entry, Instant::now() + Duration::from_secs(5)).await {
        Err(ProposeError::Stopped { .. } | ProposeError::Unknown { .. }) => {}
        other => panic!("{other:?}"),
    }
    let why = tokio::time::timeout(Duration::from_secs(10), handle.stopped()).await.unwrap();
    assert!(!why.is_empty());
    assert_eq!(handle.status().role, Role::Stopped);
    assert_eq!(handle.status().fatal, Some(why));
}

/// With two voters there is nobody else to lead: the one that has everything sends it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_log_was_cut_is_sent_what_it_acknowledged_and_the_leader_goes_on() {
    let mut world = World::new(2).await;
    world.form().await;
    world.join(2).await;
    for _ in 0..5 {
        world.tick(1).await;
    }
    let before = world.agree(&[1, 2]).await;
    let term = world.handle(1).status().term;
    for lost in [1, 4] {
        world.kill(2).await;
        world.disks[&2].lose_log_end(lost, true);
        world.start(2).await;
        // Needs both.
        world.tick(1).await;
        let after = world.agree(&[1, 2]).await;
        assert!(after.chain.index >= before.chain.index && after.nodes == before.nodes);
        let status = world.handle(1).status();
        assert_eq!((status.fatal, status.role, status.term), (None, Role::Leader, term));
    }
}

/// A node that does not know what it lost might vote for somebody who lacks it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_entries_unnoticed_is_not_heard_and_the_leader_lives() {
    let mut world = World::new(2).await;
    world.form().await;
    world.join(2).await;
    let mut acknowledged = 0;
    for _ in 0..5 {
        acknowledged = world.tick(1).await;
    }
    world.agree(&[1, 2]).await;
    world.kill(2).await;
    world.disks[&2].lose_log_end(3, false);
    world.start(2).await;
    let entry = world.entry(Command::Tick { node: NodeId(1) }, Via::Node(NodeId(1)));
    let proposed = world.handle(1).propose(entry, Instant::now() + Duration::from_secs(8)).await;
    assert!(matches!(proposed, Err(ProposeError::Unknown { .. } | ProposeError::NotReady)), "{proposed:?}");
    assert_eq!(world.handle(1).status().fatal, None);
    assert!(world.handle(2).status().last_log < acknowledged, "nobody sent it anything");
    // As the leader's log says: started anew, it asks what everybody has, and sends what is lacking.
    world.kill(1).await;
    world.start(1).await;
    assert_eq!(world.wait_leader(&[1, 2]).await, 1, "only it has everything");
    world.tick(1).await;
    let state = world.agree(&[1, 2]).await;
    assert!(state.last_applied > acknowledged);
}
