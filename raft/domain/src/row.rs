//! The durable form of the state: which table, which key, which record. Encoded by `only1mcp-proto`.

use crate::audit::SealedEvent;
use crate::command::Secret32;
use crate::ids::{CommandId, Digest, McpSessionId, NodeId};
use crate::model::{
    ApiKey, ClusterSettings, DenyRule, Grant, JoinToken, NodeRecord, Principal, Role, Tenant, ToolRestriction, Upstream,
};
use crate::state::{BatchSeen, CommandSeen, Versioned};
use crate::time::TimestampMs;

/// Table numbers are the first byte of every key on disk: persisted, append only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    Meta = 1,
    Tenants = 2,
    Principals = 3,
    ApiKeys = 4,
    Roles = 5,
    Grants = 6,
    Restrictions = 7,
    Denies = 8,
    Upstreams = 9,
    Nodes = 10,
    JoinTokens = 11,
    Activity = 12,
    Batches = 13,
    Commands = 14,
    ClosedSessions = 15,
    Clocks = 16,
    /// Hot audit events, by index.
    Audit = 17,
}

/// One row to write, or to delete where `value` is `None`.
#[derive(Clone, PartialEq, Debug)]
pub struct RowChange {
    pub key: RowKey,
    pub value: Option<RowValue>,
}

/// Table number, then the record's key: text parts end in a zero byte, numbers are big-endian.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowKey(pub Vec<u8>);

/// The small, always present record: what is not in any other table.
#[derive(Clone, PartialEq, Debug)]
pub struct MetaRow {
    pub cluster_id: Digest,
    pub settings: Versioned<ClusterSettings>,
    pub key_hash_key: Secret32,
    pub session_key: Secret32,
    pub next_node: NodeId,
}

/// Head of chain, log time and revisions: rewritten with every entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadRow {
    pub chain_index: u64,
    pub chain_hash: Digest,
    pub log_time: TimestampMs,
    pub policy_revision: u64,
    pub last_applied: u64,
}

/// A node's activity without its window, whose batches are rows of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActivityRow {
    pub node: NodeId,
    pub incarnation: u64,
    pub last_sequence: u64,
    pub journal_sealed: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub enum RowValue {
    Meta(MetaRow),
    Head(HeadRow),
    Tenant(Versioned<Tenant>),
    Principal(Versioned<Principal>),
    ApiKey(Versioned<ApiKey>),
    Role(Versioned<Role>),
    Grant(Versioned<Grant>),
    Restriction(Versioned<ToolRestriction>),
    Deny(Versioned<DenyRule>),
    Upstream(Versioned<Upstream>),
    Node(Versioned<NodeRecord>),
    JoinToken(JoinToken),
    Activity(ActivityRow),
    Batch { node: NodeId, seen: BatchSeen },
    Command { id: CommandId, seen: CommandSeen },
    ClosedSession { id: McpSessionId, expires_at: TimestampMs },
    Clock { node: NodeId, at: TimestampMs },
    Audit(SealedEvent),
}

/// A row that cannot stand in a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("row does not fit: {detail}")]
pub struct RowFault {
    pub detail: String,
}
