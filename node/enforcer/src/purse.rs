//! What this node may still spend, and the calls that wait for it. INVARIANT: P1
//!
//! What the log has lent this node stands in the state. Here stands what of it is *committed*: held for open calls,
//! or charged and not yet posted as far as this node has applied. The difference may be held for the next call: no
//! I/O, no proposal. A commitment ends only after the state that its end is posted in is visible here, so for a
//! moment too little seems free, never too much. That holds only where the state is no older than what was last told as
//! applied: whoever acts for a call gives a way to the newest, which is taken behind the lock.
//!
//! A call that finds too little waits in line. The line asks for slices, then, for a call no slice could serve, for
//! just that call (`only1mcp_domain::ledger`, "lend"); and it returns what others wait for and nobody here needs.
//!
//! Permits (standing accounts) are free again when their call ends, at once: nothing is posted. While calls of another
//! node wait for one it goes back to the cluster, in whose line everybody has their turn, and not to the next call here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use only1mcp_domain::State;
use only1mcp_domain::activity::{Hold, Record, Return};
use only1mcp_domain::ids::{CallId, NodeId, TenantId};
use only1mcp_domain::ledger::{AccountKey, Ask, AskPart, Limit, Waiter, amount_of};
use only1mcp_domain::limits;
use only1mcp_domain::time::TimestampMs;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::metrics::Metrics;

/// How often one call is asked for anew after what came for it went to another.
const ATTEMPTS_MAX: u32 = 16;
/// A slice that lasted less than this asks for twice as much next time; one that lasted longer than ten times this,
/// for half.
const HORIZON: Duration = Duration::from_secs(1);
/// The first slice of an account is this many times what a call needs, and none is more than the other.
const WANT_MIN: i128 = 16;
const WANT_MAX: i128 = 16 * 1_024;

/// One account that a call must hold on.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub(crate) account: AccountKey,
    pub(crate) end: TimestampMs,
    pub(crate) amount: i128,
}

/// Why a call cannot be held for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Too little is left, whatever comes back.
    Exceeded { account: AccountKey, end: TimestampMs },
    /// What is left is lent elsewhere and did not come back in time.
    Unavailable { account: AccountKey, end: TimestampMs },
    /// As many calls run as may, and none ended in time.
    Concurrency { account: AccountKey, end: TimestampMs },
    /// The limit cannot count for one more: its tenant has as many accounts as it may.
    NoRoom { account: AccountKey, end: TimestampMs },
    /// Too many calls wait.
    Overloaded,
}

/// What a batch means for the purse once it is applied.
#[derive(Debug, Default, Clone)]
pub(crate) struct Posting {
    /// What was given back.
    pub(crate) returned: Vec<(AccountKey, i128)>,
    /// Slices that were asked for.
    pub(crate) asked: Vec<AccountKey>,
    /// Calls that were asked for.
    pub(crate) direct: Vec<CallId>,
    /// Calls that ended.
    pub(crate) over: Vec<CallId>,
}

impl Posting {
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut posting = Self::default();
        for record in records {
            match record {
                Record::Completion(completion) => posting.over.push(completion.call),
                Record::Return(parts) => {
                    posting.returned.extend(parts.iter().map(|part| (part.account.clone(), part.amount)));
                }
                Record::Ask(ask) if ask.direct => posting.direct.push(ask.call),
                Record::Ask(ask) => {
                    posting.asked.extend(ask.parts.iter().map(|part| part.account.clone()));
                }
                _ => {}
            }
        }
        posting
    }
}

/// Ready once the call holds everything it needs, or never can.
pub(crate) type Answer = oneshot::Receiver<Result<Vec<Hold>, Shortage>>;

pub(crate) struct Purse {
    node: NodeId,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    metrics: Arc<Metrics>,
    /// Set once this life's first batches, which tell all about earlier ones, are applied: before, nothing is free.
    opened: bool,
    /// Calls that hold or wait, or whose end is not applied yet, and when each was let in by log time.
    calls: BTreeMap<CallId, TimestampMs>,
    /// The latest time told as settled: calls are let in no earlier.
    told: TimestampMs,
    committed: BTreeMap<AccountKey, i128>,
    /// What of it each call holds. It ends with the call, whatever the call cost in the end.
    held: BTreeMap<CallId, Vec<Hold>>,
    line: VecDeque<Waiting>,
    /// Slices under way.
    asked: BTreeSet<AccountKey>,
    /// Calls asked for, their asking not applied yet, and whose they are.
    direct: BTreeMap<CallId, TenantId>,
    slices: BTreeMap<AccountKey, Slice>,
}

/// How large the next slice should be.
#[derive(Clone, Copy)]
struct Slice {
    want: i128,
    asked_at: Instant,
}

struct Waiting {
    call: CallId,
    until: Instant,
    /// The same by log time.
    until_log: TimestampMs,
    needs: Vec<Need>,
    answer: oneshot::Sender<Result<Vec<Hold>, Shortage>>,
    /// A slice was asked for on its behalf.
    sliced: bool,
    attempts: u32,
}

impl Purse {
    pub(crate) fn new(node: NodeId, metrics: Arc<Metrics>) -> Self {
        Self { node, inner: Mutex::new(Inner { metrics, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what the state says is lent to this node may be spent.
    pub(crate) fn open(&self) {
        self.lock().opened = true;
    }

    /// Lets a call in, before its periods are chosen. Units: log time; never before what was told as settled.
    pub(crate) fn enter(&self, call: CallId, now: TimestampMs) -> TimestampMs {
        let mut inner = self.lock();
        let at = now.max(inner.told);
        inner.calls.insert(call, at);
        at
    }

    /// No open call was let in before this, and none will be.
    pub(crate) fn settled_through(&self, log_time: TimestampMs) -> TimestampMs {
        let mut inner = self.lock();
        let through = inner.calls.values().copied().min().unwrap_or(log_time);
        inner.told = inner.told.max(through);
        inner.told
    }

    /// Holds on all of `needs`, now or in turn. Returns the records that have to go out for that.
    pub(crate) fn hold<S: Deref<Target = State>>(
        &self,
        state: impl FnOnce() -> S,
        call: CallId,
        needs: Vec<Need>,
        (until, until_log): (Instant, TimestampMs),
    ) -> (Answer, Vec<Record>) {
        let (answer, receiver) = oneshot::channel();
        let mut inner = self.lock();
        // INVARIANT: P1 (read sooner it could still show as lent what a batch, applied meanwhile, posted)
        let state = state();
        if !inner.has_place(tenant_of(&needs)) {
            inner.calls.remove(&call);
            let _ = answer.send(Err(Shortage::Overloaded));
            return (receiver, Vec::new());
        }
        inner.line.push_back(Waiting { call, until, until_log, needs, answer, sliced: false, attempts: 0 });
        let records = inner.pump(&state, self.node);
        (receiver, records)
    }

    /// The call is gone: it waits no more. What may still come for it is free for others.
    pub(crate) fn forget(&self, call: CallId) {
        let mut inner = self.lock();
        inner.line.retain(|waiting| waiting.call != call);
        inner.calls.remove(&call);
    }

    /// The call did not come about: what it holds is free again.
    pub(crate) fn release(&self, call: CallId, permits: &[Hold]) {
        let mut inner = self.lock();
        permits.iter().for_each(|hold| inner.commit(&hold.account, hold.amount.saturating_neg()));
        inner.end(call);
    }

    /// What is held for open calls, or given back and not applied yet.
    pub(crate) fn committed(&self) -> BTreeMap<AccountKey, i128> {
        self.lock().committed.clone()
    }

    /// The call ended, and its permits are free. Returns the records that have to go out.
    pub(crate) fn ended<S: Deref<Target = State>>(
        &self,
        state: impl FnOnce() -> S,
        permits: &[Hold],
    ) -> Vec<Record> {
        let mut inner = self.lock();
        // INVARIANT: P1 (as in `hold`)
        let state = state();
        let mut back = Vec::new();
        for Hold { account, amount, .. } in permits {
            if is_wanted_elsewhere(&state, self.node, account) {
                // Committed until the return is applied.
                back.push(Return { account: account.clone(), amount: *amount });
            } else {
                inner.commit(account, amount.saturating_neg());
            }
        }
        let mut records = returns(&back);
        if !inner.line.is_empty() {
            records.extend(inner.pump(&state, self.node));
        }
        records
    }

    /// An operator wants back what is in hand of `accounts`, whoever waits for it here. Slices begin small again.
    /// Returns what has to go out, at most so many parts at once, and whether more is left.
    pub(crate) fn recall<S: Deref<Target = State>>(
        &self,
        state: impl FnOnce() -> S,
        accounts: &[AccountKey],
    ) -> (Vec<Return>, bool) {
        let mut inner = self.lock();
        // INVARIANT: P1 (as in `hold`)
        let state = state();
        let mut parts = Vec::new();
        for account in accounts {
            let amount = inner.in_hand(&state, self.node, account);
            if amount <= 0 {
                continue;
            }
            if parts.len() >= limits::RECALL_PARTS_MAX {
                return (parts, true);
            }
            // Committed until the return is applied.
            inner.commit(account, amount);
            inner.slices.remove(account);
            parts.push(Return { account: account.clone(), amount });
        }
        (parts, false)
    }

    /// What a call that still waits lacks; `None` where it waits no more: its answer is there.
    fn lacks(&self, state: &State, call: CallId) -> Option<Shortage> {
        let inner = self.lock();
        let waiting = inner.line.iter().find(|waiting| waiting.call == call)?;
        Some(inner.shortage(state, self.node, &waiting.needs))
    }

    /// A batch was applied here: `state` shows it. Returns the records that have to go out.
    pub(crate) fn applied(&self, state: &State, posting: &Posting) -> Vec<Record> {
        let mut inner = self.lock();
        for (account, amount) in &posting.returned {
            inner.commit(account, amount.saturating_neg());
        }
        for account in &posting.asked {
            inner.asked.remove(account);
        }
        for call in &posting.direct {
            inner.direct.remove(call);
        }
        for call in &posting.over {
            inner.end(*call);
        }
        inner.pump(state, self.node)
    }

    /// The state moved, or calls ended. Returns the records that have to go out.
    pub(crate) fn moved(&self, state: &State) -> Vec<Record> {
        let mut inner = self.lock();
        if inner.line.is_empty() && state.ledger.waiters.is_empty() {
            return Vec::new();
        }
        inner.pump(state, self.node)
    }
}

impl Inner {
    /// Whether one more call of the tenant may wait. INVARIANT: P7
    fn has_place(&self, tenant: Option<&TenantId>) -> bool {
        let of_tenant = || self.line.iter().filter(|waiting| tenant_of(&waiting.needs) == tenant).count();
        self.line.is_empty()
            || (self.line.len() < limits::LINE_MAX && of_tenant() < limits::LINE_PER_TENANT_MAX)
    }

    fn commit(&mut self, account: &AccountKey, more: i128) {
        let before = self.committed.get_mut(account);
        let mut now = before.as_deref().copied().unwrap_or(0).saturating_add(more);
        // INVARIANT: P1 (a commitment that ended twice would free what was never lent)
        if now < 0 {
            now = 0;
            self.metrics.ledger_broken();
            tracing::error!(%account, "more was released than was held: nothing is freed by it");
        }
        match before {
            Some(entry) if now > 0 => *entry = now,
            Some(_) => drop(self.committed.remove(account)),
            // The key is copied only where there is none yet.
            None if now > 0 => drop(self.committed.insert(account.clone(), now)),
            None => {}
        }
    }

    fn end(&mut self, call: CallId) {
        for hold in self.held.remove(&call).unwrap_or_default() {
            self.commit(&hold.account, hold.amount.saturating_neg());
        }
        self.calls.remove(&call);
    }

    /// What is lent to this node and not committed.
    fn in_hand(&self, state: &State, node: NodeId, account: &AccountKey) -> i128 {
        if !self.opened {
            return 0;
        }
        let lent = state.ledger.accounts.get(account).map_or(0, |found| found.lent_to(node).outstanding);
        lent.saturating_sub(self.committed.get(account).copied().unwrap_or(0)).max(0)
    }

    /// What may be held on `account` now.
    fn free(&self, state: &State, node: NodeId, account: &AccountKey) -> i128 {
        self.in_hand(state, node, account).saturating_sub(excess(state, account)).max(0)
    }

    /// Serves the line in its order: a call that has to wait keeps later ones from its accounts.
    fn pump(&mut self, state: &State, node: NodeId) -> Vec<Record> {
        let mut records = Vec::new();
        let mut blocked: BTreeSet<AccountKey> = BTreeSet::new();
        let mut kept = VecDeque::with_capacity(self.line.len());
        for mut waiting in std::mem::take(&mut self.line) {
            if waiting.answer.is_closed() {
                continue;
            }
            // A limit that was lifted meanwhile binds no more.
            waiting.needs.retain(|need| amount_of(state, &need.account).is_some_and(|limit| limit.hard));
            let free = waiting.needs.iter().all(|need| !blocked.contains(&need.account));
            if free && waiting.needs.iter().all(|need| self.free(state, node, &need.account) >= need.amount) {
                records.extend(self.serve(state, node, waiting));
                continue;
            }
            if let Some(shortage) = self.hopeless(state, node, &waiting) {
                self.calls.remove(&waiting.call);
                let _ = waiting.answer.send(Err(shortage));
                continue;
            }
            if free {
                records.extend(self.ask_for(state, node, &mut waiting));
            }
            blocked.extend(waiting.needs.iter().map(|need| need.account.clone()));
            kept.push_back(waiting);
        }
        self.line = kept;
        records.extend(self.give_back(state, node));
        records
    }

    fn serve(&mut self, state: &State, node: NodeId, waiting: Waiting) -> Option<Record> {
        let hold = |need: &Need| Hold { account: need.account.clone(), end: need.end, amount: need.amount };
        let holds: Vec<Hold> = waiting.needs.iter().map(hold).collect();
        for (at, hold) in holds.iter().enumerate() {
            // INVARIANT: P1 (what is committed was lent: looked at once more as it is spent)
            if self.free(state, node, &hold.account) < hold.amount {
                self.metrics.ledger_broken();
                tracing::error!(account = %hold.account, "more would be held than is in hand: the call is refused");
                holds
                    .iter()
                    .take(at)
                    .for_each(|held| self.commit(&held.account, held.amount.saturating_neg()));
                self.calls.remove(&waiting.call);
                let _ = waiting.answer.send(Err(Shortage::Overloaded));
                return None;
            }
            self.commit(&hold.account, hold.amount);
        }
        // Permits are given back as the call ends; all else when its completion is applied.
        let (permits, held): (Vec<Hold>, Vec<Hold>) =
            holds.iter().cloned().partition(|hold| hold.account.limit.is_standing());
        self.held.insert(waiting.call, held);
        if waiting.answer.send(Ok(holds)).is_err() {
            // Nobody there any more: nothing is held.
            permits.iter().for_each(|hold| self.commit(&hold.account, hold.amount.saturating_neg()));
            self.end(waiting.call);
            return None;
        }
        self.refill(state, node, waiting.call, &waiting.needs)
    }

    /// Asks for the next slice before this one is used up.
    fn refill(&mut self, state: &State, node: NodeId, call: CallId, needs: &[Need]) -> Option<Record> {
        let mut parts = Vec::new();
        for need in needs {
            let Some(slice) = self.slices.get(&need.account).copied() else { continue };
            let low = self.free(state, node, &need.account) < slice.want / 4;
            if !low || self.asked.contains(&need.account) {
                continue;
            }
            let Some((limit, account)) =
                amount_of(state, &need.account).zip(state.ledger.accounts.get(&need.account))
            else {
                continue;
            };
            // Near the end slices only strand: calls ask for themselves.
            if account.available(limit.amount) >= slice.want.max(need.amount) {
                parts.push(self.part(need));
            }
        }
        ask(call, false, TimestampMs(0), parts)
    }

    fn part(&mut self, need: &Need) -> AskPart {
        let now = Instant::now();
        let least = need.amount.saturating_mul(WANT_MIN);
        let most = need.amount.saturating_mul(WANT_MAX);
        let slice = self.slices.entry(need.account.clone()).or_insert(Slice { want: least, asked_at: now });
        let lasted = now.saturating_duration_since(slice.asked_at);
        if lasted > HORIZON * 10 {
            slice.want /= 2;
        } else if lasted < HORIZON && slice.asked_at < now {
            slice.want = slice.want.saturating_mul(2);
        }
        slice.want = slice.want.clamp(least, most.max(least));
        slice.asked_at = now;
        self.asked.insert(need.account.clone());
        AskPart { account: need.account.clone(), end: need.end, need: need.amount, want: slice.want }
    }

    /// First slices for what is short; where they did not come, the whole call in the cluster's line.
    fn ask_for(&mut self, state: &State, node: NodeId, waiting: &mut Waiting) -> Option<Record> {
        let waits = |ledger_waiter: &only1mcp_domain::ledger::Waiter| ledger_waiter.call == waiting.call;
        if self.direct.contains_key(&waiting.call) || state.ledger.waiters.values().any(waits) {
            return None;
        }
        if waiting.needs.iter().any(|need| self.asked.contains(&need.account)) {
            return None;
        }
        let is_short = |need: &&Need| self.free(state, node, &need.account) < need.amount;
        let short: Vec<Need> = waiting.needs.iter().filter(is_short).cloned().collect();
        if !waiting.sliced {
            waiting.sliced = true;
            let parts = short.iter().map(|need| self.part(need)).collect();
            return ask(waiting.call, false, TimestampMs(0), parts);
        }
        let tenant = tenant_of(&waiting.needs)?;
        let mine = state.ledger.waiters.values().filter(|waiter| waiter.node == node);
        let (all, of_tenant) = mine.fold((0, 0), |(all, of_tenant), waiter| {
            (all + 1, of_tenant + usize::from(is_of(waiter, tenant)))
        });
        let asked_of_tenant = self.direct.values().filter(|asked| *asked == tenant).count();
        if !may_ask(self.direct.len() + all, asked_of_tenant + of_tenant) || waiting.attempts >= ATTEMPTS_MAX
        {
            return None;
        }
        waiting.attempts += 1;
        let part = |need: &Need| AskPart {
            account: need.account.clone(),
            end: need.end,
            need: need.amount,
            want: need.amount,
        };
        self.direct.insert(waiting.call, tenant.clone());
        // For a permit alone all nodes need not give back what they have of the call's other accounts, and it keeps those
        // it has. Two calls that each hold what the other lacks cannot come of it: who lacks anything else asks for all.
        let permits_only = !short.is_empty() && short.iter().all(|need| need.account.limit.is_standing());
        let asked = if permits_only { &short } else { &waiting.needs };
        ask(waiting.call, true, waiting.until_log, asked.iter().map(part).collect())
    }

    /// Why the call need not wait any longer.
    fn hopeless(&self, state: &State, node: NodeId, waiting: &Waiting) -> Option<Shortage> {
        for need in &waiting.needs {
            let limit = amount_of(state, &need.account).map_or(0, |limit: Limit| limit.amount);
            let found = state.ledger.accounts.get(&need.account);
            let (account, end) = (need.account.clone(), need.end);
            if need.amount > limit.saturating_sub(found.map_or(0, |account| account.posted)) {
                let permits = account.limit.is_standing();
                return Some(if permits {
                    Shortage::Concurrency { account, end }
                } else {
                    Shortage::Exceeded { account, end }
                });
            }
            if found.is_none() && !state.ledger.has_room(&account) {
                return Some(Shortage::NoRoom { account, end });
            }
        }
        let late = Instant::now() >= waiting.until || waiting.attempts >= ATTEMPTS_MAX;
        late.then(|| self.shortage(state, node, &waiting.needs))
    }

    /// What a call whose time is up lacked.
    fn shortage(&self, state: &State, node: NodeId, needs: &[Need]) -> Shortage {
        let is_short = |need: &&Need| self.free(state, node, &need.account) < need.amount;
        // What waits in the pool for the rest of the call is not what keeps it.
        let is_gone = |need: &&Need| {
            let found = state.ledger.accounts.get(&need.account).zip(amount_of(state, &need.account));
            found.is_some_and(|(account, limit)| account.available(limit.amount) < need.amount)
        };
        let gone = needs.iter().filter(is_short).find(is_gone);
        let short = gone.or_else(|| needs.iter().find(is_short));
        let Some(need) = short.or(needs.first()) else { return Shortage::Overloaded };
        let (account, end) = (need.account.clone(), need.end);
        if account.limit.is_standing() {
            Shortage::Concurrency { account, end }
        } else {
            Shortage::Unavailable { account, end }
        }
    }

    /// What calls in the cluster's line wait for and no call here holds. Calls of this node that wait here only have no
    /// claim: were they served first, two nodes could each keep what the other's line stands for.
    fn give_back(&mut self, state: &State, node: NodeId) -> Vec<Record> {
        let waiters = state.ledger.waiters.values();
        let wanted: BTreeSet<&AccountKey> =
            waiters.flat_map(|waiter| waiter.parts.iter().map(|(account, _)| account)).collect();
        let mut parts = Vec::new();
        // A slice under way is looked at once it is there.
        for account in wanted.into_iter().filter(|account| !self.asked.contains(*account)).collect::<Vec<_>>()
        {
            let amount = self.in_hand(state, node, account);
            if amount > 0 {
                self.commit(account, amount);
                parts.push(Return { account: account.clone(), amount });
            }
        }
        // A lower limit on permits: they have no period that ends and takes the surplus away.
        let needed = self.line.iter().flat_map(|waiting| waiting.needs.iter().map(|need| &need.account));
        let standing: BTreeSet<AccountKey> =
            needed.filter(|account| account.limit.is_standing()).cloned().collect();
        for account in standing {
            let amount = self.in_hand(state, node, &account).min(excess(state, &account));
            if amount > 0 {
                self.commit(&account, amount);
                parts.push(Return { account, amount });
            }
        }
        returns(&parts)
    }
}

/// How much of a standing account is out beyond its limit, over all nodes; of others the period takes care.
fn excess(state: &State, account: &AccountKey) -> i128 {
    if !account.limit.is_standing() {
        return 0;
    }
    let found = state.ledger.accounts.get(account).zip(amount_of(state, account));
    found.map_or(0, |(found, limit)| found.excess(limit.amount))
}

/// Whether what is free here should serve the cluster's line first, or serve nobody.
fn is_wanted_elsewhere(state: &State, node: NodeId, account: &AccountKey) -> bool {
    let elsewhere =
        |waiter: &Waiter| waiter.node != node && waiter.parts.iter().any(|(wanted, _)| wanted == account);
    state.ledger.waiters.values().any(elsewhere) || excess(state, account) > 0
}

/// Whose call it is, by its first account.
fn tenant_of(needs: &[Need]) -> Option<&TenantId> {
    needs.first().map(|need| &need.account.tenant)
}

fn is_of(waiter: &Waiter, tenant: &TenantId) -> bool {
    waiter.parts.first().is_some_and(|(account, _)| account.tenant == *tenant)
}

/// Whether one more call may go into the cluster's line, after so many of this node and of its tenant. INVARIANT: P7
fn may_ask(of_node: usize, of_tenant: usize) -> bool {
    of_node < limits::WAITERS_PER_NODE_MAX && of_tenant < limits::WAITERS_PER_TENANT_AND_NODE_MAX
}

pub(crate) fn returns(parts: &[Return]) -> Vec<Record> {
    parts.chunks(limits::ASK_PARTS_MAX).map(|parts| Record::Return(parts.to_vec())).collect()
}

fn ask(call: CallId, direct: bool, until: TimestampMs, parts: Vec<AskPart>) -> Option<Record> {
    (!parts.is_empty()).then(|| Record::Ask(Box::new(Ask { call, direct, until, parts })))
}

/// A call's place in the line, as long as its answer is awaited. Dropped, the call holds nothing.
pub(crate) struct InLine {
    purse: Arc<Purse>,
    call: CallId,
    answer: Option<Answer>,
}

impl InLine {
    pub(crate) fn new(purse: Arc<Purse>, call: CallId, answer: Answer) -> Self {
        Self { purse, call, answer: Some(answer) }
    }

    /// `state`: the newest, to say what was lacking where nothing came by `until`.
    pub(crate) async fn wait(
        mut self,
        until: Instant,
        state: impl FnOnce() -> Arc<State>,
    ) -> Result<Vec<Hold>, Shortage> {
        let Some(answer) = self.answer.as_mut() else { return Err(Shortage::Overloaded) };
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answered)) => {
                self.answer = None;
                answered
            }
            Ok(Err(_)) => Err(Shortage::Overloaded),
            Err(_) => match self.purse.lacks(&state(), self.call) {
                Some(shortage) => Err(shortage),
                // Whoever served the line at this very moment took it out and has answered.
                None => match self.answer.take().map(|mut answer| answer.try_recv()) {
                    Some(Ok(answered)) => answered,
                    _ => Err(Shortage::Overloaded),
                },
            },
        }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else { return };
        answer.close();
        match answer.try_recv() {
            Ok(Ok(holds)) => {
                let standing = holds.into_iter().filter(|hold| hold.account.limit.is_standing());
                self.purse.release(self.call, &standing.collect::<Vec<_>>());
            }
            _ => self.purse.forget(self.call),
        }
    }
}

#[cfg(test)]
#[path = "purse_tests.rs"]
mod tests;
