//! The ledger's part of a node's activity, and of every entry: charges posted, allowances lent and returned, waiters
//! served, old accounts forgotten.

use std::collections::BTreeMap;

use crate::activity::{Completion, Return};
use crate::apply::activity_event as event;
use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::cost;
use crate::ids::NodeId;
use crate::ledger::{Ask, Forfeit, ForfeitReason, Posted};
use crate::limits;
use crate::model::Measure;
use crate::outcome::Effect;
use crate::time::TimestampMs;

/// Posts what a call cost. Returns what each charge did, for the record and the events that follow the completion's own.
pub(super) fn charge(change: &mut Change<'_>, node: NodeId, completion: &Completion) -> Vec<Posted> {
    let mut all = Vec::with_capacity(completion.charges.len());
    for charge in &completion.charges {
        let Some(posted) = change.state.post(node, charge) else { continue };
        change.touch(&charge.account);
        all.push(posted);
    }
    all
}

/// Tells what was out of the ordinary about a posting, each in an event of its own.
pub(super) fn tell(change: &mut Change<'_>, node: NodeId, completion: &Completion, posted: &[Posted]) {
    for posted in posted {
        if posted.overrun > 0 {
            let told = event::overrun(change, node, completion, posted);
            change.seal(&told);
            change.effect(Effect::Overrun { account: posted.account.clone(), amount: posted.overrun });
        }
        if let Some((level, spent, limit)) = posted.level {
            let told = event::level(change, node, completion, posted, level, (spent, limit));
            change.seal(&told);
            let account = posted.account.clone();
            change.effect(Effect::BudgetLevel { account, level, posted: spent, limit });
        }
    }
}

pub(super) fn ask(change: &mut Change<'_>, node: NodeId, ask: &Ask, ordinal: u32) {
    let changed = if ask.direct {
        let place = (change.log_index, ordinal);
        let changed = change.state.wait_for(node, ask, place);
        change.touch_waiter(place);
        changed
    } else {
        change.state.lend(node, ask)
    };
    changed.iter().for_each(|key| change.touch(key));
    // In the order of the records: the next one sees what this one took.
    serve(change);
}

pub(super) fn take_back(change: &mut Change<'_>, node: NodeId, returned: &[Return]) {
    for Return { account, amount } in returned {
        if change.state.take_returned(node, account, *amount) {
            change.touch(account);
        }
    }
}

/// The node's earlier process is fenced: whatever it still runs is answered by nobody.
pub(super) fn reopened(change: &mut Change<'_>, node: NodeId) {
    for key in change.state.take_permits_returned(node) {
        change.touch(&key);
    }
}

/// INVARIANT: P1 (a node that does not remember everything may have spent all of it).
pub(super) fn restarted(change: &mut Change<'_>, node: NodeId, complete: bool) -> Vec<Forfeit> {
    if complete {
        for key in change.state.take_all_returned(node) {
            change.touch(&key);
        }
        return Vec::new();
    }
    let keys = change.state.lent_to(node);
    keys.iter().for_each(|key| change.touch(key));
    let forfeits = change.state.forfeit_all(node, ForfeitReason::UnattributedRestart);
    if !forfeits.is_empty() {
        cost::forfeited(change, node, &forfeits, change.next_audit_index());
    }
    forfeits
}

/// What a node that leaves for good was lent, in the entry that removes it.
pub(super) fn removed(change: &mut Change<'_>, node: NodeId, report: Report) -> Report {
    change.state.lent_to(node).iter().for_each(|key| change.touch(key));
    let forfeits = change.state.forfeit_all(node, ForfeitReason::NodeRemoved);
    change.remove_settled(node);
    forfeited(change, node, report, &forfeits)
}

/// Touches the accounts and words the amounts, one detail for each measure.
pub(super) fn forfeited(
    change: &mut Change<'_>,
    node: NodeId,
    report: Report,
    forfeits: &[Forfeit],
) -> Report {
    // The command's own event comes next: nothing else is sealed before it.
    cost::forfeited(change, node, forfeits, change.next_audit_index());
    let mut sums: BTreeMap<Measure, i128> = BTreeMap::new();
    for forfeit in forfeits {
        change.touch(&forfeit.account);
        if let Some(limit) = crate::ledger::amount_of(change.state, &forfeit.account) {
            let sum = sums.entry(limit.measure).or_default();
            *sum = sum.saturating_add(forfeit.amount);
        }
    }
    sums.iter().fold(report, |report, (measure, sum)| {
        report.detail(&format!("posted_in_full_{}", measure.text()), sum.to_string())
    })
}

/// Calls no earlier than `at` may be open on the node from now on. Never backwards.
pub(super) fn settled_through(change: &mut Change<'_>, node: NodeId, at: TimestampMs) {
    let before = change.state.ledger.settled_through.get(&node).copied().unwrap_or_default();
    if at > before {
        change.put_settled(node, at);
    }
}

/// Serves those who wait, after anything that may have made room.
pub(super) fn serve(change: &mut Change<'_>) {
    #[cfg(feature = "mutants")]
    reclaim_silent(change);
    if change.state.ledger.waiters.is_empty() {
        return;
    }
    let (changed, gone) = change.state.serve_waiters();
    changed.iter().for_each(|key| change.touch(key));
    gone.into_iter().for_each(|place| change.touch_waiter(place));
}

#[cfg(feature = "mutants")]
fn reclaim_silent(change: &mut Change<'_>) {
    const TTL_MS: u64 = 2_000;
    if !crate::mutants::is(crate::mutants::Mutant::TtlReclaim) {
        return;
    }
    let now = change.now();
    let silent = change.state.clocks.iter().filter(|(_, told)| told.plus_ms(TTL_MS) < now);
    let silent: Vec<NodeId> = silent.map(|(node, _)| *node).collect();
    for key in silent.into_iter().flat_map(|node| change.state.take_all_returned(node)).collect::<Vec<_>>() {
        change.touch(&key);
    }
}

/// Forgets accounts that are old enough, a bounded number at a time.
pub(super) fn forget(change: &mut Change<'_>) {
    let now = change.now();
    for _ in 0..limits::FORGET_PER_ENTRY_MAX {
        let state = &*change.state;
        let members = state.nodes.keys().copied().filter(|node| state.is_member(*node));
        let Some(key) = state.ledger.forgettable(now, members) else { break };
        change.state.ledger.unset_account(&key);
        change.touch(&key);
    }
}
