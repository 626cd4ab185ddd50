//! What is lent, posted, waited for and given up, entry by entry.

use only1mcp_domain::activity::*;
use only1mcp_domain::audit::{EventKind, Severity};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::*;
use only1mcp_domain::ledger::*;
use only1mcp_domain::limits::*;
use only1mcp_domain::model::*;
use only1mcp_domain::outcome::Effect;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection};

use crate::apply_world::*;
use crate::limits::both_sides;

const FOREVER: TimestampMs = TimestampMs(u64::MAX);

pub fn budget(id: &str, amount: i128) -> Budget {
    Budget {
        tenant: tenant_id("acme"),
        id: BudgetId::new(id).unwrap(),
        scope: BudgetScope::default(),
        per: None,
        measure: Measure::Calls,
        period: PeriodKind::Total,
        zone: String::new(),
        amount,
        hard: true,
        description: String::new(),
        created_at: TimestampMs(START_MS),
        created_by: "root".to_owned(),
    }
}

fn put(budget: Budget) -> Command {
    Command::PutBudget { budget: Box::new(budget), if_revision: None }
}

pub fn account(id: &str) -> AccountKey {
    AccountKey {
        tenant: tenant_id("acme"),
        limit: LimitId::Budget(BudgetId::new(id).unwrap()),
        subject: "".into(),
        start: TimestampMs(0),
    }
}

pub fn part(account: AccountKey, need: i128, want: i128) -> AskPart {
    AskPart { account, end: FOREVER, need, want }
}

pub fn ask(direct: bool, call: u8, parts: Vec<AskPart>) -> Record {
    let until = TimestampMs(START_MS + 5_000);
    Record::Ask(Box::new(Ask { call: CallId([call; 16]), direct, until, parts }))
}

fn ended(call: u8, account: AccountKey, amount: i128, held: bool) -> Record {
    Record::Completion(Completion {
        call: CallId([call; 16]),
        tenant: tenant_id("acme"),
        outcome: CallOutcome::Success,
        result_digest: Digest::default(),
        result_bytes: 0,
        duration_ms: 0,
        observed_at: TimestampMs(START_MS),
        charges: vec![Charge { account, end: FOREVER, amount, held }],
        cost: None,
    })
}

/// A world with budgets, and the lives of its nodes.
pub struct Books {
    pub world: World,
    lives: Vec<(u64, Incarnation, u64)>,
}

impl Books {
    pub fn new(budgets: &[Budget]) -> Self {
        let mut world = World::with_acme();
        world.join("two");
        for budget in budgets {
            world.must(put(budget.clone()));
        }
        let lives = [1, 2].map(|node| (node, world.open(node), 0)).to_vec();
        Self { world, lives }
    }

    /// One batch of the node's; must be taken.
    pub fn post(&mut self, node_id: u64, records: Vec<Record>) -> Vec<Effect> {
        let life = self.lives.iter_mut().find(|(node, ..)| *node == node_id).unwrap();
        life.2 += 1;
        let batch = batch(node_id, life.1, life.2, records);
        let applied = self.world.submit(&node(node_id), Command::Activity(batch));
        assert!(matches!(applied.outcome, Ok(Outcome::BatchApplied { .. })), "{:?}", applied.outcome);
        self.world.assert_mirrored();
        for (key, account) in &self.world.state.ledger.accounts {
            assert!(account.is_escrowed(), "{key}: {account:?}");
        }
        applied.effects
    }

    pub fn of(&self, id: &str) -> Account {
        self.world.state.ledger.accounts.get(&account(id)).cloned().unwrap_or(Account::new(FOREVER))
    }

    fn lent(&self, id: &str, node: u64) -> i128 {
        self.of(id).lent_to(NodeId(node)).outstanding
    }
}

/// With a node that dies no part of a call is lost that would have completed one elsewhere.
#[test]
fn a_slice_is_for_whole_calls() {
    let mut books = Books::new(&[budget("b", 100)]);
    books.post(1, vec![ask(false, 1, vec![part(account("b"), 7, 1_000)])]);
    assert_eq!(books.lent("b", 1), 21, "of a quarter of a hundred what makes three");
    books.post(2, vec![ask(false, 2, vec![part(account("b"), 50, 1_000)])]);
    assert_eq!(books.lent("b", 2), 50, "one call at least, where it is there");
}

#[test]
fn slices_are_a_share_of_what_is_left_and_never_more_than_is_there() {
    let mut books = Books::new(&[budget("b", 100)]);
    books.post(1, vec![ask(false, 1, vec![part(account("b"), 1, 1_000)])]);
    assert_eq!(books.lent("b", 1), 25, "two members: a quarter of a hundred");
    books.post(2, vec![ask(false, 2, vec![part(account("b"), 1, 4)])]);
    assert_eq!(books.lent("b", 2), 4, "no more than is wanted");
    books.post(2, vec![ask(false, 2, vec![part(account("b"), 60, 60)])]);
    assert_eq!(books.lent("b", 2), 64, "at least what is needed");
    books.post(1, vec![ask(false, 3, vec![part(account("b"), 12, 12)])]);
    assert_eq!(books.lent("b", 1), 25, "what is not there is not lent");
    books.post(1, vec![ask(false, 3, vec![part(account("b"), 0, 5), part(account("b"), -5, 5)])]);
    assert_eq!(books.of("b").taken(), 89);
}

#[test]
fn a_lowered_limit_lends_nothing_until_enough_is_spent_or_back() {
    let mut books = Books::new(&[budget("b", 100)]);
    books.post(1, vec![ask(false, 1, vec![part(account("b"), 50, 50)])]);
    books.world.must(put(budget("b", 40)));
    books.post(2, vec![ask(false, 2, vec![part(account("b"), 1, 1)])]);
    assert_eq!(books.lent("b", 2), 0);
    books.post(1, vec![Record::Return(vec![Return { account: account("b"), amount: 20 }])]);
    books.post(2, vec![ask(false, 2, vec![part(account("b"), 11, 11)])]);
    assert_eq!(books.lent("b", 2), 0);
    books.post(2, vec![ask(false, 2, vec![part(account("b"), 10, 10)])]);
    assert_eq!((books.lent("b", 1), books.lent("b", 2)), (30, 10));
}

#[test]
fn waiters_get_all_or_nothing_in_their_order() {
    let mut books = Books::new(&[budget("a", 10), budget("b", 10)]);
    books.post(1, vec![ask(false, 1, vec![part(account("a"), 8, 8)])]);
    let both = |call, amount| {
        ask(true, call, vec![part(account("a"), amount, amount), part(account("b"), amount, amount)])
    };
    books.post(2, vec![both(2, 5), ask(true, 3, vec![part(account("a"), 1, 1)])]);
    assert_eq!(
        books.world.state.ledger.waiters.len(),
        2,
        "the second is behind the first, though there is enough"
    );
    assert_eq!((books.lent("a", 2), books.lent("b", 2)), (0, 0));
    books.post(2, vec![ask(false, 4, vec![part(account("b"), 1, 1)])]);
    assert_eq!(books.lent("b", 2), 0, "nothing is sliced off what somebody waits for");
    books.post(1, vec![Record::Return(vec![Return { account: account("a"), amount: 5 }])]);
    assert!(books.world.state.ledger.waiters.is_empty());
    assert_eq!((books.lent("a", 2), books.lent("b", 2)), (6, 5), "the first, then the second");
}

#[test]
fn a_waiter_leaves_when_its_time_is_up_or_nothing_can_help() {
    let mut books = Books::new(&[budget("a", 10)]);
    books.post(1, vec![ask(false, 1, vec![part(account("a"), 8, 8)])]);
    books.post(2, vec![ask(true, 2, vec![part(account("a"), 5, 5)])]);
    assert_eq!(books.world.state.ledger.waiters.len(), 1);
    books.post(1, vec![ended(1, account("a"), 8, true)]);
    assert!(books.world.state.ledger.waiters.is_empty(), "8 of 10 are posted: 5 can never be had");
    books.post(2, vec![ask(true, 3, vec![part(account("a"), 11, 11)])]);
    assert!(books.world.state.ledger.waiters.is_empty());

    books.world.must(put(budget("a", 16)));
    books.post(1, vec![ask(false, 1, vec![part(account("a"), 6, 6)])]);
    books.post(2, vec![ask(true, 4, vec![part(account("a"), 5, 5)])]);
    assert_eq!(books.world.state.ledger.waiters.len(), 1);
    books.world.now_ms = START_MS + 5_000;
    books.world.tick();
    assert!(books.world.state.ledger.waiters.is_empty());
    books.post(2, vec![ask(true, 5, vec![part(account("a"), 1, 1)])]);
    assert_eq!(books.lent("a", 2), 0, "asked for until a time that is past");
}

#[test]
fn usage_beyond_the_hold_is_posted_in_full_and_told() {
    let mut books = Books::new(&[budget("b", 100)]);
    books.post(1, vec![ask(false, 1, vec![part(account("b"), 10, 10)])]);
    let effects = books.post(1, vec![ended(1, account("b"), 14, true)]);
    assert_eq!((books.of("b").posted, books.of("b").overrun, books.lent("b", 1)), (14, 4, 0));
    assert!(effects.contains(&Effect::Overrun { account: account("b"), amount: 4 }));
    let told = books.world.last_event();
    assert_eq!((told.kind, told.reason.as_str()), (EventKind::AnomalyDetected, "overrun"));
}

#[test]
fn each_level_is_told_once_a_period() {
    let mut books = Books::new(&[budget("b", 100), Budget { hard: false, ..budget("soft", 10) }]);
    books.post(1, vec![ask(true, 1, vec![part(account("b"), 100, 100)])]);
    let mut told = Vec::new();
    for (call, amount) in [(1, 74), (2, 1), (3, 1), (4, 14), (5, 10)] {
        let effects = books.post(1, vec![ended(call, account("b"), amount, true)]);
        told.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::BudgetLevel { level, posted, .. } => Some((level, posted)),
            _ => None,
        }));
    }
    assert_eq!(told, [(Level::Notice, 75), (Level::Warning, 90), (Level::Exceeded, 100)]);
    let last = books.world.last_event();
    assert_eq!((last.kind, last.severity), (EventKind::PolicyViolation, Severity::Critical));
    // Whoever is told of it later can look nothing up any more.
    for (name, value) in [
        ("account_limit", "budget/b"),
        ("measure", "calls"),
        ("period_start_ms", "0"),
        ("posted", "100"),
        ("limit", "100"),
    ] {
        assert!(last.details.contains(&(name.to_owned(), value.to_owned())), "{name}: {:?}", last.details);
    }

    // A soft one refuses nothing, and tells all the same, the highest level reached.
    let effects = books.post(1, vec![ended(9, account("soft"), 25, false)]);
    assert!(matches!(
        effects[..],
        [Effect::BudgetLevel { level: Level::Exceeded, posted: 25, limit: 10, .. }]
    ));
    assert_eq!(books.of("soft").posted, 25);
}

#[test]
fn a_node_that_is_removed_has_spent_what_it_was_lent_in_the_same_entry() {
    let mut books = Books::new(&[budget("b", 100)]);
    books.post(2, vec![ask(false, 1, vec![part(account("b"), 10, 10)])]);
    books.world.must(Command::RemoveNode { node: NodeId(2), lose_journal: true });
    assert_eq!((books.of("b").posted, books.lent("b", 2)), (10, 0));
    let told = &books.world.last_event().details;
    assert!(told.contains(&("posted_in_full_calls".to_owned(), "10".to_owned())), "{told:?}");
    books.world.assert_mirrored();
}

#[test]
fn a_restart_gives_back_what_it_can_account_for_and_posts_the_rest() {
    for (complete, posted) in [(true, 3), (false, 10)] {
        let mut books = Books::new(&[budget("b", 100)]);
        books.post(1, vec![ask(false, 1, vec![part(account("b"), 10, 10)])]);
        books.lives[0] = (1, books.world.open(1), 0);
        books.post(1, vec![ended(1, account("b"), 3, true), Record::Restarted { complete }]);
        assert_eq!((books.of("b").posted, books.lent("b", 1)), (posted, 0), "complete: {complete}");
        assert_eq!(books.world.last_event().action == "budget.unattributed_restart", !complete);
    }
}

#[test]
fn what_was_closed_by_force_covers_what_its_node_tells_later() {
    let mut books = Books::new(&[budget("b", 100)]);
    books.post(1, vec![ask(false, 1, vec![part(account("b"), 10, 10)])]);
    let close = Command::ForceClose { node: NodeId(1), account: Some(account("b")) };
    assert!(matches!(
        books.world.submit(&by_key("acme", "ann"), close.clone()).outcome,
        Err(Rejection::Forbidden { .. })
    ));
    books.world.must(close);
    assert_eq!((books.of("b").posted, books.lent("b", 1)), (10, 0));
    books.post(1, vec![ended(1, account("b"), 4, true)]);
    assert_eq!(books.of("b").posted, 10, "it is among what was posted");
    books.post(1, vec![ended(2, account("b"), 9, true)]);
    assert_eq!((books.of("b").posted, books.of("b").overrun), (13, 3), "three more than it was lent");
    let unknown = Command::ForceClose { node: NodeId(9), account: None };
    assert!(matches!(books.world.refused(unknown), Rejection::NotFound { .. }));
}

#[test]
fn periods_of_one_limit_never_overlap_and_are_neither_over_nor_far_ahead() {
    const MINUTE: u64 = 60_000;
    let mut books = Books::new(&[Budget { period: PeriodKind::Minute, ..budget("m", 10) }]);
    let now = START_MS - START_MS % MINUTE;
    let mut taken = |start: u64, end: u64| {
        let key = AccountKey { start: TimestampMs(start), ..account("m") };
        let part = AskPart { account: key.clone(), end: TimestampMs(end), need: 1, want: 1 };
        books.post(1, vec![ask(false, 1, vec![part])]);
        books.world.state.ledger.accounts.contains_key(&key)
    };
    assert!(!taken(now, now + MINUTE + 1), "longer than its kind");
    assert!(!taken(now, now), "empty");
    assert!(!taken(now - MINUTE, now), "over");
    assert!(!taken(now + MINUTE, now + 2 * MINUTE), "further ahead than half its length");
    assert!(taken(now, now + MINUTE));
    assert!(!taken(now - 1, now + 1), "across its beginning");
    assert!(!taken(now + MINUTE - 1, now + MINUTE + 10), "across its end");
    assert!(!taken(now + 1, now + 2), "within it");
}

#[test]
fn accounts_are_forgotten_once_old_and_settled_everywhere() {
    const MINUTE: u64 = 60_000;
    let mut books = Books::new(&[Budget { period: PeriodKind::Minute, ..budget("m", 10) }]);
    let start = START_MS - START_MS % MINUTE;
    let key = AccountKey { start: TimestampMs(start), ..account("m") };
    let end = TimestampMs(start + MINUTE);
    books.post(1, vec![ask(false, 1, vec![AskPart { account: key.clone(), end, need: 1, want: 1 }])]);
    let age = start + MINUTE + SHORT_ACCOUNT_AGE_MS;
    books.post(1, vec![Record::SettledThrough(end)]);
    let account = books.world.state.ledger.accounts[&key].clone();
    let members = || [NodeId(1), NodeId(2)].into_iter();
    assert!(books.world.state.ledger.is_provisional(&account, members()));
    books.world.now_ms = age;
    books.world.tick();
    assert!(books.world.state.ledger.accounts.contains_key(&key), "node 2 may have open calls");
    books.world.now_ms = age - 1;
    books.post(2, vec![Record::SettledThrough(end), Record::SettledThrough(TimestampMs(1))]);
    assert_eq!(books.world.state.ledger.settled_through[&NodeId(2)], end, "never backwards");
    assert!(!books.world.state.ledger.is_provisional(&account, members()));
    assert!(!books.world.state.ledger.accounts.contains_key(&key), "log time does not go back");
    books.world.assert_mirrored();
}

#[test]
fn which_limits_a_call_touches() {
    let mut world = World::with_acme();
    let rule = ToolRestriction {
        tenant: tenant_id("acme"),
        id: RuleId::new("slow").unwrap(),
        tools: Glob::new("files__*").unwrap(),
        allowed_roles: vec![role_id("developer")],
        rate_limit: Some(RateLimit { count: 10, per: RatePeriod::Hour }),
        description: String::new(),
    };
    world.must(Command::PutRestriction { rule, if_revision: None });
    let scope = |change: &dyn Fn(&mut BudgetScope)| {
        let mut scope = BudgetScope::default();
        change(&mut scope);
        scope
    };
    let each = Budget { per: Some(Dimension::Principal), ..budget("each", 5) };
    let theirs = Budget { scope: scope(&|s| s.principal = Some(principal_id("ann"))), ..budget("ann", 5) };
    let tools = Budget { scope: scope(&|s| s.tools = Glob::new("mail__*").ok()), ..budget("mail", 5) };
    let project = Budget { scope: scope(&|s| s.project = ProjectId::new("p").ok()), ..budget("p", 5) };
    for budget in [each, theirs, tools, project] {
        world.must(put(budget));
    }
    let path =
        only1mcp_domain::decide::RolePath { grant: grant_id("g-dev"), roles: vec![role_id("developer")] };
    let (acme, dev, files, p) =
        (tenant_id("acme"), principal_id("dev"), upstream_id("files"), ProjectId::new("p").unwrap());
    let call = CallUse {
        tenant: &acme,
        caller_tenant: &acme,
        principal: &dev,
        project: None,
        item: "files__read",
        upstream: &files,
        model: "",
        cost_center: "",
        path: &path,
    };
    let touched = |call: &CallUse<'_>| -> Vec<String> {
        let mut all: Vec<String> = uses(&world.state, call)
            .iter()
            .map(|found| format!("{} {}", found.account.limit, found.account.subject))
            .collect();
        all.sort();
        all
    };
    let own = ["budget/each dev", "quota/concurrent ", "quota/requests ", "quota/tokens "];
    let of_role = ["role-cost/developer dev", "role-requests/developer dev", "rule-rate/slow "];
    let own: Vec<&str> = own.into_iter().chain(of_role).collect();
    assert_eq!(touched(&call), own);
    let mut in_project: Vec<&str> = own.iter().copied().chain(["budget/p "]).collect();
    in_project.sort_unstable();
    assert_eq!(touched(&CallUse { project: Some(&p), ..call }), in_project);
    // A principal of the same name from the operators' tenant is another one.
    let system = TenantId::system();
    let abroad = touched(&CallUse { caller_tenant: &system, ..call });
    assert!(abroad.contains(&"budget/each system/dev".to_owned()), "{abroad:?}");
}

#[test]
fn budget_amount_max() {
    let world = World::with_acme();
    let amounts = |amount| world.clone().submit(&operator(), put(budget("b", amount))).outcome;
    assert!(amounts(BUDGET_AMOUNT_MAX).is_ok());
    for bad in [BUDGET_AMOUNT_MAX + 1, i128::MAX, 0, -1, i128::MIN] {
        assert!(matches!(amounts(bad), Err(Rejection::Invalid { .. })), "{bad}");
    }
}

#[test]
fn budgets_per_tenant_max() {
    let mut world = World::with_acme();
    for number in 0..BUDGETS_PER_TENANT_MAX {
        world.must(put(budget(&format!("b{number}"), 1)));
    }
    assert!(matches!(world.refused(put(budget("more", 1))), Rejection::LimitReached { .. }));
    world.must(put(budget("b0", 2)));
}

#[test]
fn a_budgets_texts_are_bounded_and_its_zone_is_one() {
    let world = World::with_acme();
    both_sides(&world, LABEL_BYTES_MAX, |n| {
        let scope = BudgetScope { cost_center: Some("x".repeat(n)), ..BudgetScope::default() };
        put(Budget { scope, ..budget("b", 1) })
    });
    both_sides(&world, DESCRIPTION_BYTES_MAX, |n| {
        put(Budget { description: "x".repeat(n), ..budget("b", 1) })
    });
    let day = |zone: &str| put(Budget { period: PeriodKind::Day, zone: zone.to_owned(), ..budget("b", 1) });
    assert!(world.clone().submit(&operator(), day("Europe/Berlin")).outcome.is_ok());
    for bad in ["", "9/9", "Europe/Ber lin"] {
        assert!(world.clone().submit(&operator(), day(bad)).outcome.is_err(), "{bad:?}");
    }
}

#[test]
fn what_a_budget_counts_stays() {
    let mut world = World::with_acme();
    world.must(put(budget("b", 10)));
    for changed in [
        Budget { measure: Measure::Cost, ..budget("b", 10) },
        Budget { period: PeriodKind::Hour, ..budget("b", 10) },
        Budget { per: Some(Dimension::Tool), ..budget("b", 10) },
        Budget {
            scope: BudgetScope { model: Some("m".to_owned()), ..BudgetScope::default() },
            ..budget("b", 10)
        },
    ] {
        assert!(matches!(world.refused(put(changed)), Rejection::Invalid { .. }));
    }
    world.must(put(Budget { hard: false, description: "now soft".to_owned(), ..budget("b", 20) }));
    let dev = world.submit(&by_key("acme", "dev"), put(budget("c", 1))).outcome;
    assert!(matches!(dev, Err(Rejection::Forbidden { .. })));
    assert!(world.submit(&by_key("acme", "ann"), put(budget("c", 1))).outcome.is_ok());
    world.must(Command::DeleteBudget { tenant: tenant_id("acme"), budget: BudgetId::new("b").unwrap() });
    world.assert_mirrored();
}

#[test]
fn waiters_max() {
    let mut books = Books::new(&[budget("a", 1_000_000)]);
    books.post(1, vec![ask(true, 1, vec![part(account("a"), 999_999, 1)])]);
    let waiting = |count: usize| -> Vec<Record> {
        (0..count).map(|_| ask(true, 2, vec![part(account("a"), 2, 2)])).collect()
    };
    books.post(2, waiting(WAITERS_MAX - 1));
    assert_eq!(books.world.state.ledger.waiters.len(), WAITERS_MAX - 1);
    books.post(2, waiting(2));
    assert_eq!(books.world.state.ledger.waiters.len(), WAITERS_MAX, "one more finds no place");
}

#[test]
fn ask_parts_max() {
    let mut books = Books::new(&[budget("a", 1_000)]);
    let parts = |count: usize| vec![part(account("a"), 1, 1); count];
    books.post(1, vec![ask(false, 1, parts(ASK_PARTS_MAX))]);
    let (life, sequence) = (books.lives[0].1, books.lives[0].2 + 1);
    let returned = vec![Return { account: account("a"), amount: 1 }; ASK_PARTS_MAX + 1];
    for record in [ask(false, 1, parts(ASK_PARTS_MAX + 1)), Record::Return(returned)] {
        let batch = batch(1, life, sequence, vec![record]);
        let refused = books.world.submit(&node(1), Command::Activity(batch)).outcome;
        assert!(matches!(refused, Err(Rejection::Invalid { .. })));
    }
}

#[test]
fn call_accounts_max() {
    let mut books = Books::new(&[budget("a", 1_000)]);
    let charges = |count: usize| {
        let charge = Charge { account: account("a"), end: FOREVER, amount: 1, held: false };
        match ended(1, account("a"), 1, false) {
            Record::Completion(completion) => {
                Record::Completion(Completion { charges: vec![charge; count], ..completion })
            }
            other => other,
        }
    };
    books.post(1, vec![charges(CALL_ACCOUNTS_MAX)]);
    let (life, sequence) = (books.lives[0].1, books.lives[0].2 + 1);
    let hold = Hold { account: account("a"), end: FOREVER, amount: 1 };
    let revision = books.world.state.policy_revision;
    let admitted = Admission { holds: vec![hold; CALL_ACCOUNTS_MAX + 1], ..admission(revision) };
    for record in [charges(CALL_ACCOUNTS_MAX + 1), Record::Admission(Box::new(admitted))] {
        let batch = batch(1, life, sequence, vec![record]);
        let refused = books.world.submit(&node(1), Command::Activity(batch)).outcome;
        assert!(matches!(refused, Err(Rejection::Invalid { .. })));
    }
}

#[test]
fn a_call_that_names_an_account_twice_gets_nothing_from_it() {
    let mut books = Books::new(&[budget("a", 100)]);
    books.post(1, vec![ask(true, 1, vec![part(account("a"), 60, 60), part(account("a"), 60, 60)])]);
    assert_eq!((books.lent("a", 1), books.world.state.ledger.waiters.len()), (0, 0));
}

fn permits() -> AccountKey {
    AccountKey { limit: LimitId::QuotaConcurrency, ..account("any") }
}

/// The tenant `acme` may run so many calls at once.
fn allow(books: &mut Books, max: Quota) {
    let mut tenant = books.world.state.tenants[&tenant_id("acme")].value.clone();
    tenant.quotas.max_concurrent_requests = max;
    books.world.must(Command::UpdateTenant { tenant: Box::new(tenant), if_revision: None });
}

fn in_hand(books: &Books, node: u64) -> i128 {
    books
        .world
        .state
        .ledger
        .accounts
        .get(&permits())
        .map_or(0, |account| account.lent_to(NodeId(node)).outstanding)
}

fn posted(books: &Books) -> i128 {
    books.world.state.ledger.accounts.get(&permits()).map_or(0, |account| account.posted)
}

#[test]
fn permits_are_lent_returned_and_never_posted() {
    let mut books = Books::new(&[]);
    allow(&mut books, Quota::AtMost(10));
    books.post(1, vec![ask(false, 1, vec![part(permits(), 7, 7)])]);
    books.post(2, vec![ask(true, 2, vec![part(permits(), 4, 4)])]);
    assert_eq!((in_hand(&books, 1), in_hand(&books, 2)), (7, 0), "7 and 4 are more than 10");
    // Whatever a node may say, the end of a call costs no permit.
    books.post(1, vec![ended(1, permits(), 3, true)]);
    assert_eq!((in_hand(&books, 1), posted(&books)), (7, 0));
    books.post(1, vec![Record::Return(vec![Return { account: permits(), amount: 1 }])]);
    assert_eq!((in_hand(&books, 1), in_hand(&books, 2)), (6, 4), "the one that waited is served");
    books.world.now_ms = START_MS + 40 * 24 * 3_600_000;
    books.world.tick();
    assert_eq!(in_hand(&books, 1), 6, "they have no period that ends");
    assert!(!books.world.state.ledger.accounts[&permits()].is_exhausted_for(10, 10));
}

#[test]
fn sessions_have_permits_of_their_own() {
    let mut books = Books::new(&[]);
    let acme = tenant_id("acme");
    for tier in [TenantTier::Starter, TenantTier::Professional, TenantTier::Enterprise] {
        assert_eq!(ResourceQuotas::template(tier).max_connections, Quota::Unlimited, "no tier bounds them");
    }
    assert_eq!(session_use(&books.world.state, &acme), None);
    let mut tenant = books.world.state.tenants[&acme].value.clone();
    tenant.quotas.max_concurrent_requests = Quota::AtMost(1);
    tenant.quotas.max_connections = Quota::AtMost(5);
    books.world.must(Command::UpdateTenant { tenant: Box::new(tenant), if_revision: None });
    let LimitUse { account, limit } = session_use(&books.world.state, &acme).unwrap();
    assert_eq!((account.limit.to_string().as_str(), limit.amount), ("quota/connections", 5));
    assert_eq!((limit.measure, limit.period, limit.hard), (Measure::Calls, PeriodKind::Total, true));
    assert!(account.limit.is_standing());
    books.post(1, vec![ask(true, 1, vec![part(account.clone(), 5, 5)])]);
    books.post(2, vec![ask(true, 2, vec![part(account.clone(), 1, 1)])]);
    let lent = |books: &Books, node| books.world.state.ledger.accounts[&account].lent_to(NodeId(node));
    assert_eq!((lent(&books, 1).outstanding, lent(&books, 2).outstanding), (5, 0));
    books.lives[0] = (1, books.world.open(1), 0);
    assert_eq!((lent(&books, 1).outstanding, lent(&books, 2).outstanding), (0, 1), "fenced like calls");
    books.world.assert_mirrored();
}

#[test]
fn a_lower_limit_on_permits_lends_none_until_enough_came_back() {
    let mut books = Books::new(&[]);
    allow(&mut books, Quota::AtMost(10));
    books.post(1, vec![ask(true, 1, vec![part(permits(), 8, 8)])]);
    allow(&mut books, Quota::AtMost(4));
    assert_eq!(books.world.state.ledger.accounts[&permits()].excess(4), 4);
    books.post(2, vec![ask(true, 2, vec![part(permits(), 1, 1)])]);
    books.post(1, vec![Record::Return(vec![Return { account: permits(), amount: 4 }])]);
    assert_eq!((in_hand(&books, 1), in_hand(&books, 2)), (4, 0));
    books.post(1, vec![Record::Return(vec![Return { account: permits(), amount: 1 }])]);
    assert_eq!((in_hand(&books, 1), in_hand(&books, 2)), (3, 1));
}

#[test]
fn permits_of_an_earlier_life_come_back_when_it_is_fenced() {
    let mut books = Books::new(&[budget("b", 100)]);
    allow(&mut books, Quota::AtMost(10));
    books.post(1, vec![ask(true, 1, vec![part(permits(), 10, 10), part(account("b"), 5, 5)])]);
    books.post(2, vec![ask(true, 2, vec![part(permits(), 6, 6)])]);
    books.lives[0] = (1, books.world.open(1), 0);
    books.world.assert_mirrored();
    assert_eq!((in_hand(&books, 1), in_hand(&books, 2)), (0, 6), "no word from the new life is needed");
    assert_eq!(books.lent("b", 1), 5, "what else it was lent is not decided before its journal is read");
    // A life that remembers nothing: permits are no money.
    books.post(1, vec![Record::Restarted { complete: false }]);
    assert_eq!((posted(&books), books.of("b").posted), (0, 5));
}

#[test]
fn permits_of_a_lost_node_come_back_and_count_as_nothing() {
    for closed in [true, false] {
        let mut books = Books::new(&[]);
        allow(&mut books, Quota::AtMost(10));
        books.post(2, vec![ask(true, 1, vec![part(permits(), 9, 9)])]);
        books.post(1, vec![ask(true, 2, vec![part(permits(), 5, 5)])]);
        let lost = if closed {
            Command::ForceClose { node: NodeId(2), account: None }
        } else {
            Command::RemoveNode { node: NodeId(2), lose_journal: true }
        };
        books.world.must(lost);
        books.world.assert_mirrored();
        assert_eq!((in_hand(&books, 2), in_hand(&books, 1), posted(&books)), (0, 5, 0), "closed: {closed}");
        let told = &books.world.last_event().details;
        assert!(!told.iter().any(|(name, _)| name.starts_with("posted_in_full")), "{told:?}");
    }
}

/// Both sides: remembered until then, forgotten at it.
#[test]
fn long_account_age_ms() {
    const HOUR: u64 = 3_600_000;
    for (kind, length, age) in
        [(PeriodKind::Hour, HOUR, SHORT_ACCOUNT_AGE_MS), (PeriodKind::Day, HOUR + 1, LONG_ACCOUNT_AGE_MS)]
    {
        let zone = if kind == PeriodKind::Day { "UTC" } else { "" };
        let mut books = Books::new(&[Budget { period: kind, zone: zone.to_owned(), ..budget("m", 10) }]);
        let key = AccountKey { start: TimestampMs(START_MS), ..account("m") };
        let end = TimestampMs(START_MS + length);
        books.post(1, vec![ask(false, 1, vec![AskPart { account: key.clone(), end, need: 1, want: 1 }])]);
        books.post(1, vec![Record::SettledThrough(end)]);
        books.post(2, vec![Record::SettledThrough(end)]);
        books.world.now_ms = end.0 + age - 1;
        books.world.tick();
        assert!(books.world.state.ledger.accounts.contains_key(&key), "{kind:?}");
        books.world.now_ms = end.0 + age;
        books.world.tick();
        assert!(!books.world.state.ledger.accounts.contains_key(&key), "{kind:?}");
        books.world.assert_mirrored();
    }
}
