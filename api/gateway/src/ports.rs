//! What the gateway needs of the rest of the node. Implemented by `node/`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use only1mcp_domain::activity::{CallOutcome, ItemKind};
use only1mcp_domain::decide::{Decision, Reason};
use only1mcp_domain::ids::{
    ApiKeyId, CallId, DecisionId, Digest, McpSessionId, NodeId, PrincipalId, ProjectId, Revision, TenantId,
    UpstreamId,
};
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::model::{SealMode, Tags, Upstream};
use only1mcp_domain::price::{Amounts, Metering};
use only1mcp_domain::time::TimestampMs;

/// Who is on the other end of a request, proven by key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub tenant: TenantId,
    pub principal: PrincipalId,
    pub key: ApiKeyId,
}

/// An identity together with the facts of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallerInfo {
    pub identity: Identity,
    /// The tenant whose tools are used: the identity's own, unless an operator names another.
    pub tenant: TenantId,
    pub session: Option<McpSessionId>,
    pub project: Option<ProjectId>,
    pub ip: Option<IpAddr>,
    pub user_agent: String,
    pub request_id: String,
}

#[derive(Clone, Debug)]
pub struct CallRequest {
    pub caller: CallerInfo,
    pub kind: ItemKind,
    /// Exposed name, `upstream__name`.
    pub item: String,
    /// The tool's own name at its upstream.
    pub own_name: String,
    pub upstream: UpstreamId,
    /// SHA3-256 of the arguments' bytes as received.
    pub argument_digest: Digest,
    /// What the call says of itself, in `_meta["only1mcp/tags"]`; counts as far as its tenant allows.
    pub tags: Tags,
    /// Of the arguments, as they came.
    pub input_bytes: u64,
    /// The caller waits no longer than this.
    pub deadline: tokio::time::Instant,
}

/// Goes into `_meta["only1mcp/receipt"]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    pub call: CallId,
    pub node: NodeId,
    /// The cluster's: a receipt of a smaller one may speak of what a restore has lost.
    pub epoch: u64,
    pub revision: Revision,
    pub mode: SealMode,
    /// Audit index and event hash; `None` says `pending` (journaled mode).
    pub audit: Option<(u64, Digest)>,
}

/// A refusal, recorded already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub reason: Reason,
    pub decision: DecisionId,
    pub revision: Revision,
    /// One sentence for the caller: what decided it and what to ask for. No secrets, no internals.
    pub message: String,
    /// The limit that left no room, and when its next period begins.
    pub limit: Option<(AccountKey, TimestampMs)>,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    pub outcome: CallOutcome,
    /// SHA3-256 of the result as the upstream sent it; zero where there was none.
    pub result_digest: Digest,
    pub result_bytes: u64,
    pub used: Used,
}

/// What a call used, as far as that is known; what is not costs what was held.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Used {
    pub amounts: Amounts,
    /// The model that the answer says served it.
    pub model: Option<String>,
}

/// An admitted call. Dropping it without `complete` records the call as cancelled.
pub trait AdmittedCall: Send + Sync {
    fn call(&self) -> CallId;

    /// Resolves when the call may be sent upstream: at once, except in `before_dispatch` mode. The admission is on
    /// this node's disk before `admit` returns.
    fn may_dispatch(&self) -> BoxFuture<'_, Result<(), Refused>>;

    /// Resolves when bytes that the upstream caused may leave the node (P2). May be awaited any number of times, by
    /// progress and log messages too; cheap once resolved. An error means: withhold everything.
    fn sealed(&self) -> BoxFuture<'_, Result<Receipt, Refused>>;

    /// How the usage of the call is found in its answer, as of its admission; `None` where nothing is to be read.
    fn metering(&self) -> Option<&Metering>;

    /// Records how the call ended; at most once, later calls are ignored. In `completion` mode the future resolves
    /// when that record is committed, otherwise at once.
    fn complete(&self, ending: Ending) -> BoxFuture<'_, Result<(), Refused>>;
}

/// What an open session holds of its tenant's limit on sessions. Dropped, it is given back.
pub type SessionPermit = Box<dyn Send + Sync>;

/// Something that ends streams and sessions from outside (P4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// Policy moved: re-check every open session and stream of the tenant (`None`: all).
    PolicyChanged {
        tenant: Option<TenantId>,
    },
    /// Upstream definitions changed: lists changed, connections to removed or changed ones must close.
    UpstreamsChanged {
        tenant: TenantId,
    },
    SessionClosed {
        session: McpSessionId,
    },
    /// The node shuts down: take no new work.
    Draining,
}

/// Bounds of one process, and the program that sets them: started as `program confine [bounds] -- command args`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Confinement {
    pub program: PathBuf,
    pub memory_mib: Option<u64>,
    /// How many processors it may run on.
    pub cpus: Option<u64>,
}

/// The node's local enforcement, as the gateway sees it.
pub trait Enforcement: Send + Sync + 'static {
    fn node(&self) -> NodeId;

    /// Checks a presented API key; constant time in the secret. Failures are counted by source, not recorded singly.
    fn authenticate(&self, presented_key: &str, source: Option<IpAddr>) -> Result<Identity, Reason>;

    /// The tenant a host name stands for, if it is some tenant's custom domain.
    fn tenant_by_domain(&self, host: &str) -> Option<TenantId>;

    /// May the caller open or go on using an MCP session in `caller.tenant` at all?
    fn check_session(&self, caller: &CallerInfo) -> Result<(), Refused>;

    /// Waits for freshness, decides, journals the admission and starts its commit; or records the refusal.
    fn admit(&self, request: CallRequest) -> BoxFuture<'_, Result<Arc<dyn AdmittedCall>, Refused>>;

    /// Resolves when so many bytes of a call in `tenant` may go on, by its bandwidth. May be dropped at any time.
    fn pace<'a>(&'a self, tenant: &'a TenantId, bytes: u64) -> BoxFuture<'a, ()>;

    /// What the processes of the tenant's own upstreams are bounded by.
    fn confinement(&self, tenant: &TenantId) -> Option<Confinement>;

    /// Records a refusal that the gateway found by itself (no such upstream, no room, node draining); resolves once the
    /// record is on this node's disk, where it can get there.
    fn refuse<'a>(
        &'a self,
        caller: &'a CallerInfo,
        kind: ItemKind,
        item: &'a str,
        reason: Reason,
    ) -> BoxFuture<'a, Refused>;

    /// The evaluator, for lists: may the caller see the item? Waits for nothing, records nothing.
    fn may_view(&self, caller: &CallerInfo, upstream: &UpstreamId, own_name: &str, item: &str) -> Decision;

    /// Upstreams offered to the tenant, own and shared, enabled ones only, ordered by id.
    fn upstreams(&self, tenant: &TenantId) -> Vec<Arc<Upstream>>;

    fn allowed_origins(&self, tenant: &TenantId) -> Vec<String>;

    /// True when the session was closed anywhere in the cluster.
    fn is_session_closed(&self, session: &McpSessionId) -> bool;

    /// Replicates the tombstone of a session.
    fn close_session(&self, caller: CallerInfo, session: McpSessionId) -> BoxFuture<'_, Result<(), Refused>>;

    /// Takes the permit for one more session in `caller.tenant`, waiting for one as calls do.
    /// Errors: as many are open, over all nodes, as may be.
    fn permit_session<'a>(&'a self, caller: &'a CallerInfo) -> BoxFuture<'a, Result<SessionPermit, Refused>>;

    /// Records that a session was opened (a login).
    fn session_opened(
        &self,
        caller: &CallerInfo,
        client_name: &str,
        client_version: &str,
        protocol_version: &str,
    );

    /// AEAD key of session tokens, shared by all nodes.
    fn session_key(&self) -> Option<[u8; 32]>;

    /// Wall clock, milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    fn revocations(&self) -> tokio::sync::broadcast::Receiver<Revocation>;
}

/// One HTTP request passed on to the session's home node, and its answer, streamed.
pub struct Forwarded {
    pub method: String,
    /// Lower-case names; credentials included: it stays inside the peers' mTLS.
    pub headers: Vec<(String, Bytes)>,
    pub body: Bytes,
    pub source: Option<IpAddr>,
    /// The path's tenant, if the path named one.
    pub tenant: Option<TenantId>,
    /// One of the copies that every other member gets: whoever runs what it names acts on it, nobody passes it on.
    pub copy: bool,
}

pub struct ForwardedAnswer {
    pub status: u16,
    pub headers: Vec<(String, Bytes)>,
    pub body: futures_util::stream::BoxStream<'static, Result<Bytes, std::io::Error>>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForwardError {
    /// Removed, dead, or not reached within its deadline.
    #[error("node {0} is gone")]
    Gone(NodeId),
}

/// Reaches other nodes' gateways over the peer port.
pub trait HomeNodes: Send + Sync + 'static {
    /// All other members, at most `limits::NODES_MAX`.
    fn others(&self) -> Vec<NodeId>;

    fn forward(
        &self,
        node: NodeId,
        request: Forwarded,
    ) -> BoxFuture<'_, Result<ForwardedAnswer, ForwardError>>;
}
