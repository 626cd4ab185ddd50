//! Who may speak on the peer port.

use std::sync::Arc;

use only1mcp_consensus::{Clock, Consensus, Options, StartError, Timing};
use only1mcp_domain::command::Command;
use only1mcp_domain::command::Via;
use only1mcp_domain::ids::NodeId;
use only1mcp_proto::peer::{self, peer_client::PeerClient};
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::world::{PlainConnector, World, name, soon};

/// A channel to node `to` on which we say we are `who`.
pub fn channel(world: &World, to: u64, who: &str) -> PeerClient<Channel> {
    let address = world.addresses[&to].to_string();
    let connector = Arc::new(PlainConnector { name: who.to_owned() });
    let connect = tower::service_fn(move |_: Uri| {
        let target =
            only1mcp_consensus::PeerTarget { node: None, name: String::new(), address: address.clone() };
        let connecting = only1mcp_consensus::Connector::connect(&*connector, target);
        async move { connecting.await.map(hyper_util::rt::TokioIo::new) }
    });
    PeerClient::new(Endpoint::from_static("http://peer").connect_with_connector_lazy(connect))
}

pub fn vote_request(from: u64, to: u64) -> peer::VoteRequest {
    peer::VoteRequest {
        from,
        to,
        vote: Some(only1mcp_proto::log::Vote { term: 1_000, node: from, committed: false }),
        last: None,
        leadership_transfer: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_registered_nodes_speak_and_only_for_themselves() {
    let mut world = World::new(2).await;
    world.form().await;
    world.join(2).await;
    world.agree(&[1, 2]).await;
    let term = world.handle(1).status().term;

    let refused = [
        // Another member's id, an unknown id, a name nobody registered.
        channel(&world, 1, &name(2)).vote(vote_request(1, 1)).await.unwrap_err().code(),
        channel(&world, 1, &name(2)).vote(vote_request(9, 1)).await.unwrap_err().code(),
        channel(&world, 1, "stranger").vote(vote_request(2, 1)).await.unwrap_err().code(),
        channel(&world, 1, "stranger").pre_vote(vote_request(9, 1)).await.unwrap_err().code(),
        channel(&world, 1, "stranger")
            .vouch(peer::VouchRequest { from: 2, node: 1 })
            .await
            .unwrap_err()
            .code(),
        channel(&world, 1, "stranger")
            .propose(peer::ProposeRequest { from: 2, entry: Default::default(), wait_ms: 10 })
            .await
            .unwrap_err()
            .code(),
        channel(&world, 1, "stranger")
            .fetch_snapshot(peer::FetchSnapshotRequest { from: 2 })
            .await
            .map(|_| ())
            .unwrap_err()
            .code(),
        channel(&world, 1, "stranger")
            .join(peer::JoinRequest { name: name(2), ..Default::default() })
            .await
            .unwrap_err()
            .code(),
    ];
    assert_eq!(refused, [Code::PermissionDenied; 8]);
    // Meant for another node.
    let misdirected = channel(&world, 1, &name(2)).vote(vote_request(2, 7)).await.unwrap_err();
    assert_eq!(misdirected.code(), Code::FailedPrecondition);
    // What cannot be read never enters the log.
    let garbage = peer::ProposeRequest { from: 2, entry: vec![0xff; 9].into(), wait_ms: 1_000 };
    let refused = channel(&world, 1, &name(2)).propose(garbage).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(world.handle(1).status().term, term, "nobody's vote counted");

    // A member may; removed, it may no more.
    let status = peer::StatusRequest { from: 2, with_digest: true };
    let answer = channel(&world, 1, &name(2)).status(status).await.unwrap().into_inner();
    assert_eq!((answer.node, answer.state_digest.len()), (1, 32));
    world.handle(1).remove(NodeId(2), soon()).await.unwrap();
    world.command(1, Command::RemoveNode { node: NodeId(2), lose_journal: true }, Via::ApiKey).await;
    let refused = channel(&world, 1, &name(2)).status(status).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_believes_members_about_a_newcomer() {
    let mut world = World::new(4).await;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    world.agree(&[1, 2, 3]).await;
    world.kill(2).await;
    world.join(4).await;
    world.handle(1).transfer_leader(NodeId(4), soon()).await.unwrap();
    world.wait_leader(&[4]).await;
    world.tick(4).await;
    // Node 2 hears of node 4 first from node 4 itself, as leader.
    world.start(2).await;
    world.agree(&[1, 2, 3, 4]).await;
    assert!(world.handle(2).state().nodes.contains_key(&NodeId(4)));
}

struct Zero;

impl Clock for Zero {
    fn now_ms(&self) -> u64 {
        0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_timed_otherwise_does_not_start() {
    let mut world = World::new(1).await;
    world.form().await;
    world.kill(1).await;
    let connector = Arc::new(PlainConnector { name: name(1) });
    let options = Options::new(NodeId(1), name(1), "127.0.0.1:1", Arc::new(Zero));
    assert_eq!(options.timing, Timing::default());
    let started = Consensus::start(options, world.stores(1), connector).await;
    assert!(matches!(started, Err(StartError::Timing { .. })));
}
