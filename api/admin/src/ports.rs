//! What administration needs of the rest of the node. Implemented by `node/`, and by an in-memory cluster in tests.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use only1mcp_domain::activity::{AuditRead, Caller};
use only1mcp_domain::audit::merkle::Frontier;
use only1mcp_domain::audit::{RetentionClass, SealedEvent};
use only1mcp_domain::command::Entry;
pub use only1mcp_domain::cost::CostPlace;
use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::decide::{CompiledPolicy, Reason};
use only1mcp_domain::ids::{
    ApiKeyId, AuditIndex, DecisionId, Digest, NodeId, PrincipalId, PublicKey, Revision, TenantId, UpstreamId,
};
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::model::{Measure, Permission};
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_domain::state::State;
use only1mcp_domain::time::{TimestampMs, Zones};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backup::BackupPort;
use crate::subjects::PersonalPort;

/// Put into a request's extensions by the listener when the caller's client certificate named a principal.
/// Without it, only an API key identifies a caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientIdentity {
    pub tenant: TenantId,
    pub principal: PrincipalId,
}

/// Put into a request's extensions by the listener: where the request came from. Without it, the connection's own
/// address counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceAddress(pub IpAddr);

/// Why events of the audit trail could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrailFailure {
    /// They are not on this node, or no longer sound there, and being fetched from another: worth trying again.
    Fetching { code: &'static str, detail: String },
    /// What the log of the node should say; callers learn only that the trail could not be read.
    Unreadable(String),
}

/// One state, the policy compiled from it, and the time to judge them at.
#[derive(Clone, Debug)]
pub struct View {
    pub state: Arc<State>,
    pub policy: Arc<CompiledPolicy>,
    /// Log time as this node estimates it.
    pub now: TimestampMs,
}

/// How new the state of a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consistency {
    /// Confirmed by a quorum after the question.
    Linearizable,
    /// Confirmed by the leader's lease.
    Lease,
    /// This node's own, at most so old, and with everything up to `revision_min` applied.
    Local { staleness_ms_max: u64, revision_min: u64 },
}

/// Why a read gave nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadFailure {
    #[error("no quorum confirmed the state in time")]
    Unavailable,
    #[error("this node's state is older than asked for")]
    Stale,
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

/// Why a proposal gave no outcome.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeFailure {
    /// Certainly not committed.
    #[error("no leader takes proposals at the moment")]
    NotReady,
    /// Certainly not committed: the node keeps the disk space that is left.
    #[error("this node is low on disk space")]
    DiskLow,
    #[error("the proposal may or may not have been committed")]
    Unknown,
    #[error("this node has stopped: {0}")]
    Stopped(String),
}

/// What became of a membership operation besides its entry's outcome.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MembershipFailure {
    #[error(transparent)]
    Propose(#[from] ProposeFailure),
    /// Consensus refuses it: the node is unknown to it, not a voter, not caught up, or the last one.
    #[error("{0}")]
    Refused(String),
}

/// An entry's outcome and the log index it was applied at.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    pub log_index: u64,
    pub outcome: Result<Outcome, Rejection>,
}

/// The cluster as this node sees it now.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ClusterStatus {
    pub leader: Option<NodeId>,
    pub term: u64,
    pub applied_index: u64,
    pub committed_index: u64,
    /// What this node read of its disk, looking for damage.
    pub scrub: Scrub,
    /// Last index at which most voters were found to have this node's state.
    pub agreed_index: u64,
    /// What is known of each member besides its replicated record; members without an entry are unknown.
    pub members: Vec<MemberObservation>,
}

/// Counted since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrub {
    pub rounds: u64,
    pub bytes: u64,
    pub faults: u64,
    /// What is read now.
    pub part: &'static str,
}

/// What this node knows of one member; a field it does not know is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemberObservation {
    pub node: NodeId,
    pub applied_index: Option<u64>,
    pub lag_entries: Option<u64>,
    pub freshness_ms: Option<u64>,
    pub disk_free_bytes: Option<u64>,
    pub clock_offset_ms: Option<i64>,
    pub reachable: Option<bool>,
    pub feature_level_max: Option<u32>,
    /// It runs with the times of the cluster's settings.
    pub timed: Option<bool>,
}

/// What came back from a node, and is applied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recalled {
    /// Units: those of the measure.
    pub amounts: Vec<(Measure, i128)>,
    pub accounts: u64,
    /// More is in hand than comes back at one time.
    pub more: bool,
}

/// A segment of the audit trail whose events are past their days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RetentionDue {
    pub first: AuditIndex,
    pub last: AuditIndex,
    pub counts: Vec<(RetentionClass, u32)>,
}

/// One member's answer to a recall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRecall {
    pub node: NodeId,
    /// `None`: it is not reached, or did not say in time what came of it.
    pub recalled: Option<Recalled>,
}

/// The replicated state machine and the cluster around it.
pub trait ClusterPort: Send + Sync + 'static {
    fn node(&self) -> NodeId;

    /// What was last applied here, however old.
    fn view(&self) -> View;

    /// Index last applied here; the view is at least as new once the watch shows it.
    fn applied(&self) -> watch::Receiver<u64>;

    /// A view as new as `consistency` asks, or a failure by `deadline`.
    fn consistent(
        &self,
        consistency: Consistency,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<View, ReadFailure>>;

    fn propose(&self, entry: Entry, deadline: Instant) -> BoxFuture<'_, Result<Committed, ProposeFailure>>;

    /// True once every node has applied `log_index` or is fenced (P4); false when the deadline came first.
    fn wait_everywhere(&self, log_index: u64, deadline: Instant) -> BoxFuture<'_, bool>;

    /// Events `from ..= to` that this node has applied, at most `limit`, the latest first if `reverse`.
    /// Errors: never fewer events in place of one.
    fn audit_scan(
        &self,
        from: AuditIndex,
        to: AuditIndex,
        limit: usize,
        reverse: bool,
    ) -> BoxFuture<'_, Result<Vec<SealedEvent>, TrailFailure>>;

    /// The first segment at or after `from` from which payloads would be dropped now.
    /// Errors: as `audit_scan`.
    fn retention_due(&self, from: AuditIndex) -> BoxFuture<'_, Result<Option<RetentionDue>, TrailFailure>>;

    /// Cost records of `tenant` that this node has applied, from `from` on and posted before `to`, at most `limit`, in the
    /// order of their places.
    /// Errors: as `audit_scan`.
    fn cost_scan(
        &self,
        tenant: &TenantId,
        from: CostPlace,
        to: TimestampMs,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<CostRecord>, String>>;

    /// Has every member that is reached give back what it holds of the tenant's limits, or of one, and no call needs.
    fn recall<'a>(
        &'a self,
        tenant: &'a TenantId,
        limit: Option<&'a LimitId>,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<NodeRecall>>;

    /// Asks nobody for longer than `deadline`; works without a quorum.
    fn status(&self, deadline: Instant) -> BoxFuture<'_, ClusterStatus>;

    /// Resolves when `to` leads.
    fn transfer_leader(&self, to: NodeId, deadline: Instant) -> BoxFuture<'_, Result<(), MembershipFailure>>;

    /// Takes the node of `entry` (a `RemoveNode`) out of consensus and applies the entry, in the order that is safe.
    fn remove(&self, entry: Entry, deadline: Instant) -> BoxFuture<'_, Result<Committed, MembershipFailure>>;

    /// Makes the node of `entry` (a `SetNodeRole`) a voter in consensus, then applies the entry.
    fn promote(&self, entry: Entry, deadline: Instant)
    -> BoxFuture<'_, Result<Committed, MembershipFailure>>;
}

/// A refused administrative request, for the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminRefusal {
    pub decision: DecisionId,
    pub caller: Caller,
    /// The tenant that was to be reached.
    pub tenant: TenantId,
    /// `Tenants/CreateTenant`.
    pub method: &'static str,
    pub permission: Permission,
    pub reason: Reason,
    pub revision: Revision,
    /// Wall clock of this node.
    pub at: TimestampMs,
}

/// An upstream as this node's gateway finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamHealth {
    pub status: UpstreamStatus,
    /// Why it fails, without secrets.
    pub detail: String,
    pub tools: u32,
    pub in_flight: u32,
    /// Since when it stands so, by this node's wall clock.
    pub since: Option<TimestampMs>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamStatus {
    /// Nobody has needed it yet.
    Unused,
    Connecting,
    Healthy,
    Failing,
}

impl UpstreamStatus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Connecting => "connecting",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
        }
    }
}

/// The node itself: clock, randomness, its gateway's observations, the way into the record.
pub trait HostPort: Send + Sync + 'static {
    /// Wall clock, milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Whether this node can serve: formed, fresh, not draining.
    fn ready(&self) -> bool;

    /// Fills `bytes` from the system's secure generator. It must not return without having done so.
    fn random(&self, bytes: &mut [u8]);

    /// Takes a refusal into this node's activity (P3). Does not wait.
    fn record_refusal(&self, refusal: AdminRefusal);

    /// Takes a reading of the audit trail into this node's activity; those of one reader may be summed up. Does not wait.
    /// False where it cannot be taken: then nothing may be read.
    fn record_audit_read(&self, read: AuditRead) -> bool;

    /// Counts a request without valid credentials by second and source.
    fn unauthenticated(&self, source: Option<IpAddr>);

    /// Notes a use of the key.
    fn key_used(&self, key: &ApiKeyId);

    /// `None` when this node's gateway has nothing to tell.
    fn upstream_health(&self, tenant: &TenantId, upstream: &UpstreamId) -> Option<UpstreamHealth>;
}

/// The exporting node's word for what it exports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportSignature {
    pub node: NodeId,
    pub key: PublicKey,
    pub signature: [u8; 64],
}

/// Proofs over the audit chain, as this node has them. A checkpoint is a signed note and the size of its tree.
pub trait ProofPort: Send + Sync + 'static {
    /// The newest checkpoint that a majority signed, of at least so many events; `None` where there is none by `deadline`.
    fn checkpoint(&self, size_min: u64, deadline: Instant) -> BoxFuture<'_, Option<(String, u64)>>;

    fn newest(&self) -> Option<(String, u64)>;

    /// The path from an event to the root of the tree of `size` events.
    fn inclusion(&self, index: AuditIndex, size: u64) -> Result<Vec<Digest>, TrailFailure>;

    /// The proof that the tree of `old` events is the beginning of that of `size`.
    fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>, TrailFailure>;

    fn frontier(&self, size: u64) -> Result<Frontier, TrailFailure>;

    fn sign_export(&self, message: &[u8]) -> ExportSignature;
}

/// Everything the services are made of.
#[derive(Clone)]
pub struct Ports {
    pub cluster: Arc<dyn ClusterPort>,
    pub host: Arc<dyn HostPort>,
    pub backup: Arc<dyn BackupPort>,
    pub proofs: Arc<dyn ProofPort>,
    pub zones: Arc<dyn Zones>,
    pub personal: Arc<dyn PersonalPort>,
}
