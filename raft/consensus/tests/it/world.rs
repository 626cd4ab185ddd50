//! A cluster in one process: plain TCP on loopback, an identity told in the first bytes of a connection instead of TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use only1mcp_consensus::{
    Clock, Committed, Connector, Consensus, Handle, Handlers, Options, PeerIdentity, PeerIo, PeerTarget,
    ProposeError, Seed, Stores, Timing,
};
use only1mcp_domain::State;
use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::{ApiKeyId, CommandId, Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::{ApiKey, ClusterSettings, JoinToken, NodeRole, Principal, PrincipalKind};
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::time::TimestampMs;
use only1mcp_storage::{
    FileRaftLog, FileSegments, MemDisk, MemOptions, RaftLogOptions, SledEngine, WriteBehind,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::transport::server::Connected;

/// How long a learner must have kept up to be made a voter.
pub const STABLE_MS: u64 = 200;

pub const START_MS: u64 = 1_800_000_000_000;

pub fn timing() -> Timing {
    // Wider than the default: two cores are shared with whatever else is being built.
    Timing { heartbeat_ms: 150, election_ms_min: 900, election_ms_max: 1_800 }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// Stands still, but for what the host is said to have slept.
struct FixedClock {
    asleep_ms: Arc<AtomicU64>,
}

impl Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        START_MS
    }

    fn asleep_ms(&self) -> u64 {
        self.asleep_ms.load(Ordering::Relaxed)
    }
}

/// Says who it is, then is a plain stream.
pub struct PlainConnector {
    pub name: String,
}

impl Connector for PlainConnector {
    fn connect(&self, target: PeerTarget) -> BoxFuture<'static, std::io::Result<Box<dyn PeerIo>>> {
        let name = self.name.clone();
        Box::pin(async move {
            let mut stream = TcpStream::connect(&target.address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(&[u8::try_from(name.len()).unwrap()]).await?;
            stream.write_all(name.as_bytes()).await?;
            Ok(Box::new(stream) as Box<dyn PeerIo>)
        })
    }
}

/// A server-side connection that knows who is on the other end.
pub struct Named {
    stream: TcpStream,
    name: String,
    /// The node was killed: connections end with a process, but not by themselves within one.
    dead: Arc<AtomicBool>,
}

impl Named {
    fn alive(&self) -> std::io::Result<()> {
        if self.dead.load(Ordering::Relaxed) {
            Err(std::io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl Connected for Named {
    type ConnectInfo = PeerIdentity;

    fn connect_info(&self) -> PeerIdentity {
        PeerIdentity { name: self.name.clone(), node: None }
    }
}

impl AsyncRead for Named {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.alive()?;
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.alive()?;
        polled
    }
}

impl AsyncWrite for Named {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn accept(listener: &TcpListener, dead: Arc<AtomicBool>) -> std::io::Result<Named> {
    let (mut stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let len = stream.read_u8().await?;
    let mut name = vec![0; usize::from(len)];
    stream.read_exact(&mut name).await?;
    Ok(Named { stream, name: String::from_utf8(name).unwrap(), dead })
}

pub struct Running {
    pub handle: Handle,
    dead: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<()>,
}

impl Running {
    /// As if the process ended: no more answers, no more timers, nothing flushed that was not.
    pub async fn kill(self) {
        self.dead.store(true, Ordering::Relaxed);
        let _ = self.stop.send(());
        self.served.abort();
        let _ = self.served.await;
        let _ = self.handle.shutdown().await;
    }
}

pub struct World {
    pub disks: BTreeMap<u64, MemDisk>,
    /// Nodes whose rows were lost with their disk: the rows are on another one now.
    pub row_disks: BTreeMap<u64, MemDisk>,
    /// Nodes whose disk is a folder.
    pub folders: BTreeMap<u64, PathBuf>,
    pub addresses: BTreeMap<u64, SocketAddr>,
    pub seeds: Vec<Seed>,
    pub running: BTreeMap<u64, Running>,
    /// How long each host slept. Units: milliseconds.
    pub asleep: BTreeMap<u64, Arc<AtomicU64>>,
    pub snapshot_every: u64,
    pub keep: u64,
    pub segment_events: usize,
    pub digest_every: u64,
    pub scrub: u64,
    /// The longest election that members started from now on ever ran with.
    pub promised_ms: u64,
    /// Where each node says it is, if not in region `eu`, zone `a`.
    pub places: BTreeMap<u64, (&'static str, &'static str)>,
    /// The feature level the cluster is formed at.
    pub level: u32,
    /// Nodes that run a version which knows level 1 only.
    pub old: std::collections::BTreeSet<u64>,
    /// What proposers' clocks show.
    pub now_ms: u64,
    commands: u64,
}

pub fn name(id: u64) -> String {
    format!("n{id}")
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl World {
    pub async fn new(nodes: u64) -> Self {
        let mut world = Self {
            disks: BTreeMap::new(),
            row_disks: BTreeMap::new(),
            folders: BTreeMap::new(),
            addresses: BTreeMap::new(),
            seeds: Vec::new(),
            running: BTreeMap::new(),
            asleep: (1..=nodes).map(|id| (id, Arc::default())).collect(),
            snapshot_every: 20_000,
            keep: 5_000,
            segment_events: 7,
            digest_every: 10_000,
            scrub: 0,
            promised_ms: 0,
            places: BTreeMap::new(),
            level: 2,
            old: Default::default(),
            now_ms: START_MS,
            commands: 0,
        };
        for id in 1..=nodes {
            let address = free_address().await;
            world.disks.insert(id, MemDisk::new(MemOptions::default()));
            world.addresses.insert(id, address);
            world.seeds.push(Seed { node: NodeId(id), name: name(id), peer_address: address.to_string() });
        }
        world
    }

    pub fn stores(&self, id: u64) -> Stores {
        if let Some(folder) = self.folders.get(&id) {
            let rows = SledEngine::open(folder.join("state")).unwrap();
            return Stores {
                log: Arc::new(FileRaftLog::open(folder.join("log"), RaftLogOptions::default()).unwrap()),
                engine: Arc::new(WriteBehind::new(rows).unwrap()),
                segments: Arc::new(FileSegments::open(folder.join("segments")).unwrap()),
            };
        }
        let disk = &self.disks[&id];
        let rows = self.row_disks.get(&id).unwrap_or(disk);
        Stores {
            log: Arc::new(disk.log()),
            engine: Arc::new(rows.engine()),
            segments: Arc::new(disk.segments()),
        }
    }

    pub fn options(&self, id: u64) -> Options {
        let clock = Arc::new(FixedClock { asleep_ms: self.asleep[&id].clone() });
        let mut options = Options::new(NodeId(id), name(id), self.addresses[&id].to_string(), clock);
        options.timing = timing();
        options.snapshot_every_entries = self.snapshot_every;
        options.keep_entries = self.keep;
        options.segment_events = self.segment_events;
        options.digest_every_entries = self.digest_every;
        options.scrub_bytes_per_second = self.scrub;
        options.promised_ms_max = self.promised_ms;
        if self.old.contains(&id) {
            options.feature_level_max = 1;
        }
        // A joiner is told of those already there.
        options.seeds = self.seeds.iter().filter(|seed| seed.node.0 < id).cloned().collect();
        options
    }

    pub async fn start(&mut self, id: u64) {
        let connector = Arc::new(PlainConnector { name: name(id) });
        let consensus = Consensus::start(self.options(id), self.stores(id), connector).await.unwrap();
        let handle = consensus.handle();
        let service = tonic::service::interceptor::InterceptedService::new(
            consensus.peer_service(Handlers::default()),
            |mut request: tonic::Request<()>| {
                if let Some(identity) = request.extensions().get::<PeerIdentity>().cloned() {
                    request.extensions_mut().insert(identity);
                }
                Ok(request)
            },
        );
        let address = self.addresses[&id];
        let listener = loop {
            // The one before may be about to let go of the port.
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let dead = Arc::new(AtomicBool::new(false));
        let incoming =
            futures_util::stream::unfold((listener, Arc::clone(&dead)), |(listener, dead)| async move {
                Some((accept(&listener, Arc::clone(&dead)).await, (listener, dead)))
            });
        let served = tokio::spawn(async move {
            let serving = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(Box::pin(incoming));
            tokio::select! {
                _ = stopped => {}
                _ = serving => {}
            }
        });
        self.running.insert(id, Running { handle, dead, stop, served });
    }

    pub fn handle(&self, id: u64) -> Handle {
        self.running[&id].handle.clone()
    }

    pub async fn kill(&mut self, id: u64) {
        self.running.remove(&id).unwrap().kill().await;
    }

    /// The power of node `id` fails: what was not synced may be lost.
    pub async fn power_loss(&mut self, id: u64, seed: u64) {
        self.disks[&id].crash(seed);
        self.kill(id).await;
    }

    pub async fn form(&mut self) {
        self.start(1).await;
        let form = form(&self.addresses[&1].to_string(), self.level);
        let entry = self.entry(Command::FormCluster(form), Via::LocalSocket);
        let committed = self.handle(1).form(entry, soon()).await.unwrap();
        committed.outcome.unwrap();
    }

    /// Registers node `id`, starts it and adds it as a learner.
    pub async fn learn(&mut self, id: u64) {
        self.learn_through(1, id).await;
    }

    /// The same, where node 1 may be away.
    pub async fn learn_through(&mut self, at: u64, id: u64) {
        self.register_through(at, id).await;
        self.start(id).await;
        self.handle(at).add_learner(NodeId(id), soon()).await.unwrap();
    }

    /// Makes a learner a voter, in Raft and then in the records.
    pub async fn promote(&mut self, at: u64, id: u64) {
        self.handle(at).promote(NodeId(id), soon()).await.unwrap();
        let role = Command::SetNodeRole { node: NodeId(id), role: NodeRole::Voter };
        self.command(at, role, Via::Node(NodeId(at))).await;
    }

    /// Takes a node out for good, with whatever its journal held.
    pub async fn take_out(&mut self, at: u64, id: u64) {
        let remove = Command::RemoveNode { node: NodeId(id), lose_journal: true };
        self.command(at, remove, Via::ApiKey).await;
        self.handle(at).remove(NodeId(id), soon()).await.unwrap();
    }

    /// A node that was not thought of at the beginning: its address, and whom it is told of.
    pub async fn add_node(&mut self, id: u64) {
        let address = free_address().await;
        self.disks.insert(id, MemDisk::new(MemOptions::default()));
        self.addresses.insert(id, address);
        self.asleep.insert(id, Arc::default());
        self.seeds.push(Seed { node: NodeId(id), name: name(id), peer_address: address.to_string() });
    }

    /// Nobody needs its disk any more.
    pub fn forget(&mut self, id: u64) {
        self.disks.remove(&id);
        self.seeds.retain(|seed| seed.node.0 != id);
    }

    /// Changes the cluster's settings.
    pub async fn set(&mut self, at: u64, change: impl FnOnce(&mut ClusterSettings)) {
        let state = self.handle(at).state();
        let mut settings = state.cluster.as_ref().unwrap().settings.value.clone();
        change(&mut settings);
        self.command(at, Command::SetSettings { settings, if_revision: None }, Via::ApiKey).await;
    }

    /// As `learn`, and makes it a voter.
    pub async fn join(&mut self, id: u64) {
        self.learn(id).await;
        self.promote(1, id).await;
    }

    pub async fn register(&mut self, id: u64) {
        self.register_through(1, id).await;
    }

    async fn register_through(&mut self, at: u64, id: u64) {
        let token = JoinToken {
            id: ApiKeyId::new(format!("token-{id}")).unwrap(),
            mac: Digest([3; 32]),
            created_at: TimestampMs(self.now_ms),
            expires_at: TimestampMs(self.now_ms + 3_600_000),
        };
        let mut node = register(id, &self.addresses[&id].to_string(), Some(token.id.clone()));
        if let Some((region, zone)) = self.places.get(&id) {
            (node.region, node.zone) = ((*region).to_owned(), (*zone).to_owned());
        }
        self.command(at, Command::CreateJoinToken(token), Via::ApiKey).await;
        let outcome = self.command(at, Command::RegisterNode(node), Via::Node(NodeId(at))).await;
        assert_eq!(outcome, Outcome::NodeRegistered { node: NodeId(id) });
    }

    pub fn entry(&mut self, command: Command, via: Via) -> Entry {
        self.commands = self.commands.checked_add(1).unwrap();
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.commands.to_be_bytes());
        let is_node = matches!(via, Via::Node(_));
        let (principal, key) = match via {
            Via::Node(node) => (PrincipalId::of_node(node), None),
            Via::ApiKey => (PrincipalId::new("root").unwrap(), Some(ApiKeyId::new("key-root").unwrap())),
            Via::LocalSocket | Via::ClientCertificate => (PrincipalId::new("host").unwrap(), None),
        };
        Entry {
            actor: Actor {
                tenant: TenantId::system(),
                principal,
                key,
                via,
                ip: None,
                user_agent: String::new(),
                personal: None,
                request_id: String::new(),
            },
            command_id: (!is_node).then(|| CommandId(u128::from(self.commands).to_be_bytes())),
            request_digest: Digest(digest),
            observed_at: TimestampMs(self.now_ms),
            command,
            signature: None,
        }
    }

    /// Retries while the fate is unknown, as a client does: the entry carries its command id, or may be repeated.
    async fn insist(&self, at: u64, entry: Entry) -> Committed {
        loop {
            match self.handle(at).propose(entry.clone(), soon()).await {
                Err(ProposeError::Unknown { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
                answer => return answer.unwrap(),
            }
        }
    }

    pub async fn command(&mut self, at: u64, command: Command, via: Via) -> Outcome {
        let entry = self.entry(command, via);
        self.insist(at, entry).await.outcome.unwrap()
    }

    pub async fn tick(&mut self, at: u64) -> u64 {
        let entry = self.entry(Command::Tick { node: NodeId(at) }, Via::Node(NodeId(at)));
        self.insist(at, entry).await.log_index
    }

    /// The clock of node `id` is told through node `at`.
    pub async fn tick_of(&mut self, at: u64, id: u64) {
        let entry = self.entry(Command::Tick { node: NodeId(id) }, Via::Node(NodeId(id)));
        self.insist(at, entry).await.outcome.unwrap();
    }

    pub fn days_on(&mut self, days: u64) {
        self.now_ms += days * 24 * 3_600_000;
    }

    pub async fn wait_leader(&self, among: &[u64]) -> u64 {
        let deadline = soon();
        loop {
            for id in among {
                if self.handle(*id).leader() == Some(NodeId(*id)) {
                    return *id;
                }
            }
            assert!(Instant::now() < deadline, "no leader among {among:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all have applied what the leader has, and checks that they agree.
    pub async fn agree(&self, ids: &[u64]) -> Arc<State> {
        let index = self.handle(ids[0]).read_index(soon()).await.unwrap();
        for id in ids {
            self.handle(*id).wait_applied(index, soon()).await.unwrap();
        }
        let first = self.handle(ids[0]).state_digest();
        for id in ids {
            assert_eq!(self.handle(*id).state_digest(), first, "node {id} disagrees");
        }
        self.handle(ids[0]).state()
    }
}

pub fn register(id: u64, address: &str, token: Option<ApiKeyId>) -> RegisterNode {
    RegisterNode {
        token,
        name: name(id),
        peer_address: address.to_owned(),
        admin_address: format!("{}:7200", name(id)),
        http_address: format!("{}:7300", name(id)),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

fn form(address: &str, level: u32) -> FormCluster {
    let mut settings = ClusterSettings::new("test");
    settings.heartbeat_ms = timing().heartbeat_ms;
    settings.election_ms_min = timing().election_ms_min;
    settings.election_ms_max = timing().election_ms_max;
    settings.feature_level = level;
    if level >= 2 {
        settings.stable_ms = STABLE_MS;
    }
    FormCluster {
        cluster_id: Digest([7; 32]),
        settings,
        node: register(1, address, None),
        administrator: Principal {
            tenant: TenantId::system(),
            id: PrincipalId::new("root").unwrap(),
            kind: PrincipalKind::Person,
            display_name: "root".to_owned(),
            email: "root@example.com".to_owned(),
            personal: None,
            projects: Vec::new(),
            attributes: BTreeMap::new(),
            enabled: true,
            created_at: TimestampMs(START_MS),
            updated_at: TimestampMs(START_MS),
        },
        administrator_key: ApiKey {
            id: ApiKeyId::new("key-root").unwrap(),
            tenant: TenantId::system(),
            principal: PrincipalId::new("root").unwrap(),
            mac: Digest([0xac; 32]),
            label: "test".to_owned(),
            created_at: TimestampMs(START_MS),
            expires_at: None,
            revoked_at: None,
            projects: Vec::new(),
            tools: Vec::new(),
            last_used_at: None,
            rotated_from: None,
        },
        key_hash_key: Secret32([8; 32]),
        session_key: Secret32([9; 32]),
    }
}
