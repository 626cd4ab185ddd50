//! Posting: the charges of a call that ended, in the same entry as its completion.

use crate::ids::NodeId;
use crate::ledger::{AccountKey, LimitId, Period, amount_of};
use crate::state::State;
use crate::time::TimestampMs;

/// What a call cost one of its accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    pub account: AccountKey,
    pub end: TimestampMs,
    /// Units: those of the limit's measure.
    pub amount: i128,
    /// Held on what was lent; a soft limit's is not.
    pub held: bool,
}

/// A notice due: the account's use passed this share of its limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Notice,
    Warning,
    Exceeded,
}

impl Level {
    pub const ALL: [Self; 3] = [Self::Notice, Self::Warning, Self::Exceeded];

    /// Of the limit. Source: specification, "Cost Tracking & Chargeback".
    pub fn percent(self) -> u8 {
        match self {
            Self::Notice => 75,
            Self::Warning => 90,
            Self::Exceeded => 100,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Exceeded => "exceeded",
        }
    }

    fn reached(self, posted: i128, limit: i128) -> bool {
        // Whole percents of amounts below 2^120: no overflow in what a budget may hold; saturation errs on telling.
        posted.saturating_mul(100) >= limit.saturating_mul(i128::from(self.percent()))
    }
}

/// What a charge did to its account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posted {
    pub account: AccountKey,
    /// Posted by this charge.
    pub due: i128,
    /// Beyond what was held.
    pub overrun: i128,
    /// Covered by what had been posted when the node was thought lost: not posted again.
    pub covered: i128,
    /// A level reached for the first time in this period, with what is posted and the limit.
    pub level: Option<(Level, i128, i128)>,
}

impl State {
    /// Posts one charge of `node`. `None` where there is no account for it and none can be opened: the limit is gone.
    pub(crate) fn post(&mut self, node: NodeId, charge: &Charge) -> Option<Posted> {
        let key = &charge.account;
        let limit = amount_of(self, key);
        if !self.ledger.accounts.contains_key(key) {
            let limit = limit.as_ref()?;
            let period = Period { start: key.start, end: charge.end };
            self.ledger.open(key, period, limit.period, self.log_time)?;
        }
        let mut account = self.ledger.accounts.get(key).cloned()?;
        let amount = charge.amount.max(0);
        let mut lent = account.lent_to(node);
        let covered = amount.min(lent.forfeited);
        lent.forfeited -= covered;
        let due = amount - covered;
        let held = if charge.held { due.min(lent.outstanding) } else { 0 };
        lent.outstanding -= held;
        account.set_lent(node, lent);
        account.posted = account.posted.saturating_add(due);
        let beyond = due - held;
        account.overrun = account.overrun.saturating_add(beyond);
        let level = limit.as_ref().filter(|_| matches!(key.limit, LimitId::Budget(_))).and_then(|limit| {
            let reached = |level: &&Level| level.reached(account.posted, limit.amount);
            let level = Level::ALL.iter().rev().find(reached).copied()?;
            (level.percent() > account.level).then_some((level, account.posted, limit.amount))
        });
        if let Some((level, ..)) = level {
            account.level = level.percent();
        }
        let overrun = if charge.held { beyond } else { 0 };
        self.ledger.set_account(key.clone(), account);
        Some(Posted { account: key.clone(), due, overrun, covered, level })
    }
}
