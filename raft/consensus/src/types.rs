//! openraft's type configuration: what this crate calls an entry, a reply and a node. Private: none of it leaks out.
#![allow(deprecated, reason = "the macro's default names the tokio runtime by its old path")]

use std::fmt;

use bytes::Bytes;
use only1mcp_domain::outcome::{Outcome, Rejection};

openraft::declare_raft_types!(
    pub TypeConfig:
        D = EntryBytes,
        R = Reply,
        Node = Member,
);

pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub type LeaderId = openraft::type_config::alias::LeaderIdOf<TypeConfig>;
pub type RaftEntry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type RaftVote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub type RaftMembership = openraft::Membership<u64, Member>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub type RaftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, crate::snapshot::SnapshotData>;
pub type Metrics =
    openraft::type_config::alias::WatchReceiverOf<TypeConfig, openraft::RaftMetrics<TypeConfig>>;
pub type Raft = openraft::Raft<TypeConfig, crate::store::StateMachine>;

/// An encoded domain entry. Prints its length only: entries hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryBytes(pub Bytes);

impl fmt::Debug for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry of {} bytes", self.0.len())
    }
}

impl fmt::Display for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying one log position gave: nothing for Raft's own entries.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    pub outcome: Option<Result<Outcome, Rejection>>,
}

/// A member as Raft's membership carries it: enough to reach it before its registration is applied here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Member {
    pub name: String,
    pub peer_address: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.peer_address)
    }
}
