//! A node as a member: consensus, enforcement, gateway and administration put together, and taken apart in order.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use only1mcp_admin::ports::{ClientIdentity, Ports, SourceAddress};
use only1mcp_consensus::{
    Connector, Consensus, Handle, Handlers, Options, PeerIdentity, PeerIo, PeerTarget, StartError, Stores,
    Vitals, VitalsSource,
};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_enforcer::{Enforcer, Parts, Service, SystemZones};
use only1mcp_gateway::Gateway;
use only1mcp_proofs::SigningKey;
use only1mcp_storage::{DataFolder, Engine, FileSegments, Journal, Key32, RaftLog, Segments, free_bytes};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::config::{NodeConfig, TlsFiles, TrustConfig};
use crate::host::{HostClock, HostEntropy};
use crate::pki::CertIdentity;
use crate::serve::admin_port::{AdminCluster, AdminHost, propose_own};
use crate::serve::backup_port::NodeBackup;
use crate::serve::clock_watch;
use crate::serve::cluster_port::ConsensusPort;
use crate::serve::disk_watch;
use crate::serve::duties;
use crate::serve::erasure::{self, GenerationStore, GenerationsHere, PersonalKeys};
use crate::serve::front::Later;
use crate::serve::gateway_port::GatewayPort;
use crate::serve::home::{ForwardedHere, PeerHomes};
use crate::serve::identity::Identity;
use crate::serve::join::Doorkeeper;
use crate::serve::journal_port::JournalFile;
use crate::serve::metrics;
use crate::serve::proofs::{self, Checkpoints};
use crate::serve::readiness::Readiness;
use crate::serve::recall::RecallHere;
use crate::serve::retime;
use crate::serve::stores;
use crate::serve::torn;
use crate::serve::unused::Stored;
use crate::serve::wall_clock::WallClock;
use crate::tls::{
    self, AcceptLimits, ClientCertificate, ConnectionInfo, Expect, Keeper, NodeConnector, ServerTls,
};

/// A peer that does not finish its handshake within this is tried again later.
const CONNECT_MS_MAX: u64 = 2_000;
/// Connecting to a webhook's host.
const OUTSIDE_CONNECT: Duration = Duration::from_secs(5);
const OWN_ENTRY: Duration = Duration::from_secs(5);
/// A successor that does not take over within this is away, or ends too.
const HAND_OVER: Duration = Duration::from_millis(1_500);
const PROMOTE_AGAIN: Duration = Duration::from_millis(100);
const STREAMS_MAX: u32 = 1_024;

/// Peer connections under mutual TLS.
pub struct TlsConnector(pub NodeConnector);

impl Connector for TlsConnector {
    fn connect(&self, target: PeerTarget) -> BoxFuture<'static, std::io::Result<Box<dyn PeerIo>>> {
        let connector = self.0.clone();
        Box::pin(async move {
            let expect =
                if target.name.is_empty() { Expect::AnyNode } else { Expect::Node(target.name.clone()) };
            let stream = connector.connect(&target.address, &expect).await.map_err(std::io::Error::other)?;
            let stream: Box<dyn PeerIo> = Box::new(stream);
            Ok(stream)
        })
    }
}

/// Certificates in use, reloaded when their files change.
pub async fn keeper(files: &TlsFiles, stop: &CancellationToken) -> anyhow::Result<Arc<Keeper>> {
    let keeper = Keeper::load(tls::TlsFiles {
        certificate: files.cert.clone(),
        key: files.key.clone(),
        ca: files.ca.clone(),
    })?;
    tokio::spawn(keeper.clone().watch(stop.clone()));
    Ok(keeper)
}

/// What this node adds to its status.
struct NodeVitals {
    enforcer: Arc<OnceLock<Arc<Enforcer>>>,
    engine: Arc<dyn Engine>,
    folder: std::path::PathBuf,
}

impl VitalsSource for NodeVitals {
    fn vitals(&self) -> Vitals {
        let age = self.enforcer.get().and_then(|enforcer| enforcer.freshness().age());
        Vitals {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fresh_age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            disk_used_bytes: self.engine.size_bytes(),
            disk_free_bytes: free_bytes(&self.folder).unwrap_or(0),
            decides_at: self.enforcer.get().map_or(0, |enforcer| *enforcer.applied().borrow()),
        }
    }
}

/// Trusted besides the system's.
#[derive(Default)]
pub struct Authorities {
    pub upstreams: Vec<CertificateDer<'static>>,
    pub webhooks: Vec<CertificateDer<'static>>,
}

impl Authorities {
    pub fn read(config: &NodeConfig) -> anyhow::Result<Self> {
        let read = |trusted: &Option<TrustConfig>| {
            trusted
                .as_ref()
                .map(|trusted| tls::authorities(&trusted.ca))
                .transpose()
                .map(Option::unwrap_or_default)
        };
        Ok(Self {
            upstreams: read(&config.upstreams).context("upstreams.ca")?,
            webhooks: read(&config.webhooks).context("webhooks.ca")?,
        })
    }
}

/// A running member.
pub struct Member {
    pub handle: Handle,
    engine: Arc<dyn Engine>,
    segments: Arc<dyn Segments>,
    log: Arc<dyn RaftLog>,
    journal: Arc<dyn Journal>,
    pub enforcer: Arc<Enforcer>,
    service: Service,
    gateway: Gateway,
    gateway_port: Arc<GatewayPort>,
    tasks: JoinSet<()>,
    ports_stop: CancellationToken,
}

/// Consensus with its peer port open: enough to form a cluster, or to catch up with one.
pub struct Joined {
    pub handle: Handle,
    pub personal: Arc<PersonalKeys>,
    engine: Arc<dyn Engine>,
    segments: Arc<dyn Segments>,
    log: Arc<dyn RaftLog>,
    journal: Arc<dyn Journal>,
    forwarded: ForwardedHere,
    checkpoints: Arc<Checkpoints>,
    vitals: Arc<OnceLock<Arc<Enforcer>>>,
    tasks: JoinSet<()>,
    ports_stop: CancellationToken,
}

impl Joined {
    /// Opens the stores, starts consensus and serves the peer port.
    pub async fn start(
        config: &NodeConfig,
        folder: &Arc<DataFolder>,
        keys: stores::Keys<'_>,
        (store, generations): (GenerationStore, BTreeMap<u32, Key32>),
        identity: &mut Identity,
        peer_keeper: &Arc<Keeper>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let engine = stores::engine(folder, keys)?;
        let log = stores::log(folder.log(), keys)?;
        let journal = stores::journal(folder.journal(), keys)?;
        for cut in [RaftLog::cut_at_open(&*log), Journal::cut_at_open(&*journal)].into_iter().flatten() {
            tracing::warn!(%cut, "a torn end was cut at start");
        }
        refuse_a_lost_log(identity, &*log)?;
        let log_was_cut = RaftLog::cut_at_open(&*log).is_some();
        let connector = Arc::new(TlsConnector(NodeConnector::new(peer_keeper.clone(), CONNECT_MS_MAX)));
        let segments = stores::segments(FileSegments::open(folder.segments())?, keys);
        let stores = Stores { log: log.clone(), engine: engine.clone(), segments: segments.clone() };
        let key = proofs::signing_key(folder, keys)?;
        let record = proofs::Record::open(folder.clone())?;
        let signer = key.clone();
        let consensus = start_consensus(config, folder, identity, stores, (connector, signer)).await?;
        let handle = consensus.handle();
        let checkpoints = Arc::new(Checkpoints::open(handle.clone(), key, record));
        let personal = PersonalKeys::new(handle.clone(), store, generations);
        let doorkeeper = Arc::new(Doorkeeper { handle: OnceLock::from(handle.clone()) });
        let forwarded = ForwardedHere::default();
        let vitals = Arc::new(OnceLock::new());
        let handlers = Handlers {
            membership: Some(doorkeeper),
            forward: Some(Arc::new(forwarded.clone())),
            checkpoints: Some(checkpoints.clone()),
            recall: Some(Arc::new(RecallHere(vitals.clone()))),
            generations: Some(Arc::new(GenerationsHere(Arc::new(OnceLock::from(personal.clone()))))),
            vitals: Some(Arc::new(NodeVitals {
                enforcer: vitals.clone(),
                engine: engine.clone(),
                folder: folder.root().to_owned(),
            })),
        };
        let mut tasks = JoinSet::new();
        let ports_stop = stop.child_token();
        if log_was_cut {
            // INVARIANT: P6
            torn::have_another_lead(&handle).await;
        }
        serve_peers(config, &consensus, handlers, peer_keeper, &ports_stop, &mut tasks).await?;
        Ok(Self {
            handle,
            personal,
            engine,
            segments,
            log,
            journal,
            forwarded,
            checkpoints,
            vitals,
            tasks,
            ports_stop,
        })
    }

    /// Waits for the cluster, takes up enforcement, and opens the gateway and administration.
    pub async fn enter(
        mut self,
        config: &NodeConfig,
        readiness: &Readiness,
        later: &Later,
        admin_keeper: &Arc<Keeper>,
        authorities: Authorities,
    ) -> anyhow::Result<Member> {
        let cluster = ConsensusPort::new(self.handle.clone());
        let parts = Parts {
            cluster: cluster.clone(),
            journal: Arc::new(JournalFile(self.journal.clone())),
            clock: Arc::new(HostClock),
            entropy: Arc::new(HostEntropy),
            zones: Arc::new(SystemZones),
            personal: self.personal.clone(),
        };
        let service = Service::start(parts).await.map_err(|why| anyhow::anyhow!(why))?;
        let enforcer = service.enforcer();
        let _ = self.vitals.set(enforcer.clone());
        readiness.watch(enforcer.clone());

        let gateway_port = Arc::new(GatewayPort::new(enforcer.clone(), cluster));
        let outside = only1mcp_gateway::Outbound::new(OUTSIDE_CONNECT, &authorities.webhooks);
        let limits = only1mcp_gateway::Config {
            body_bytes_max: config.http.body_bytes_max,
            upstream_authorities: authorities.upstreams,
            ..only1mcp_gateway::Config::default()
        };
        let homes = Arc::new(PeerHomes::new(self.handle.clone()));
        let gateway = Gateway::new(gateway_port.clone(), homes, limits);
        let _ = self.forwarded.gateway.set(gateway.clone());
        self.tasks.spawn({
            let port = gateway_port.clone();
            async move { port.forward_revocations().await }
        });

        let witnesses = proofs::Witnesses::new(outside.clone(), &config.witnesses)?;
        self.tasks.spawn(proofs::run(self.checkpoints.clone(), witnesses));
        self.tasks.spawn(proofs::make_known(self.handle.clone(), self.checkpoints.key.clone()));
        let runner = duties::start(&self.handle, &enforcer, outside, &mut self.tasks);
        let sources = metrics::Sources {
            enforcer: enforcer.clone(),
            gateway: gateway.clone(),
            handle: self.handle.clone(),
            readiness: readiness.clone(),
            rotation: self.personal.rotation(),
            runner,
            folder: config.data_dir.clone(),
        };
        let _ = later.set(gateway.router().merge(metrics::router(sources)));
        let ports = Ports {
            cluster: Arc::new(AdminCluster {
                handle: self.handle.clone(),
                enforcer: enforcer.clone(),
                personal: self.personal.clone(),
                folder: config.data_dir.clone(),
            }),
            backup: Arc::new(NodeBackup(self.handle.clone())),
            host: Arc::new(AdminHost {
                enforcer: enforcer.clone(),
                gateway: gateway.clone(),
                readiness: readiness.clone(),
            }),
            proofs: Arc::new(proofs::Proofs(self.checkpoints.clone())),
            zones: Arc::new(SystemZones),
            personal: self.personal.clone(),
        };
        self.tasks.spawn(erasure::run(self.handle.clone(), self.personal.clone()));
        serve_admin(config, ports, admin_keeper, &self.ports_stop, &mut self.tasks).await?;
        self.tasks.spawn(clock_watch::run(self.handle.clone(), enforcer.clone()));
        let mark = disk_watch::Mark { low: config.disk_low_bytes };
        let folder = config.data_dir.clone();
        self.tasks.spawn(disk_watch::run(self.handle.clone(), enforcer.clone(), folder, mark));
        self.tasks.spawn(tell_addresses(config.clone(), self.handle.clone()));
        if config.join.as_ref().is_none_or(|join| join.voter) {
            self.tasks.spawn(become_voter(self.handle.clone()));
        }
        Ok(Member {
            handle: self.handle,
            engine: self.engine,
            segments: self.segments,
            log: self.log,
            journal: self.journal,
            enforcer,
            service,
            gateway,
            gateway_port,
            tasks: self.tasks,
            ports_stop: self.ports_stop,
        })
    }
}

impl Member {
    /// What lies under the data keys of this node.
    pub fn stored(&self, folder: Arc<DataFolder>) -> Stored {
        Stored {
            engine: self.engine.clone(),
            segments: self.segments.clone(),
            log: Arc::downgrade(&self.log),
            journal: Arc::downgrade(&self.journal),
            folder,
        }
    }

    /// Resolves when something failed that ends the node, and says what.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            why = self.service.failed() => why,
            why = self.handle.stopped() => why,
        }
    }

    /// Takes no new calls; lets those under way end, hands in all activity and the leadership, then stops.
    pub async fn stop(self, deadline: Instant) -> anyhow::Result<()> {
        let Self { handle, enforcer, service, gateway, gateway_port, mut tasks, ports_stop, .. } = self;
        gateway_port.drain();
        let for_calls = deadline.checked_sub(Duration::from_secs(2)).unwrap_or(deadline).max(Instant::now());
        gateway.shutdown(for_calls).await;
        let detail = format!("version {}", env!("CARGO_PKG_VERSION"));
        enforcer.notice(only1mcp_domain::activity::NoticeKind::Shutdown, detail);
        if let Err(why) = service.stop(deadline).await {
            tracing::warn!(%why, "stopping with activity in the journal");
        }
        hand_over(&handle, deadline).await;
        ports_stop.cancel();
        handle.shutdown().await.context("the rows could not be made durable")?;
        tasks.shutdown().await;
        Ok(())
    }

    /// Hands in the journal and leaves the cluster for good.
    pub async fn leave(self, deadline: Instant) -> anyhow::Result<()> {
        let Self { handle, service, gateway, gateway_port, ports_stop, tasks: _tasks, .. } = self;
        let node = handle.node();
        gateway_port.drain();
        gateway.shutdown(deadline).await;
        service.stop(deadline).await.map_err(|why| anyhow::anyhow!(why))?;
        let sealed = propose_own(&handle, Command::SealJournal { node }, OWN_ENTRY).await?;
        sealed.outcome.map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
        be_let_go(&handle, deadline).await?;
        ports_stop.cancel();
        handle.shutdown().await?;
        Ok(())
    }
}

/// Gives leadership to a voter that would take it and has caught up, if this node leads.
pub async fn hand_over(handle: &Handle, deadline: Instant) {
    let status = handle.status();
    if status.leader != Some(status.node) {
        return;
    }
    let mut others: Vec<_> =
        status.members.iter().filter(|member| member.voter && member.node != status.node).collect();
    others.sort_by_key(|member| member.lag_entries.unwrap_or(u64::MAX));
    let deadline = deadline.min(Instant::now() + HAND_OVER);
    let mut successor = others.first().map(|member| member.node);
    for other in &others {
        if handle.may_lead(other.node, deadline).await {
            successor = Some(other.node);
            break;
        }
    }
    let Some(successor) = successor else { return };
    if let Err(error) = handle.transfer_leader(successor, deadline).await {
        tracing::info!(%error, "leadership was not handed over; the others will elect");
    }
}

/// Has the leader, which must not be this node, take it out: once its name is barred nobody listens to it any more, so
/// the two steps of a removal must be another's.
async fn be_let_go(handle: &Handle, deadline: Instant) -> anyhow::Result<()> {
    let from = handle.node().0;
    let mut last = "no leader is known".to_owned();
    while Instant::now() < deadline {
        let leader = handle.status().leader;
        if leader == Some(handle.node()) {
            hand_over(handle, deadline).await;
        } else if let Some(mut leader) = leader.and_then(|leader| handle.peer(leader)) {
            let request = only1mcp_proto::peer::LeaveRequest { from, lose_journal: false };
            match tokio::time::timeout_at(deadline, leader.leave(request)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => {
                    anyhow::bail!("{}", status.message());
                }
                Ok(Err(status)) => status.message().clone_into(&mut last),
                Err(_) => "the leader does not answer".clone_into(&mut last),
            }
        }
        sleep(PROMOTE_AGAIN).await;
    }
    anyhow::bail!("it is not known whether the node was let go: {last}; `ctl cluster status` tells")
}

/// The times in force are replicated: a node that remembers older ones takes over those of the cluster.
async fn start_consensus(
    config: &NodeConfig,
    folder: &DataFolder,
    identity: &mut Identity,
    stores: Stores,
    (connector, signer): (Arc<dyn Connector>, Arc<SigningKey>),
) -> anyhow::Result<Consensus> {
    let mut options =
        Options::new(NodeId(identity.node), config.name.clone(), config.peer_address(), Arc::new(WallClock));
    options.cluster_name = identity.cluster_name.clone();
    if !identity.took_part {
        // What it was told when it joined is all it knows of the cluster's.
        retime::refuse_others(config, identity.timing())?;
    }
    options.timing = retime::configured(config).unwrap_or(identity.timing());
    identity.runs_with(options.timing, folder)?;
    options.seeds = identity.seeds();
    options.signer = Some(signer);
    options.scrub_bytes_per_second = config.scrub_bytes_per_second;
    options.promised_ms_max = identity.promised_ms_max;
    options.feature_level_max = feature_level_max();
    if let Some(events) = told_for_tests("ONLY1MCP_TEST_SEGMENT_EVENTS") {
        options.segment_events = events;
    }
    if let Some(entries) = told_for_tests("ONLY1MCP_TEST_SNAPSHOT_ENTRIES") {
        (options.snapshot_every_entries, options.keep_entries) = (entries, entries);
    }
    match Consensus::start(options.clone(), stores.clone(), connector.clone()).await {
        Err(StartError::Timing { replicated, .. }) => {
            retime::refuse_others(config, replicated)?;
            tracing::info!(?replicated, "taking over the cluster's times");
            identity.runs_with(replicated, folder)?;
            options.promised_ms_max = identity.promised_ms_max;
            options.timing = replicated;
            Ok(Consensus::start(options, stores, connector).await?)
        }
        started => Ok(started?),
    }
}

/// The newest feature level this program knows. A build for tests may be told to be an older version.
pub fn feature_level_max() -> u32 {
    let known = only1mcp_domain::limits::FEATURE_LEVEL_MAX;
    told_for_tests("ONLY1MCP_TEST_FEATURE_LEVEL_MAX").map_or(known, |told: u32| told.min(known))
}

/// What only a build for tests may be told by its environment.
fn told_for_tests<T: std::str::FromStr>(variable: &str) -> Option<T> {
    if cfg!(debug_assertions) { std::env::var(variable).ok()?.parse().ok() } else { None }
}

/// A voter that lost its log has lost what it promised and acknowledged, and must never vote under its id again.
// INVARIANT: P6
fn refuse_a_lost_log(identity: &Identity, log: &dyn RaftLog) -> anyhow::Result<()> {
    let state = log.state()?;
    let empty = state.vote.is_none() && state.last.is_none() && state.purged.is_none();
    anyhow::ensure!(
        !(identity.took_part && empty),
        "the Raft log of node {0} is lost, and its id is not to be used again: `ctl cluster remove {0} --lose-journal` \
         on another node, then let this machine join anew with an empty data folder, a certificate with a new name, \
         and a token",
        identity.node
    );
    Ok(())
}

async fn serve_peers(
    config: &NodeConfig,
    consensus: &Consensus,
    handlers: Handlers,
    keeper: &Arc<Keeper>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let listener = listen(config.peer.listen, "peer").await?;
    let server_tls = ServerTls::new(keeper.clone(), ClientCertificate::Required, &["h2"])?;
    let admit =
        Arc::new(|identity: Option<&CertIdentity>| matches!(identity, Some(CertIdentity::Node { .. })));
    let incoming = tls::accept(listener, Some(server_tls), admit, AcceptLimits::default(), stop.clone());
    let service = tonic::service::interceptor::InterceptedService::new(
        consensus.peer_service(handlers),
        |mut request: tonic::Request<()>| match request.extensions().get::<ConnectionInfo>() {
            Some(ConnectionInfo { identity: Some(CertIdentity::Node { name }), .. }) => {
                let identity = PeerIdentity { name: name.clone(), node: None };
                request.extensions_mut().insert(identity);
                Ok(request)
            }
            _ => Err(Status::unauthenticated("a node's certificate is needed")),
        },
    );
    let stop = stop.clone();
    tasks.spawn(async move {
        let server = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .max_concurrent_streams(Some(STREAMS_MAX))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled());
        if let Err(error) = server.await {
            tracing::error!(%error, "the peer port ended");
        }
    });
    Ok(())
}

async fn serve_admin(
    config: &NodeConfig,
    ports: Ports,
    keeper: &Arc<Keeper>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let listener = listen(config.admin.listen, "admin").await?;
    let clients =
        if config.admin.tls.ca.is_some() { ClientCertificate::Optional } else { ClientCertificate::None };
    let server_tls = ServerTls::new(keeper.clone(), clients, &["h2"])?;
    let incoming =
        tls::accept(listener, Some(server_tls), Arc::new(|_| true), AcceptLimits::default(), stop.clone());
    let routes = only1mcp_admin::routes(ports)?.into_axum_router();
    let routes = routes.layer(axum::middleware::from_fn(identify));
    let stop = stop.clone();
    tasks.spawn(async move { tls::serve_http(incoming, routes, tls::HttpLimits::default(), stop).await });
    Ok(())
}

/// Hands on who is at the other end of an administrative connection, under the names administration knows.
async fn identify(
    mut request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    if let Some(info) = request.extensions().get::<ConnectionInfo>().cloned() {
        request.extensions_mut().insert(SourceAddress(info.remote.ip()));
        if let Some(CertIdentity::Admin { tenant, principal }) = info.identity {
            request.extensions_mut().insert(ClientIdentity { tenant, principal });
        }
    }
    next.run(request).await
}

pub async fn listen(address: std::net::SocketAddr, port: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({port}.listen)"))
}

/// Tells the cluster where this node is reached now, if that is not what it knows.
async fn tell_addresses(config: NodeConfig, handle: Handle) {
    let node = handle.node();
    loop {
        let record = handle.state().nodes.get(&node).map(|record| record.value.clone());
        let version = env!("CARGO_PKG_VERSION");
        let known = record.is_some_and(|record| {
            record.peer_address == config.peer_address()
                && record.admin_address == config.admin_address()
                && record.http_address == config.http_address()
                && record.region == config.region
                && record.zone == config.zone
                && record.version == version
        });
        if known {
            return;
        }
        let command = Command::UpdateNode {
            node,
            peer_address: config.peer_address(),
            admin_address: config.admin_address(),
            http_address: config.http_address(),
            region: config.region.clone(),
            zone: config.zone.clone(),
            version: version.to_owned(),
        };
        if let Err(error) = propose_own(&handle, command, OWN_ENTRY).await {
            tracing::info!(%error, "this node's addresses are not told yet");
        }
        sleep(PROMOTE_AGAIN).await;
    }
}

/// A learner that has caught up becomes a voter, in consensus first, then in the records.
async fn become_voter(handle: Handle) {
    let node = handle.node();
    loop {
        let role = handle.state().nodes.get(&node).map(|record| record.value.role);
        match role {
            Some(NodeRole::Voter | NodeRole::Removed) => return,
            Some(NodeRole::Learner) | None => {}
        }
        if role.is_some() {
            let promoted = handle.promote(node, Instant::now() + OWN_ENTRY).await;
            let told = match promoted {
                Ok(()) => {
                    propose_own(&handle, Command::SetNodeRole { node, role: NodeRole::Voter }, OWN_ENTRY)
                        .await
                        .map(drop)
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = told {
                tracing::info!(%error, "not a voter yet");
            }
        }
        sleep(PROMOTE_AGAIN).await;
    }
}
