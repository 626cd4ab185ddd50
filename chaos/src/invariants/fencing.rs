//! P3: a batch is posted by the incarnation that was opened last and by no other, each sequence once and in order; by a
//! removed node none is.
//!
//! Source: DESIGN, "The way of one call", "Batches": "`apply` takes `last + 1` only ... Opening a new incarnation fences
//! the old one".

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_domain::Outcome;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{Incarnation, NodeId};

use crate::history::Step;

#[derive(Debug, Default)]
pub struct Fencing {
    /// What each node has open, and the last sequence posted in it.
    open: BTreeMap<NodeId, (Incarnation, u64)>,
    removed: BTreeSet<NodeId>,
}

impl Fencing {
    pub fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        if let (Command::OpenIncarnation { node }, Ok(Outcome::IncarnationOpened { incarnation, .. })) =
            (&step.entry.command, &step.applied.outcome)
        {
            // An opening asked for again under its command id is answered as it was, and opens nothing.
            let open = self.open.entry(*node).or_default();
            if open.0 < *incarnation {
                *open = (*incarnation, 0);
            }
        }
        if let (Command::RemoveNode { node, .. }, Ok(_)) = (&step.entry.command, &step.applied.outcome) {
            self.removed.insert(*node);
        }
        let Some(batch) = step.batch() else { return Ok(()) };
        if self.removed.contains(&batch.node) {
            return Err(format!("node {} posted a batch after its removal", batch.node));
        }
        let (open, last) = self.open.get(&batch.node).copied().unwrap_or_default();
        if batch.incarnation != open || batch.sequence != last.saturating_add(1) {
            return Err(format!(
                "node {} posted {} of {:?}; open is {open:?} and {last} was the last",
                batch.node, batch.sequence, batch.incarnation
            ));
        }
        self.open.insert(batch.node, (open, batch.sequence));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{NODE, account, batch, remove, step};

    #[test]
    fn a_batch_posted_twice_or_by_a_fenced_life_is_found() {
        let mut fencing = Fencing::default();
        let same = account(20, 4, 3);
        fencing.open.insert(NODE, (Incarnation(1), 0));
        let posted = batch(Vec::new());
        assert!(step(&posted, 20, &same, &same, |s| fencing.check(s)).is_ok());
        assert!(step(&posted, 20, &same, &same, |s| fencing.check(s)).is_err(), "twice");
        fencing.open.insert(NODE, (Incarnation(2), 0));
        assert!(step(&posted, 20, &same, &same, |s| fencing.check(s)).is_err(), "fenced");
    }

    #[test]
    fn a_batch_of_a_removed_node_is_found() {
        let mut fencing = Fencing::default();
        let same = account(20, 4, 3);
        fencing.open.insert(NODE, (Incarnation(1), 0));
        assert!(step(&remove(NODE), 20, &same, &same, |s| fencing.check(s)).is_ok());
        assert!(step(&batch(Vec::new()), 20, &same, &same, |s| fencing.check(s)).is_err());
    }
}
