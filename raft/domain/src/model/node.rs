//! A member of the cluster, as the log knows it.

use crate::ids::{NodeId, PublicKey};
use crate::time::TimestampMs;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeRole {
    Learner,
    Voter,
    /// Gone for good: its id and its certificate's name are barred.
    Removed,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRecord {
    pub id: NodeId,
    /// The name in its certificate; binds peer connections to this record.
    pub name: String,
    /// Host and port other nodes reach it at.
    pub peer_address: String,
    pub admin_address: String,
    pub http_address: String,
    pub region: String,
    pub zone: String,
    pub version: String,
    pub role: NodeRole,
    pub joined_at: TimestampMs,
    /// What it signs checkpoints, exports and its own proposals with. Feature level 3.
    pub signing_key: Option<PublicKey>,
}
