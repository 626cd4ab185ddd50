//! Settings equal on every node: replicated, so that a node set otherwise can be told apart.

use crate::limits;

/// When the answer to a call may leave a node (P2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealMode {
    /// The admission is on this node's disk. Its receipt says `pending`.
    Journaled,
    /// The admission is committed by a quorum; that runs while the upstream works.
    Sealed,
    /// The admission is committed before the call is sent.
    BeforeDispatch,
    /// The admission, and the outcome too, before the result leaves.
    Completion,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSettings {
    pub cluster_name: String,
    pub heartbeat_ms: u64,
    pub election_ms_min: u64,
    pub election_ms_max: u64,
    /// P4: how old the state may be on which a call is admitted.
    pub staleness_ms_max: u64,
    pub stale_wait_ms_max: u64,
    /// Switches behaviour at one log index on all nodes.
    pub feature_level: u32,
}

impl ClusterSettings {
    pub fn new(cluster_name: impl Into<String>) -> Self {
        Self {
            cluster_name: cluster_name.into(),
            heartbeat_ms: 100,
            election_ms_min: 500,
            election_ms_max: 1_000,
            staleness_ms_max: limits::STALENESS_MS_DEFAULT,
            stale_wait_ms_max: limits::STALE_WAIT_MS_MAX,
            feature_level: 1,
        }
    }
}
