//! Raft's messages to one peer. Every call has a deadline; a failure says whether the peer could be reached at all.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use only1mcp_domain::ids::NodeId;
use only1mcp_proto::peer::{self, append_entries_response, peer_client::PeerClient};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::error::Elapsed;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::acked::AckedLogs;
use super::connector::PeerTarget;
use super::directory::Directory;
use super::links::{Lane, Links, never_sent};
use super::promises::Promises;
use crate::convert::{self, Malformed};
use crate::options::Timing;
use crate::snapshot::SnapshotData;
use crate::types::{Member, RaftSnapshot, RaftVote, TypeConfig};

type Failure = RPCError<TypeConfig>;

pub struct NetworkFactory {
    pub node: NodeId,
    pub timing: Timing,
    pub links: Arc<Links>,
    pub directory: Arc<Directory>,
    pub acked: Arc<AckedLogs>,
    pub promises: Arc<Promises>,
}

impl NetworkFactory {
    fn peer(&self, target: u64, member: &Member, lane: Lane) -> RaftPeer {
        RaftPeer {
            from: self.node.0,
            to: target,
            member: member.clone(),
            lane,
            append_deadline: Duration::from_millis(self.timing.election_ms_max),
            links: Arc::clone(&self.links),
            directory: Arc::clone(&self.directory),
            acked: Arc::clone(&self.acked),
            promises: Arc::clone(&self.promises),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = RaftPeer;

    async fn new_client(&mut self, target: u64, node: &Member) -> RaftPeer {
        self.peer(target, node, Lane::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> RaftPeer {
        self.peer(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> RaftPeer {
        self.peer(target, node, Lane::Snapshot)
    }
}

pub struct RaftPeer {
    from: u64,
    to: u64,
    member: Member,
    lane: Lane,
    /// For appends that carry entries: the peer syncs them to its disk before it answers.
    append_deadline: Duration,
    links: Arc<Links>,
    directory: Arc<Directory>,
    acked: Arc<AckedLogs>,
    promises: Arc<Promises>,
}

impl RaftPeer {
    fn target(&self) -> PeerTarget {
        self.directory.target(NodeId(self.to), Some(&self.member)).unwrap_or_else(|| PeerTarget {
            node: Some(NodeId(self.to)),
            name: self.member.name.clone(),
            address: self.member.peer_address.clone(),
        })
    }

    async fn call<T, F, Fut>(&self, action: RPCTypes, within: Duration, call: F) -> Result<T, Failure>
    where
        F: FnOnce(PeerClient<Channel>) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let target = self.target();
        let client = self.links.client(&target, self.lane);
        let answer = tokio::time::timeout(within, call(client)).await;
        self.links.report(&target, self.lane, answer.is_err());
        self.settle(action, within, answer)
    }

    fn settle<T>(
        &self,
        action: RPCTypes,
        within: Duration,
        answer: Result<Result<Response<T>, Status>, Elapsed>,
    ) -> Result<T, Failure> {
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) if never_sent(&status) || status.code() == Code::Unavailable => {
                Err(RPCError::Unreachable(Unreachable::from_string(status.message())))
            }
            Ok(Err(status)) => Err(RPCError::Network(NetworkError::new(&status))),
            Err(_) => {
                Err(RPCError::Timeout(Timeout { action, id: self.from, target: self.to, timeout: within }))
            }
        }
    }

    /// Notes what the peer acknowledges, and judges a peer that lacks what it acknowledged. One that knows its log to be
    /// cut, and so keeps from voting until it has caught up, is sent what it lacks: this leader has all of it. One that
    /// does not know might vote for somebody who has not, so it is not listened to. INVARIANT: P6
    fn told(
        &self,
        vote: &RaftVote,
        (previous, last): (Option<u64>, Option<u64>),
        answer: peer::AppendEntriesResponse,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let log_was_cut =
            matches!(&answer.result, Some(append_entries_response::Result::Conflict(c)) if c.log_was_cut);
        self.promises.told(self.to, answer.promise_ms);
        let answer = append_response(answer)?;
        match &answer {
            AppendEntriesResponse::Success => self.acked.acked(self.to, vote, last),
            AppendEntriesResponse::PartialSuccess(upto) => {
                self.acked.acked(self.to, vote, upto.as_ref().map(|id| id.index));
            }
            AppendEntriesResponse::Conflict => {
                let Some(index) = previous.filter(|index| self.acked.holds(self.to, vote, *index)) else {
                    return Ok(answer);
                };
                if !log_was_cut {
                    return Err(self.lost(vote, index));
                }
                tracing::warn!(node = self.to, index, "a node lost the end of its log: it is sent again");
                self.acked.forget(self.to);
            }
            AppendEntriesResponse::HigherVote(_) => {}
        }
        Ok(answer)
    }

    fn lost(&self, vote: &RaftVote, index: u64) -> Failure {
        if self.acked.tell(self.to, vote) {
            tracing::error!(
                node = self.to,
                index,
                "a node lacks entries that it acknowledged, and does not know it: its disk lost them, or its folder is \
                 an old copy. It is not listened to. Stop it and remove it with `ctl cluster remove`; where it is \
                 needed for a quorum, restart this node, which then sends it all it lacks"
            );
        }
        RPCError::Unreachable(Unreachable::from_string("the node lacks entries that it acknowledged"))
    }

    fn vote_request(&self, rpc: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
        peer::VoteRequest {
            from: self.from,
            to: self.to,
            vote: Some(convert::vote_to_wire(&rpc.vote)),
            last: rpc.last_log_id.as_ref().map(convert::log_id_to_wire),
            leadership_transfer: rpc.leadership_transfer,
        }
    }
}

/// A snapshot on its way, under a name: the compiler cannot prove a bare boxed stream to be `Send` inside a future.
struct Messages(BoxStream<'static, peer::InstallSnapshotRequest>);

impl Stream for Messages {
    type Item = peer::InstallSnapshotRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

fn unreadable(error: Malformed) -> Failure {
    RPCError::Network(NetworkError::new(&error))
}

fn vote_response(answer: peer::VoteResponse) -> Result<VoteResponse<TypeConfig>, Failure> {
    Ok(VoteResponse {
        vote: convert::vote_from_wire(answer.vote).map_err(unreadable)?,
        vote_granted: answer.granted,
        last_log_id: answer.last.map(convert::log_id_from_wire),
    })
}

fn append_response(
    answer: peer::AppendEntriesResponse,
) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
    use append_entries_response::Result as Answer;
    match answer.result {
        Some(Answer::Accepted(_)) => Ok(AppendEntriesResponse::Success),
        Some(Answer::PartlyAccepted(part)) => {
            Ok(AppendEntriesResponse::PartialSuccess(part.upto.map(convert::log_id_from_wire)))
        }
        Some(Answer::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
        Some(Answer::HigherVote(vote)) => {
            Ok(AppendEntriesResponse::HigherVote(convert::vote_from_wire(Some(vote)).map_err(unreadable)?))
        }
        None => Err(unreadable(convert::malformed("append answer", "empty"))),
    }
}

impl RaftNetworkV2<TypeConfig> for RaftPeer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let within = if rpc.entries.is_empty() {
            option.hard_ttl()
        } else {
            option.hard_ttl().max(self.append_deadline)
        };
        let request = peer::AppendEntriesRequest {
            from: self.from,
            to: self.to,
            vote: Some(convert::vote_to_wire(&rpc.vote)),
            previous: rpc.prev_log_id.as_ref().map(convert::log_id_to_wire),
            entries: rpc.entries.iter().map(convert::entry_to_wire).collect(),
            leader_commit: rpc.leader_commit.as_ref().map(convert::log_id_to_wire),
        };
        let previous = rpc.prev_log_id.as_ref().map(|id| id.index);
        let last = rpc.entries.last().map(|entry| entry.log_id.index).or(previous);
        let answer = self
            .call(RPCTypes::AppendEntries, within, |mut client| async move {
                client.append_entries(request).await
            })
            .await?;
        self.told(&rpc.vote, (previous, last), answer)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let request = self.vote_request(&rpc);
        let within = option.hard_ttl();
        vote_response(
            self.call(RPCTypes::Vote, within, |mut client| async move { client.vote(request).await }).await?,
        )
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let request = self.vote_request(&rpc);
        let within = option.hard_ttl();
        vote_response(
            self.call(RPCTypes::Vote, within, |mut client| async move { client.pre_vote(request).await })
                .await?,
        )
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (from, to) = (self.from, self.to);
        let wire_vote = convert::vote_to_wire(&vote);
        let last = snapshot.meta.last_log_id.as_ref().map(|id| id.index);
        // A frame that cannot be made ends the stream early; the receiver then lacks the trailer and refuses.
        let frames = snapshot.snapshot.into_frames();
        let messages = frames.enumerate().map(move |(number, frame)| match frame {
            Ok(frame) => Some(peer::InstallSnapshotRequest {
                from,
                to,
                vote: (number == 0).then_some(wire_vote),
                frame,
            }),
            Err(error) => {
                tracing::error!(%error, to, "a snapshot could not be read while it was sent");
                None
            }
        });
        let whole = messages.take_while(|message| std::future::ready(message.is_some()));
        let messages = Messages(whole.filter_map(std::future::ready).boxed());
        let within = option.hard_ttl();
        let target = self.target();
        let mut client = self.links.client(&target, self.lane);
        let send = client.install_snapshot(messages);
        let cancel = pin!(cancel);
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = tokio::time::timeout(within, send) => answer,
        };
        self.links.report(&target, self.lane, answer.is_err());
        let answer = self.settle(RPCTypes::InstallSnapshot, within, answer)?;
        let promise_ms = answer.promise_ms;
        let told = convert::vote_from_wire(answer.vote)
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
        if told == vote {
            self.promises.told(to, promise_ms);
            self.acked.acked(to, &vote, last);
        }
        Ok(SnapshotResponse::new(told))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        let request = peer::TransferLeaderRequest {
            from: self.from,
            to: self.to,
            vote: Some(convert::vote_to_wire(req.from_leader())),
            successor: *req.to_node_id(),
            last: req.last_log_id().map(convert::log_id_to_wire),
        };
        let within = option.hard_ttl();
        let answer = self
            .call(RPCTypes::TransferLeader, within, |mut client| async move {
                client.transfer_leader(request).await
            })
            .await?;
        if answer.refusal.is_empty() {
            return Ok(Ok(()));
        }
        Err(RPCError::Network(NetworkError::from_string(answer.refusal)))
    }
}
