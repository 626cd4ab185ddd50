//! What must hold in every world: one invariant a file, each with its source. Those of Raft are watched while a world
//! runs; those of the product are checked on what every node holds at the end, and those of the ledger on every entry.

pub mod acknowledged;
pub mod admin;
pub mod calls;
pub mod chain;
pub mod charged_once;
mod conservation;
pub mod crossing;
pub mod election;
pub mod escrow;
mod fencing;
pub mod fresh;
mod lending;
pub mod linearizable;
mod local;
pub mod log_matching;
mod log_time;
pub mod members;
pub mod monotonic;
mod periods;
pub mod refusals;
pub mod sealed;
pub mod spendable;
mod standing;
pub mod state_machine;
pub mod steps;
mod stranding;
#[cfg(test)]
mod testing;
pub mod truth;
pub mod votes;

use std::collections::BTreeMap;
use std::sync::Arc;

use only1mcp_domain::State;
use only1mcp_domain::audit::{AuditEvent, SealedEvent};
use only1mcp_domain::ids::NodeId;
use only1mcp_storage::SavedVote;

/// Everything that is watched while a world runs.
#[derive(Debug, Default)]
pub struct Watch {
    pub acknowledged: acknowledged::Acknowledged,
    pub votes: votes::Votes,
    pub log: log_matching::LogMatching,
    pub digests: state_machine::Digests,
    pub members: members::Members,
    pub monotonic: monotonic::Monotonic,
    pub committed: fresh::Committed,
}

impl Watch {
    /// An older copy of the node's folder was put back: what it knew since is gone.
    pub fn restored(&mut self, node: NodeId, vote: Option<SavedVote>) {
        self.votes.restored(node, vote);
        self.acknowledged.restored(node);
        self.members.restored(node);
        self.monotonic.restored(node);
        self.committed.restored();
    }
}

/// What the nodes hold once all faults have ended and everything under way has.
pub struct Final {
    pub chains: BTreeMap<NodeId, Vec<SealedEvent>>,
    /// The longest chain, decoded.
    pub events: Vec<AuditEvent>,
    pub states: BTreeMap<NodeId, Arc<State>>,
}
