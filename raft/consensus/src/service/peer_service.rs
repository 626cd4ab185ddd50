//! The gRPC face of [`crate::Handle`]: checks who asks, then does it.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_proto::codec;
use only1mcp_proto::log;
use only1mcp_proto::peer::peer_server::{Peer, PeerServer};
use only1mcp_proto::peer::{self, change_membership_response, propose_response, read_index_response};
use tokio::time::{Duration, Instant};
use tonic::{Request, Response, Status, Streaming};

use super::authorize::{Authorizer, PeerIdentity};
use super::handlers::{ForwardStream, Handlers};
use super::raft_calls::RaftCalls;
use crate::handle::Handle;
use crate::membership::{Change, ChangeOutcome};
use crate::network::Standing;
use crate::proposals::LocalProposal;
use crate::reads::LocalRead;

/// The longest any peer is waited for on behalf of another.
const WAIT_MS_MAX: u64 = 60_000;

pub struct PeerService {
    handle: Handle,
    raft: RaftCalls,
    authorizer: Authorizer,
    handlers: Handlers,
}

/// The service, ready to be added to a tonic server.
pub fn server(handle: Handle, handlers: Handlers) -> PeerServer<PeerService> {
    let service = PeerService {
        raft: RaftCalls {
            raft: handle.raft().clone(),
            gate: handle.gate(),
            promise_ms: handle.timing().election_ms_max,
            trail: handle.trail(),
        },
        authorizer: Authorizer::new(handle.node(), handle.directory(), handle.links()),
        handle,
        handlers,
    };
    PeerServer::new(service)
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
}

fn until(wait_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(wait_ms.min(WAIT_MS_MAX))
}

fn not_leader(leader: Option<NodeId>) -> peer::NotLeader {
    peer::NotLeader { leader: leader.map_or(0, |leader| leader.0) }
}

impl PeerService {
    /// Checks the sender and unwraps the message.
    async fn member<T>(&self, request: Request<T>, from: impl FnOnce(&T) -> u64) -> Result<T, Status> {
        let identity = Authorizer::identity(&request)?;
        let message = request.into_inner();
        self.authorizer.member(&identity, from(&message)).await?;
        Ok(message)
    }

    /// As `member`, for messages that also name their receiver.
    async fn addressed<T>(
        &self,
        request: Request<T>,
        names: impl FnOnce(&T) -> (u64, u64),
    ) -> Result<T, Status> {
        let (from, to) = names(request.get_ref());
        if to != self.handle.node().0 {
            return Err(Status::failed_precondition(format!("this is node {}", self.handle.node())));
        }
        self.member(request, |_| from).await
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn append_entries(
        &self,
        request: Request<peer::AppendEntriesRequest>,
    ) -> Result<Response<peer::AppendEntriesResponse>, Status> {
        let request = self.addressed(request, |r| (r.from, r.to)).await?;
        Ok(Response::new(self.raft.append(request).await?))
    }

    async fn vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        let request = self.addressed(request, |r| (r.from, r.to)).await?;
        Ok(Response::new(self.raft.vote(request, false).await?))
    }

    async fn pre_vote(
        &self,
        request: Request<peer::VoteRequest>,
    ) -> Result<Response<peer::VoteResponse>, Status> {
        let request = self.addressed(request, |r| (r.from, r.to)).await?;
        Ok(Response::new(self.raft.vote(request, true).await?))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<peer::InstallSnapshotRequest>>,
    ) -> Result<Response<peer::InstallSnapshotResponse>, Status> {
        let identity = Authorizer::identity(&request)?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.ok_or_else(|| Status::invalid_argument("an empty snapshot"))?;
        if first.to != self.handle.node().0 {
            return Err(Status::failed_precondition(format!("this is node {}", self.handle.node())));
        }
        self.authorizer.member(&identity, first.from).await?;
        let vote = crate::convert::vote_from_wire(first.vote)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(self.raft.install_snapshot(vote, first.frame, messages).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<peer::TransferLeaderRequest>,
    ) -> Result<Response<peer::TransferLeaderResponse>, Status> {
        let request = self.addressed(request, |r| (r.from, r.to)).await?;
        Ok(Response::new(self.raft.transfer_leader(request).await?))
    }

    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeResponse>, Status> {
        use propose_response::Result as Answer;
        let request = self.member(request, |r| r.from).await?;
        if request.entry.len() > limits::ENTRY_BYTES_MAX {
            return Err(Status::invalid_argument("the entry is too large"));
        }
        // What cannot be read must never enter the log: applying it would stop every node.
        if let Err(error) = codec::decode_entry(&request.entry) {
            return Err(Status::invalid_argument(error.to_string()));
        }
        let answer = match self.handle.propose_here(request.entry, until(request.wait_ms)).await {
            LocalProposal::Committed(committed) => Answer::Committed(peer::Committed {
                log_index: committed.log_index,
                outcome: codec::encode_outcome(&committed.outcome).into(),
            }),
            LocalProposal::NotLeader { leader } => Answer::NotLeader(not_leader(leader)),
            LocalProposal::Unknown { detail } => Answer::Unknown(peer::Unknown { detail }),
            LocalProposal::Stopped { detail } => Answer::Unknown(peer::Unknown { detail }),
        };
        Ok(Response::new(peer::ProposeResponse { result: Some(answer) }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        use read_index_response::Result as Answer;
        let request = self.member(request, |r| r.from).await?;
        let answer = match self.handle.read_index_here(request.lease, until(request.wait_ms)).await {
            LocalRead::Index(index) => Answer::Index(index),
            LocalRead::NotLeader { leader } => Answer::NotLeader(not_leader(leader)),
            LocalRead::Stopped { detail } => return Err(Status::unavailable(detail)),
        };
        Ok(Response::new(peer::ReadIndexResponse { result: Some(answer) }))
    }

    async fn change_membership(
        &self,
        request: Request<peer::ChangeMembershipRequest>,
    ) -> Result<Response<peer::ChangeMembershipResponse>, Status> {
        use change_membership_response::Result as Answer;
        let request = self.member(request, |r| r.from).await?;
        let change =
            Change::from_wire(request.change).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let answer = match self.handle.change_here(&change, until(request.wait_ms)).await {
            ChangeOutcome::Done => Answer::Accepted(peer::Accepted {}),
            ChangeOutcome::NotLeader { leader } => Answer::NotLeader(not_leader(leader)),
            ChangeOutcome::Unknown { detail } => Answer::Unknown(peer::Unknown { detail }),
            ChangeOutcome::Refused { detail } => Answer::Refused(detail),
        };
        Ok(Response::new(peer::ChangeMembershipResponse { result: Some(answer) }))
    }

    async fn vouch(
        &self,
        request: Request<peer::VouchRequest>,
    ) -> Result<Response<peer::VouchResponse>, Status> {
        // Not `member`: two nodes that do not know each other would ask each other for ever. A certified name that
        // claims a registered node's id must still be that node's.
        let identity: PeerIdentity = Authorizer::identity(&request)?;
        let request = request.into_inner();
        match self.handle.directory().standing(NodeId(request.from)) {
            Standing::Known { name, .. } if name == identity.name => {}
            _ => return Err(Status::permission_denied("not a member known here")),
        }
        let state = self.handle.state();
        let member = state
            .nodes
            .get(&NodeId(request.node))
            .map(|record| &record.value)
            .filter(|record| record.role != only1mcp_domain::model::NodeRole::Removed)
            .map(|record| log::MemberNode {
                id: record.id.0,
                name: record.name.clone(),
                peer_address: record.peer_address.clone(),
            });
        Ok(Response::new(peer::VouchResponse { member }))
    }

    type FetchSnapshotStream = BoxStream<'static, Result<peer::SnapshotPart, Status>>;

    async fn fetch_snapshot(
        &self,
        request: Request<peer::FetchSnapshotRequest>,
    ) -> Result<Response<Self::FetchSnapshotStream>, Status> {
        self.member(request, |r| r.from).await?;
        let frozen = self
            .handle
            .raft()
            .get_snapshot()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?
            .ok_or_else(|| Status::failed_precondition("nothing has been applied here yet"))?;
        let parts = frozen.snapshot.into_frames().map(|frame| {
            frame
                .map(|frame| peer::SnapshotPart { frame })
                .map_err(|error| Status::data_loss(error.to_string()))
        });
        Ok(Response::new(parts.boxed()))
    }

    async fn fetch_segment(
        &self,
        request: Request<peer::FetchSegmentRequest>,
    ) -> Result<Response<peer::FetchSegmentResponse>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let chunk = super::segments::chunk(&self.handle.trail(), &request).await?;
        Ok(Response::new(peer::FetchSegmentResponse { chunk }))
    }

    async fn compare_state(
        &self,
        request: Request<peer::CompareStateRequest>,
    ) -> Result<Response<peer::CompareStateResponse>, Status> {
        self.member(request, |r| r.from).await?;
        Ok(Response::new(crate::compare::answer(&self.handle)))
    }

    async fn status(
        &self,
        request: Request<peer::StatusRequest>,
    ) -> Result<Response<peer::StatusResponse>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let digest = request.with_digest.then(|| self.handle.state_digest());
        let vitals = self.handlers.vitals.as_ref().map(|source| source.vitals()).unwrap_or_default();
        Ok(Response::new(self.handle.status().to_wire(&vitals, digest)))
    }

    async fn fetch_generation(
        &self,
        request: Request<peer::FetchGenerationRequest>,
    ) -> Result<Response<peer::FetchGenerationResponse>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let handler =
            self.handlers.generations.as_ref().ok_or_else(|| Status::unimplemented("no keys here"))?;
        Ok(Response::new(handler.fetch(request).await?))
    }

    async fn recall(
        &self,
        request: Request<peer::RecallRequest>,
    ) -> Result<Response<peer::RecallResponse>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let handler =
            self.handlers.recall.as_ref().ok_or_else(|| Status::unimplemented("nothing is lent here"))?;
        Ok(Response::new(handler.recall(request).await?))
    }

    async fn sign_checkpoint(
        &self,
        request: Request<peer::SignCheckpointRequest>,
    ) -> Result<Response<peer::SignCheckpointResponse>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let handler = self
            .handlers
            .checkpoints
            .as_ref()
            .ok_or_else(|| Status::unimplemented("checkpoints are not signed here"))?;
        Ok(Response::new(handler.sign(request).await?))
    }

    type ForwardMcpStream = ForwardStream;

    async fn forward_mcp(
        &self,
        request: Request<peer::ForwardMcpRequest>,
    ) -> Result<Response<Self::ForwardMcpStream>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let handler =
            self.handlers.forward.as_ref().ok_or_else(|| Status::unimplemented("no gateway here"))?;
        Ok(Response::new(handler.forward(NodeId(request.from), request).await?))
    }

    async fn join(
        &self,
        request: Request<peer::JoinRequest>,
    ) -> Result<Response<peer::JoinResponse>, Status> {
        let identity = Authorizer::identity(&request)?;
        let request = request.into_inner();
        if request.name != identity.name {
            return Err(Status::permission_denied("the certificate carries another name"));
        }
        let handler = self
            .handlers
            .membership
            .as_ref()
            .ok_or_else(|| Status::unimplemented("joins are not taken here"))?;
        Ok(Response::new(handler.join(identity, request).await?))
    }

    async fn leave(
        &self,
        request: Request<peer::LeaveRequest>,
    ) -> Result<Response<peer::LeaveResponse>, Status> {
        let request = self.member(request, |r| r.from).await?;
        let handler = self
            .handlers
            .membership
            .as_ref()
            .ok_or_else(|| Status::unimplemented("leaving is not handled here"))?;
        Ok(Response::new(handler.leave(NodeId(request.from), request).await?))
    }
}
