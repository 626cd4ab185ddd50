//! What a call must hold before it is sent: the limits it touches, their periods, the amounts. INVARIANT: P1, P5

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::State;
use only1mcp_domain::activity::{Admission, Hold, Record};
use only1mcp_domain::cost::Cost;
use only1mcp_domain::decide::{Evidence, Reason};
use only1mcp_domain::ids::{CallId, TenantId, UpstreamId};
use only1mcp_domain::ledger::{AccountKey, CallUse, Charge, LimitId, LimitUse, amount_of, session_use, uses};
use only1mcp_domain::limits;
use only1mcp_domain::model::PeriodKind;
use only1mcp_domain::price::QuoteFault;
use only1mcp_domain::time::TimestampMs;
use tokio::time::Instant;

use crate::enforcer::{CallFacts, Enforcer};
use crate::priced::{Priced, PricedCall, Told, Touched, UTC, Used};
use crate::purse::{InLine, Need, Purse, Shortage};

/// How long a call waits, at most, for what is lent elsewhere.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What an admitted call holds. Dropped before it is charged, it holds nothing any more.
pub(crate) struct Held {
    purse: Arc<Purse>,
    call: CallId,
    pub(crate) holds: Vec<Hold>,
    /// In use until the call ends; they cost nothing and stand in no record.
    permits: Vec<Hold>,
    pub(crate) priced: Priced,
    touched: Vec<Touched>,
    charged: bool,
}

impl Held {
    /// What the call cost its accounts by what it used, and the record of that.
    pub(crate) fn charge(&mut self, admission: &Admission, used: &Used) -> (Vec<Charge>, Option<Box<Cost>>) {
        self.charged = true;
        (self.priced.taken(&used.amounts).charges(&self.touched), self.priced.cost(admission, used))
    }

    /// Where the call counts and holds nothing: what a restart posts where nobody knows how it ended.
    pub(crate) fn counts(&self) -> Vec<Hold> {
        let soft = self.touched.iter().filter(|touched| !touched.hard && touched.hold.amount > 0);
        soft.map(|touched| touched.hold.clone()).filter(|hold| !hold.account.limit.is_standing()).collect()
    }

    /// The call ended: gives its permits back. Returns the records that have to go out.
    pub(crate) fn end(&mut self, newest: impl FnOnce() -> Arc<State>) -> Vec<Record> {
        let permits = std::mem::take(&mut self.permits);
        if permits.is_empty() { Vec::new() } else { self.purse.ended(newest, &permits) }
    }

    /// The admission is on its way to the disk: from now on only a completion ends what is held.
    pub(crate) fn keep(&mut self) {
        self.charged = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.charged {
            self.purse.release(self.call, &self.permits);
        }
    }
}

/// Why there is nothing to hold, and when that may change.
pub(crate) struct NotHeld {
    pub(crate) reason: Reason,
    /// The limit and when its next period begins.
    pub(crate) limit: Option<(AccountKey, TimestampMs)>,
    /// What the call's price lacks.
    pub(crate) fault: Option<QuoteFault>,
}

impl From<Reason> for NotHeld {
    fn from(reason: Reason) -> Self {
        Self { reason, limit: None, fault: None }
    }
}

impl From<Shortage> for NotHeld {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Exceeded { account, end } => {
                Self { limit: Some((account, end)), ..Reason::BudgetExceeded.into() }
            }
            Shortage::Unavailable { account, end } => {
                Self { limit: Some((account, end)), ..Reason::BudgetUnavailable.into() }
            }
            Shortage::Concurrency { account, end } => {
                let reason = match account.limit {
                    LimitId::QuotaConnections => Reason::ConnectionsExceeded,
                    _ => Reason::ConcurrencyExceeded,
                };
                Self { limit: Some((account, end)), ..reason.into() }
            }
            Shortage::NoRoom { account, end } => {
                Self { limit: Some((account, end)), ..Reason::AccountsExhausted.into() }
            }
            Shortage::Overloaded => Reason::Overloaded.into(),
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
        let view = self.view();
        let metering = view.prices.metering(&facts.tenant, item).cloned();
        let found = uses(
            &state,
            &CallUse {
                tenant: &facts.tenant,
                caller_tenant: &facts.caller_tenant,
                principal: &facts.principal,
                project: facts.project.as_ref(),
                item,
                upstream,
                model: metering.as_ref().map_or("", |metering| &metering.model),
                cost_center,
                path: &evidence.path,
            },
        );
        let now = self.purse.enter(call, view.now());
        let entered = scopeguard(&self.purse, call);
        let month = self.parts.zones.period(UTC, PeriodKind::Month, now).ok_or(Reason::BrokenRule)?;
        // What another tenant says of its people is not for this one's records.
        let own =
            (facts.caller_tenant == facts.tenant).then(|| (facts.tenant.clone(), facts.principal.clone()));
        let attributes =
            own.and_then(|key| state.principals.get(&key)).map(|caller| &caller.value.attributes);
        let priced = Priced::of(
            PricedCall {
                state: &state,
                book: &view.prices,
                tenant: &facts.tenant,
                item,
                cost_center,
                told: Told { attributes, said: Some(&facts.tags) },
                month: month.start,
                at: now,
            },
            metering,
            &found,
        )?;
        let mut touched = Vec::new();
        for LimitUse { account, limit } in found {
            let Some(amount) = priced.most(limit.measure)? else { continue };
            let (account, end) = self.account_at(&state, account, &limit, now)?;
            let hold = Hold { account, end, amount };
            touched.push(Touched { hold, measure: limit.measure, hard: limit.hard });
        }
        if touched.len() > limits::CALL_ACCOUNTS_MAX {
            return Err(Reason::BrokenRule.into());
        }
        let needs = needs_of(&touched);
        let (purse, charged) = (self.purse.clone(), false);
        if needs.is_empty() {
            entered.done();
            return Ok(Held {
                purse,
                call,
                holds: Vec::new(),
                permits: Vec::new(),
                priced,
                touched,
                charged,
            });
        }
        let wait = deadline.saturating_duration_since(Instant::now()).min(WAIT_MAX);
        let until = Instant::now() + wait;
        let until_log = now.plus_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let newest = || self.parts.cluster.state();
        let (answer, records) = self.purse.hold(newest, call, needs, (until, until_log));
        records.into_iter().for_each(|record| self.intake.owe(record, true));
        entered.done();
        let held = InLine::new(purse.clone(), call, answer).wait(until, newest).await?;
        lifted(&newest(), &mut touched, &held);
        let (permits, holds) = held.into_iter().partition(|hold| hold.account.limit.is_standing());
        Ok(Held { purse, call, holds, permits, priced, touched, charged })
    }

    /// Holds the permit that one more MCP session of the tenant takes; none where their number is not limited.
    pub(crate) async fn hold_session(&self, tenant: &TenantId) -> Result<Vec<Hold>, NotHeld> {
        let state = self.parts.cluster.state();
        let Some(LimitUse { account, limit }) = session_use(&state, tenant) else { return Ok(Vec::new()) };
        let call = CallId(self.random());
        let now = self.purse.enter(call, self.view().now());
        let entered = scopeguard(&self.purse, call);
        let (account, end) = self.account_at(&state, account, &limit, now)?;
        let until = Instant::now() + WAIT_MAX;
        let until_log = now.plus_ms(u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX));
        let needs = vec![Need { account, end, amount: 1 }];
        let (answer, records) =
            self.purse.hold(|| self.parts.cluster.state(), call, needs, (until, until_log));
        records.into_iter().for_each(|record| self.intake.owe(record, true));
        entered.done();
        let newest = || self.parts.cluster.state();
        let permits = InLine::new(self.purse.clone(), call, answer).wait(until, newest).await?;
        // It waited as a call does and is none: periods are not kept open for as long as a session lives.
        self.purse.release(call, &[]);
        Ok(permits)
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
        let period = period.ok_or(Reason::BrokenRule)?;
        Ok((AccountKey { start: period.start, ..account }, period.end))
    }
}

/// What must be in hand before the call is sent. What can cost nothing needs no slice, of whatever account.
fn needs_of(touched: &[Touched]) -> Vec<Need> {
    let held = touched.iter().filter(|touched| touched.hard && touched.hold.amount > 0);
    let need = |Hold { account, end, amount }: Hold| Need { account, end, amount };
    held.map(|touched| need(touched.hold.clone())).collect()
}

/// A limit that was lifted while the call waited is not held on, so nothing is charged to it as if it were, whatever is
/// put in its place; one that is soft now counts on. INVARIANT: P1
fn lifted(state: &State, touched: &mut Vec<Touched>, held: &[Hold]) {
    touched.retain_mut(|touched| {
        let Hold { account, amount, .. } = &touched.hold;
        if !touched.hard || *amount <= 0 || held.iter().any(|hold| hold.account == *account) {
            return true;
        }
        touched.hard = false;
        amount_of(state, account).is_some_and(|limit| !limit.hard)
    });
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
