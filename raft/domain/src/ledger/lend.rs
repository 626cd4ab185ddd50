//! Lending: slices on request, and, where too little is left for that, one call's amounts together, in turn.
//!
//! A slice is `max(need, min(want, available / 2N))` for N members, in whole times `need`: large while there is much,
//! small near the end, so that little is stranded with a node that dies. A call that no slice can serve waits: it is
//! given everything it needs, from all its accounts at once, or nothing, so that two calls never hold half each. Every
//! node that applies a waiter's arrival returns what it has in hand and does not need; that is the recall.

use std::collections::BTreeSet;

use crate::ids::{CallId, NodeId};
use crate::ledger::{AccountKey, Limit, Period, amount_of};
use crate::limits;
use crate::state::State;
use crate::time::TimestampMs;

/// A node's request for what its calls need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Of the call that waits, where `direct`; names the waiter.
    pub call: CallId,
    /// All parts or none, and wait for it; otherwise slices, each part on its own.
    pub direct: bool,
    /// By log time; how long to wait.
    pub until: TimestampMs,
    pub parts: Vec<AskPart>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskPart {
    pub account: AccountKey,
    /// End of the account's period, as the asking node's calendar has it.
    pub end: TimestampMs,
    /// Less is of no use. Units: those of the limit's measure.
    pub need: i128,
    /// What the node would use within its horizon.
    pub want: i128,
}

impl AskPart {
    fn period(&self) -> Period {
        Period { start: self.account.start, end: self.end }
    }
}

/// A call that waits for all its accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiter {
    pub node: NodeId,
    pub call: CallId,
    pub until: TimestampMs,
    /// Accounts and amounts.
    pub parts: Vec<(AccountKey, i128)>,
}

impl State {
    /// Slices: each part on its own, none from accounts that somebody waits for. Returns the accounts that changed.
    pub(crate) fn lend(&mut self, node: NodeId, ask: &Ask) -> BTreeSet<AccountKey> {
        let mut changed = BTreeSet::new();
        for part in &ask.parts {
            let Some(limit) = self.open_account(part, &mut changed) else { continue };
            let members = self.nodes.keys().filter(|id| self.is_member(**id)).count().max(1);
            if self.ledger.is_waited_for(&part.account) {
                continue;
            }
            let Some(account) = self.ledger.accounts.get_mut(&part.account) else { continue };
            let available = account.available(limit.amount);
            let share = available / (2 * i128::try_from(members).unwrap_or(i128::MAX / 2));
            let slice = part.want.min(share).max(part.need);
            // Whole calls: the rest of one would be of no use there, and be missing where it would complete another.
            let slice = slice.saturating_sub(slice.checked_rem(part.need).unwrap_or(0));
            if part.need > 0 && account.lend(node, slice, limit.amount) {
                changed.insert(part.account.clone());
            }
        }
        changed
    }

    /// One call's amounts, at once where they are there, or in turn. Past the bound of waiters nothing happens: the
    /// asking node sees that its call does not wait. Returns the accounts that changed.
    pub(crate) fn wait_for(&mut self, node: NodeId, ask: &Ask, place: (u64, u32)) -> BTreeSet<AccountKey> {
        let mut changed = BTreeSet::new();
        let distinct: BTreeSet<&AccountKey> = ask.parts.iter().map(|part| &part.account).collect();
        // Looked at one by one, two parts of one account could each find what only one of them can have.
        if distinct.len() < ask.parts.len() {
            return changed;
        }
        for part in &ask.parts {
            if part.need <= 0 || self.open_account(part, &mut changed).is_none() {
                return changed;
            }
        }
        if self.ledger.waiters.len() >= limits::WAITERS_MAX || ask.until <= self.log_time {
            return changed;
        }
        let parts = ask.parts.iter().map(|part| (part.account.clone(), part.need)).collect();
        let waiter = Waiter { node, call: ask.call, until: ask.until, parts };
        self.ledger.waiters.insert(place, waiter);
        changed
    }

    /// Serves waiters in their order; one that cannot be served yet keeps later ones from its accounts. Those that can
    /// never be served, or whose time is up, are let go. Returns the accounts that changed and the waiters gone.
    pub(crate) fn serve_waiters(&mut self) -> (BTreeSet<AccountKey>, Vec<(u64, u32)>) {
        let mut changed = BTreeSet::new();
        let mut gone = Vec::new();
        let mut blocked: BTreeSet<AccountKey> = BTreeSet::new();
        let waiters: Vec<((u64, u32), Waiter)> =
            self.ledger.waiters.iter().map(|(place, waiter)| (*place, waiter.clone())).collect();
        for (place, waiter) in waiters {
            if waiter.until <= self.log_time || !self.can_ever(&waiter) {
                gone.push(place);
                continue;
            }
            let free = waiter.parts.iter().all(|(key, _)| !blocked.contains(key));
            if free && self.can_now(&waiter) {
                for (key, amount) in &waiter.parts {
                    let Some(limit) = amount_of(self, key) else { continue };
                    if let Some(account) = self.ledger.accounts.get_mut(key)
                        && account.lend(waiter.node, *amount, limit.amount)
                    {
                        changed.insert(key.clone());
                    }
                }
                gone.push(place);
            } else {
                blocked.extend(waiter.parts.iter().map(|(key, _)| key.clone()));
            }
        }
        for place in &gone {
            self.ledger.waiters.remove(place);
        }
        (changed, gone)
    }

    fn can_now(&self, waiter: &Waiter) -> bool {
        waiter.parts.iter().all(|(key, amount)| {
            let account = self.ledger.accounts.get(key);
            let limit = amount_of(self, key);
            account.zip(limit).is_some_and(|(account, limit)| *amount <= account.available(limit.amount))
        })
    }

    fn can_ever(&self, waiter: &Waiter) -> bool {
        self.is_member(waiter.node)
            && waiter.parts.iter().all(|(key, amount)| {
                let account = self.ledger.accounts.get(key);
                let limit = amount_of(self, key);
                account.zip(limit).is_some_and(|(account, limit)| {
                    account.end > self.log_time && !account.is_exhausted_for(limit.amount, *amount)
                })
            })
    }

    /// The limit an asked-for account stands under, the account opened where this is its first use. `None`: there is
    /// no such hard limit, or the period does not fit what the log knows.
    fn open_account(&mut self, part: &AskPart, changed: &mut BTreeSet<AccountKey>) -> Option<Limit> {
        let limit = amount_of(self, &part.account).filter(|limit| limit.hard)?;
        if !self.ledger.open(&part.account, part.period(), limit.period, self.log_time)? {
            return Some(limit);
        }
        changed.insert(part.account.clone());
        Some(limit)
    }
}
