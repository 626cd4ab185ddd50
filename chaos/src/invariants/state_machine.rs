//! State machine safety: nodes that applied up to the same index hold the same state.
//!
//! Source: Ongaro, Ousterhout (2014), figure 3, "State Machine Safety"; DESIGN, "nodes compare a digest of the state".

use std::collections::BTreeMap;

use only1mcp_consensus::StateDigest;
use only1mcp_domain::ids::{Digest, NodeId};

#[derive(Debug, Default)]
pub struct Digests {
    by_index: BTreeMap<u64, (NodeId, Digest)>,
    /// How often two nodes could be compared.
    pub compared: u64,
}

impl Digests {
    pub fn seen(&mut self, node: NodeId, at: StateDigest) -> Result<(), String> {
        let (other, digest) = *self.by_index.entry(at.index).or_insert((node, at.digest));
        if other != node {
            self.compared = self.compared.saturating_add(1);
        }
        if digest == at.digest {
            return Ok(());
        }
        Err(format!("at entry {} node {other} holds {digest} and node {node} {}", at.index, at.digest))
    }
}
