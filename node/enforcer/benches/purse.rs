//! What limits cost a node by themselves: one hold with its settlement, and how many calls one loan of the log serves.
//!
//! `cargo xtask bench purse`. The purse is the product's own, over the product's own ledger; no disk, no network.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_types,
    reason = "a benchmark may fail loudly, and measures real time"
)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use only1mcp_domain::State;
use only1mcp_domain::activity::{Batch, CallOutcome, Completion, Hold, Record};
use only1mcp_domain::command::{Actor, Command, Entry, Secret32, Via};
use only1mcp_domain::ids::{BudgetId, CallId, Digest, Incarnation, NodeId, PrincipalId, TenantId};
use only1mcp_domain::ledger::{AccountKey, Charge, LimitId};
use only1mcp_domain::model::{
    Budget, BudgetScope, ClusterSettings, Measure, NodeRecord, NodeRole, PeriodKind,
};
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::state::{Cluster, Versioned};
use only1mcp_domain::time::TimestampMs;
use only1mcp_enforcer::bench::{BenchPurse, Turn};

/// Accounts of one call.
const ACCOUNTS: [usize; 4] = [1, 2, 4, 8];
const BUDGETS: usize = 8;
const MEMBERS: u64 = 3;
/// Calls whose completions come in one batch.
const BATCH: usize = 64;
const CALLS: usize = 64 * 1_024;
/// Other work on the machine disturbs some of them.
const ROUNDS: usize = 9;
const GOAL_NS: f64 = 2_000.0;
const NODE: NodeId = NodeId(1);
const START: TimestampMs = TimestampMs(1_000_000);
const PLENTY: i128 = 1_000_000_000_000;

/// Calls per second of one node, in simulated time.
const RATES: [u32; 4] = [10, 100, 1_000, 10_000];
const SIMULATED: Duration = Duration::from_secs(60);
/// From a node's record to its being applied there.
const COMMIT: Duration = Duration::from_millis(4);

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn budget_id(number: usize) -> BudgetId {
    BudgetId::new(format!("b{number}")).unwrap()
}

fn account(number: usize) -> AccountKey {
    let limit = LimitId::Budget(budget_id(number));
    AccountKey { tenant: tenant(), limit, subject: "".into(), start: TimestampMs(0) }
}

fn call_id(number: u64) -> CallId {
    CallId(u128::from(number).to_be_bytes())
}

/// Members and budgets, nothing lent.
fn first_state() -> State {
    let cluster = Cluster {
        id: Digest([1; 32]),
        settings: Versioned { revision: 1, value: ClusterSettings::new("bench") },
        key_hash_key: Secret32([1; 32]),
        session_key: Secret32([2; 32]),
        next_node: NodeId(MEMBERS + 1),
        epoch: 1,
    };
    let mut state = State { cluster: Some(cluster), log_time: START, ..State::default() };
    for id in 1..=MEMBERS {
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
    for number in 0..BUDGETS {
        let value = Budget {
            tenant: tenant(),
            id: budget_id(number),
            scope: BudgetScope::default(),
            per: None,
            measure: Measure::Calls,
            period: PeriodKind::Total,
            zone: String::new(),
            amount: PLENTY,
            hard: true,
            description: String::new(),
            created_at: START,
            created_by: "bench".to_owned(),
        };
        state.budgets.insert((tenant(), budget_id(number)), Versioned { revision: 1, value });
    }
    state
}

/// The log, as one node's batches fill it.
struct Log {
    state: State,
    index: u64,
    incarnation: Incarnation,
    sequence: u64,
}

impl Log {
    fn open() -> Self {
        let mut log = Self { state: first_state(), index: 1, incarnation: Incarnation(0), sequence: 0 };
        let opened = log.apply(Command::OpenIncarnation { node: NODE });
        let Outcome::IncarnationOpened { incarnation, .. } = opened else { panic!("{opened:?}") };
        log.incarnation = incarnation;
        log.batch(vec![Record::Restarted { complete: true }]);
        log
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let actor = Actor {
            tenant: TenantId::system(),
            principal: PrincipalId::new("bench").unwrap(),
            key: None,
            via: Via::Node(NODE),
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        };
        let (command_id, request_digest, observed_at) = (None, Digest::default(), START);
        let entry = Entry { actor, command_id, request_digest, observed_at, command, signature: None };
        self.state.apply(self.index, &entry).outcome.unwrap()
    }

    fn batch(&mut self, records: Vec<Record>) {
        self.sequence += 1;
        let mut digest = Digest([0; 32]);
        digest.0[..8].copy_from_slice(&self.sequence.to_be_bytes());
        let (incarnation, sequence) = (self.incarnation, self.sequence);
        let batch = Batch { node: NODE, incarnation, sequence, digest, records };
        let outcome = self.apply(Command::Activity(batch));
        assert!(matches!(outcome, Outcome::BatchApplied { .. }), "{outcome:?}");
    }
}

fn completion(call: CallId, holds: &[Hold]) -> Record {
    let charge = |hold: &Hold| Charge {
        account: hold.account.clone(),
        end: hold.end,
        amount: hold.amount,
        held: true,
    };
    Record::Completion(Completion {
        call,
        tenant: tenant(),
        outcome: CallOutcome::Success,
        result_digest: Digest::default(),
        result_bytes: 0,
        duration_ms: 0,
        observed_at: START,
        charges: holds.iter().map(charge).collect(),
        cost: None,
    })
}

/// A state in which so much is lent to the node that no call has to ask.
fn lent_plenty() -> State {
    let mut log = Log::open();
    let accounts: Vec<AccountKey> = (0..BUDGETS).map(account).collect();
    let (_, asked) = BenchPurse::open(NODE).hold(&log.state, call_id(0), &accounts, START);
    log.batch(asked);
    let mut state = log.state;
    for number in 0..BUDGETS {
        let mut found = state.ledger.accounts[&account(number)].clone();
        found.lent.iter_mut().for_each(|(_, lent)| lent.outstanding = PLENTY / 2);
        state.ledger.accounts.insert(account(number), found);
    }
    state
}

/// Nanoseconds of a hold and of its settlement, in the quietest round.
fn hold_and_settle(state: &State, accounts: usize) -> (f64, f64) {
    let accounts: Vec<AccountKey> = (0..accounts).map(account).collect();
    let mut quietest = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let purse = BenchPurse::open(NODE);
        let (mut holding, mut settling) = (Duration::ZERO, Duration::ZERO);
        for batch in 0..CALLS / BATCH {
            let mut records = Vec::with_capacity(BATCH);
            for number in 0..BATCH {
                let call = call_id((batch * BATCH + number) as u64);
                let began = Instant::now();
                let (mut turn, asked) = purse.hold(state, call, &accounts, START);
                let holds = turn.held().unwrap();
                holding += began.elapsed();
                assert!(asked.is_empty());
                records.push(completion(call, black_box(&holds)));
            }
            let began = Instant::now();
            black_box(purse.applied(state, &records));
            settling += began.elapsed();
        }
        let per_call = |took: Duration| took.as_nanos() as f64 / CALLS as f64;
        if per_call(holding + settling) < quietest.0 + quietest.1 {
            quietest = (per_call(holding), per_call(settling));
        }
    }
    quietest
}

/// What a steady rate of calls asks of the log.
struct Steady {
    admits: u64,
    /// Slices lent, each one account's.
    grants: u64,
    /// Calls that had to wait for one.
    waited: u64,
}

/// One node at a steady rate, every call touching two accounts, in simulated time.
async fn steady(per_second: u32) -> Steady {
    let mut log = Log::open();
    let purse = BenchPurse::open(NODE);
    let accounts: Vec<AccountKey> = (0..2).map(account).collect();
    let mut told = Steady { admits: 0, grants: 0, waited: 0 };
    let mut waiting: VecDeque<(CallId, Turn)> = VecDeque::new();
    let mut records = Vec::new();
    let step = Duration::from_secs(1) / per_second;
    let (began, mut sent) = (tokio::time::Instant::now(), tokio::time::Instant::now());
    let mut number = 0;
    while began.elapsed() < SIMULATED {
        number += 1;
        let call = call_id(number);
        let (mut turn, asked) = purse.hold(&log.state, call, &accounts, START);
        records.extend(asked);
        match turn.held() {
            Some(holds) => {
                told.admits += 1;
                records.push(completion(call, &holds));
            }
            None => {
                told.waited += 1;
                waiting.push_back((call, turn));
            }
        }
        tokio::time::advance(step).await;
        if sent.elapsed() < COMMIT || records.is_empty() {
            continue;
        }
        sent = tokio::time::Instant::now();
        let batch = std::mem::take(&mut records);
        let asks = batch.iter().filter_map(|record| match record {
            Record::Ask(ask) => Some(ask.parts.len() as u64),
            _ => None,
        });
        told.grants += asks.sum::<u64>();
        log.batch(batch.clone());
        records.extend(purse.applied(&log.state, &batch));
        waiting.retain_mut(|(call, turn)| match turn.held() {
            Some(holds) => {
                told.admits += 1;
                records.push(completion(*call, &holds));
                false
            }
            None => true,
        });
    }
    told
}

fn main() {
    let state = lent_plenty();
    println!("hold and settle, {CALLS} calls, batches of {BATCH}, the quietest of {ROUNDS} rounds\n");
    println!(
        "{:>10} {:>10} {:>10} {:>10}  goal of {GOAL_NS} ns",
        "accounts", "hold ns", "settle ns", "both ns"
    );
    for accounts in ACCOUNTS {
        let (holding, settling) = hold_and_settle(&state, accounts);
        let both = holding + settling;
        let verdict = if both < GOAL_NS { "reached" } else { "missed" };
        println!("{accounts:>10} {holding:>10.0} {settling:>10.0} {both:>10.0}  {verdict}");
    }
    println!(
        "\none node, two accounts a call, {COMMIT:?} from a record to its being applied, {SIMULATED:?} simulated\n"
    );
    println!("{:>10} {:>10} {:>10} {:>14} {:>10}", "calls/s", "admitted", "grants", "admits/grant", "waited");
    for rate in RATES {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let Steady { admits, grants, waited } = runtime.block_on(steady(rate));
        let each = admits as f64 / grants as f64;
        println!("{rate:>10} {admits:>10} {grants:>10} {each:>14.1} {waited:>10}");
    }
    println!("\nA grant is one account's slice: with two accounts a call, one ask brings two of them.");
}
