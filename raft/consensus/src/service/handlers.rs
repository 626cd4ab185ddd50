//! What the node adds to the peer service: joining, MCP forwarding, its own vital signs.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use only1mcp_domain::ids::NodeId;
use only1mcp_proto::peer;
use tonic::Status;

use super::authorize::PeerIdentity;

pub type ForwardStream = BoxStream<'static, Result<peer::ForwardMcpResponse, Status>>;

/// Takes in new members and lets members go.
pub trait MembershipHandler: Send + Sync + 'static {
    /// `identity` is certified by the cluster's authority and its name is that of the request; nothing else is known
    /// of it: the token decides.
    fn join(
        &self,
        identity: PeerIdentity,
        request: peer::JoinRequest,
    ) -> BoxFuture<'_, Result<peer::JoinResponse, Status>>;

    /// `node` is the authenticated member that asks.
    fn leave(
        &self,
        node: NodeId,
        request: peer::LeaveRequest,
    ) -> BoxFuture<'_, Result<peer::LeaveResponse, Status>>;
}

/// Answers MCP requests that other members pass on because the session's home is here.
pub trait ForwardHandler: Send + Sync + 'static {
    fn forward(
        &self,
        from: NodeId,
        request: peer::ForwardMcpRequest,
    ) -> BoxFuture<'_, Result<ForwardStream, Status>>;
}

/// Gives back what this node has in hand of limits and does not need.
pub trait RecallHandler: Send + Sync + 'static {
    fn recall(&self, request: peer::RecallRequest) -> BoxFuture<'_, Result<peer::RecallResponse, Status>>;
}

/// Signs checkpoints of the audit chain.
pub trait CheckpointHandler: Send + Sync + 'static {
    fn sign(
        &self,
        request: peer::SignCheckpointRequest,
    ) -> BoxFuture<'_, Result<peer::SignCheckpointResponse, Status>>;
}

/// Gives a member the key of a generation that persons' keys are wrapped by.
pub trait GenerationHandler: Send + Sync + 'static {
    fn fetch(
        &self,
        request: peer::FetchGenerationRequest,
    ) -> BoxFuture<'_, Result<peer::FetchGenerationResponse, Status>>;
}

/// What consensus does not know of its node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vitals {
    pub version: String,
    pub fresh_age_ms: Option<u64>,
    pub disk_used_bytes: u64,
    pub disk_free_bytes: u64,
    /// Index up to which decisions stand.
    pub decides_at: u64,
}

pub trait VitalsSource: Send + Sync + 'static {
    fn vitals(&self) -> Vitals;
}

/// Absent handlers answer `Unimplemented`.
#[derive(Clone, Default)]
pub struct Handlers {
    pub membership: Option<Arc<dyn MembershipHandler>>,
    pub forward: Option<Arc<dyn ForwardHandler>>,
    pub checkpoints: Option<Arc<dyn CheckpointHandler>>,
    pub recall: Option<Arc<dyn RecallHandler>>,
    pub generations: Option<Arc<dyn GenerationHandler>>,
    pub vitals: Option<Arc<dyn VitalsSource>>,
}
