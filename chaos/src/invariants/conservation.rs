//! P1: nothing lent vanishes and nothing spent is unposted: what a node has outstanding shrinks only by its own charges
//! and returns, its own restart, a force-close or its removal; and what is posted grows by just what was charged, less
//! what was posted in its place before, and by what is forfeited.
//!
//! Source: DESIGN, "Allowances": "Grants never expire by time. They end by return; by restart; ... in full when the node
//! is removed; in full by an operator's force-close; or with their period".

use only1mcp_domain::activity::Record;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::ledger::{Account, AccountKey};

use crate::history::Step;

pub fn check(step: &Step<'_>) -> Result<(), String> {
    for (key, before, after) in step.changed() {
        let nodes: std::collections::BTreeSet<NodeId> =
            before.lent.iter().chain(&after.lent).map(|(node, _)| *node).collect();
        for node in nodes {
            shrinks(step, key, node, &before, after)?;
        }
        posts(step, key, &before, after)?;
    }
    Ok(())
}

/// Whether the entry may end all that `node` was lent from `key`.
fn ends(step: &Step<'_>, key: &AccountKey, node: NodeId) -> bool {
    match &step.entry.command {
        Command::ForceClose { node: closed, account } => {
            *closed == node && account.as_ref().is_none_or(|account| account == key)
        }
        Command::RemoveNode { node: removed, .. } => *removed == node,
        // Permits end with the process that used them.
        Command::OpenIncarnation { node: opened } => *opened == node && key.limit.is_standing(),
        Command::Activity(batch) => batch.node == node && restarts(step).is_some(),
        _ => false,
    }
}

fn restarts(step: &Step<'_>) -> Option<bool> {
    step.records().find_map(|record| match record {
        Record::Restarted { complete } => Some(*complete),
        _ => None,
    })
}

fn shrinks(
    step: &Step<'_>,
    key: &AccountKey,
    node: NodeId,
    before: &Account,
    after: &Account,
) -> Result<(), String> {
    let own = step.batch().is_some_and(|batch| batch.node == node);
    let (charged, returned) = if own { step.charged_and_returned(key) } else { (0, 0) };
    let shrunk = before.lent_to(node).outstanding.saturating_sub(after.lent_to(node).outstanding);
    if shrunk > charged.saturating_add(returned) && !ends(step, key, node) {
        return Err(format!(
            "{shrunk} of {key} left node {node}, which charged {charged} and returned {returned}"
        ));
    }
    Ok(())
}

fn posts(step: &Step<'_>, key: &AccountKey, before: &Account, after: &Account) -> Result<(), String> {
    if key.limit.is_standing() {
        let posted = after.posted;
        return if posted == 0 { Ok(()) } else { Err(format!("{posted} permits of {key} are used up")) };
    }
    let forfeits = |account: &Account| {
        account.lent.iter().fold(0, |sum: i128, (_, lent)| sum.saturating_add(lent.forfeited))
    };
    let (charged, returned) = step.charged_and_returned(key);
    let posted = after.posted.saturating_sub(before.posted);
    let covered = forfeits(before).saturating_sub(forfeits(after));
    let lent = step.batch().map_or(0, |batch| before.lent_to(batch.node).outstanding);
    let gone = before.outstanding().saturating_sub(after.outstanding());
    let right = match (&step.entry.command, restarts(step)) {
        (Command::ForceClose { .. } | Command::RemoveNode { .. }, _) => posted == gone,
        // Its charges first come out of what was posted in their place, then out of what is lent; the rest is posted.
        (_, Some(false)) => posted >= lent.saturating_sub(returned) && posted <= charged.saturating_add(lent),
        (_, Some(true)) => posted <= charged && posted >= charged.saturating_sub(forfeits(before)),
        (_, None) => posted == charged.saturating_sub(covered),
    };
    if right {
        return Ok(());
    }
    Err(format!("{key} had {charged} charged, {covered} covered, {gone} given up, and {posted} posted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{
        NODE, account, batch, charge, force_close, give_back, permit_step, reopen, step, tick,
    };

    #[test]
    fn a_grant_that_ends_by_time_is_found() {
        assert!(step(&tick(), 20, &account(20, 4, 10), &account(20, 4, 0), check).is_err());
        assert!(step(&give_back(10), 20, &account(20, 4, 10), &account(20, 4, 0), check).is_ok());
        assert!(step(&give_back(9), 20, &account(20, 4, 10), &account(20, 4, 0), check).is_err());
    }

    #[test]
    fn a_charge_that_is_not_posted_or_posted_twice_is_found() {
        let spent = charge(1);
        assert!(step(&spent, 20, &account(20, 4, 10), &account(20, 5, 9), check).is_ok());
        assert!(step(&spent, 20, &account(20, 4, 10), &account(20, 4, 9), check).is_err());
        assert!(step(&spent, 20, &account(20, 4, 10), &account(20, 6, 8), check).is_err());
    }

    #[test]
    fn permits_that_end_without_their_process_or_are_used_up_are_found() {
        let permits = |outstanding| account(20, 0, outstanding);
        assert!(permit_step(&reopen(NODE), &permits(3), &permits(0), check).is_ok());
        assert!(permit_step(&tick(), &permits(3), &permits(0), check).is_err(), "by time");
        assert!(permit_step(&reopen(NodeId(2)), &permits(3), &permits(0), check).is_err(), "another's");
        assert!(permit_step(&force_close(NODE), &permits(3), &permits(0), check).is_ok());
        assert!(permit_step(&reopen(NODE), &permits(3), &account(20, 3, 0), check).is_err(), "as if spent");
        assert!(permit_step(&tick(), &permits(3), &permits(3), check).is_ok());
        // What is not a permit does not end with a process.
        assert!(step(&reopen(NODE), 20, &account(20, 4, 10), &account(20, 4, 0), check).is_err());
    }

    #[test]
    fn what_is_forfeited_must_be_posted() {
        let closed = force_close(NODE);
        assert!(step(&closed, 20, &account(20, 4, 10), &account(20, 14, 0), check).is_ok());
        assert!(step(&closed, 20, &account(20, 4, 10), &account(20, 4, 0), check).is_err());
        let lost = batch(vec![Record::Restarted { complete: false }]);
        assert!(step(&lost, 20, &account(20, 4, 10), &account(20, 14, 0), check).is_ok());
        assert!(step(&lost, 20, &account(20, 4, 10), &account(20, 4, 0), check).is_err());
        let whole = batch(vec![Record::Restarted { complete: true }]);
        assert!(step(&whole, 20, &account(20, 4, 10), &account(20, 4, 0), check).is_ok());
        assert!(step(&whole, 20, &account(20, 4, 10), &account(20, 14, 0), check).is_err());
    }
}
