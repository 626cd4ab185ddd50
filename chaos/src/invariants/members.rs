//! All nodes mean the same by the members: who has applied the same entries knows the same voters, and one that has
//! once known members never knows none.
//!
//! Source: Ongaro, Ousterhout (2014), 6 ("each server adds the new configuration entry to its log") and 7 (a snapshot
//! holds "the latest configuration in the log as of last included index").

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_consensus::Status;
use only1mcp_domain::ids::NodeId;

/// Where a node stands, at a moment when it has applied all that its log holds: nothing under way could differ.
type Settled = (u64, BTreeMap<NodeId, bool>);

#[derive(Debug, Default)]
pub struct Members {
    by_index: BTreeMap<u64, (NodeId, BTreeMap<NodeId, bool>)>,
    known: BTreeSet<NodeId>,
}

impl Members {
    /// An older copy of its folder was put back, perhaps of a time before it knew any.
    pub fn restored(&mut self, node: NodeId) {
        self.known.remove(&node);
    }

    pub fn seen(&mut self, status: &Status) -> Result<(), String> {
        let node = status.node;
        let members: BTreeMap<NodeId, bool> =
            status.members.iter().map(|member| (member.node, member.voter)).collect();
        if !members.values().any(|voter| *voter) {
            if self.known.contains(&node) {
                return Err(format!("node {node} does not know any voter any more"));
            }
            return Ok(());
        }
        self.known.insert(node);
        let settled =
            !status.changing && status.last_log == status.applied && status.last_log == status.committed;
        if settled { self.compare(node, (status.applied, members)) } else { Ok(()) }
    }

    fn compare(&mut self, node: NodeId, (index, members): Settled) -> Result<(), String> {
        let (other, known) = self.by_index.entry(index).or_insert_with(|| (node, members.clone()));
        if *known == members {
            return Ok(());
        }
        Err(format!("at entry {index} node {node} knows the members {members:?}, node {other} {known:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(voters: &[u64]) -> BTreeMap<NodeId, bool> {
        voters.iter().map(|node| (NodeId(*node), true)).collect()
    }

    #[test]
    fn members_that_differ_at_one_entry_are_found() {
        let mut members = Members::default();
        assert!(members.compare(NodeId(1), (7, of(&[1, 2, 3]))).is_ok());
        assert!(members.compare(NodeId(2), (8, of(&[1, 2]))).is_ok());
        assert!(members.compare(NodeId(3), (7, of(&[1, 2, 3]))).is_ok());
        assert!(members.compare(NodeId(3), (7, of(&[1, 2]))).is_err());
    }
}
