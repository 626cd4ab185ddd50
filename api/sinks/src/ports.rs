//! What delivery needs of the rest of the node. Implemented by `node/`, and by a cluster in memory in tests.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use only1mcp_domain::State;
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::command::DutyProgress;
use only1mcp_domain::ids::{AuditIndex, NodeId};
use only1mcp_domain::outcome::{Outcome, Rejection};
use tokio::sync::watch;

/// The cluster, and this node's clock and randomness.
pub trait DutyPort: Send + Sync + 'static {
    fn node(&self) -> NodeId;

    /// What was last applied here.
    fn state(&self) -> Arc<State>;

    /// Index last applied here; the state is at least as new once the watch shows it.
    fn applied(&self) -> watch::Receiver<u64>;

    /// Whether a quorum confirmed this state not long ago (P4).
    fn is_fresh(&self) -> bool;

    /// At most `limit` events from `from` on, as stored here. Errors: for the log.
    fn events(&self, from: AuditIndex, limit: usize) -> Result<Vec<SealedEvent>, String>;

    /// Has the log told. Errors: it is not known whether it was.
    fn advance(&self, progress: DutyProgress) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, String>>;

    /// Wall clock, milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    fn random(&self) -> u64;
}

/// The way to the outside; follows no redirect.
pub trait HttpPort: Send + Sync + 'static {
    /// Errors: what failed, without address or header.
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Incoming>, String>>;
}
