//! P1: what one asking strands on a node, should it die with it, is bounded: a slice is what the call needs, or a small
//! share of what was left.
//!
//! Source: DESIGN, "Allowances": "Grant size `max(hold, min(rate x horizon, available / 2N))`".

use only1mcp_domain::activity::Record;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::ledger::{AccountKey, amount_of};
use only1mcp_domain::model::NodeRole;

use crate::history::Step;

pub fn check(step: &Step<'_>) -> Result<(), String> {
    for (key, before, after) in step.changed() {
        let Some(limit) = amount_of(step.after, key) else { continue };
        let (_, returned) = step.charged_and_returned(key);
        let given_back = if restarted(step) { before.outstanding() } else { returned };
        let living = step.after.nodes.values().filter(|node| node.value.role != NodeRole::Removed).count();
        let members = i128::try_from(living.max(1)).unwrap_or(i128::MAX);
        let share = before.available(limit.amount).saturating_add(given_back) / members.saturating_mul(2);
        for (node, lent) in &after.lent {
            let grown = lent.outstanding.saturating_sub(before.lent_to(*node).outstanding);
            let most = most(step, key, *node, share);
            if grown > most {
                return Err(format!("node {node} was lent {grown} of {key}; at most {most} were to be had"));
            }
        }
    }
    Ok(())
}

fn restarted(step: &Step<'_>) -> bool {
    step.records().any(|record| matches!(record, Record::Restarted { .. }))
}

/// What the entry's askings, and calls that waited, let the node have.
fn most(step: &Step<'_>, key: &AccountKey, node: NodeId, share: i128) -> i128 {
    let waiters = step.before.ledger.waiters.values().filter(|waiter| waiter.node == node);
    let waited = waiters.flat_map(|waiter| &waiter.parts).filter(|(account, _)| account == key);
    let waited = waited.fold(0, |sum: i128, (_, need)| sum.saturating_add(*need));
    let own = step.batch().is_some_and(|batch| batch.node == node);
    let asks = step.records().filter(|_| own).filter_map(|record| match record {
        Record::Ask(ask) => Some(ask),
        _ => None,
    });
    asks.fold(waited, |sum, ask| {
        let parts = ask.parts.iter().filter(|part| part.account == *key);
        parts.fold(sum, |sum, part| {
            let slice = if ask.direct { part.need } else { part.want.min(share).max(part.need) };
            sum.saturating_add(slice)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{account, ask, step, tick};

    #[test]
    fn a_slice_beyond_its_share_is_found() {
        // One node: half of the 14 that are left.
        let (asked, before) = (ask(1, 100), account(20, 4, 2));
        assert!(step(&asked, 20, &before, &account(20, 4, 9), check).is_ok());
        assert!(step(&asked, 20, &before, &account(20, 4, 10), check).is_err());
        assert!(step(&tick(), 20, &before, &account(20, 4, 3), check).is_err());
    }

    #[test]
    fn a_call_gets_what_it_needs() {
        assert!(step(&ask(13, 13), 20, &account(20, 4, 2), &account(20, 4, 15), check).is_ok());
    }
}
