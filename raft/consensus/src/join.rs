//! Asking to be taken in, before there is anything to start: a joiner's id comes from the log.

use std::sync::Arc;

use only1mcp_proto::peer;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::network::{Connector, Lane, Links, PeerTarget};
use crate::options::Timing;

/// Sends `request` to the member at `address`. Any member takes it and has the leader register the node.
/// Errors: the member's refusal, or `DeadlineExceeded`; a token may then have been used: ask with another.
pub async fn ask_to_join(
    connector: Arc<dyn Connector>,
    address: String,
    request: peer::JoinRequest,
    deadline: Instant,
) -> Result<peer::JoinResponse, Status> {
    let links = Links::new(connector, Timing::default());
    let target = PeerTarget { node: None, name: String::new(), address };
    let mut client = links.client(&target, Lane::Calls);
    match timeout_at(deadline, client.join(request)).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the member did not answer in time")),
    }
}
