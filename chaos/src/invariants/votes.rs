//! A voter's saved vote only grows, so that it is never given twice.
//!
//! Source: Ongaro, Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), 5.2: "each server will vote
//! for at most one candidate in a given term". In openraft a vote is the pair (term, node), ordered as such: within a
//! term a vote may still move to a greater node, never back; see openraft's `leader_id_adv`.

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_domain::ids::NodeId;
use only1mcp_storage::SavedVote;

#[derive(Debug, Default)]
pub struct Votes {
    latest: BTreeMap<NodeId, SavedVote>,
    /// By (term, candidate): who saved a vote for it, ever.
    pub voters: BTreeMap<(u64, u64), BTreeSet<NodeId>>,
}

impl Votes {
    /// `voter` is about to write `vote` durably.
    pub fn saved(&mut self, voter: NodeId, vote: SavedVote) -> Result<(), String> {
        let order = |vote: SavedVote| (vote.term, vote.node, vote.committed);
        let before = self.latest.insert(voter, vote);
        self.voters.entry((vote.term, vote.node)).or_default().insert(voter);
        match before {
            Some(before) if order(before) > order(vote) => {
                Err(format!("node {voter} voted {before:?} and then {vote:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A node starts with `found` as its vote on disk.
    pub fn found(&self, voter: NodeId, found: Option<SavedVote>) -> Result<(), String> {
        let saved = self.latest.get(&voter).copied();
        if saved == found { Ok(()) } else { Err(format!("node {voter} saved {saved:?} and found {found:?}")) }
    }

    /// An older copy of its folder was put back.
    pub fn restored(&mut self, voter: NodeId, found: Option<SavedVote>) {
        self.latest.remove(&voter);
        self.latest.extend(found.map(|found| (voter, found)));
    }

    pub fn latest(&self, voter: NodeId) -> Option<SavedVote> {
        self.latest.get(&voter).copied()
    }
}
