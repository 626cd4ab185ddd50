//! What is held for a call and what it is charged, by measure.

use only1mcp_domain::ids::{BudgetId, MeteringId, PriceId};
use only1mcp_domain::ledger::{AccountKey, Limit, LimitId};
use only1mcp_domain::model::{Glob, PeriodKind};
use only1mcp_domain::money::Exact;
use only1mcp_domain::price::{Currency, Meter, PriceEntry, PriceLine, PriceSubject, UsageSource};

use super::*;

const NOW: TimestampMs = TimestampMs(5);

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn price(lines: &[(Meter, &str)], free: Vec<Meter>) -> Arc<PriceEntry> {
    let line = |(meter, price): &(Meter, &str)| PriceLine {
        meter: *meter,
        tier_from: 0,
        unit: 1,
        price: Exact::parse(price).unwrap(),
    };
    Arc::new(PriceEntry {
        id: PriceId::new("p").unwrap(),
        tenant: acme(),
        subject: PriceSubject::Tool(Glob::new("*").unwrap()),
        currency: Currency::USD,
        valid_from: TimestampMs(0),
        version: 1,
        lines: lines.iter().map(line).collect(),
        free,
    })
}

fn metering(bounds: Amounts) -> Arc<Metering> {
    Arc::new(Metering {
        id: MeteringId::new("m").unwrap(),
        tenant: acme(),
        tools: Glob::new("*").unwrap(),
        provider: "maker".to_owned(),
        model: "m1".to_owned(),
        model_pointer: None,
        tags: Default::default(),
        total_pointer: None,
        usage: vec![
            (Meter::Output, UsageSource::Pointer("/out".to_owned())),
            (Meter::Reasoning, UsageSource::Pointer("/thought".to_owned())),
        ],
        bounds,
    })
}

fn book(entry: Option<Arc<PriceEntry>>, metering: Option<Arc<Metering>>) -> PriceBook {
    let mut book = PriceBook::default();
    entry.into_iter().for_each(|entry| book.add_price(entry));
    metering.into_iter().for_each(|metering| book.add_metering(metering));
    book
}

fn touch(measure: Measure, hard: bool) -> LimitUse {
    let account = AccountKey {
        tenant: acme(),
        limit: LimitId::Budget(BudgetId::new("b").unwrap()),
        subject: "".into(),
        start: TimestampMs(0),
    };
    let limit = Limit { measure, amount: 1_000, period: PeriodKind::Total, zone: "UTC".to_owned(), hard };
    LimitUse { account, limit }
}

fn priced(book: &PriceBook, touched: &[LimitUse]) -> Result<Priced, QuoteFault> {
    priced_on(&State::default(), book, touched)
}

fn priced_on(state: &State, book: &PriceBook, touched: &[LimitUse]) -> Result<Priced, QuoteFault> {
    let (tenant, month) = (&acme(), TimestampMs(0));
    let call = PricedCall {
        state,
        book,
        tenant,
        item: "t",
        cost_center: "cc",
        told: Told::default(),
        month,
        at: NOW,
    };
    Priced::of(call, book.metering(tenant, "t").cloned(), touched)
}

/// What was seen of the tenant's calls holds, where it is more than what was declared.
#[test]
fn a_bound_that_was_passed_is_held_higher() {
    let book = book(Some(model_price()), Some(metering(bounds())));
    let mut state = State::default();
    let id = MeteringId::new("m").unwrap();
    state.raised.insert((acme(), id), Amounts::default().with(Meter::Output, 14));
    let priced = priced_on(&state, &book, &[touch(Measure::Cost, true)]).unwrap();
    assert_eq!(priced.most(Measure::Cost), Ok(Some(54 * USD)));
    assert_eq!(priced.most(Measure::Tokens), Ok(Some(34)));
}

fn bounds() -> Amounts {
    Amounts::default().with(Meter::Output, 10).with(Meter::Reasoning, 20)
}

/// One dollar a token of output, two one of reasoning.
fn model_price() -> Arc<PriceEntry> {
    price(&[(Meter::Output, "1"), (Meter::Reasoning, "2")], Vec::new())
}

const USD: i128 = 1_000_000_000_000;

#[test]
fn money_and_tokens_are_held_at_the_bounds_and_charged_as_used() {
    let book = book(Some(model_price()), Some(metering(bounds())));
    let priced = priced(&book, &[touch(Measure::Cost, true), touch(Measure::Tokens, true)]).unwrap();
    assert_eq!(priced.most(Measure::Cost), Ok(Some(50 * USD)));
    assert_eq!(priced.most(Measure::Tokens), Ok(Some(30)));
    assert_eq!(priced.most(Measure::Calls), Ok(Some(1)));
    let taken = |used: Amounts| {
        let taken = priced.taken(&used);
        (taken.of(Measure::Cost) / USD, taken.of(Measure::Tokens), taken.of(Measure::Calls))
    };
    let used = Amounts::default().with(Meter::Output, 3);
    assert_eq!(taken(used.with(Meter::Reasoning, 4)), (11, 7, 1));
    assert_eq!(taken(used.with(Meter::Reasoning, 40)), (83, 43, 1), "above the bound in full");
    assert_eq!(taken(used), (50, 30, 1), "half of it known: the bounds");
    assert_eq!(taken(used.with(Meter::Output, 13)), (53, 33, 1), "or the use where that is more");
    assert_eq!(taken(Amounts::default()), (50, 30, 1));
}

#[test]
fn what_a_hard_limit_cannot_be_held_for_without_is_named() {
    let cost = [touch(Measure::Cost, true)];
    let tokens = [touch(Measure::Tokens, true)];
    let unpriced = book(Some(price(&[(Meter::Output, "1")], Vec::new())), Some(metering(bounds())));
    let fault = QuoteFault::NoPrice { meter: Meter::Reasoning };
    assert_eq!(priced(&unpriced, &cost).unwrap_err(), fault);
    assert_eq!(NotHeld::from(fault).reason, Reason::NoPrice);
    let unbounded = Amounts::default().with(Meter::Output, 10);
    let unbounded = book(Some(model_price()), Some(metering(unbounded)));
    for touched in [&cost, &tokens] {
        let fault = priced(&unbounded, touched).unwrap_err();
        assert_eq!(fault, QuoteFault::NoBound { meter: Meter::Reasoning });
        assert_eq!(NotHeld::from(fault).reason, Reason::NoBound);
    }
    // A limit on tokens asks for no price, and a soft one for nothing.
    assert!(priced(&unpriced, &tokens).is_ok());
    assert!(priced(&unbounded, &[touch(Measure::Cost, false), touch(Measure::Tokens, false)]).is_ok());
    assert!(priced(&PriceBook::default(), &cost).is_err());
}

#[test]
fn a_call_without_tokens_has_nothing_to_do_with_limits_on_tokens() {
    let book = book(Some(price(&[(Meter::Call, "3")], Vec::new())), None);
    let priced = priced(&book, &[touch(Measure::Cost, true), touch(Measure::Tokens, true)]).unwrap();
    assert_eq!(priced.most(Measure::Tokens), Ok(None));
    assert_eq!(priced.most(Measure::Cost), Ok(Some(3 * USD)));
}

#[test]
fn a_free_call_carries_no_quote_and_a_measured_one_does() {
    let free = || price(&[], vec![Meter::Call]);
    let plain = priced(&book(Some(free()), None), &[touch(Measure::Cost, true)]).unwrap();
    assert_eq!((plain.quote.is_none(), plain.most(Measure::Cost)), (true, Ok(None)));
    assert!(plain.taken(&Amounts::default()).charges(&[]).is_empty());
    let measured = priced(&book(Some(free()), Some(metering(bounds()))), &[]).unwrap();
    assert!(measured.quote.is_some());
}

#[test]
fn an_answer_with_impossible_numbers_costs_the_hold() {
    let dear = price(&[(Meter::Output, "1000000000"), (Meter::Reasoning, "1000000000")], Vec::new());
    let priced = priced(&book(Some(dear), Some(metering(bounds()))), &[touch(Measure::Cost, true)]).unwrap();
    let most = Amounts::default().with(Meter::Output, u64::MAX).with(Meter::Reasoning, u64::MAX);
    let taken = priced.taken(&most);
    assert_eq!(Ok(Some(taken.of(Measure::Cost))), priced.most(Measure::Cost));
}

#[test]
fn every_account_is_charged_by_its_measure() {
    let book = book(Some(model_price()), Some(metering(bounds())));
    let priced = priced(&book, &[]).unwrap();
    let touched = |measure, hard| {
        let account = touch(measure, hard).account;
        Touched { hold: Hold { account, end: NOW, amount: 0 }, measure, hard }
    };
    let all = [touched(Measure::Calls, true), touched(Measure::Cost, true), touched(Measure::Tokens, false)];
    let amounts = |used: Amounts| {
        let charges = priced.taken(&used).charges(&all);
        charges.iter().map(|charge| (charge.amount, charge.held)).collect::<Vec<_>>()
    };
    let used = Amounts::default().with(Meter::Output, 1).with(Meter::Reasoning, 0);
    assert_eq!(amounts(used), [(1, true), (USD, true), (1, false)]);
    let nothing = Amounts::default().with(Meter::Output, 0).with(Meter::Reasoning, 0);
    assert_eq!(amounts(nothing), [(1, true)], "nothing used, nothing charged but the call");
}
