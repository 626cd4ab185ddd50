//! P6: what a node's log said is on its disk is there when the node comes back. The cluster may heal over such a loss,
//! and then nothing else shows it.
//!
//! It is conditional on a disk that keeps what it said it has. Where one lies, the node that notices lacks what it told as
//! cut, and the one that does not is replaced: what was acknowledged to clients is there all the same (P3, P8), as long as
//! a majority's disks do not lie.
//!
//! Source: DESIGN, "The promises", P6; Ongaro, Ousterhout (2014), figure 2 (`log[]`: persistent state, "updated on stable
//! storage before responding to RPCs").

use std::collections::BTreeMap;

use only1mcp_domain::ids::NodeId;

#[derive(Debug, Default)]
pub struct Acknowledged {
    /// The last index that each node's log acknowledged and has not cut since.
    last: BTreeMap<NodeId, u64>,
}

impl Acknowledged {
    pub fn flushed(&mut self, node: NodeId, index: u64) {
        let last = self.last.entry(node).or_default();
        *last = index.max(*last);
    }

    pub fn truncated(&mut self, node: NodeId, last: u64) {
        self.last.entry(node).and_modify(|known| *known = last.min(*known));
    }

    /// An older copy of its folder was put back.
    pub fn restored(&mut self, node: NodeId) {
        self.last.remove(&node);
    }

    /// A life begins with a log that ends at `last`.
    pub fn opened(&mut self, node: NodeId, last: u64) -> Result<(), String> {
        let known = self.last.get(&node).copied().unwrap_or(0);
        if known <= last {
            return Ok(());
        }
        self.last.insert(node, last);
        Err(format!("node {node} came back with its log at {last}; it had acknowledged {known}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_must_be_there_unless_it_was_cut() {
        let (node, mut known) = (NodeId(1), Acknowledged::default());
        assert!(known.opened(node, 0).is_ok());
        known.flushed(node, 7);
        known.flushed(node, 5);
        assert!(known.opened(node, 7).is_ok());
        assert!(known.opened(node, 6).is_err());
        known.flushed(node, 9);
        known.truncated(node, 4);
        assert!(known.opened(node, 4).is_ok());
    }
}
