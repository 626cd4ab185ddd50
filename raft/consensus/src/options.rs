//! What a node is told when its consensus starts.

use std::fmt;
use std::sync::Arc;

use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_domain::model::ClusterSettings;
use only1mcp_proofs::SigningKey;
use only1mcp_storage::{Engine, RaftLog, Segments};

/// Wall clock. Units: milliseconds since the Unix epoch. Told to other nodes and people; nothing here decides by it.
pub trait Clock: Send + Sync + 'static {
    fn now_ms(&self) -> u64;

    /// How long this host has been suspended since it started. Units: milliseconds. 0 where nobody knows, or nobody
    /// suspends it.
    fn asleep_ms(&self) -> u64 {
        0
    }
}

/// Raft's times: replicated cluster settings, equal on all voters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    pub heartbeat_ms: u64,
    pub election_ms_min: u64,
    /// Also the length of the leader's lease.
    pub election_ms_max: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_ms_min: 500, election_ms_max: 1_000 }
    }
}

impl Timing {
    pub fn of_settings(settings: &ClusterSettings) -> Self {
        Self {
            heartbeat_ms: settings.heartbeat_ms,
            election_ms_min: settings.election_ms_min,
            election_ms_max: settings.election_ms_max,
        }
    }
}

/// A member known from outside the replicated state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed {
    pub node: NodeId,
    /// The name in its certificate.
    pub name: String,
    pub peer_address: String,
}

/// How a node takes part.
#[derive(Clone)]
pub struct Options {
    pub node: NodeId,
    /// This node's own certificate name.
    pub name: String,
    /// Where the others reach this node.
    pub peer_address: String,
    pub cluster_name: String,
    pub timing: Timing,
    /// The longest `timing.election_ms_max` this node ever ran with: what it promised before it was started anew.
    pub promised_ms_max: u64,
    /// The newest feature level this program knows: one above it stops the node before it is applied.
    pub feature_level_max: u32,
    pub clock: Arc<dyn Clock>,
    /// The members a joiner was told of. Only they, and those they vouch for, may speak to a node that has no state
    /// yet; and a node that lost its rows asks them for a snapshot.
    pub seeds: Vec<Seed>,
    /// A snapshot point is taken after this many entries.
    pub snapshot_every_entries: u64,
    /// Entries kept in the log behind a snapshot point, so that a node shortly away needs no snapshot.
    pub keep_entries: u64,
    /// Audit events of one sealed segment: the same on every node.
    pub segment_events: usize,
    /// States are compared after every so many entries: the same on every node.
    pub digest_every_entries: u64,
    /// What this node signs its proposals with, and checkpoints; `None`: nothing.
    pub signer: Option<Arc<SigningKey>>,
    /// How fast this node's disk is read through, looking for damage; 0: not at all.
    pub scrub_bytes_per_second: u64,
}

impl Options {
    pub fn new(
        node: NodeId,
        name: impl Into<String>,
        peer_address: impl Into<String>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            node,
            name: name.into(),
            peer_address: peer_address.into(),
            cluster_name: "only1mcp".into(),
            timing: Timing::default(),
            promised_ms_max: 0,
            feature_level_max: limits::FEATURE_LEVEL_MAX,
            clock,
            seeds: Vec::new(),
            snapshot_every_entries: 20_000,
            keep_entries: 5_000,
            segment_events: limits::SEGMENT_EVENTS,
            digest_every_entries: 10_000,
            signer: None,
            scrub_bytes_per_second: 0,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("node", &self.node)
            .field("name", &self.name)
            .field("peer_address", &self.peer_address)
            .field("timing", &self.timing)
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

/// Where a node keeps what it knows.
#[derive(Clone)]
pub struct Stores {
    pub log: Arc<dyn RaftLog>,
    pub engine: Arc<dyn Engine>,
    pub segments: Arc<dyn Segments>,
}
