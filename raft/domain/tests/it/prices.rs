//! The price book's records by command, cost records in the entries that post, corrections, and their sum.

use only1mcp_domain::activity::*;
use only1mcp_domain::command::{Command, CorrectCost};
use only1mcp_domain::cost::*;
use only1mcp_domain::ids::*;
use only1mcp_domain::ledger::*;
use only1mcp_domain::limits::*;
use only1mcp_domain::model::*;
use only1mcp_domain::money::{Exact, PicoUsd};
use only1mcp_domain::price::*;
use only1mcp_domain::row::RowValue;
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{Outcome, Rejection};

use crate::apply_world::*;
use crate::ledger::budget;
use crate::limits::{both_sides, letters, with_rows};

const FOREVER: TimestampMs = TimestampMs(u64::MAX);
const MONTH: TimestampMs = TimestampMs(1_000);

fn exact(text: &str) -> Exact {
    Exact::parse(text).unwrap()
}

pub fn price(tenant: &str, id: &str, tools: &str, meter: Meter, text: &str) -> PriceEntry {
    PriceEntry {
        id: PriceId::new(id).unwrap(),
        tenant: tenant_id(tenant),
        subject: PriceSubject::Tool(glob(tools)),
        currency: Currency::USD,
        valid_from: TimestampMs(0),
        version: 0,
        lines: vec![PriceLine { meter, tier_from: 0, unit: 1, price: exact(text) }],
        free: Vec::new(),
    }
}

pub fn metering(tenant: &str, id: &str, bound: u64) -> Metering {
    Metering {
        id: MeteringId::new(id).unwrap(),
        tenant: tenant_id(tenant),
        tools: glob("*"),
        provider: "maker".to_owned(),
        model: "m1".to_owned(),
        model_pointer: None,
        tags: Default::default(),
        total_pointer: None,
        usage: vec![(Meter::Output, UsageSource::Pointer("/usage/output".to_owned()))],
        bounds: Amounts::default().with(Meter::Output, bound),
    }
}

fn put(price: PriceEntry) -> Command {
    Command::PutPrice { price: Box::new(price), if_revision: None }
}

fn put_metering(metering: Metering) -> Command {
    Command::PutMetering { metering: Box::new(metering), if_revision: None }
}

fn discount(id: &str, factor: &str, valid_from: u64) -> Command {
    let kind = DiscountKind::Commitment(CommitmentDiscount { factor: exact(factor) });
    let (id, tenant) = (DiscountId::new(id).unwrap(), tenant_id("acme"));
    let discount = Discount { id, tenant, kind, valid_from: TimestampMs(valid_from), version: 0 };
    Command::PutDiscount { discount: Box::new(discount), if_revision: None }
}

fn rate(currency: &str, valid_from: u64) -> Command {
    let currency = Currency::parse(currency).unwrap();
    let valid_from = TimestampMs(valid_from);
    Command::PutExchangeRate(ExchangeRate { currency, usd_per_unit: exact("1.1"), valid_from, version: 0 })
}

#[test]
fn a_cluster_begins_with_calls_that_are_free() {
    let world = World::with_acme();
    let book = PriceBook::of(&world.state);
    let nothing = Amounts::default();
    let quote = book.quote(&QuoteRequest {
        tenant: &tenant_id("acme"),
        tool: "files__read",
        used_before: &nothing,
        raised: &nothing,
        at: world.state.log_time,
        hard: true,
    });
    assert_eq!(quote.unwrap().hold().unwrap(), PicoUsd::ZERO);
    world.assert_mirrored();
}

#[test]
fn records_are_put_changed_and_deleted_with_their_events() {
    let mut world = World::with_acme();
    let before = world.state.clone();
    world.must(put(price("acme", "p", "files__*", Meter::Call, "0.01")));
    assert!(!PriceBook::is_current(&before, &world.state));
    assert_eq!(world.last_event().action, "price.put");
    let first = world.state.prices[&(tenant_id("acme"), PriceId::new("p").unwrap())].value.version;
    assert_eq!(first, world.state.last_applied, "a version is the log index that made it");
    world.must(put(price("acme", "p", "files__*", Meter::Call, "0.02")));
    let event = world.last_event();
    assert!(event.before_state.as_ref().unwrap().contains("0.01"));
    assert!(event.after_state.as_ref().unwrap().contains("0.02"));
    world.must(put_metering(metering("acme", "m", 100)));
    world.must(discount("d", "0.9", 0));
    world.must(rate("EUR", 0));
    world.assert_mirrored();
    let eur = Currency::parse("EUR").unwrap();
    world.must(put(PriceEntry { currency: eur, ..price("acme", "e", "x__*", Meter::Call, "1") }));
    let last = Command::DeleteExchangeRate { currency: eur, valid_from: TimestampMs(0) };
    assert!(matches!(world.refused(last.clone()), Rejection::InUse { .. }));
    let tenant = tenant_id("acme");
    for id in ["p", "e"] {
        world.must(Command::DeletePrice { tenant: tenant.clone(), price: PriceId::new(id).unwrap() });
    }
    world.must(last);
    world.must(Command::DeleteMetering { tenant: tenant.clone(), metering: MeteringId::new("m").unwrap() });
    world.must(Command::DeleteDiscount { tenant: tenant.clone(), discount: DiscountId::new("d").unwrap() });
    assert_eq!(world.last_event().action, "discount.delete");
    let gone = Command::DeletePrice { tenant, price: PriceId::new("p").unwrap() };
    assert!(matches!(world.refused(gone), Rejection::NotFound { .. }));
    world.assert_mirrored();
}

#[test]
fn bad_records_are_refused_by_field() {
    let mut world = World::with_acme();
    let mut field = |command: Command| match world.refused(command) {
        Rejection::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    let good = price("acme", "p", "*", Meter::Call, "1");
    let eur = Currency::parse("EUR").unwrap();
    assert_eq!(field(put(PriceEntry { currency: eur, ..good.clone() })), "currency");
    assert_eq!(field(put(PriceEntry { lines: Vec::new(), ..good.clone() })), "lines");
    assert_eq!(field(put(price("acme", "p", "*", Meter::Call, "0"))), "lines[0].price");
    assert_eq!(field(put(price("acme", "p", "*", Meter::Call, "1000000001"))), "lines[0].price");
    assert_eq!(field(rate("USD", 0)), "currency");
    assert_eq!(field(discount("d", "1.5", 0)), "commitment.factor");
    let empty = Metering { usage: Vec::new(), ..metering("acme", "m", 1) };
    assert_eq!(field(put_metering(empty)), "usage");
    world.must(put(good));
    let mut field = |command: Command| match world.refused(command) {
        Rejection::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(put(price("acme", "q", "*", Meter::Call, "2"))), "valid_from", "overlaps with p");
    world.must(discount("d", "0.5", 0));
    let overlap = world.refused(discount("e", "0.5", 0));
    assert!(matches!(overlap, Rejection::Invalid { .. }), "{overlap}");
}

#[test]
fn only_who_may_set_budgets_prices_and_only_operators_price_for_all() {
    let mut world = World::with_acme();
    let mut code = |actor, command| world.submit(&by_key("acme", actor), command).outcome.err();
    let forbidden = |outcome: Option<Rejection>| matches!(outcome, Some(Rejection::Forbidden { .. }));
    let own = || put(price("acme", "p", "*", Meter::Call, "1"));
    assert!(forbidden(code("dev", own())));
    assert_eq!(code("ann", own()), None);
    assert!(forbidden(code("ann", put(price("system", "p", "*", Meter::Call, "1")))));
    assert!(forbidden(code("ann", rate("EUR", 0))));
    assert!(forbidden(code("ann", put_metering(metering("system", "m", 1)))));
}

#[test]
fn bounds_on_records() {
    let mut world = World::with_acme();
    let many = |world: &mut World, count: usize, make: &dyn Fn(usize) -> Command| {
        (0..count).for_each(|n| drop(world.must(make(n))));
    };
    let nth = |n: usize| price("acme", &format!("p{n}"), &format!("t{n}"), Meter::Call, "1");
    let rows = (0..PRICES_PER_TENANT_MAX - 1)
        .map(|n| RowValue::Price(Versioned { revision: 1, value: std::sync::Arc::new(nth(n)) }));
    let mut full = with_rows(&world, rows);
    full.must(put(nth(PRICES_PER_TENANT_MAX)));
    assert!(matches!(full.refused(put(nth(PRICES_PER_TENANT_MAX + 1))), Rejection::LimitReached { .. }));
    let metering_at = |n: usize| put_metering(metering("acme", &format!("m{n}"), 1));
    many(&mut world, METERINGS_PER_TENANT_MAX, &metering_at);
    assert!(matches!(world.refused(metering_at(METERINGS_PER_TENANT_MAX)), Rejection::LimitReached { .. }));
    many(&mut world, RATES_MAX, &|n| rate("EUR", n as u64));
    assert!(matches!(world.refused(rate("EUR", RATES_MAX as u64)), Rejection::LimitReached { .. }));
}

fn money_budget(id: &str, amount: i128) -> Budget {
    Budget { measure: Measure::Cost, ..budget(id, amount) }
}

fn account(id: &str) -> AccountKey {
    AccountKey {
        tenant: tenant_id("acme"),
        limit: LimitId::Budget(BudgetId::new(id).unwrap()),
        subject: "".into(),
        start: TimestampMs(0),
    }
}

fn cost(output: u64, pico_usd: i128) -> Cost {
    Cost {
        caller_tenant: tenant_id("acme"),
        principal: principal_id("dev"),
        project: None,
        cost_center: String::new(),
        kind: ItemKind::Tool,
        item: "files__read".to_owned(),
        upstream: upstream_id("files"),
        provider: "maker".to_owned(),
        model: "m1".to_owned(),
        model_answered: String::new(),
        metering: Some(MeteringId::new("m").unwrap()),
        lines: vec![PricedLine {
            meter: Meter::Output,
            units: output,
            price: Some(PriceId::new("p").unwrap()),
            price_version: 3,
            exchange_version: 0,
            pico_usd: PicoUsd(pico_usd),
        }],
        discounts: Vec::new(),
        tags: Default::default(),
        held: PicoUsd(pico_usd),
        at_hold: false,
        month: MONTH,
    }
}

fn completion(call: u8, charges: Vec<Charge>, cost: Option<Cost>) -> Record {
    Record::Completion(Completion {
        call: CallId([call; 16]),
        tenant: tenant_id("acme"),
        outcome: CallOutcome::Success,
        result_digest: Digest::default(),
        result_bytes: 0,
        duration_ms: 0,
        observed_at: TimestampMs(START_MS),
        charges,
        cost: cost.map(Box::new),
    })
}

fn charge(id: &str, amount: i128, held: bool) -> Charge {
    Charge { account: account(id), end: FOREVER, amount, held }
}

struct Life {
    node: u64,
    incarnation: Incarnation,
    sequence: u64,
}

impl Life {
    fn open(world: &mut World, node: u64) -> Self {
        Self { node, incarnation: world.open(node), sequence: 0 }
    }

    fn post(&mut self, world: &mut World, records: Vec<Record>) {
        self.sequence += 1;
        let batch = batch(self.node, self.incarnation, self.sequence, records);
        let applied = world.submit(&node(self.node), Command::Activity(batch));
        assert!(matches!(applied.outcome, Ok(Outcome::BatchApplied { .. })), "{:?}", applied.outcome);
        world.assert_mirrored();
    }

    fn refused(&self, world: &mut World, record: Record) -> Rejection {
        let batch = batch(self.node, self.incarnation, self.sequence + 1, vec![record]);
        world.submit(&node(self.node), Command::Activity(batch)).outcome.unwrap_err()
    }
}

fn ask(id: &str, need: i128) -> Record {
    let parts = vec![AskPart { account: account(id), end: FOREVER, need, want: need }];
    let until = TimestampMs(START_MS + 5_000);
    Record::Ask(Box::new(Ask { call: CallId([9; 16]), direct: false, until, parts }))
}

#[test]
fn a_call_leaves_one_record_in_the_entry_that_settles_it() {
    let mut world = World::with_acme();
    world.must(Command::PutBudget { budget: Box::new(money_budget("b", 1_000)), if_revision: None });
    world.must(put_metering(metering("acme", "m", 100)));
    let mut life = Life::open(&mut world, 1);
    life.post(&mut world, vec![ask("b", 500)]);
    let calls_only = Charge {
        account: AccountKey { limit: LimitId::QuotaRequests, ..account("b") },
        ..charge("b", 1, true)
    };
    life.post(&mut world, vec![completion(1, vec![charge("b", 70, true), calls_only], Some(cost(7, 70)))]);
    let record = world.costs.values().next().unwrap().clone();
    assert_eq!((record.kind, record.call, record.node), (CostKind::Call, Some(CallId([1; 16])), NodeId(1)));
    assert_eq!(
        record.charges,
        [CostCharge { account: account("b"), measure: Some(Measure::Cost), amount: 70 }]
    );
    let event = world.events.last().unwrap();
    assert_eq!((record.audit_index, record.log_time), (world.state.chain.index, event.log_time));
    assert_eq!(record.cost.unwrap().total().unwrap(), PicoUsd(70));
    assert_eq!(world.state.month_usage.of(&tenant_id("acme"), MONTH).get(Meter::Output), Some(7));
    // Without a price there is no record.
    life.post(&mut world, vec![completion(2, vec![], None)]);
    assert_eq!(world.costs.len(), 1);
}

#[test]
fn a_record_keeps_its_tags_and_what_was_stored_is_a_part_of_its_own() {
    let mut world = World::with_acme();
    let mut life = Life::open(&mut world, 1);
    let stored = PricedLine { meter: Meter::StoredByte, pico_usd: PicoUsd(5), ..cost(1, 1).lines[0].clone() };
    let tags: Tags = (0..COST_TAGS_MAX).map(|n| (format!("k{n}"), letters(TAG_VALUE_BYTES_MAX))).collect();
    let mut with = cost(1, 70);
    with.lines.push(stored);
    with.tags = tags.clone();
    life.post(&mut world, vec![completion(1, vec![], Some(with.clone()))]);
    let kept = world.costs.values().next().unwrap().cost.clone().unwrap();
    assert_eq!(kept.tags, tags);
    assert_eq!(kept.part(CostClass::Storage).unwrap(), PicoUsd(5));
    assert_eq!(kept.part(CostClass::Token).unwrap(), PicoUsd(70));
    let mut refuse = |key: String, value: String| {
        let mut bad = Cost { tags: Tags::new(), ..with.clone() };
        bad.tags.insert(key, value);
        let refused = life.refused(&mut world, completion(2, vec![], Some(bad)));
        assert!(matches!(&refused, Rejection::Invalid { field, .. } if field == "cost"), "{refused}");
    };
    refuse("a b".into(), "v".into());
    refuse("a".into(), letters(TAG_VALUE_BYTES_MAX + 1));
    with.tags.insert("more".into(), "v".into());
    let refused = life.refused(&mut world, completion(2, vec![], Some(with)));
    assert!(matches!(&refused, Rejection::Invalid { field, .. } if field == "cost"), "{refused}");
}

#[test]
fn usage_beyond_a_meterings_bound_raises_what_the_next_call_is_held_at() {
    let mut world = World::with_acme();
    world.must(put_metering(metering("acme", "m", 100)));
    world.must(put(price("acme", "p", "*", Meter::Output, "0.000000000001")));
    let hold = |world: &World| {
        let raised = world.state.raised.get(&(tenant_id("acme"), MeteringId::new("m").unwrap()));
        let request = QuoteRequest {
            tenant: &tenant_id("acme"),
            tool: "files__read",
            used_before: &Amounts::default(),
            raised: &raised.copied().unwrap_or_default(),
            at: world.state.log_time,
            hard: true,
        };
        PriceBook::of(&world.state).quote(&request).unwrap().hold().unwrap()
    };
    assert_eq!(hold(&world), PicoUsd(100));
    let mut life = Life::open(&mut world, 1);
    life.post(&mut world, vec![completion(1, vec![], Some(cost(250, 250)))]);
    assert_eq!(hold(&world), PicoUsd(250));
    let details = &world.last_event().details;
    assert!(details.contains(&("over_bound output".to_owned(), "250".to_owned())), "{details:?}");
    life.post(&mut world, vec![completion(2, vec![], Some(cost(249, 249)))]);
    assert_eq!(hold(&world), PicoUsd(250), "never lower by itself");
    world.must(put_metering(metering("acme", "m", 120)));
    assert_eq!(hold(&world), PicoUsd(120), "declared anew");
    world.assert_mirrored();
}

#[test]
fn a_malformed_cost_is_refused_whole() {
    let mut world = World::with_acme();
    let life = Life::open(&mut world, 1);
    let mut bad = |change: &dyn Fn(&mut Cost)| {
        let mut cost = cost(1, 1);
        change(&mut cost);
        matches!(life.refused(&mut world, completion(1, vec![], Some(cost))), Rejection::Invalid { .. })
    };
    assert!(bad(&|cost| cost.lines.push(cost.lines[0].clone())));
    assert!(bad(&|cost| cost.lines[0].pico_usd = PicoUsd(-1)));
    assert!(bad(&|cost| cost.held = PicoUsd(-1)));
    assert!(bad(&|cost| cost.item = "x".repeat(70_000)));
    assert!(bad(&|cost| cost.month = TimestampMs(START_MS * 2)));
    assert!(bad(&|cost| cost.model_answered = "x".repeat(NAME_BYTES_MAX + 1)));
    assert!(bad(&|cost| {
        let more =
            PricedLine { meter: Meter::Reasoning, pico_usd: PicoUsd(i128::MAX), ..cost.lines[0].clone() };
        cost.lines.push(more);
    }));
}

fn correct(index: u64, charges: &[(&str, i128)]) -> Command {
    let charges = charges.iter().map(|(id, amount)| (account(id), *amount)).collect();
    let record = CostPlace { at: TimestampMs(START_MS), index: AuditIndex(index), part: 0 };
    let (tenant, reason) = (tenant_id("acme"), "refunded by the provider".to_owned());
    Command::CorrectCost(Box::new(CorrectCost { tenant, record, charges, reason }))
}

#[test]
fn a_record_is_corrected_once_and_never_below_nothing() {
    let mut world = World::with_acme();
    world.must(Command::PutBudget { budget: Box::new(money_budget("b", 1_000)), if_revision: None });
    let mut life = Life::open(&mut world, 1);
    life.post(&mut world, vec![ask("b", 500), completion(1, vec![charge("b", 70, true)], Some(cost(7, 70)))]);
    let posted = |world: &World| world.state.ledger.accounts[&account("b")].posted;
    assert_eq!(posted(&world), 70);
    for bad in [
        correct(5, &[]),
        correct(5, &[("b", 0)]),
        correct(5, &[("b", -1)]),
        correct(5, &[("b", 1), ("b", 1)]),
    ] {
        assert!(matches!(world.refused(bad), Rejection::Invalid { .. }));
    }
    world.must(Command::PutBudget { budget: Box::new(budget("c", 100)), if_revision: None });
    life.post(&mut world, vec![completion(2, vec![charge("c", 9, false)], None)]);
    let refused = world.refused(correct(5, &[("c", 1)]));
    assert!(matches!(refused, Rejection::Invalid { .. }), "counts of calls are not corrected: {refused}");
    world.must(correct(5, &[("b", 30)]));
    assert_eq!(posted(&world), 40);
    assert_eq!(world.last_event().action, "cost.correct");
    let told = world.costs.values().last().unwrap();
    assert_eq!((told.kind, told.charges[0].amount), (CostKind::Correction, -30));
    let place = |index, part| CostPlace { at: TimestampMs(START_MS), index: AuditIndex(index), part };
    assert_eq!(told.corrects, Some(place(5, 0)));
    assert!(matches!(world.refused(correct(5, &[("b", 1)])), Rejection::Invalid { .. }), "twice");
    // Another record of the same event.
    let second = |part| match correct(5, &[("b", 1)]) {
        Command::CorrectCost(of) => {
            Command::CorrectCost(Box::new(CorrectCost { record: place(5, part), ..*of }))
        }
        other => other,
    };
    world.must(second(1));
    assert!(world.last_event().details.contains(&("part".to_owned(), "1".to_owned())));
    assert!(matches!(world.refused(second(1)), Rejection::Invalid { .. }), "each part once");
    world.must(correct(6, &[("b", 1_000_000)]));
    assert_eq!(posted(&world), 0);
    assert_eq!(world.costs.values().last().unwrap().charges[0].amount, -39);
    world.assert_mirrored();
    both_sides(&world, CALL_ACCOUNTS_MAX, |count| {
        let ids: Vec<String> = (0..count).map(|n| format!("b{n}")).collect();
        correct(7, &ids.iter().map(|id| (id.as_str(), 1)).collect::<Vec<_>>())
    });
}

/// The ledger to the last pico-dollar, from nothing but the records.
#[test]
fn records_add_up_to_the_ledger() {
    let mut world = World::with_acme();
    world.join("two");
    for id in ["a", "b", "t"] {
        let measure = if id == "t" { Measure::Tokens } else { Measure::Cost };
        let budget = Budget { measure, ..money_budget(id, 1_000_000) };
        world.must(Command::PutBudget { budget: Box::new(budget), if_revision: None });
    }
    let mut lives = [Life::open(&mut world, 1), Life::open(&mut world, 2)];
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..300_u64 {
        let at = draw(2) as usize;
        let id = ["a", "b", "t"][draw(3) as usize];
        let amount = i128::from(draw(900) + 1);
        match draw(12) {
            0 => {
                lives[at].post(&mut world, vec![Record::Restarted { complete: false }]);
            }
            1 => {
                let account = (draw(2) == 0)
                    .then(|| account(id))
                    .filter(|key| world.state.ledger.accounts.contains_key(key));
                world.must(Command::ForceClose { node: NodeId(lives[at].node), account });
            }
            2 => drop(world.submit(&operator(), correct(round, &[(id, amount)]))),
            3 => lives[at].post(&mut world, vec![ask(id, amount * 3)]),
            _ => {
                let charges = vec![charge(id, amount, draw(4) > 0), charge("a", 3, false)];
                let charges = if id == "a" { charges[..1].to_vec() } else { charges };
                lives[at].post(&mut world, vec![completion(round as u8, charges, Some(cost(1, amount)))]);
            }
        }
    }
    let mut sums = std::collections::BTreeMap::<AccountKey, i128>::new();
    for charge in world.costs.values().flat_map(|record| &record.charges) {
        *sums.entry(charge.account.clone()).or_default() += charge.amount;
    }
    let kinds: std::collections::BTreeSet<CostKind> =
        world.costs.values().map(|record| record.kind).collect();
    assert!(kinds.len() >= 4, "{kinds:?}");
    for id in ["a", "b", "t"] {
        let posted = world.state.ledger.accounts[&account(id)].posted;
        assert_eq!(sums.get(&account(id)).copied().unwrap_or(0), posted, "{id}");
        assert!(posted > 0, "{id}");
    }
}

#[test]
fn many_accounts_given_up_at_once_make_several_records() {
    let mut world = World::with_acme();
    let count = COST_CHARGES_MAX + 1;
    for n in 0..count {
        let budget = Budget { measure: Measure::Cost, ..budget(&format!("b{n:03}"), 100) };
        world.must(Command::PutBudget { budget: Box::new(budget), if_revision: None });
    }
    let mut life = Life::open(&mut world, 1);
    for n in 0..count {
        life.post(&mut world, vec![ask(&format!("b{n:03}"), 10)]);
    }
    world.must(Command::ForceClose { node: NodeId(1), account: None });
    let parts: Vec<(u32, usize)> =
        world.costs.values().map(|record| (record.part, record.charges.len())).collect();
    assert_eq!(parts, [(0, COST_CHARGES_MAX), (1, 1)]);
    let event = world.last_event();
    assert_eq!(event.action, "budget.force_close");
    assert!(world.costs.values().all(|record| record.audit_index == world.state.chain.index));
}

#[test]
fn corrections_per_tenant_max() {
    let rows = (0..CORRECTIONS_PER_TENANT_MAX - 1).map(|n| RowValue::Corrected {
        tenant: tenant_id("acme"),
        record: AuditIndex(1_000_000 + n as u64),
        part: 0,
    });
    let mut world = with_rows(&World::with_acme(), rows);
    world.must(correct(1, &[("b", 1)]));
    assert!(matches!(world.refused(correct(2, &[("b", 1)])), Rejection::LimitReached { .. }));
}
