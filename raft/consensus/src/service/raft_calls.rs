//! Raft's messages as they arrive.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use only1mcp_proto::peer::{self, append_entries_response};
use only1mcp_storage::Segments;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::convert::{self, Malformed};
use crate::received::{Receiving, Verified};
use crate::snapshot::{SnapshotData, SnapshotError};
use crate::trail::Trail;
use crate::types::{LogId, Raft, RaftSnapshot, RaftVote, TypeConfig};
use crate::vote_gate::VoteGate;

#[derive(Clone)]
pub struct RaftCalls {
    pub raft: Raft,
    pub gate: Arc<VoteGate>,
    /// For how long this node keeps from voting for another after it heard of a leader.
    pub promise_ms: u64,
    pub trail: Arc<Trail>,
}

fn unreadable(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn stopped(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("this node has stopped: {error}"))
}

impl RaftCalls {
    pub async fn append(
        &self,
        request: peer::AppendEntriesRequest,
    ) -> Result<peer::AppendEntriesResponse, Status> {
        use append_entries_response::Result as Answer;
        let entries =
            request.entries.into_iter().map(convert::entry_from_wire).collect::<Result<Vec<_>, _>>();
        let rpc = AppendEntriesRequest::<TypeConfig> {
            vote: convert::vote_from_wire(request.vote).map_err(unreadable)?,
            prev_log_id: request.previous.map(convert::log_id_from_wire),
            entries: entries.map_err(unreadable)?,
            leader_commit: request.leader_commit.map(convert::log_id_from_wire),
        };
        let last = rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id);
        let commit = rpc.leader_commit;
        let answer = match self.raft.append_entries(rpc).await.map_err(stopped)? {
            AppendEntriesResponse::Success => {
                self.gate.caught_up(last.map(|id| id.index), commit.map(|id| id.index));
                Answer::Accepted(peer::Accepted {})
            }
            AppendEntriesResponse::PartialSuccess(upto) => Answer::PartlyAccepted(peer::PartlyAccepted {
                upto: upto.as_ref().map(convert::log_id_to_wire),
            }),
            AppendEntriesResponse::Conflict => {
                Answer::Conflict(peer::Conflict { log_was_cut: self.gate.log_was_cut() })
            }
            AppendEntriesResponse::HigherVote(vote) => Answer::HigherVote(convert::vote_to_wire(&vote)),
        };
        Ok(peer::AppendEntriesResponse { result: Some(answer), promise_ms: self.promise_ms })
    }

    /// This node's own vote and last entry, for saying no without asking Raft.
    fn refusal(&self) -> VoteResponse<TypeConfig> {
        let metrics = self.raft.metrics();
        let vote = metrics.borrow_watched().vote;
        VoteResponse { vote, vote_granted: false, last_log_id: None }
    }

    pub async fn vote(&self, request: peer::VoteRequest, pre: bool) -> Result<peer::VoteResponse, Status> {
        let rpc = VoteRequest::<TypeConfig> {
            vote: convert::vote_from_wire(request.vote).map_err(unreadable)?,
            last_log_id: request.last.map(convert::log_id_from_wire),
            leadership_transfer: request.leadership_transfer,
        };
        let answer = if !self.gate.is_open(Instant::now()) {
            // INVARIANT: P8, lease reads (an explicit no, so that the asker does not wait)
            self.refusal()
        } else if pre {
            self.raft.pre_vote(rpc).await.map_err(stopped)?
        } else {
            self.raft.vote(rpc).await.map_err(stopped)?
        };
        Ok(peer::VoteResponse {
            vote: Some(convert::vote_to_wire(&answer.vote)),
            granted: answer.vote_granted,
            last: answer.last_log_id.as_ref().map(convert::log_id_to_wire),
        })
    }

    pub async fn install_snapshot(
        &self,
        vote: RaftVote,
        first: Bytes,
        rest: Streaming<peer::InstallSnapshotRequest>,
    ) -> Result<peer::InstallSnapshotResponse, Status> {
        let rest = rest.map(|message| message.map(|message| message.frame));
        // Checked before Raft sees it: a damaged snapshot is the sender's trouble and must not stop this node.
        let verified = receive(self.trail.shared_files(), first, rest).await.inspect_err(|error| {
            tracing::error!(error = error.message(), "a snapshot was refused");
        })?;
        let snapshot = RaftSnapshot {
            meta: verified.meta.clone(),
            snapshot: SnapshotData::Received(Box::new(verified)),
        };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        let vote = Some(convert::vote_to_wire(&answer.vote));
        Ok(peer::InstallSnapshotResponse { vote, promise_ms: self.promise_ms })
    }

    pub async fn transfer_leader(
        &self,
        request: peer::TransferLeaderRequest,
    ) -> Result<peer::TransferLeaderResponse, Status> {
        if !self.gate.is_open(Instant::now()) {
            return Ok(peer::TransferLeaderResponse { refusal: "this node has just started".into() });
        }
        let vote = convert::vote_from_wire(request.vote).map_err(unreadable)?;
        let last: Option<LogId> = request.last.map(convert::log_id_from_wire);
        let rpc = TransferLeaderRequest::<TypeConfig>::new(vote, request.successor, last);
        let answer = self.raft.handle_transfer_leader(rpc).await.map_err(stopped)?;
        let refusal = answer.err().map(|error| error.to_string()).unwrap_or_default();
        Ok(peer::TransferLeaderResponse { refusal })
    }
}

/// Takes in the frames of a snapshot, on disk, within `limits::SNAPSHOT_BYTES_MAX`.
pub async fn receive(
    files: Arc<dyn Segments>,
    first: Bytes,
    mut rest: impl futures_util::Stream<Item = Result<Bytes, Status>> + Unpin,
) -> Result<Verified, Status> {
    let refused = |error: SnapshotError| match error {
        SnapshotError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        SnapshotError::Spool(_) => Status::unavailable(error.to_string()),
        _ => Status::data_loss(error.to_string()),
    };
    let mut receiving = Receiving::begin(files).map_err(refused)?;
    receiving.take(&first).map_err(refused)?;
    while let Some(frame) = rest.next().await {
        receiving.take(&frame?).map_err(refused)?;
    }
    receiving.finish().map_err(refused)
}
