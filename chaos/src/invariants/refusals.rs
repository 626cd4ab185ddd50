//! P3: each refusal stands in the chain once. One given by a life that crashed afterwards may be missing: it is written
//! after it is given.
//!
//! Source: DESIGN, "The promises", P3.

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_domain::audit::EventKind;
use only1mcp_domain::ids::DecisionId;

use super::Final;
use crate::oracle::{Life, Oracle};

/// `living`: the lives that nothing has ended. Gives how many refusals crashed lives lost.
pub fn check(end: &Final, oracle: &Oracle, living: &BTreeSet<Life>) -> Result<u64, String> {
    let mut standing: BTreeMap<DecisionId, u64> = BTreeMap::new();
    for event in end.events.iter().filter(|event| event.kind == EventKind::AccessDenied) {
        if let Some(decision) = event.decision {
            let count = standing.entry(decision).or_default();
            *count = count.saturating_add(1);
        }
    }
    let mut lost: u64 = 0;
    for refused in &oracle.refused {
        match standing.get(&refused.decision).copied().unwrap_or(0) {
            1 => {}
            0 if !living.contains(&refused.life) => lost = lost.saturating_add(1),
            count => {
                return Err(format!(
                    "the refusal {} by {} stands {count} times",
                    refused.decision, refused.life
                ));
            }
        }
    }
    Ok(lost)
}
