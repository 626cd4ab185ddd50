//! Small histories to feed an invariant with, right ones and violating ones.

use only1mcp_domain::activity::{
    Admission, Batch, CallOutcome, Caller, Completion, Hold, ItemKind, Record, Return,
};
use only1mcp_domain::audit::{AuditEvent, EventActor, EventKind, EventOutcome, EventResource, Severity};
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::{
    BudgetId, CallId, Digest, Incarnation, NodeId, PrincipalId, TenantId, UpstreamId,
};
use only1mcp_domain::ledger::{Account, AccountKey, Ask, AskPart, Charge, Lent, LimitId};
use only1mcp_domain::model::{NodeRole, SealMode};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Applied, Outcome, State};

use crate::history::Step;
use crate::scene;

pub const NODE: NodeId = NodeId(1);
const END: TimestampMs = TimestampMs(120_000);
const CALL: CallId = CallId([1; 16]);

pub fn key() -> AccountKey {
    let limit = LimitId::Budget(BudgetId::new("b").unwrap());
    AccountKey { tenant: tenant(), limit, subject: "".into(), start: TimestampMs(60_000) }
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// An account of which node 1 has `outstanding`.
pub fn account(ceiling: i128, posted: i128, outstanding: i128) -> Account {
    let lent = vec![(NODE, Lent { outstanding, forfeited: 0 })];
    Account { posted, ceiling, lent, ..Account::new(END) }
}

fn state(limit: i128, account: &Account) -> State {
    let mut state = State::default();
    let budget = scene::budget(&tenant(), "b", limit, only1mcp_domain::model::PeriodKind::Minute).unwrap();
    let id = (tenant(), budget.id.clone());
    state.budgets.insert(id, Versioned { revision: 1, value: budget });
    let record = only1mcp_domain::model::NodeRecord {
        id: NODE,
        name: "n1".to_owned(),
        peer_address: String::new(),
        admin_address: String::new(),
        http_address: String::new(),
        region: String::new(),
        zone: String::new(),
        version: String::new(),
        role: NodeRole::Voter,
        joined_at: TimestampMs(0),
        signing_key: None,
    };
    state.nodes.insert(NODE, Versioned { revision: 1, value: record });
    state.ledger.accounts.insert(key(), account.clone());
    state
}

/// As `step`, of permits: a limit on calls at once.
pub fn permit_step(
    entry: &Entry,
    before: &Account,
    after: &Account,
    check: impl FnOnce(&Step<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let of = |account: &Account| {
        let mut state = state(20, account);
        let key = AccountKey { limit: LimitId::QuotaConcurrency, ..key() };
        state.ledger.accounts = [(key, account.clone())].into_iter().collect();
        state
    };
    let outcome = Outcome::Done { log_index: 0 };
    let applied = Applied { outcome: Ok(outcome), effects: Vec::new(), rows: Vec::new(), audit: Vec::new() };
    check(&Step { index: 1, entry, applied: &applied, before: &of(before), after: &of(after) })
}

/// One entry under a limit of `limit`, from an account to an account.
pub fn step(
    entry: &Entry,
    limit: i128,
    before: &Account,
    after: &Account,
    check: impl FnOnce(&Step<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let outcome = match &entry.command {
        Command::Activity(_) => Outcome::BatchApplied { records: Vec::new() },
        _ => Outcome::Done { log_index: 0 },
    };
    let applied = Applied { outcome: Ok(outcome), effects: Vec::new(), rows: Vec::new(), audit: Vec::new() };
    let (before, after) = (state(limit, before), state(limit, after));
    check(&Step { index: 1, entry, applied: &applied, before: &before, after: &after })
}

fn entry(command: Command) -> Entry {
    scene::write([1; 16], command).unwrap()
}

pub fn tick() -> Entry {
    entry(Command::Tick { node: NODE })
}

pub fn reopen(node: NodeId) -> Entry {
    entry(Command::OpenIncarnation { node })
}

pub fn force_close(node: NodeId) -> Entry {
    entry(Command::ForceClose { node, account: None })
}

pub fn remove(node: NodeId) -> Entry {
    entry(Command::RemoveNode { node, lose_journal: true })
}

pub fn batch(records: Vec<Record>) -> Entry {
    let batch =
        Batch { node: NODE, incarnation: Incarnation(1), sequence: 1, digest: Digest::default(), records };
    entry(Command::Activity(batch))
}

pub fn give_back(amount: i128) -> Entry {
    batch(vec![Record::Return(vec![Return { account: key(), amount }])])
}

pub fn ask(need: i128, want: i128) -> Entry {
    let parts = vec![AskPart { account: key(), end: END, need, want }];
    batch(vec![Record::Ask(Box::new(Ask { call: CALL, direct: false, until: TimestampMs(0), parts }))])
}

pub fn charge(amount: i128) -> Entry {
    batch(vec![Record::Completion(Completion {
        call: CALL,
        tenant: tenant(),
        outcome: CallOutcome::Success,
        result_digest: Digest::default(),
        result_bytes: 0,
        duration_ms: 0,
        observed_at: TimestampMs(0),
        charges: vec![Charge { account: key(), end: END, amount, held: true }],
        cost: None,
    })])
}

pub fn admission(amount: i128) -> Entry {
    let caller = Caller {
        tenant: tenant(),
        principal: PrincipalId::new("c0").unwrap(),
        key: None,
        session: None,
        project: None,
        ip: None,
        user_agent: String::new(),
        personal: None,
        request_id: String::new(),
    };
    batch(vec![Record::Admission(Box::new(Admission {
        call: CALL,
        caller,
        tenant: tenant(),
        kind: ItemKind::Tool,
        item: scene::TOOL.to_owned(),
        upstream: UpstreamId::new("demo").unwrap(),
        argument_digest: Digest::default(),
        decision: only1mcp_domain::ids::DecisionId([2; 16]),
        grant: only1mcp_domain::ids::GrantId::new("g").unwrap(),
        role_path: Vec::new(),
        revision: only1mcp_domain::ids::Revision(1),
        mode: SealMode::Sealed,
        observed_at: TimestampMs(0),
        holds: vec![Hold { account: key(), end: END, amount }],
        quote: None,
        counts: Vec::new(),
        tags: Default::default(),
    }))])
}

/// An event of the chain, as far as the invariants read it.
pub fn event(action: &str, id: &str, details: &[(&str, &str)]) -> AuditEvent {
    AuditEvent {
        kind: EventKind::ConfigurationChange,
        severity: Severity::Notice,
        tenant: tenant(),
        actor: EventActor { tenant: tenant().to_string(), id: "c0".to_owned(), via: "key".to_owned() },
        impersonator: None,
        action: action.to_owned(),
        resource: EventResource { kind: "budget".to_owned(), id: id.to_owned() },
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: None,
        decision: None,
        revision: None,
        node: NODE,
        observed_at: TimestampMs(0),
        log_time: TimestampMs(0),
        request_id: String::new(),
        session_id: String::new(),
        ip_address: None,
        user_agent: String::new(),
        geo_location: None,
        before_state: None,
        after_state: None,
        diff: None,
        details: details.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        personal: Vec::new(),
        signature: None,
    }
}

fn of_call(kind: EventKind, what: &str, accounts: &[&str]) -> AuditEvent {
    let mut event = event("call", "x", &[]);
    event.kind = kind;
    event.call = Some(CALL);
    event.details = accounts.iter().map(|name| (format!("{what} {name}"), "1".to_owned())).collect();
    event
}

/// An admission that holds 1 on each account.
pub fn admitted(accounts: &[&str]) -> AuditEvent {
    of_call(EventKind::AccessGranted, "held", accounts)
}

/// The end of that call, charged 1 on each account.
pub fn ended(accounts: &[&str]) -> AuditEvent {
    of_call(EventKind::DataAccess, "charged", accounts)
}
