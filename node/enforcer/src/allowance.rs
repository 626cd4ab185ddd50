//! What a call must hold before it is sent: the limits it touches, their periods, the amounts. INVARIANT: P1, P5

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::State;
use only1mcp_domain::activity::{Hold, Record};
use only1mcp_domain::decide::{Evidence, Reason};
use only1mcp_domain::ids::{CallId, UpstreamId};
use only1mcp_domain::ledger::{AccountKey, CallUse, Charge, LimitUse, uses};
use only1mcp_domain::limits;
use only1mcp_domain::model::Measure;
use only1mcp_domain::time::TimestampMs;
use tokio::time::Instant;

use crate::enforcer::{CallFacts, Enforcer};
use crate::purse::{InLine, Need, Purse, Shortage};
use crate::recover::charges_of;

/// How long a call waits, at most, for what is lent elsewhere.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What an admitted call holds. Dropped before it is charged, it holds nothing any more.
pub(crate) struct Held {
    purse: Arc<Purse>,
    call: CallId,
    pub(crate) holds: Vec<Hold>,
    /// In use until the call ends; they cost nothing and stand in no record.
    permits: Vec<Hold>,
    /// Counted without being held: soft limits.
    soft: Vec<Charge>,
    charged: bool,
}

impl Held {
    /// What the call cost: everything that was held.
    pub(crate) fn charge(&mut self) -> Vec<Charge> {
        self.charged = true;
        let mut charges = charges_of(&self.holds);
        charges.append(&mut self.soft);
        charges
    }

    /// The call ended: gives its permits back. Returns the records that have to go out.
    pub(crate) fn end(&mut self, state: &State) -> Vec<Record> {
        let permits = std::mem::take(&mut self.permits);
        if permits.is_empty() { Vec::new() } else { self.purse.ended(state, &permits) }
    }

    /// The admission is on its way to the disk: from now on only a completion ends what is held.
    pub(crate) fn keep(&mut self) {
        self.charged = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.charged {
            self.holds.append(&mut self.permits);
            self.purse.release(self.call, &self.holds);
        }
    }
}

/// Why there is nothing to hold, and when that may change.
pub(crate) struct NotHeld {
    pub(crate) reason: Reason,
    /// The limit and when its next period begins.
    pub(crate) limit: Option<(AccountKey, TimestampMs)>,
}

impl From<Shortage> for NotHeld {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Exceeded { account, end } => {
                Self { reason: Reason::BudgetExceeded, limit: Some((account, end)) }
            }
            Shortage::Unavailable { account, end } => {
                Self { reason: Reason::BudgetUnavailable, limit: Some((account, end)) }
            }
            Shortage::Concurrency { account, end } => {
                Self { reason: Reason::ConcurrencyExceeded, limit: Some((account, end)) }
            }
            Shortage::NoRoom { account, end } => {
                Self { reason: Reason::AccountsExhausted, limit: Some((account, end)) }
            }
            Shortage::Overloaded => Self { reason: Reason::Overloaded, limit: None },
        }
    }
}

impl Enforcer {
    /// Holds the most that the call may cost, on every account it touches or on none.
    pub(crate) async fn hold(
        &self,
        call: CallId,
        facts: &CallFacts,
        item: &str,
        upstream: &UpstreamId,
        evidence: &Evidence,
        deadline: Instant,
    ) -> Result<Held, NotHeld> {
        let state = self.parts.cluster.state();
        let cost_center = state.tenants.get(&facts.tenant).map_or("", |tenant| &tenant.value.cost_center);
        let touched = uses(
            &state,
            &CallUse {
                tenant: &facts.tenant,
                caller_tenant: &facts.caller_tenant,
                principal: &facts.principal,
                project: facts.project.as_ref(),
                item,
                upstream,
                model: "",
                cost_center,
                path: &evidence.path,
            },
        );
        let now = self.purse.enter(call, self.view().now());
        let entered = scopeguard(&self.purse, call);
        let (mut needs, mut soft) = (Vec::new(), Vec::new());
        for LimitUse { account, limit } in touched {
            let amount = match limit.measure {
                Measure::Calls => 1,
                // An item without a price costs nothing and uses no tokens.
                Measure::Cost | Measure::Tokens => continue,
            };
            let (account, end) = self.account_at(&state, account, &limit, now)?;
            if limit.hard {
                needs.push(Need { account, end, amount });
            } else {
                soft.push(Charge { account, end, amount, held: false });
            }
        }
        if needs.len() + soft.len() > limits::CALL_ACCOUNTS_MAX {
            return Err(NotHeld { reason: Reason::BrokenRule, limit: None });
        }
        let (purse, charged) = (self.purse.clone(), false);
        if needs.is_empty() {
            entered.done();
            return Ok(Held { purse, call, holds: Vec::new(), permits: Vec::new(), soft, charged });
        }
        let wait = deadline.saturating_duration_since(Instant::now()).min(WAIT_MAX);
        let until = Instant::now() + wait;
        let until_log = now.plus_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let (answer, records) = self.purse.hold(&state, call, needs, (until, until_log));
        records.into_iter().for_each(|record| self.intake.owe(record, true));
        entered.done();
        let newest = || self.parts.cluster.state();
        let held = InLine::new(purse.clone(), call, answer).wait(until, newest).await?;
        let (permits, holds) = held.into_iter().partition(|hold| hold.account.limit.is_standing());
        Ok(Held { purse, call, holds, permits, soft, charged })
    }

    /// The account of the period that holds `now`: one that is open already, or the calendar's.
    fn account_at(
        &self,
        state: &State,
        account: AccountKey,
        limit: &only1mcp_domain::ledger::Limit,
        now: TimestampMs,
    ) -> Result<(AccountKey, TimestampMs), NotHeld> {
        if let Some((open, found)) = state.ledger.account_at(&account, now) {
            return Ok((open.clone(), found.end));
        }
        let period = self.parts.zones.period(&limit.zone, limit.period, now);
        let period = period.ok_or(NotHeld { reason: Reason::BrokenRule, limit: None })?;
        Ok((AccountKey { start: period.start, ..account }, period.end))
    }
}

/// Takes the call out of the purse again where it does not come to wait.
fn scopeguard(purse: &Arc<Purse>, call: CallId) -> Entered {
    Entered { purse: Some(purse.clone()), call }
}

struct Entered {
    purse: Option<Arc<Purse>>,
    call: CallId,
}

impl Entered {
    fn done(mut self) {
        self.purse = None;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(purse) = &self.purse {
            purse.forget(self.call);
        }
    }
}
