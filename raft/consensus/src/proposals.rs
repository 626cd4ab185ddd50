//! Proposing: to the leader, wherever it is, and never twice unless the first attempt surely proposed nothing.

use bytes::Bytes;
use only1mcp_domain::apply::statement;
use only1mcp_domain::command::{Entry, Signed};
use only1mcp_domain::ids::{Digest, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_proto::{codec, peer};
use openraft::errors::{ClientWriteError, RaftError};
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, Instant, timeout_at};

use crate::handle::Handle;
use crate::network::{Lane, never_sent};
use crate::types::EntryBytes;

/// How long to wait, at most, before looking for a leader again.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// An entry that stands in the log, and what applying it gave.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    pub log_index: u64,
    pub outcome: Result<Outcome, Rejection>,
}

/// Why there is no outcome.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed.
    #[error("no leader took the proposal in time")]
    NotReady,
    /// It may stand in the log or come to stand there: retry under the same command id.
    #[error("the proposal's fate is unknown: {detail}")]
    Unknown { detail: String },
    /// This node has stopped; whether the proposal stands is unknown.
    #[error("this node has stopped: {detail}")]
    Stopped { detail: String },
    /// Nothing was proposed.
    #[error("the entry has {bytes} bytes; at most {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
}

/// One attempt on this node.
pub enum LocalProposal {
    Committed(Committed),
    /// Surely not proposed.
    NotLeader {
        leader: Option<NodeId>,
    },
    Unknown {
        detail: String,
    },
    Stopped {
        detail: String,
    },
}

enum Attempt {
    Done(Result<Committed, ProposeError>),
    /// Surely not proposed; another attempt is safe.
    NotProposed,
}

fn unknown(detail: impl ToString) -> Attempt {
    Attempt::Done(Err(ProposeError::Unknown { detail: detail.to_string() }))
}

impl Handle {
    /// Has `entry` appended by the leader, committed and applied there. To read its effect on this node, wait for its
    /// index first ([`Handle::wait_applied`]).
    /// Errors: `ProposeError`, which says whether the entry may stand nevertheless.
    // INVARIANT: P8
    pub async fn propose(&self, mut entry: Entry, deadline: Instant) -> Result<Committed, ProposeError> {
        self.sign(&mut entry);
        let bytes = Bytes::from(codec::encode_entry(&entry));
        if bytes.len() > limits::ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: bytes.len(), max: limits::ENTRY_BYTES_MAX });
        }
        loop {
            if let Some(detail) = self.stopped_because() {
                return Err(ProposeError::Stopped { detail });
            }
            let attempt = match self.leader() {
                Some(leader) if leader == self.node() => self.attempt_here(bytes.clone(), deadline).await,
                Some(leader) => self.attempt_at(leader, bytes.clone(), deadline).await,
                None => Attempt::NotProposed,
            };
            match attempt {
                Attempt::Done(result) => return result,
                Attempt::NotProposed if Instant::now() >= deadline => return Err(ProposeError::NotReady),
                Attempt::NotProposed => {
                    self.leader_may_have_changed(deadline.min(Instant::now() + LOOK_AGAIN)).await
                }
            }
        }
    }

    /// Once the cluster knows this node's key, what it proposes is signed. INVARIANT: P3
    fn sign(&self, entry: &mut Entry) {
        let (Some(key), node) = (self.signer(), self.node()) else { return };
        let state = self.state();
        let known = state.nodes.get(&node).and_then(|record| record.value.signing_key);
        if entry.signature.is_some() || known != Some(key.public()) {
            return;
        }
        let content = Digest(Sha256::digest(codec::encode_command(&entry.command)).into());
        entry.signature = statement(entry, node, content).map(|statement| Signed {
            node,
            content,
            signature: key.sign(&statement.bytes()),
        });
    }

    async fn attempt_here(&self, bytes: Bytes, deadline: Instant) -> Attempt {
        match self.propose_here(bytes, deadline).await {
            LocalProposal::Committed(committed) => Attempt::Done(Ok(committed)),
            LocalProposal::NotLeader { .. } => Attempt::NotProposed,
            LocalProposal::Unknown { detail } => unknown(detail),
            LocalProposal::Stopped { detail } => Attempt::Done(Err(ProposeError::Stopped { detail })),
        }
    }

    async fn attempt_at(&self, leader: NodeId, entry: Bytes, deadline: Instant) -> Attempt {
        use peer::propose_response::Result as Answer;
        let Some(target) = self.target(leader) else { return Attempt::NotProposed };
        let request = peer::ProposeRequest { from: self.node().0, entry, wait_ms: wait_ms(deadline) };
        let mut client = self.links().client(&target, Lane::Calls);
        let answer = timeout_at(deadline, client.propose(request)).await;
        self.links().report(&target, Lane::Calls, answer.is_err());
        match answer {
            Err(_) => unknown("the leader did not answer in time"),
            Ok(Err(status)) if never_sent(&status) => Attempt::NotProposed,
            // Said before anything is proposed: it does not know us yet, or thinks it is another node.
            Ok(Err(status))
                if matches!(
                    status.code(),
                    tonic::Code::PermissionDenied
                        | tonic::Code::FailedPrecondition
                        | tonic::Code::Unimplemented
                ) =>
            {
                Attempt::NotProposed
            }
            Ok(Err(status)) => unknown(status.message()),
            Ok(Ok(answer)) => match answer.into_inner().result {
                Some(Answer::Committed(committed)) => match codec::decode_outcome(&committed.outcome) {
                    Ok(outcome) => Attempt::Done(Ok(Committed { log_index: committed.log_index, outcome })),
                    Err(error) => unknown(format!("the outcome cannot be read: {error}")),
                },
                Some(Answer::NotLeader(_)) => Attempt::NotProposed,
                Some(Answer::Unknown(answer)) => unknown(answer.detail),
                None => unknown("an empty answer"),
            },
        }
    }

    /// One attempt on this node, which may or may not lead.
    pub(crate) async fn propose_here(&self, entry: Bytes, deadline: Instant) -> LocalProposal {
        let written = match timeout_at(deadline, self.raft().client_write(EntryBytes(entry))).await {
            Ok(written) => written,
            Err(_) => return LocalProposal::Unknown { detail: "it was not committed in time".into() },
        };
        match written {
            Ok(response) => match response.data.outcome {
                Some(outcome) => {
                    LocalProposal::Committed(Committed { log_index: response.log_id.index, outcome })
                }
                None => LocalProposal::Unknown { detail: "the entry was applied without an outcome".into() },
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                LocalProposal::NotLeader { leader: to.leader_id.map(NodeId) }
            }
            // Appended here, then displaced by a new leader's log: a third node may still hold and commit it.
            Err(RaftError::APIError(error)) => LocalProposal::Unknown { detail: error.to_string() },
            Err(RaftError::Fatal(fatal)) => LocalProposal::Stopped { detail: fatal.to_string() },
        }
    }
}

/// Units: milliseconds from now to `deadline`.
pub fn wait_ms(deadline: Instant) -> u64 {
    u64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
}
