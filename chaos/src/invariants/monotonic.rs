//! A node's term never goes back; within one life neither do its committed and applied index.
//!
//! Source: Ongaro, Ousterhout (2014), 5.1 ("current terms ... increases monotonically") and figure 2 (`commitIndex` and
//! `lastApplied`: "increases monotonically"). The term is durable, so it holds across crashes too.

use std::collections::BTreeMap;

use only1mcp_consensus::Status;
use only1mcp_domain::ids::NodeId;

use crate::oracle::Life;

#[derive(Debug, Default)]
pub struct Monotonic {
    last: BTreeMap<NodeId, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    life: u64,
    term: u64,
    committed: u64,
    applied: u64,
}

impl Monotonic {
    /// An older copy of its folder was put back.
    pub fn restored(&mut self, node: NodeId) {
        self.last.remove(&node);
    }

    pub fn seen(&mut self, life: Life, status: &Status) -> Result<(), String> {
        let new = Seen {
            life: life.number,
            term: status.term,
            committed: status.committed,
            applied: status.applied,
        };
        let Some(old) = self.last.insert(life.node, new) else { return Ok(()) };
        let same_life = old.life == new.life;
        let back =
            old.term > new.term || same_life && (old.committed > new.committed || old.applied > new.applied);
        if back { Err(format!("node {} went back from {old:?} to {new:?}", life.node)) } else { Ok(()) }
    }
}
