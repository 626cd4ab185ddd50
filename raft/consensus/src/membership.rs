//! Who takes part in Raft: forming, taking in learners, making voters, removing, handing leadership over.
//!
//! Raft's membership follows the replicated node records: a node is registered by an entry first, and then added here.
//! Every change may be repeated: a change already made is done.

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_domain::command::Entry;
use only1mcp_domain::ids::NodeId;
use only1mcp_proto::{log, peer};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, Fatal, InitializeError, RaftError};
use openraft::raft::ClientWriteResponse;
use tokio::time::{Duration, Instant, timeout_at};

use crate::convert::{Malformed, malformed};
use crate::handle::Handle;
use crate::network::Lane;
use crate::proposals::{Committed, ProposeError, wait_ms};
use crate::reads::ReadError;
use crate::types::{Member, RaftMembership, TypeConfig};

const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Why membership stays, or may stay, as it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MembershipError {
    #[error("no leader made the change in time")]
    NotReady,
    #[error("whether the change was made is unknown: {detail}")]
    Unknown { detail: String },
    #[error("{detail}")]
    Refused { detail: String },
    #[error("this node has stopped: {detail}")]
    Stopped { detail: String },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    AddLearner { node: NodeId, member: Member },
    Promote(NodeId),
    Remove(NodeId),
    TransferTo(NodeId),
}

pub enum ChangeOutcome {
    Done,
    NotLeader { leader: Option<NodeId> },
    Unknown { detail: String },
    Refused { detail: String },
}

impl Change {
    pub fn from_wire(change: Option<peer::change_membership_request::Change>) -> Result<Self, Malformed> {
        use peer::change_membership_request::Change as Wire;
        Ok(match change.ok_or_else(|| malformed("membership change", "empty"))? {
            Wire::AddLearner(node) => Self::AddLearner {
                node: NodeId(node.id),
                member: Member { name: node.name, peer_address: node.peer_address },
            },
            Wire::Promote(node) => Self::Promote(NodeId(node)),
            Wire::Remove(node) => Self::Remove(NodeId(node)),
            Wire::TransferTo(node) => Self::TransferTo(NodeId(node)),
        })
    }

    fn to_wire(&self) -> peer::change_membership_request::Change {
        use peer::change_membership_request::Change as Wire;
        match self {
            Self::AddLearner { node, member } => Wire::AddLearner(log::MemberNode {
                id: node.0,
                name: member.name.clone(),
                peer_address: member.peer_address.clone(),
            }),
            Self::Promote(node) => Wire::Promote(node.0),
            Self::Remove(node) => Wire::Remove(node.0),
            Self::TransferTo(node) => Wire::TransferTo(node.0),
        }
    }

    fn is_made(&self, membership: &RaftMembership, leader: Option<u64>) -> bool {
        let settled = membership.get_joint_config().len() == 1;
        match self {
            Self::AddLearner { node, .. } => membership.get_node(&node.0).is_some(),
            Self::Promote(node) => settled && membership.voter_ids().any(|id| id == node.0),
            Self::Remove(node) => settled && membership.get_node(&node.0).is_none(),
            Self::TransferTo(node) => leader == Some(node.0),
        }
    }
}

type Written = Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

impl Handle {
    /// Makes this node a cluster of one and proposes its first entry (`Command::FormCluster`). Forming again after an
    /// interruption takes up where it stopped; on a formed cluster the entry is answered with a rejection.
    pub async fn form(&self, first: Entry, deadline: Instant) -> Result<Committed, ProposeError> {
        let members = BTreeMap::from([(self.node().0, self.member())]);
        match self.raft().initialize(members).await {
            // Not pristine: formed before, at least as far as this.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(RaftError::APIError(error)) => {
                return Err(ProposeError::Unknown { detail: error.to_string() });
            }
            Err(RaftError::Fatal(fatal)) => return Err(ProposeError::Stopped { detail: fatal.to_string() }),
        }
        self.propose(first, deadline).await
    }

    /// Adds a registered node as a learner.
    pub async fn add_learner(&self, node: NodeId, deadline: Instant) -> Result<(), MembershipError> {
        let mut state = self.state();
        if !state.nodes.contains_key(&node) {
            // Registered through the leader a moment ago, perhaps, and not yet applied here.
            let index = self.read_index(deadline).await.map_err(not_read)?;
            state = self.wait_applied(index, deadline).await.map_err(not_read)?;
        }
        let Some(record) = state.nodes.get(&node) else {
            return Err(MembershipError::Refused { detail: format!("node {node} is not registered") });
        };
        let member =
            Member { name: record.value.name.clone(), peer_address: record.value.peer_address.clone() };
        self.change(Change::AddLearner { node, member }, deadline).await
    }

    /// Makes a learner a voter, once it has caught up and kept up for the settings' `stable_ms`.
    pub async fn promote(&self, node: NodeId, deadline: Instant) -> Result<(), MembershipError> {
        self.change(Change::Promote(node), deadline).await
    }

    /// Takes a node out, voter or learner. A leader that removes itself steps down once that is committed.
    pub async fn remove(&self, node: NodeId, deadline: Instant) -> Result<(), MembershipError> {
        self.change(Change::Remove(node), deadline).await
    }

    /// Hands leadership to a voter, and returns once that one leads.
    pub async fn transfer_leader(&self, to: NodeId, deadline: Instant) -> Result<(), MembershipError> {
        self.change(Change::TransferTo(to), deadline).await
    }

    async fn change(&self, change: Change, deadline: Instant) -> Result<(), MembershipError> {
        let mut last_unknown = None;
        loop {
            if let Some(detail) = self.stopped_because() {
                return Err(MembershipError::Stopped { detail });
            }
            let outcome = match self.leader() {
                Some(leader) if leader == self.node() => self.change_here(&change, deadline).await,
                Some(leader) => self.change_at(leader, &change, deadline).await,
                None => ChangeOutcome::NotLeader { leader: None },
            };
            match outcome {
                ChangeOutcome::Done => return Ok(()),
                ChangeOutcome::Refused { detail } => return Err(MembershipError::Refused { detail }),
                ChangeOutcome::NotLeader { .. } => {}
                ChangeOutcome::Unknown { detail } => last_unknown = Some(detail),
            }
            if Instant::now() >= deadline {
                return Err(match last_unknown {
                    Some(detail) => MembershipError::Unknown { detail },
                    None => MembershipError::NotReady,
                });
            }
            self.leader_may_have_changed(deadline.min(Instant::now() + TRY_AGAIN)).await;
        }
    }

    async fn change_at(&self, leader: NodeId, change: &Change, deadline: Instant) -> ChangeOutcome {
        use peer::change_membership_response::Result as Answer;
        let Some(target) = self.target(leader) else { return ChangeOutcome::NotLeader { leader: None } };
        let request = peer::ChangeMembershipRequest {
            from: self.node().0,
            wait_ms: wait_ms(deadline),
            change: Some(change.to_wire()),
        };
        let mut client = self.links().client(&target, Lane::Calls);
        let answer = timeout_at(deadline, client.change_membership(request)).await;
        self.links().report(&target, Lane::Calls, answer.is_err());
        match answer {
            Err(_) => ChangeOutcome::Unknown { detail: "the leader did not answer in time".into() },
            Ok(Err(status)) => ChangeOutcome::Unknown { detail: status.message().into() },
            Ok(Ok(answer)) => match answer.into_inner().result {
                Some(Answer::Accepted(_)) => ChangeOutcome::Done,
                Some(Answer::NotLeader(to)) => {
                    ChangeOutcome::NotLeader { leader: (to.leader != 0).then_some(NodeId(to.leader)) }
                }
                Some(Answer::Unknown(answer)) => ChangeOutcome::Unknown { detail: answer.detail },
                Some(Answer::Refused(detail)) => ChangeOutcome::Refused { detail },
                None => ChangeOutcome::Unknown { detail: "an empty answer".into() },
            },
        }
    }

    /// Makes the change as leader, waiting for other changes to settle.
    pub(crate) async fn change_here(&self, change: &Change, deadline: Instant) -> ChangeOutcome {
        loop {
            let metrics = self.raft().metrics().borrow_watched().clone();
            if metrics.current_leader != Some(self.node().0) {
                return match change {
                    Change::TransferTo(to) if metrics.current_leader == Some(to.0) => ChangeOutcome::Done,
                    _ => ChangeOutcome::NotLeader { leader: metrics.current_leader.map(NodeId) },
                };
            }
            let membership = metrics.committed_membership_config.membership();
            if change.is_made(membership, metrics.current_leader) {
                return ChangeOutcome::Done;
            }
            if let Some(outcome) = self.change_once(change, &metrics, deadline).await {
                return outcome;
            }
            if Instant::now() >= deadline {
                return ChangeOutcome::Unknown { detail: "the change did not settle in time".into() };
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + TRY_AGAIN)).await;
        }
    }

    /// `None`: look again, then perhaps once more.
    async fn change_once(
        &self,
        change: &Change,
        metrics: &openraft::RaftMetrics<TypeConfig>,
        deadline: Instant,
    ) -> Option<ChangeOutcome> {
        let raft = self.raft();
        let membership = metrics.membership_config.membership();
        let written: Written = match change {
            Change::AddLearner { node, member } => {
                within(deadline, raft.add_learner(node.0, member.clone(), false)).await?
            }
            Change::Promote(node) => {
                if membership.get_node(&node.0).is_none() {
                    return Some(ChangeOutcome::Refused { detail: format!("node {node} is not a learner") });
                }
                if self.kept_up(metrics, *node) < self.stable() {
                    return None;
                }
                let voters = ChangeMembers::AddVoterIds(BTreeSet::from([node.0]));
                within(deadline, raft.change_membership(voters, true)).await?
            }
            Change::Remove(node) => {
                let ids = BTreeSet::from([node.0]);
                let is_voter = membership.voter_ids().any(|id| id == node.0);
                if is_voter && membership.voter_ids().count() == 1 {
                    return Some(ChangeOutcome::Refused {
                        detail: "the last voter cannot be removed".into(),
                    });
                }
                // A voter that is not retained is gone altogether.
                let change =
                    if is_voter { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) };
                within(deadline, raft.change_membership(change, false)).await?
            }
            Change::TransferTo(to) => {
                if !membership.voter_ids().any(|id| id == to.0) {
                    return Some(ChangeOutcome::Refused { detail: format!("node {to} is not a voter") });
                }
                // Once asked for, a transfer cannot be taken back: a leader whose successor does not take over neither
                // writes nor sends heartbeats until another is elected.
                if !self.may_lead(*to, deadline).await {
                    let last_look = Instant::now() + TRY_AGAIN >= deadline;
                    let detail =
                        format!("node {to} does not answer, or has just started and keeps from voting");
                    return last_look.then_some(ChangeOutcome::Refused { detail });
                }
                let began = Instant::now();
                return match raft.trigger().transfer_leader(to.0).await {
                    Ok(()) => {
                        let outcome = self.wait_for_leader(*to, deadline).await;
                        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        tracing::info!(%to, took_ms, taken = outcome.is_some(), "the leadership was handed over");
                        outcome
                    }
                    Err(fatal) => Some(gone(&fatal)),
                };
            }
        };
        match written {
            Ok(_) => None,
            Err(RaftError::Fatal(fatal)) => Some(gone(&fatal)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                Some(ChangeOutcome::NotLeader { leader: to.leader_id.map(NodeId) })
            }
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_),
            ))) => None,
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                Some(ChangeOutcome::Refused { detail: error.to_string() })
            }
            Err(RaftError::APIError(error)) => Some(ChangeOutcome::Unknown { detail: error.to_string() }),
        }
    }

    /// Whether a member answers, and would take the leadership.
    pub async fn may_lead(&self, node: NodeId, deadline: Instant) -> bool {
        let patience = deadline.min(Instant::now() + Duration::from_millis(self.timing().election_ms_min));
        let Some(mut client) = self.peer(node) else { return false };
        let request = peer::StatusRequest { from: self.node().0, ..Default::default() };
        let answer = timeout_at(patience, client.status(request)).await;
        matches!(answer, Ok(Ok(status)) if !status.get_ref().votes_withheld)
    }

    /// A transfer has been asked for; it takes at most an election, or has failed.
    async fn wait_for_leader(&self, to: NodeId, deadline: Instant) -> Option<ChangeOutcome> {
        let patience = deadline.min(Instant::now() + Duration::from_millis(self.timing().election_ms_max));
        while Instant::now() < patience {
            if self.leader() == Some(to) {
                return Some(ChangeOutcome::Done);
            }
            self.leader_may_have_changed(patience.min(Instant::now() + TRY_AGAIN)).await;
        }
        None
    }
}

fn not_read(error: ReadError) -> MembershipError {
    match error {
        ReadError::NotReady | ReadError::Behind { .. } => MembershipError::NotReady,
        ReadError::Stopped { detail } => MembershipError::Stopped { detail },
    }
}

fn gone(fatal: &Fatal<TypeConfig>) -> ChangeOutcome {
    ChangeOutcome::Unknown { detail: format!("this node has stopped: {fatal}") }
}

/// `None` when the deadline passes first.
async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, work).await.ok()
}
