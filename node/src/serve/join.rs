//! How nodes come and go: a token and a certificate let one in as a learner; a journal handed in lets one out.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use only1mcp_consensus::{Connector, Handle, MembershipHandler, PeerIdentity, Timing, ask_to_join};
use only1mcp_domain::State;
use only1mcp_domain::command::{Actor, Command, Entry, RegisterNode, Via};
use only1mcp_domain::ids::{ApiKeyId, Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::secret;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::{log, peer};
use tokio::time::{Duration, Instant, sleep};
use tonic::Status;

use crate::config::{JoinConfig, NodeConfig};
use crate::host::HostClock;
use crate::serve::identity::{Identity, KnownMember};

const JOIN: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(500);
const CHANGE: Duration = Duration::from_secs(15);

/// Asks the configured members, one after the other and again, until one takes this node in.
/// Errors: the cluster's refusal (a used token, a barred name): asking again would not help.
pub async fn join(
    config: &NodeConfig,
    join: &JoinConfig,
    connector: Arc<dyn Connector>,
) -> anyhow::Result<Identity> {
    let token = read_token(&join.token_file)?;
    loop {
        for address in &join.peers {
            let request = peer::JoinRequest {
                token: token.clone(),
                name: config.name.clone(),
                addresses: Some(peer::NodeAddresses {
                    peer: config.peer_address(),
                    admin: config.admin_address(),
                    http: config.http_address(),
                }),
                region: config.region.clone(),
                zone: config.zone.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                feature_level_max: crate::serve::member::feature_level_max(),
            };
            let deadline = Instant::now() + JOIN;
            match ask_to_join(connector.clone(), address.clone(), request, deadline).await {
                Ok(response) => return Ok(identity(response)),
                Err(status) if is_refusal(status.code()) => {
                    anyhow::bail!("the cluster refuses this node: {}", status.message());
                }
                Err(status) => {
                    tracing::info!(%address, code = ?status.code(), why = status.message(), "not taken in yet")
                }
            }
        }
        sleep(AGAIN).await;
    }
}

fn is_refusal(code: tonic::Code) -> bool {
    use tonic::Code::{FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated};
    matches!(code, FailedPrecondition | InvalidArgument | PermissionDenied | Unauthenticated)
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the join token from {} (join.token_file)", path.display()))?;
    let token = text.trim().to_owned();
    anyhow::ensure!(
        secret::parse_token(&token).is_some(),
        "{} holds no join token; make one with `only1mcp ctl cluster join-token`",
        path.display()
    );
    Ok(token)
}

fn identity(response: peer::JoinResponse) -> Identity {
    let timing = Timing {
        heartbeat_ms: response.heartbeat_ms,
        election_ms_min: response.election_ms_min,
        election_ms_max: response.election_ms_max,
    };
    let known = |member: log::MemberNode| KnownMember {
        node: member.id,
        name: member.name,
        peer_address: member.peer_address,
    };
    let seeds = response.members.into_iter().map(known).collect();
    Identity::new(NodeId(response.node), response.cluster_name, timing, seeds)
}

/// An entry a node proposes for itself.
pub fn node_entry(node: NodeId, command: Command) -> Entry {
    Entry {
        actor: Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::of_node(node),
            key: None,
            via: Via::Node(node),
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        },
        command_id: None,
        request_digest: Digest::default(),
        observed_at: TimestampMs(HostClock.now_ms()),
        command,
        signature: None,
    }
}

/// Lets nodes in and out, on whichever member they ask.
pub struct Doorkeeper {
    pub handle: std::sync::OnceLock<Handle>,
}

impl Doorkeeper {
    fn handle(&self) -> Result<Handle, Status> {
        self.handle.get().cloned().ok_or_else(|| Status::unavailable("the node starts"))
    }

    async fn take_in(
        &self,
        identity: PeerIdentity,
        request: peer::JoinRequest,
    ) -> Result<peer::JoinResponse, Status> {
        let handle = self.handle()?;
        let deadline = Instant::now() + CHANGE;
        let (token, text) = secret::parse_token(&request.token)
            .ok_or_else(|| Status::unauthenticated("that is no join token"))?;
        let state = current(&handle, deadline).await?;
        let cluster =
            state.cluster.as_ref().ok_or_else(|| Status::unavailable("the cluster is not formed"))?;
        let (level, known) = (cluster.settings.value.feature_level, request.feature_level_max.max(1));
        if level > known {
            return Err(Status::failed_precondition(format!(
                "the cluster is at feature level {level}, and this version knows levels up to {known}: join with a newer one"
            )));
        }
        let node = match unfinished(&state, &identity.name) {
            Some(node) => node,
            None => {
                let stored = state.join_tokens.get(&token).map(|token| token.mac).unwrap_or_default();
                if !secret::verify(&cluster.key_hash_key, text, &stored) {
                    return Err(Status::unauthenticated("the join token is unknown or used: make a new one"));
                }
                register(&handle, identity, token, request, deadline).await?
            }
        };
        handle.add_learner(node, deadline).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let state = handle.state();
        let members = state.nodes.values().filter(|record| record.value.role != NodeRole::Removed);
        let settings = &cluster.settings.value;
        Ok(peer::JoinResponse {
            node: node.0,
            cluster_id: bytes::Bytes::copy_from_slice(&cluster.id.0),
            cluster_name: settings.cluster_name.clone(),
            heartbeat_ms: settings.heartbeat_ms,
            election_ms_min: settings.election_ms_min,
            election_ms_max: settings.election_ms_max,
            members: members
                .map(|record| log::MemberNode {
                    id: record.value.id.0,
                    name: record.value.name.clone(),
                    peer_address: record.value.peer_address.clone(),
                })
                .collect(),
        })
    }

    async fn let_go(&self, node: NodeId, lose_journal: bool) -> Result<peer::LeaveResponse, Status> {
        let handle = self.handle()?;
        let entry = node_entry(node, Command::RemoveNode { node, lose_journal });
        let removed = remove(&handle, entry, node, Instant::now() + CHANGE).await;
        let removed = removed.map_err(|error| Status::unavailable(error.to_string()))?;
        removed.outcome.map_err(|rejection| Status::failed_precondition(rejection.to_string()))?;
        Ok(peer::LeaveResponse {})
    }
}

/// A node of that name that was registered, which used up its token, and has not taken part since: whoever took it in
/// died, or its answer was lost. The certificate proves the name, so asking again finishes the join.
fn unfinished(state: &State, name: &str) -> Option<NodeId> {
    let record = state.nodes.values().map(|record| &record.value).find(|record| record.name == name)?;
    // A node opens an incarnation before it serves anybody. One that did has a folder of its own to start from.
    let waits = record.role == NodeRole::Learner && !state.activity.contains_key(&record.id);
    waits.then_some(record.id)
}

/// Has the node registered, and the registration applied here.
async fn register(
    handle: &Handle,
    identity: PeerIdentity,
    token: ApiKeyId,
    request: peer::JoinRequest,
    deadline: Instant,
) -> Result<NodeId, Status> {
    let addresses = request.addresses.ok_or_else(|| Status::invalid_argument("the addresses are missing"))?;
    let name = identity.name.clone();
    let register = RegisterNode {
        token: Some(token),
        name: identity.name,
        peer_address: addresses.peer,
        admin_address: addresses.admin,
        http_address: addresses.http,
        region: request.region,
        zone: request.zone,
        version: request.version,
    };
    let entry = node_entry(handle.node(), Command::RegisterNode(register));
    let unavailable = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
    let committed = handle.propose(entry, deadline).await.map_err(|error| unavailable(&error))?;
    let state =
        handle.wait_applied(committed.log_index, deadline).await.map_err(|error| unavailable(&error))?;
    match committed.outcome {
        Ok(Outcome::NodeRegistered { node }) => Ok(node),
        Ok(other) => Err(Status::internal(format!("registering gave {other:?}"))),
        // An attempt before this one may have come through meanwhile.
        Err(rejection) => {
            unfinished(&state, &name).ok_or_else(|| Status::failed_precondition(rejection.to_string()))
        }
    }
}

/// The state as the leader has it now.
async fn current(handle: &Handle, deadline: Instant) -> Result<Arc<State>, Status> {
    let unavailable = |error: only1mcp_consensus::ReadError| Status::unavailable(error.to_string());
    let index = handle.read_index(deadline).await.map_err(unavailable)?;
    handle.wait_applied(index, deadline).await.map_err(unavailable)
}

/// Takes a node out: first out of the replicated records, which refuse while its journal is not handed in, and bar its
/// certificate; then out of consensus.
pub async fn remove(
    handle: &Handle,
    entry: Entry,
    node: NodeId,
    deadline: Instant,
) -> anyhow::Result<only1mcp_consensus::Committed> {
    let committed = handle.propose(entry, deadline).await?;
    if committed.outcome.is_ok() {
        handle.remove(node, deadline).await?;
    }
    Ok(committed)
}

impl MembershipHandler for Doorkeeper {
    fn join(
        &self,
        identity: PeerIdentity,
        request: peer::JoinRequest,
    ) -> BoxFuture<'_, Result<peer::JoinResponse, Status>> {
        Box::pin(self.take_in(identity, request))
    }

    fn leave(
        &self,
        node: NodeId,
        request: peer::LeaveRequest,
    ) -> BoxFuture<'_, Result<peer::LeaveResponse, Status>> {
        Box::pin(self.let_go(node, request.lose_journal))
    }
}
