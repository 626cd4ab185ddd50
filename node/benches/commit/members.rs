//! Three members of ours in one process: the real consensus and enforcement over file-backed stores, plain TCP between.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use only1mcp_consensus::{Consensus, Handle, Handlers, Options, ProposeError, Seed, Stores};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_enforcer::{Enforcer, Parts, Service, SystemZones};
use only1mcp_node::host::{HostClock, HostEntropy};
use only1mcp_node::serve::cluster_port::ConsensusPort;
use only1mcp_node::serve::journal_port::JournalFile;
use only1mcp_node::serve::wall_clock::WallClock;
use only1mcp_storage::{
    FileJournal, FileRaftLog, FileSegments, JournalOptions, RaftLogOptions, SledEngine, WriteBehind,
};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::plain::{self, Plain, name};
use crate::records::{entry, form, registration, token, upstream};

pub struct Members {
    handles: Vec<Handle>,
    services: Vec<Service>,
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

impl Members {
    pub async fn start(folder: &Path) -> Self {
        let mut listeners = Vec::new();
        for number in 1..=3 {
            listeners.push((number, TcpListener::bind("127.0.0.1:0").await.unwrap()));
        }
        let seeds: Vec<Seed> = listeners
            .iter()
            .map(|(number, listener)| Seed {
                node: NodeId(u64::from(*number)),
                name: name(*number),
                peer_address: listener.local_addr().unwrap().to_string(),
            })
            .collect();
        let mut members = Self { handles: Vec::new(), services: Vec::new() };
        let mut journals = Vec::new();
        for (number, listener) in listeners {
            let address = listener.local_addr().unwrap();
            if number > 1 {
                members.register(number, address).await;
            }
            let dir = folder.join(name(number));
            let handle = start_member(number, listener, &seeds, &dir).await;
            let journal = FileJournal::open(dir.join("journal"), JournalOptions::default()).unwrap();
            journals.push((handle.clone(), journal));
            members.handles.push(handle.clone());
            if number == 1 {
                let command = Command::FormCluster(form(address));
                handle.form(entry(command, Via::LocalSocket), soon()).await.unwrap().outcome.unwrap();
            } else {
                let node = NodeId(u64::from(number));
                members.first().add_learner(node, soon()).await.unwrap();
                members.first().promote(node, soon()).await.unwrap();
                let command = Command::SetNodeRole { node, role: NodeRole::Voter };
                members.propose(command, Via::Node(NodeId(1))).await;
            }
        }
        let record = Command::PutUpstream { upstream: Box::new(upstream()), if_revision: None };
        members.propose(record, Via::ApiKey).await;
        for (handle, journal) in journals {
            let parts = Parts {
                cluster: ConsensusPort::new(handle),
                journal: Arc::new(JournalFile(Arc::new(journal))),
                clock: Arc::new(HostClock),
                entropy: Arc::new(HostEntropy),
                zones: Arc::new(SystemZones),
                personal: Arc::new(only1mcp_enforcer::InTheClear),
            };
            members.services.push(Service::start(parts).await.unwrap());
        }
        members
    }

    fn first(&self) -> &Handle {
        &self.handles[0]
    }

    /// The enforcer beside the leader.
    pub fn leader(&self) -> Arc<Enforcer> {
        let leader = self.handles.iter().position(|handle| handle.leader() == Some(handle.node()));
        self.services[leader.unwrap()].enforcer()
    }

    async fn register(&self, number: u8, address: SocketAddr) {
        let token = token(number);
        let node = registration(number, address, Some(token.id.clone()));
        self.propose(Command::CreateJoinToken(token), Via::ApiKey).await;
        self.propose(Command::RegisterNode(node), Via::Node(NodeId(1))).await;
    }

    async fn propose(&self, command: Command, via: Via) {
        let entry = entry(command, via);
        loop {
            match self.first().propose(entry.clone(), soon()).await {
                Err(ProposeError::Unknown { .. } | ProposeError::NotReady) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => {
                    answer.unwrap().outcome.unwrap();
                    return;
                }
            }
        }
    }
}

async fn start_member(number: u8, listener: TcpListener, seeds: &[Seed], dir: &Path) -> Handle {
    let address = listener.local_addr().unwrap().to_string();
    let mut options = Options::new(NodeId(u64::from(number)), name(number), address, Arc::new(WallClock));
    // A joiner is told of those already there.
    options.seeds = seeds.iter().take(usize::from(number) - 1).cloned().collect();
    let stores = Stores {
        log: Arc::new(FileRaftLog::open(dir.join("log"), RaftLogOptions::default()).unwrap()),
        engine: Arc::new(WriteBehind::new(SledEngine::open(dir.join("state")).unwrap()).unwrap()),
        segments: Arc::new(FileSegments::open(dir.join("segments")).unwrap()),
    };
    let consensus = Consensus::start(options, stores, Arc::new(Plain(number))).await.unwrap();
    let handle = consensus.handle();
    let incoming = futures_util::stream::unfold(listener, |listener| async move {
        let accepted = plain::accept(&listener).await;
        Some((accepted, listener))
    });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(consensus.peer_service(Handlers::default()))
            .serve_with_incoming(Box::pin(incoming)),
    );
    handle
}
