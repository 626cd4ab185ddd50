//! The cheap clone through which the rest of the node uses the cluster.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use only1mcp_domain::State;
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::ids::{AuditIndex, NodeId};
use only1mcp_domain::row::RowKey;
use only1mcp_proofs::SigningKey;
use only1mcp_proto::peer::peer_client::PeerClient;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use crate::awake::Awake;
use crate::compare::{Digests, Mark};
use crate::network::{Directory, Lane, Links, PeerTarget, Promises};
use crate::options::{Options, Timing};
use crate::published::{AppliedNote, Published};
use crate::scrub::{ScrubState, Scrubbed};
use crate::steady::Steady;
use crate::trail::{Trail, TrailError, Tree};
use crate::types::{Member, Raft};
use crate::vote_gate::VoteGate;

/// See the methods in `proposals.rs`, `reads.rs`, `membership.rs` and `status.rs` too.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub options: Options,
    pub raft: Raft,
    pub published: Arc<Published>,
    pub directory: Arc<Directory>,
    pub links: Arc<Links>,
    pub gate: Arc<VoteGate>,
    pub awake: Awake,
    pub promises: Arc<Promises>,
    pub steady: Steady,
    pub trail: Arc<Trail>,
    pub tree: Arc<Tree>,
    pub digests: Arc<Digests>,
    pub scrub: Arc<ScrubState>,
    pub tasks: Mutex<JoinSet<()>>,
}

/// For what runs inside Raft or beside it, and must not keep it alive.
#[derive(Clone)]
pub(crate) struct WeakHandle {
    shared: Weak<Shared>,
}

impl WeakHandle {
    pub fn upgrade(&self) -> Option<Handle> {
        self.shared.upgrade().map(|shared| Handle { shared })
    }
}

impl Handle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn downgrade(&self) -> WeakHandle {
        WeakHandle { shared: Arc::downgrade(&self.shared) }
    }

    pub fn node(&self) -> NodeId {
        self.shared.options.node
    }

    pub fn name(&self) -> &str {
        &self.shared.options.name
    }

    pub fn timing(&self) -> Timing {
        self.shared.options.timing
    }

    pub fn feature_level_max(&self) -> u32 {
        self.shared.options.feature_level_max
    }

    pub(crate) fn steady(&self) -> &Steady {
        &self.shared.steady
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.options.clock.now_ms()
    }

    pub(crate) fn member(&self) -> Member {
        Member {
            name: self.shared.options.name.clone(),
            peer_address: self.shared.options.peer_address.clone(),
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.shared.raft
    }

    pub(crate) fn gate(&self) -> Arc<VoteGate> {
        Arc::clone(&self.shared.gate)
    }

    pub(crate) fn awake(&self) -> &Awake {
        &self.shared.awake
    }

    /// How long the acknowledgements of a quorum bind it, at least.
    pub(crate) fn promise_ms(&self) -> u64 {
        let metrics = self.raft().metrics();
        let membership = Arc::clone(&metrics.borrow_watched().membership_config);
        let own_ms = self.timing().election_ms_max;
        self.shared.promises.shortest_ms(own_ms, membership.membership().voter_ids())
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.shared.directory)
    }

    pub(crate) fn links(&self) -> Arc<Links> {
        Arc::clone(&self.shared.links)
    }

    /// The state last applied here.
    pub fn state(&self) -> Arc<State> {
        self.shared.published.state()
    }

    /// The log index last applied here. Whoever sees an index here finds at least that state in [`Handle::state`].
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.shared.published.applied()
    }

    /// A note per applied entry, in order. A receiver that falls more than `limits::APPLIED_NOTES_MAX` behind is told
    /// that it lagged, and one may be told to resync: it must then read the state instead.
    pub fn notes(&self) -> broadcast::Receiver<Arc<AppliedNote>> {
        self.shared.published.notes()
    }

    /// Audit events from `from` on, as stored here, sealed or not: `limit` of them, or all there are.
    pub fn audit_events(&self, from: AuditIndex, limit: usize) -> Result<Vec<SealedEvent>, TrailError> {
        self.shared.trail.events(from, limit)
    }

    /// How many segments of the audit trail there are, and how many of them this node lacks.
    pub fn audit_segments(&self) -> (usize, usize) {
        self.shared.trail.counts()
    }

    /// Payloads of audit events dropped here since the node started.
    pub fn payloads_dropped(&self) -> u64 {
        self.shared.trail.dropped()
    }

    /// The last index at which most voters were found to have this node's state; 0 before the first.
    pub fn agreed_index(&self) -> u64 {
        self.shared.digests.agreed()
    }

    /// What was read of this node's disk, looking for damage.
    pub fn scrubbed(&self) -> Scrubbed {
        self.shared.scrub.now()
    }

    pub(crate) fn digests(&self) -> &Digests {
        &self.shared.digests
    }

    pub(crate) fn scrub_state(&self) -> &ScrubState {
        &self.shared.scrub
    }

    pub(crate) fn marks(&self) -> watch::Receiver<Option<Mark>> {
        self.shared.published.marks()
    }

    /// This node can take no further part.
    pub(crate) fn fail(&self, why: String) {
        self.shared.published.fail(why);
    }

    /// The Merkle tree over the audit trail, as far as this node has it.
    pub fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.shared.tree)
    }

    /// What this node signs with.
    pub fn signer(&self) -> Option<Arc<SigningKey>> {
        self.shared.options.signer.clone()
    }

    pub(crate) fn trail(&self) -> Arc<Trail> {
        Arc::clone(&self.shared.trail)
    }

    /// At most `limit` cost records with keys in `from..to`, as stored here.
    pub fn cost_records(
        &self,
        from: &RowKey,
        to: &RowKey,
        limit: usize,
    ) -> Result<Vec<CostRecord>, crate::store::rows::LoadError> {
        crate::store::rows::cost_records(self.shared.trail.engine(), from, to, limit)
    }

    /// The leader this node believes in.
    pub fn leader(&self) -> Option<NodeId> {
        self.raft().metrics().borrow_watched().current_leader.map(NodeId)
    }

    /// A client for calls to another member (status, MCP forwarding). Every call needs a deadline of the caller's.
    /// `None` when the node is not known or was removed.
    pub fn peer(&self, node: NodeId) -> Option<PeerClient<Channel>> {
        let target = self.target(node)?;
        Some(self.shared.links.client(&target, Lane::Calls))
    }

    pub(crate) fn target(&self, node: NodeId) -> Option<PeerTarget> {
        let metrics = self.raft().metrics();
        let membership = Arc::clone(&metrics.borrow_watched().membership_config);
        self.shared.directory.target(node, membership.membership().get_node(&node.0))
    }

    /// Returns when the leader changes, or at `until`.
    pub(crate) async fn leader_may_have_changed(&self, until: Instant) {
        let mut metrics = self.raft().server_metrics();
        let before = metrics.borrow_watched().current_leader;
        let changed = async {
            while metrics.changed().await.is_ok() {
                if metrics.borrow_watched().current_leader != before {
                    return;
                }
            }
            std::future::pending().await
        };
        let _ = timeout_at(until, changed).await;
    }

    pub(crate) fn stopped_because(&self) -> Option<String> {
        if let Some(fault) = self.shared.published.fault() {
            return Some(fault.to_owned());
        }
        self.raft().metrics().borrow_watched().running_state.as_ref().err().map(ToString::to_string)
    }

    /// Resolves when this node can take no further part, with the reason: an I/O error, an entry that cannot be
    /// applied, or [`Handle::shutdown`].
    pub async fn stopped(&self) -> String {
        let mut metrics = self.raft().metrics();
        loop {
            if let Some(why) = self.stopped_because() {
                return why;
            }
            if metrics.changed().await.is_err() {
                return self.stopped_because().unwrap_or_else(|| "raft has ended".into());
            }
        }
    }

    /// What runs beside Raft as long as it does.
    pub(crate) fn keep_tasks(&self, tasks: JoinSet<()>) {
        *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    /// Stops taking part and makes the rows durable. Hand leadership over first. Afterwards nothing of this node
    /// writes any more: whoever opens its folder next has it alone.
    pub async fn shutdown(&self) -> Result<(), only1mcp_storage::StorageError> {
        if let Err(error) = self.raft().shutdown().await {
            tracing::warn!(%error, "raft did not end well");
        }
        let mut tasks = mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.shared.trail.engine().sync()
    }

    /// Takes a snapshot point now and drops the log entries behind it, but for the ones kept.
    pub async fn snapshot_now(&self) -> Result<(), String> {
        self.raft().trigger().snapshot().await.map_err(|fatal| fatal.to_string())
    }
}
