//! P2: an answer that left a node stands, as admission, in the chain of every node at the index and with the hash that
//! its receipt gave.
//!
//! Source: DESIGN, "The promises", P2.

use only1mcp_domain::audit::{EventKind, EventOutcome};

use super::Final;
use crate::oracle::Oracle;

pub fn check(end: &Final, oracle: &Oracle) -> Result<(), String> {
    for (call, known) in &oracle.calls {
        let Some((index, hash)) = known.sealed else { continue };
        let at = usize::try_from(index.0.saturating_sub(1)).unwrap_or(usize::MAX);
        for (node, chain) in &end.chains {
            match chain.get(at) {
                Some(event) if event.hash == hash => {}
                Some(_) => return Err(format!("call {call}: node {node} holds another event {index}")),
                None => {
                    return Err(format!(
                        "call {call}, answered by {}, is missing at {index} on node {node}, whose chain ends at {}",
                        known.life,
                        chain.len()
                    ));
                }
            }
        }
        let event = end.events.get(at);
        let is_it = event.is_some_and(|event| {
            event.call == Some(*call)
                && event.kind == EventKind::AccessGranted
                && event.outcome == EventOutcome::Success
        });
        if !is_it {
            return Err(format!("call {call}: event {index} is not its admission but {event:?}"));
        }
    }
    Ok(())
}
