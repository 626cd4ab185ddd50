//! Who may speak on the peer port: the node named in a message must be the one its certificate names, and a member.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::ids::NodeId;
use only1mcp_proto::peer;
use tonic::{Request, Status};

use crate::network::{Directory, Lane, Links, Standing};
use crate::options::Seed;

/// The other end of a connection, as mutual TLS proved it. Whoever serves the peer port puts it into every request's
/// extensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerIdentity {
    /// The name in its certificate.
    pub name: String,
    /// The node of that name, where the server of the port knows it already.
    pub node: Option<NodeId>,
}

/// How long members are asked about one this node does not know.
const VOUCH_WITHIN: Duration = Duration::from_millis(500);

pub struct Authorizer {
    node: NodeId,
    directory: Arc<Directory>,
    links: Arc<Links>,
}

impl Authorizer {
    pub fn new(node: NodeId, directory: Arc<Directory>, links: Arc<Links>) -> Self {
        Self { node, directory, links }
    }

    pub fn identity<T>(request: &Request<T>) -> Result<PeerIdentity, Status> {
        request
            .extensions()
            .get::<PeerIdentity>()
            .cloned()
            .ok_or_else(|| Status::unauthenticated("the connection proves no identity"))
    }

    /// Lets `from` through if `identity` is that node's and it is a member.
    pub async fn member(&self, identity: &PeerIdentity, from: u64) -> Result<NodeId, Status> {
        let node = NodeId(from);
        if identity.node.is_some_and(|proven| proven != node) {
            return Err(refused(identity, node, "its certificate is another node's"));
        }
        let standing = match self.directory.standing(node) {
            Standing::Unknown => self.vouch(node).await,
            known => known,
        };
        match standing {
            Standing::Known { name, .. } if name == identity.name => Ok(node),
            Standing::Known { .. } => Err(refused(identity, node, "that node has another name")),
            Standing::Removed => Err(refused(identity, node, "it was removed")),
            Standing::Unknown => Err(refused(identity, node, "it is not registered")),
        }
    }

    /// A node that was away when another joined does not know that one yet, and may hear of it first from itself, as
    /// leader. So it asks the members it knows; what a member says of the registration it has applied is believed.
    async fn vouch(&self, node: NodeId) -> Standing {
        for target in self.directory.members(self.node) {
            if target.node == Some(node) {
                continue;
            }
            let mut client = self.links.client(&target, Lane::Calls);
            let request = peer::VouchRequest { from: self.node.0, node: node.0 };
            let answer = tokio::time::timeout(VOUCH_WITHIN, client.vouch(request)).await;
            self.links.report(&target, Lane::Calls, answer.is_err());
            let Ok(Ok(answer)) = answer else { continue };
            if let Some(member) = answer.into_inner().member.filter(|member| member.id == node.0) {
                let seed = Seed { node, name: member.name, peer_address: member.peer_address };
                self.directory.vouched(seed);
                return self.directory.standing(node);
            }
        }
        Standing::Unknown
    }
}

fn refused(identity: &PeerIdentity, node: NodeId, why: &'static str) -> Status {
    tracing::warn!(name = identity.name, %node, why, "a peer was refused");
    Status::permission_denied(why)
}
