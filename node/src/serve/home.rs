//! MCP requests between nodes: to the node that holds a session's streams, over the peer port.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use only1mcp_consensus::{ForwardHandler, ForwardStream, Handle};
use only1mcp_domain::ids::{NodeId, TenantId};
use only1mcp_domain::model::NodeRole;
use only1mcp_gateway::Gateway;
use only1mcp_gateway::ports::{ForwardError, Forwarded, ForwardedAnswer, HomeNodes};
use only1mcp_proto::peer::{self, forward_mcp_response::Part};
use tokio::time::{Duration, timeout};
use tonic::Status;

/// Until the home node begins to answer: a call may take as long as its upstream.
const ANSWER_BEGINS: Duration = Duration::from_secs(600);
/// A home node that cannot be reached is gone.
const REACHED: Duration = Duration::from_secs(2);

/// Reaches other nodes' gateways.
pub struct PeerHomes {
    handle: Handle,
}

impl PeerHomes {
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

impl HomeNodes for PeerHomes {
    fn others(&self) -> Vec<NodeId> {
        let (own, state) = (self.handle.node(), self.handle.state());
        let others = state
            .nodes
            .iter()
            .filter(|(node, record)| **node != own && !matches!(record.value.role, NodeRole::Removed));
        others.map(|(node, _)| *node).collect()
    }

    fn forward(
        &self,
        node: NodeId,
        request: Forwarded,
    ) -> BoxFuture<'_, Result<ForwardedAnswer, ForwardError>> {
        Box::pin(async move {
            let gone = || ForwardError::Gone(node);
            let mut client = self.handle.peer(node).ok_or_else(gone)?;
            // A dead node's connection may look open for a while: ask for a sign of life first.
            let from = self.handle.node().0;
            let alive =
                timeout(REACHED, client.status(peer::StatusRequest { from, ..Default::default() })).await;
            if !matches!(alive, Ok(Ok(_))) {
                return Err(gone());
            }
            let message = peer::ForwardMcpRequest {
                from,
                method: request.method,
                headers: request
                    .headers
                    .into_iter()
                    .map(|(name, value)| peer::Header { name, value })
                    .collect(),
                body: request.body,
                source: request.source.map(|ip| ip.to_string()).unwrap_or_default(),
                tenant: request.tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
                copy: request.copy,
            };
            let answer = timeout(ANSWER_BEGINS, client.forward_mcp(message)).await.map_err(|_| gone())?;
            let mut parts = answer.map_err(|_| gone())?.into_inner();
            let head = match parts.next().await {
                Some(Ok(peer::ForwardMcpResponse { part: Some(Part::Head(head)) })) => head,
                _ => return Err(gone()),
            };
            let body = parts.map(|part| match part {
                Ok(peer::ForwardMcpResponse { part: Some(Part::Data(data)) }) => Ok(data),
                Ok(_) => Err(std::io::Error::other("the home node broke the protocol")),
                Err(status) => Err(std::io::Error::other(status.message().to_owned())),
            });
            Ok(ForwardedAnswer {
                status: u16::try_from(head.status).unwrap_or(502),
                headers: head.headers.into_iter().map(|header| (header.name, header.value)).collect(),
                body: body.boxed(),
            })
        })
    }
}

/// Answers what other nodes forward, once the gateway stands.
#[derive(Clone, Default)]
pub struct ForwardedHere {
    pub gateway: Arc<OnceLock<Gateway>>,
}

impl ForwardHandler for ForwardedHere {
    fn forward(
        &self,
        _from: NodeId,
        request: peer::ForwardMcpRequest,
    ) -> BoxFuture<'_, Result<ForwardStream, Status>> {
        Box::pin(async move {
            let gateway = self.gateway.get().ok_or_else(|| Status::unavailable("the node starts"))?;
            let tenant = match request.tenant.as_str() {
                "" => None,
                id => Some(TenantId::new(id).map_err(|error| Status::invalid_argument(error.to_string()))?),
            };
            let forwarded = Forwarded {
                method: request.method,
                headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
                body: request.body,
                source: request.source.parse::<IpAddr>().ok(),
                tenant,
                copy: request.copy,
            };
            let answer = gateway.handle_forwarded(forwarded).await;
            let header = |(name, value): (String, Bytes)| peer::Header { name, value };
            let head = peer::ForwardMcpHead {
                status: u32::from(answer.status),
                headers: answer.headers.into_iter().map(header).collect(),
            };
            let head =
                futures_util::stream::iter([Ok(peer::ForwardMcpResponse { part: Some(Part::Head(head)) })]);
            let body = answer.body.map(|data| match data {
                Ok(data) => Ok(peer::ForwardMcpResponse { part: Some(Part::Data(data)) }),
                Err(error) => Err(Status::aborted(error.to_string())),
            });
            let stream: ForwardStream = head.chain(body).boxed();
            Ok(stream)
        })
    }
}
