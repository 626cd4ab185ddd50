//! Starting: what is on disk, Raft over it, and the gate on elections.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_proto::peer;
use only1mcp_proto::peer::peer_server::PeerServer;
use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::awake::Awake;
use crate::compare;
use crate::handle::{Handle, Shared};
use crate::network::{AckedLogs, Connector, Directory, Lane, Links, NetworkFactory, PeerTarget, Promises};
use crate::options::{Options, Stores, Timing};
use crate::preference;
use crate::published::Published;
use crate::received::Verified;
use crate::reconcile;
use crate::scrub;
use crate::service::{self, Handlers, PeerService};
use crate::steady::Steady;
use crate::store::{self, LogStore, OpenError, PurgeGuard, StateMachine};
use crate::trail::{self, Trail, Tree};
use crate::types::Raft;

/// A snapshot, fetched or sent, takes no longer than this.
const SNAPSHOT_MS_MAX: u64 = 600_000;

/// Why consensus did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the timing {told:?} is not the cluster's {replicated:?}: a voter timed otherwise would break leases"
    )]
    Timing { told: Timing, replicated: Timing },
    #[error("the timing {told:?} makes no sense: {problem}")]
    BadTiming { told: Timing, problem: String },
    #[error(
        "the cluster is at feature level {cluster}, and this version knows levels up to {known}: start a newer one"
    )]
    FeatureLevel { cluster: u32, known: u32 },
    #[error(
        "this node's rows are lost, its log begins only after entry {purged}, and no member gave it a snapshot: {detail}"
    )]
    NoSnapshot { purged: u64, detail: String },
    #[error("segments of {told} audit events: {} at most, and not none", limits::SEGMENT_EVENTS_MAX)]
    SegmentEvents { told: usize },
    #[error("raft did not start: {detail}")]
    Raft { detail: String },
}

/// A running member.
pub struct Consensus {
    handle: Handle,
}

impl Consensus {
    /// Opens the stores, makes the rows again where they cannot be trusted, and starts Raft. Does not wait for a
    /// leader. Serve [`Consensus::peer_service`] on the peer port.
    pub fn start(
        options: Options,
        stores: Stores,
        connector: Arc<dyn Connector>,
    ) -> BoxFuture<'static, Result<Self, StartError>> {
        // Boxed, so that all of Raft is compiled in this package and not once more in each that starts a member.
        Box::pin(Self::start_here(options, stores, connector))
    }

    async fn start_here(
        options: Options,
        stores: Stores,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, StartError> {
        let config = Arc::new(config(&options)?);
        if options.segment_events == 0 || options.segment_events > limits::SEGMENT_EVENTS_MAX {
            return Err(StartError::SegmentEvents { told: options.segment_events });
        }
        // What it promised before it was started anew, it promised under the times it ran with then.
        let promised_ms = options.timing.election_ms_max.max(options.promised_ms_max);
        let mut opened = store::open(&stores, promised_ms, Instant::now())?;
        let links = Arc::new(Links::new(connector, options.timing));
        if let Some(purged) = opened.needs_snapshot {
            fetch_rows(&options, &stores, &links, purged).await?;
            opened = store::open(&stores, promised_ms, Instant::now())?;
        }
        check_level(&options, &opened.loaded.state)?;
        check_timing(&options, &opened.loaded.state)?;

        let published = Arc::new(Published::new());
        let directory = Arc::new(Directory::new(Arc::clone(&published), options.seeds.clone()));
        let trail = Arc::new(Trail::new(
            Arc::clone(&stores.engine),
            Arc::clone(&stores.segments),
            options.segment_events,
            opened.loaded.segments.clone(),
        ));
        let tree = Arc::new(Tree::load(Arc::clone(&trail)).map_err(OpenError::from)?);
        let guard = PurgeGuard { trail: Arc::clone(&trail) };
        let log = LogStore::new(Arc::clone(&stores.log), opened.durable.clone(), Some(guard));
        let machine = StateMachine::new(
            Arc::clone(&trail),
            opened.loaded,
            Arc::clone(&published),
            Some(opened.durable),
        )
        .marking(options.digest_every_entries)
        .knowing(options.feature_level_max);
        let promises = Arc::new(Promises::default());
        let network = NetworkFactory {
            node: options.node,
            timing: options.timing,
            links: Arc::clone(&links),
            directory: Arc::clone(&directory),
            acked: Arc::new(AckedLogs::default()),
            promises: Arc::clone(&promises),
        };
        let raft = Raft::build(options.node.0, config, network, log, machine)
            .await
            .map_err(|fatal| StartError::Raft { detail: fatal.to_string() })?;
        directory.watch(raft.metrics());
        let gate = Arc::new(opened.gate);
        if !gate.is_open(Instant::now()) {
            raft.runtime_config().elect(false);
            let (raft, gate) = (raft.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                while let Some(at) = gate.waits_until(Instant::now()) {
                    // Looked at again now and then: catching up may open it earlier.
                    tokio::time::sleep_until(at.min(Instant::now() + Duration::from_millis(100))).await;
                }
                raft.runtime_config().elect(true);
            });
        }
        raft.run();
        let awake = Awake::new(Arc::clone(&options.clock));
        let scrub_rate = options.scrub_bytes_per_second;
        let shared = Shared {
            options,
            raft,
            published,
            directory,
            links,
            gate,
            awake,
            promises,
            steady: Steady::default(),
            trail,
            tree,
            digests: Arc::default(),
            scrub: Arc::default(),
            tasks: Mutex::default(),
        };
        let handle = Handle::new(shared);
        let mut tasks = JoinSet::new();
        tasks.spawn(reconcile::run(handle.downgrade()));
        tasks.spawn(compare::run(handle.downgrade()));
        tasks.spawn(preference::run(handle.downgrade()));
        tasks.spawn(scrub::run(handle.downgrade(), stores.log, scrub_rate));
        trail::keep(&mut tasks, &handle);
        handle.keep_tasks(tasks);
        Ok(Self { handle })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// To be added to the tonic server of the peer port, whose connections put a [`service::PeerIdentity`] into each
    /// request's extensions.
    pub fn peer_service(&self, handlers: Handlers) -> PeerServer<PeerService> {
        service::server(self.handle(), handlers)
    }
}

fn config(options: &Options) -> Result<Config, StartError> {
    let Timing { heartbeat_ms, election_ms_min, election_ms_max } = options.timing;
    let config = Config {
        cluster_name: options.cluster_name.clone(),
        heartbeat_interval: heartbeat_ms,
        election_timeout_min: election_ms_min,
        election_timeout_max: election_ms_max,
        install_snapshot_timeout: SNAPSHOT_MS_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every_entries),
        max_in_snapshot_log_to_keep: options.keep_entries,
        max_payload_entries: 256,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        // Which node's log may go back is judged in `network/raft_network.rs`. openraft's own answer to a node whose
        // log did is to end the leader's process.
        allow_log_reversion: Some(true),
        quorum_loss_probe_interval: Some(election_ms_max.saturating_mul(2)),
        removed_leader_step_down: StepDownPolicy::After(heartbeat_ms.saturating_mul(2)),
        backoff: "50ms 100ms 200ms ...1s".into(),
        ..Config::default()
    };
    config
        .validate()
        .map_err(|error| StartError::BadTiming { told: options.timing, problem: error.to_string() })
}

fn check_level(options: &Options, state: &only1mcp_domain::State) -> Result<(), StartError> {
    let cluster = state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
    let known = options.feature_level_max;
    if cluster <= known { Ok(()) } else { Err(StartError::FeatureLevel { cluster, known }) }
}

fn check_timing(options: &Options, state: &only1mcp_domain::State) -> Result<(), StartError> {
    let Some(cluster) = &state.cluster else { return Ok(()) };
    let replicated = Timing::of_settings(&cluster.settings.value);
    if replicated == options.timing {
        Ok(())
    } else {
        Err(StartError::Timing { told: options.timing, replicated })
    }
}

/// Asks one member after the other for its applied state, and installs it.
async fn fetch_rows(
    options: &Options,
    stores: &Stores,
    links: &Links,
    purged: u64,
) -> Result<(), StartError> {
    let mut detail = String::from("no other member is configured");
    for seed in options.seeds.iter().filter(|seed| seed.node != options.node) {
        let target =
            PeerTarget { node: Some(seed.node), name: seed.name.clone(), address: seed.peer_address.clone() };
        match timeout(Duration::from_millis(SNAPSHOT_MS_MAX), fetch(options.node, links, &target, stores))
            .await
        {
            Ok(Ok(verified)) => {
                let index = verified.meta.last_log_id.as_ref().map(|id| id.index);
                if index >= Some(purged) {
                    store::install_rows(&*stores.engine, &verified.meta, &verified)
                        .map_err(OpenError::from)?;
                    return Ok(());
                }
                detail = format!("node {} is at {index:?} itself", seed.node);
            }
            Ok(Err(error)) => detail = format!("node {}: {error}", seed.node),
            Err(_) => detail = format!("node {} did not finish in time", seed.node),
        }
    }
    Err(StartError::NoSnapshot { purged, detail })
}

async fn fetch(
    node: NodeId,
    links: &Links,
    target: &PeerTarget,
    stores: &Stores,
) -> Result<Verified, tonic::Status> {
    let mut client = links.client(target, Lane::Snapshot);
    let parts = client.fetch_snapshot(peer::FetchSnapshotRequest { from: node.0 }).await?.into_inner();
    let mut frames = parts.map(|part| part.map(|part| part.frame));
    let first = frames.next().await.ok_or_else(|| tonic::Status::data_loss("an empty snapshot"))??;
    service::receive(Arc::clone(&stores.segments), first, frames).await
}
