//! What this node knows of itself and the cluster, for people and for other members.

use only1mcp_domain::ids::{AuditIndex, Digest, NodeId};
use only1mcp_proto::peer;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Instant as _, ServerState};
use tokio::time::Instant;

use crate::handle::Handle;
use crate::options::Timing;
use crate::service::Vitals;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Learner,
    Follower,
    Candidate,
    Leader,
    Stopped,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        }
    }
}

/// A member as Raft's membership has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    pub node: NodeId,
    pub name: String,
    pub peer_address: String,
    pub voter: bool,
    /// On the leader only: entries this member lacks.
    pub lag_entries: Option<u64>,
    /// On the leader only: how long ago the member last answered.
    pub last_heard_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    pub node: NodeId,
    pub name: String,
    pub role: Role,
    pub term: u64,
    pub leader: Option<NodeId>,
    pub members: Vec<MemberStatus>,
    /// A membership change is under way.
    pub changing: bool,
    pub last_log: u64,
    pub committed: u64,
    pub applied: u64,
    /// Index of the latest snapshot point.
    pub snapshot: u64,
    /// Log entries up to this one are gone from the log.
    pub purged: u64,
    /// On the leader only: how long ago a quorum last confirmed it.
    pub quorum_ack_age_ms: Option<u64>,
    /// Votes are neither granted nor asked for yet, so soon after a restart.
    pub votes_withheld: bool,
    pub audit_index: AuditIndex,
    pub now_ms: u64,
    /// The times this node runs with.
    pub timing: Timing,
    pub feature_level_max: u32,
    /// Why this node stopped, if it did.
    pub fatal: Option<String>,
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Handle {
    pub fn status(&self) -> Status {
        let metrics = self.raft().metrics().borrow_watched().clone();
        let now = Instant::now();
        let state = self.state();
        let membership = metrics.membership_config.membership();
        let last_log = metrics.last_log_index.unwrap_or(0);
        let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
        let members = membership
            .nodes()
            .map(|(id, member)| MemberStatus {
                node: NodeId(*id),
                name: member.name.clone(),
                peer_address: member.peer_address.clone(),
                voter: voters.contains(id),
                lag_entries: metrics
                    .replication
                    .as_ref()
                    .and_then(|replication| replication.get(id))
                    .map(|matched| last_log.saturating_sub(matched.as_ref().map_or(0, |id| id.index))),
                last_heard_ms: metrics
                    .heartbeat
                    .as_ref()
                    .and_then(|heartbeat| heartbeat.get(id).copied().flatten())
                    .map(|at| ms(at.into_inner().elapsed())),
            })
            .collect();
        let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index);
        let fatal = self.stopped_because();
        Status {
            node: self.node(),
            name: self.name().to_owned(),
            role: match metrics.state {
                _ if fatal.is_some() => Role::Stopped,
                ServerState::Learner => Role::Learner,
                ServerState::Follower => Role::Follower,
                ServerState::Candidate => Role::Candidate,
                ServerState::Leader => Role::Leader,
                ServerState::Shutdown => Role::Stopped,
            },
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            members,
            changing: membership.get_joint_config().len() > 1,
            last_log,
            committed: index(metrics.local_committed),
            applied: *self.applied().borrow(),
            snapshot: index(metrics.snapshot),
            purged: index(metrics.purged),
            quorum_ack_age_ms: metrics.last_quorum_acked.map(|at| ms(at.into_inner().elapsed())),
            votes_withheld: !self.gate().is_open(now),
            audit_index: state.chain.index,
            now_ms: self.now_ms(),
            timing: self.timing(),
            feature_level_max: self.feature_level_max(),
            fatal,
        }
    }
}

/// A digest of the whole state and the index of the entry that last changed it. Equal indexes, equal digests, on every
/// node; anything else means that two nodes disagree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateDigest {
    pub index: u64,
    pub digest: Digest,
}

impl Handle {
    /// Costs a pass over every row of the state.
    pub fn state_digest(&self) -> StateDigest {
        let state = self.state();
        StateDigest { index: state.last_applied, digest: state.digest(only1mcp_proto::codec::encode_row) }
    }
}

impl Status {
    pub(crate) fn to_wire(&self, vitals: &Vitals, digest: Option<StateDigest>) -> peer::StatusResponse {
        peer::StatusResponse {
            node: self.node.0,
            name: self.name.clone(),
            version: vitals.version.clone(),
            term: self.term,
            leader: self.leader.map_or(0, |leader| leader.0),
            role: self.role.name().into(),
            last_log: self.last_log,
            committed: self.committed,
            applied: self.applied,
            snapshot: self.snapshot,
            purged: self.purged,
            state_digest: digest
                .map_or_else(bytes::Bytes::new, |d| bytes::Bytes::copy_from_slice(&d.digest.0)),
            state_index: digest.map_or(0, |d| d.index),
            now_ms: self.now_ms,
            fresh_age_ms: vitals.fresh_age_ms,
            disk_used_bytes: vitals.disk_used_bytes,
            disk_free_bytes: vitals.disk_free_bytes,
            fatal: self.fatal.clone().unwrap_or_default(),
            audit_index: self.audit_index.0,
            decides_at: vitals.decides_at,
            feature_level_max: self.feature_level_max,
            heartbeat_ms: self.timing.heartbeat_ms,
            election_ms_min: self.timing.election_ms_min,
            election_ms_max: self.timing.election_ms_max,
            votes_withheld: self.votes_withheld,
        }
    }
}
