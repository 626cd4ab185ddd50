//! P1: a node's open calls never hold more of an account than the log has lent that node and not seen posted or returned,
//! or has posted in its place.
//!
//! Source: DESIGN, "Allowances": "A node is granted a slice by consensus, spends it locally without I/O".

use std::collections::BTreeMap;

use only1mcp_domain::activity::{Hold, Record};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{CallId, NodeId};
use only1mcp_domain::ledger::AccountKey;

use crate::history::Step;

#[derive(Debug, Default)]
pub struct Local {
    open: BTreeMap<NodeId, BTreeMap<CallId, Vec<Hold>>>,
}

impl Local {
    pub fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        if let Some(batch) = step.batch() {
            let open = self.open.entry(batch.node).or_default();
            for record in &batch.records {
                match record {
                    Record::Admission(admission) => {
                        open.insert(admission.call, admission.holds.clone());
                    }
                    Record::Completion(completion) => drop(open.remove(&completion.call)),
                    // What it held is returned or posted.
                    Record::Restarted { .. } => open.clear(),
                    _ => {}
                }
            }
        }
        if let (Command::RemoveNode { node, .. }, Ok(_)) = (&step.entry.command, &step.applied.outcome) {
            // Posted in full; what it still does is not heard.
            self.open.remove(node);
        }
        self.open.iter().try_for_each(|(node, open)| within(step, *node, open))
    }
}

fn within(step: &Step<'_>, node: NodeId, open: &BTreeMap<CallId, Vec<Hold>>) -> Result<(), String> {
    let mut held: BTreeMap<&AccountKey, i128> = BTreeMap::new();
    for hold in open.values().flatten() {
        let sum = held.entry(&hold.account).or_default();
        *sum = sum.saturating_add(hold.amount);
    }
    for (key, held) in held {
        let lent =
            step.after.ledger.accounts.get(key).map(|account| account.lent_to(node)).unwrap_or_default();
        if held > lent.outstanding.saturating_add(lent.forfeited) {
            return Err(format!("open calls of node {node} hold {held} of {key}; it was lent {lent:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{account, admission, step};

    #[test]
    fn a_call_without_an_allowance_is_found() {
        let check = |step: &Step<'_>| Local::default().check(step);
        assert!(step(&admission(3), 20, &account(20, 4, 3), &account(20, 4, 3), check).is_ok());
        assert!(step(&admission(3), 20, &account(20, 4, 2), &account(20, 4, 2), check).is_err());
    }

    #[test]
    fn what_is_taken_from_under_an_open_call_is_found() {
        let mut local = Local::default();
        let admitted = admission(3);
        assert!(step(&admitted, 20, &account(20, 4, 3), &account(20, 4, 3), |s| local.check(s)).is_ok());
        let tick = crate::invariants::testing::tick();
        assert!(step(&tick, 20, &account(20, 4, 3), &account(20, 4, 2), |s| local.check(s)).is_err());
    }
}
