//! Election safety: who leads has the durable votes of a majority of voters.
//!
//! Source: Ongaro, Ousterhout (2014), figure 3, "Election Safety: at most one leader can be elected in a given term".
//! A term here is openraft's (term, node), which names its leader; with votes that only grow (`votes.rs`), a majority
//! behind each leader is what keeps two from committing side by side.

use only1mcp_consensus::{Role, Status};

use super::votes::Votes;

pub fn check(votes: &Votes, status: &Status) -> Result<(), String> {
    if status.role != Role::Leader {
        return Ok(());
    }
    let voters: Vec<_> =
        status.members.iter().filter(|member| member.voter).map(|member| member.node).collect();
    let given = votes.voters.get(&(status.term, status.node.0));
    let count = voters.iter().filter(|voter| given.is_some_and(|given| given.contains(voter))).count();
    // A node that forms a cluster counts alone; learners that became voters since need not have voted.
    if count.saturating_mul(2) > voters.len() || status.term <= 1 {
        return Ok(());
    }
    Err(format!(
        "node {} leads in term {} with {count} of {} votes: {given:?}",
        status.node,
        status.term,
        voters.len()
    ))
}
