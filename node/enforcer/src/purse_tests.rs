//! Purses of several nodes over one real ledger, in random order: calls that start, end, wait and are given up, nodes
//! that lag, crash with their journal and without it, are removed, limits that fall and rise. Whatever happens no
//! account is overspent, no more permits are in use than there are, and afterwards everything that is left can be spent,
//! and every permit used, from any node.

use std::collections::BTreeMap;

use only1mcp_domain::activity::{Batch, CallOutcome, Completion};
use only1mcp_domain::command::{Actor, Command, Entry, Secret32, Via};
use only1mcp_domain::ids::{BudgetId, Digest, Incarnation, PrincipalId, TenantId};
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::model::{
    Budget, BudgetScope, ClusterSettings, Measure, NodeRecord, NodeRole, PeriodKind, Quota,
};
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::state::{Cluster, Versioned};
use proptest::prelude::*;

use super::*;
use crate::recover::charges_of;

const NODES: usize = 3;
const ACCOUNTS: usize = 3;
/// The bit that asks for a permit.
const PERMIT: usize = ACCOUNTS;
const START: TimestampMs = TimestampMs(1_000_000);

#[derive(Clone, Debug)]
enum Op {
    /// A call at a node that needs these accounts.
    Call {
        node: usize,
        accounts: u8,
        amount: i128,
    },
    /// An open call ends, and costs this share of what it held.
    End {
        node: usize,
        which: usize,
        percent: i128,
    },
    /// A waiting caller goes away.
    GiveUp {
        node: usize,
        which: usize,
    },
    /// The node's records are applied.
    Post {
        node: usize,
    },
    /// The node applies what the log has.
    CatchUp {
        node: usize,
    },
    Crash {
        node: usize,
        journal_kept: bool,
    },
    ForceClose {
        node: usize,
    },
    SetLimit {
        account: usize,
        limit: i128,
    },
    SetPermits {
        limit: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    prop_oneof![
        8 => (node.clone(), 1u8..16, 1i128..4).prop_map(|(node, accounts, amount)| Op::Call { node, accounts, amount }),
        6 => (node.clone(), any::<usize>(), prop_oneof![Just(100), 0..100_i128])
            .prop_map(|(node, which, percent)| Op::End { node, which, percent }),
        1 => (node.clone(), any::<usize>()).prop_map(|(node, which)| Op::GiveUp { node, which }),
        8 => node.clone().prop_map(|node| Op::Post { node }),
        8 => node.clone().prop_map(|node| Op::CatchUp { node }),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, journal_kept)| Op::Crash { node, journal_kept }),
        1 => node.prop_map(|node| Op::ForceClose { node }),
        1 => (0..ACCOUNTS, 1i128..120).prop_map(|(account, limit)| Op::SetLimit { account, limit }),
        1 => (1u64..12).prop_map(|limit| Op::SetPermits { limit }),
    ]
}

struct Node {
    id: NodeId,
    incarnation: Incarnation,
    sequence: u64,
    purse: Arc<Purse>,
    /// How much of the history it has applied.
    seen: usize,
    /// Journaled, not sent.
    journal: Vec<Record>,
    open: Vec<Open>,
    waiting: Vec<InLineCall>,
    /// The step of the history that tells all of earlier lives.
    opened_by: Option<usize>,
    /// The latest step at which it was closed by force.
    closed_at: usize,
}

struct Open {
    call: CallId,
    holds: Vec<Hold>,
    permits: Vec<Hold>,
    /// Its node was closed by force while it ran, or had not heard of that when it began: beyond the limit, as told.
    beyond: bool,
}

struct InLineCall {
    call: CallId,
    line: Option<Answer>,
}

/// One entry and what it means for its node.
struct Step {
    state: State,
    posting: Option<(NodeId, Incarnation, Posting)>,
}

struct World {
    history: Vec<Step>,
    nodes: Vec<Node>,
    calls: u64,
    /// What was ever held and not released, by account: the truth about spending.
    spent: BTreeMap<AccountKey, i128>,
    /// The highest limit in force since something was last lent, by account.
    limits: BTreeMap<AccountKey, i128>,
    /// Permits lent at the last look.
    permits_out: i128,
}

fn budget_id(account: usize) -> BudgetId {
    BudgetId::new(format!("b{account}")).unwrap()
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn key(account: usize) -> AccountKey {
    AccountKey {
        tenant: tenant(),
        limit: LimitId::Budget(budget_id(account)),
        subject: "".into(),
        start: TimestampMs(0),
    }
}

fn permits() -> AccountKey {
    AccountKey { limit: LimitId::QuotaConcurrency, ..key(0) }
}

fn allow(state: &mut State, max: u64) {
    use only1mcp_domain::model::{
        BillingAccount, Constraints, IsolationMode, NetworkConfig, ResourceQuotas, SealMode, Tenant,
        TenantStatus, TenantTier,
    };
    let template = ResourceQuotas::template(TenantTier::Starter);
    let value = Tenant {
        id: tenant(),
        name: "Acme".to_owned(),
        tier: TenantTier::Starter,
        isolation_mode: IsolationMode::Logical { namespace: String::new(), database_schema: String::new() },
        quotas: ResourceQuotas { max_concurrent_requests: Quota::AtMost(max), ..template },
        network_config: NetworkConfig::default(),
        data_region: String::new(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: BillingAccount::default(),
        cost_center: String::new(),
        created_at: START,
        updated_at: START,
        status: TenantStatus::Active,
        seal_mode: SealMode::Sealed,
        tool_seal_modes: BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: Default::default(),
        constraints: Constraints::default(),
    };
    state.tenants.insert(tenant(), Versioned { revision: 1, value });
}

fn budget(account: usize, amount: i128) -> Versioned<Budget> {
    let value = Budget {
        tenant: tenant(),
        id: budget_id(account),
        scope: BudgetScope::default(),
        per: None,
        measure: Measure::Calls,
        period: PeriodKind::Total,
        zone: String::new(),
        amount,
        hard: true,
        description: String::new(),
        created_at: START,
        created_by: "test".to_owned(),
    };
    Versioned { revision: 1, value }
}

fn first_state() -> State {
    let mut state = State {
        cluster: Some(Cluster {
            id: Digest([1; 32]),
            settings: Versioned { revision: 1, value: ClusterSettings::new("test") },
            key_hash_key: Secret32([1; 32]),
            session_key: Secret32([2; 32]),
            next_node: NodeId(9),
            epoch: 1,
        }),
        log_time: START,
        ..State::default()
    };
    for id in 1..=NODES as u64 {
        let record = NodeRecord {
            id: NodeId(id),
            name: format!("n{id}"),
            peer_address: String::new(),
            admin_address: String::new(),
            http_address: String::new(),
            region: String::new(),
            zone: String::new(),
            version: String::new(),
            role: NodeRole::Voter,
            joined_at: START,
            signing_key: None,
        };
        state.nodes.insert(NodeId(id), Versioned { revision: 1, value: record });
    }
    for account in 0..ACCOUNTS {
        state.budgets.insert((tenant(), budget_id(account)), budget(account, 40));
    }
    allow(&mut state, 6);
    state
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            history: vec![Step { state: first_state(), posting: None }],
            nodes: Vec::new(),
            calls: 0,
            spent: BTreeMap::new(),
            limits: (0..ACCOUNTS).map(|account| (key(account), 40)).collect(),
            permits_out: 0,
        };
        for id in 1..=NODES as u64 {
            world.nodes.push(Node {
                id: NodeId(id),
                incarnation: Incarnation(0),
                sequence: 0,
                purse: Arc::new(Purse::new(NodeId(id), Arc::default())),
                seen: 0,
                journal: Vec::new(),
                open: Vec::new(),
                waiting: Vec::new(),
                opened_by: None,
                closed_at: 0,
            });
        }
        for node in 0..NODES {
            world.start(node, true);
        }
        world
    }

    fn state(&self) -> &State {
        &self.history.last().unwrap().state
    }

    fn apply(
        &mut self,
        via: Via,
        command: Command,
        posting: Option<(NodeId, Incarnation, Posting)>,
    ) -> Outcome {
        let mut state = self.state().clone();
        let entry = Entry {
            actor: Actor {
                tenant: TenantId::system(),
                principal: PrincipalId::new("test").unwrap(),
                key: None,
                via,
                ip: None,
                user_agent: String::new(),
                personal: None,
                request_id: String::new(),
            },
            command_id: None,
            request_digest: Digest::default(),
            observed_at: START,
            command,
            signature: None,
        };
        let applied = state.apply(self.history.len() as u64 + 1, &entry);
        // What is stored is what is known.
        let rows = state.rows().into_iter().filter_map(|row| row.value);
        assert_eq!(State::from_rows(rows).unwrap().ledger, state.ledger);
        self.history.push(Step { state, posting });
        applied.outcome.unwrap()
    }

    /// A life begins: the journal is told, and everything lent to earlier lives ends.
    fn start(&mut self, node: usize, journal_kept: bool) {
        let id = self.nodes[node].id;
        let outcome = self.apply(Via::Node(id), Command::OpenIncarnation { node: id }, None);
        let Outcome::IncarnationOpened { incarnation, .. } = outcome else { panic!("{outcome:?}") };
        let old = &mut self.nodes[node];
        old.incarnation = incarnation;
        old.sequence = 0;
        old.purse = Arc::new(Purse::new(id, Arc::default()));
        old.waiting.clear();
        old.seen = self.history.len() - 1;
        let mut records = std::mem::take(&mut old.journal);
        for Open { call, holds, .. } in std::mem::take(&mut old.open) {
            records.push(completion(call, charges_of(&holds, &[])));
        }
        if !journal_kept {
            records.clear();
        }
        records.push(Record::Restarted { complete: journal_kept });
        old.journal = records;
        self.post(node);
        self.nodes[node].opened_by = Some(self.history.len() - 1);
    }

    fn post(&mut self, node: usize) {
        let from = &mut self.nodes[node];
        if from.journal.is_empty() {
            return;
        }
        let records = std::mem::take(&mut from.journal);
        from.sequence += 1;
        // What the first batch of a life tells was held by earlier ones.
        let posting = if from.sequence == 1 { Posting::default() } else { Posting::of(&records) };
        let (id, incarnation, sequence) = (from.id, from.incarnation, from.sequence);
        let mut digest = Digest([0; 32]);
        digest.0[..8].copy_from_slice(&sequence.to_be_bytes());
        let batch = Batch { node: id, incarnation, sequence, digest, records };
        let outcome = self.apply(Via::Node(id), Command::Activity(batch), Some((id, incarnation, posting)));
        assert!(matches!(outcome, Outcome::BatchApplied { .. }), "{outcome:?}");
    }

    fn catch_up(&mut self, node: usize) {
        let Self { history, nodes, spent, .. } = self;
        let node = &mut nodes[node];
        while node.seen + 1 < history.len() {
            node.seen += 1;
            if node.opened_by == Some(node.seen) {
                node.purse.open();
            }
            let Step { state, posting } = &history[node.seen];
            let records = match posting {
                Some((id, incarnation, posting)) if (*id, *incarnation) == (node.id, node.incarnation) => {
                    node.purse.applied(state, posting)
                }
                _ => node.purse.moved(state),
            };
            node.journal.extend(records);
            node.answers(spent);
        }
    }

    fn call(&mut self, node: usize, accounts: &[usize], amount: i128) -> CallId {
        self.calls += 1;
        let call = CallId(u128::from(self.calls).to_be_bytes());
        let Self { history, nodes, spent, .. } = self;
        let node = &mut nodes[node];
        let state = &history[node.seen].state;
        let needs = accounts.iter().map(|account| Need {
            account: if *account == PERMIT { permits() } else { key(*account) },
            end: TimestampMs(u64::MAX),
            amount: if *account == PERMIT { 1 } else { amount },
        });
        let far = (Instant::now() + Duration::from_secs(1 << 30), TimestampMs(u64::MAX));
        node.purse.enter(call, START);
        let (answer, records) = node.purse.hold(|| state, call, needs.collect(), far);
        node.journal.extend(records);
        node.waiting.push(InLineCall { call, line: Some(answer) });
        node.answers(spent);
        call
    }

    fn end(&mut self, node: usize, which: usize, percent: i128) {
        let Self { history, nodes, spent, .. } = self;
        let node = &mut nodes[node];
        if !node.open.is_empty() {
            let Open { call, holds, permits, .. } = node.open.remove(which % node.open.len());
            let records = node.purse.ended(|| &history[node.seen].state, &permits);
            node.journal.extend(records);
            let mut charges = charges_of(&holds, &[]);
            for charge in &mut charges {
                let cost = charge.amount * percent / 100;
                *spent.get_mut(&charge.account).unwrap() -= charge.amount - cost;
                charge.amount = cost;
            }
            charges.retain(|charge| charge.amount > 0);
            node.journal.push(completion(call, charges));
            node.answers(spent);
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Call { node, accounts, amount } => {
                let wanted: Vec<usize> = (0..=PERMIT).filter(|bit| accounts & (1 << bit) != 0).collect();
                self.call(node, &wanted, amount);
            }
            Op::End { node, which, percent } => self.end(node, which, percent),
            Op::GiveUp { node, which } => {
                let node = &mut self.nodes[node];
                if !node.waiting.is_empty() {
                    let at = which % node.waiting.len();
                    let InLineCall { call, line } = node.waiting.remove(at);
                    drop(InLine::new(node.purse.clone(), call, line.unwrap()));
                }
            }
            Op::Post { node } => self.post(node),
            Op::CatchUp { node } => self.catch_up(node),
            Op::Crash { node, journal_kept } => self.start(node, journal_kept),
            Op::ForceClose { node } => {
                // As an operator's command, whose authority is tested elsewhere.
                let mut state = self.state().clone();
                for account in 0..ACCOUNTS {
                    if let Some(found) = state.ledger.accounts.get(&key(account)).cloned() {
                        let mut closed = found;
                        let id = self.nodes[node].id;
                        if let Some(entry) = closed.lent.iter_mut().find(|(node, _)| *node == id) {
                            closed.posted += entry.1.outstanding;
                            entry.1.forfeited += entry.1.outstanding;
                            entry.1.outstanding = 0;
                        }
                        state.ledger.accounts.insert(key(account), closed);
                    }
                }
                let id = self.nodes[node].id;
                if let Some(account) = state.ledger.accounts.get_mut(&permits()) {
                    account.lent.retain(|(node, _)| *node != id);
                }
                self.history.push(Step { state, posting: None });
                self.nodes[node].closed_at = self.history.len() - 1;
                self.nodes[node].open.iter_mut().for_each(|open| open.beyond = true);
            }
            Op::SetLimit { account, limit } => {
                let mut state = self.state().clone();
                state.budgets.insert((tenant(), budget_id(account)), budget(account, limit));
                self.history.push(Step { state, posting: None });
                let known = self.limits.get_mut(&key(account)).unwrap();
                *known = (*known).max(limit);
            }
            Op::SetPermits { limit } => {
                let mut state = self.state().clone();
                allow(&mut state, limit);
                self.history.push(Step { state, posting: None });
            }
        }
        self.check();
    }

    fn permit_limit(&self) -> i128 {
        amount_of(self.state(), &permits()).unwrap().amount
    }

    /// INVARIANT: P1
    fn check(&mut self) {
        let lent = self.state().ledger.accounts.get(&permits()).cloned();
        let out = lent.as_ref().map_or(0, |account| account.outstanding());
        assert!(out <= self.permit_limit().max(self.permits_out), "lent beyond a lower limit");
        assert_eq!(lent.as_ref().map_or(0, |account| account.posted), 0, "permits are not used up");
        self.permits_out = out;
        for node in &self.nodes {
            let used = node.open.iter().filter(|open| !open.beyond && !open.permits.is_empty()).count();
            let of_node = lent.as_ref().map_or(0, |account| account.lent_to(node.id).outstanding);
            assert!(used as i128 <= of_node, "node {}: {used} calls run on {of_node} permits", node.id);
            let metrics = node.purse.lock().metrics.snapshot();
            assert_eq!(metrics.ledger_broken, 0, "node {}", node.id);
        }
        for (key, account) in &self.state().ledger.accounts {
            assert!(account.is_escrowed(), "{key}: {account:?}");
            assert_eq!(account.overrun, 0, "{key}: nothing costs more than was held");
        }
        for (key, spent) in &self.spent {
            assert!(*spent <= self.limits[key], "{key}: {spent} of {}", self.limits[key]);
        }
    }

    /// All faults end: everything is told and applied, and nobody waits.
    fn heal(&mut self) {
        for _ in 0..1_000 {
            for node in 0..NODES {
                while !self.nodes[node].open.is_empty() {
                    self.end(node, 0, 100);
                }
                self.post(node);
                self.catch_up(node);
            }
            let idle =
                |node: &Node| node.waiting.is_empty() && node.journal.is_empty() && node.open.is_empty();
            if self.nodes.iter().all(idle) && self.state().ledger.waiters.is_empty() {
                return;
            }
        }
        panic!("somebody waits for ever: {:?}", self.state().ledger.waiters);
    }
}

impl World {
    fn pass(&mut self) {
        for node in 0..NODES {
            self.post(node);
            self.catch_up(node);
        }
    }

    /// As many calls run at once as there are permits, wherever they were let in; one more waits, and runs when one ends.
    fn all_permits_can_be_used(&mut self) {
        let running = |world: &Self| world.nodes.iter().map(|node| node.open.len() as i128).sum::<i128>();
        let limit = self.permit_limit();
        for turn in 0..=limit {
            self.call(usize::try_from(turn).unwrap() % NODES, &[PERMIT], 1);
        }
        for _ in 0..40 {
            self.pass();
            self.check();
        }
        assert_eq!(running(self), limit);
        let busy = (0..NODES).find(|node| !self.nodes[*node].open.is_empty()).unwrap();
        self.end(busy, 0, 100);
        for _ in 0..20 {
            self.pass();
            self.check();
        }
        assert_eq!(running(self), limit, "the one that waited has its permit");
        self.heal();
    }
}

impl Node {
    /// Calls whose turn has come are open; those that never can be held for are refused.
    fn answers(&mut self, spent: &mut BTreeMap<AccountKey, i128>) {
        let (open, beyond) = (&mut self.open, self.seen < self.closed_at);
        self.waiting.retain_mut(|waiting| match waiting.line.as_mut().unwrap().try_recv() {
            Ok(Ok(holds)) => {
                let (permits, holds): (Vec<Hold>, Vec<Hold>) =
                    holds.into_iter().partition(|hold| hold.account.limit.is_standing());
                for hold in &holds {
                    *spent.entry(hold.account.clone()).or_default() += hold.amount;
                }
                open.push(Open { call: waiting.call, holds, permits, beyond });
                false
            }
            Ok(Err(shortage)) => {
                assert!(matches!(shortage, Shortage::Exceeded { .. }), "{shortage:?}");
                false
            }
            Err(_) => true,
        });
    }
}

fn completion(call: CallId, charges: Vec<only1mcp_domain::ledger::Charge>) -> Record {
    Record::Completion(Completion {
        call,
        tenant: tenant(),
        outcome: CallOutcome::Success,
        result_digest: Digest::default(),
        result_bytes: 0,
        duration_ms: 0,
        observed_at: START,
        charges,
        cost: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, ..ProptestConfig::with_cases(120) })]

    #[test]
    fn nobody_overspends_and_nothing_is_lost(ops in prop::collection::vec(op(), 1..160)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for op in &ops {
                world.run(op);
            }
            world.heal();
            // What is left can be spent to the last unit, whoever asks.
            for account in 0..ACCOUNTS {
                for turn in 0..400 {
                    world.call(turn % NODES, &[account], 1);
                    world.heal();
                    world.check();
                    let state = world.state();
                    let limit = state.budgets[&(tenant(), budget_id(account))].value.amount;
                    if state.ledger.accounts.get(&key(account)).is_some_and(|account| account.posted >= limit) {
                        break;
                    }
                }
                let state = world.state();
                let limit = state.budgets[&(tenant(), budget_id(account))].value.amount;
                let posted = state.ledger.accounts[&key(account)].posted;
                assert!(posted >= limit, "account {account}: {posted} of {limit} could be spent");
            }
            world.all_permits_can_be_used();
        });
    }
}

/// What one call holds, and what is free beside it, whatever it costs in the end.
#[test]
fn a_call_that_ended_holds_nothing_whatever_it_cost() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        for (cost, overrun) in [(0, 0), (3, 0), (10, 0), (25, 15)] {
            let mut world = World::new();
            let node = 0;
            let call = world.call(node, &[0], 10);
            for _ in 0..3 {
                world.post(node);
                world.catch_up(node);
            }
            let Open { call: open, holds, .. } = world.nodes[node].open.pop().unwrap();
            assert_eq!(open, call);
            let held = |world: &World| {
                let inner = world.nodes[node].purse.lock();
                (inner.committed.clone(), inner.held.len(), inner.calls.len())
            };
            assert_eq!(held(&world), ([(key(0), 10)].into(), 1, 1));
            let mut charges = charges_of(&holds, &[]);
            charges[0].amount = cost;
            world.nodes[node].journal.push(completion(call, charges));
            world.post(node);
            world.catch_up(node);
            assert_eq!(held(&world), (BTreeMap::new(), 0, 0), "cost {cost}");
            let account = world.state().ledger.accounts[&key(0)].clone();
            assert!(account.is_escrowed());
            assert_eq!((account.posted, account.overrun >= overrun.min(1)), (cost, true), "cost {cost}");
        }
    });
}

#[path = "purse_cases_tests.rs"]
mod cases;
