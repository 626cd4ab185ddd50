//! Money and tokens: held at the declared bounds before a call, charged as used after it, and never left held.

use std::sync::Arc;

use only1mcp_domain::State;
use only1mcp_domain::activity::{CallOutcome, Record};
use only1mcp_domain::cost::Cost;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{Digest, MeteringId, PriceId, TenantId};
use only1mcp_domain::model::{Constraints, Glob, Measure};
use only1mcp_domain::money::Exact;
use only1mcp_domain::price::{
    Amounts, Currency, Meter, Metering, PriceEntry, PriceLine, PriceSubject, UsageSource,
};
use only1mcp_domain::time::TimestampMs;
use only1mcp_enforcer::{Admitted, Used};

use crate::world::{TOOL, World, acme, budget, grant, only_account, put_metering, put_price};

const USD: i128 = 1_000_000_000_000;

/// `usd` for a token of output.
fn price(state: &mut State, usd: &str) {
    let line = PriceLine { meter: Meter::Output, tier_from: 0, unit: 1, price: Exact::parse(usd).unwrap() };
    put_price(
        state,
        PriceEntry {
            id: PriceId::new("p").unwrap(),
            tenant: acme(),
            subject: PriceSubject::Model { provider: "maker".to_owned(), model: "m1".to_owned() },
            currency: Currency::USD,
            valid_from: TimestampMs(0),
            version: 1,
            lines: vec![line],
            free: Vec::new(),
        },
    );
}

fn metering(state: &mut State, bound: Option<u64>) {
    let bounds = bound.map_or(Amounts::default(), |bound| Amounts::default().with(Meter::Output, bound));
    put_metering(
        state,
        Metering {
            id: MeteringId::new("m").unwrap(),
            tenant: acme(),
            tools: Glob::new("demo__*").unwrap(),
            provider: "maker".to_owned(),
            model: "m1".to_owned(),
            model_pointer: None,
            tags: Default::default(),
            total_pointer: None,
            usage: vec![(Meter::Output, UsageSource::Pointer("/out".to_owned()))],
            bounds,
        },
    );
}

/// A dollar a token, at most ten a call; a hundred dollars and sixty tokens in all.
async fn world() -> World {
    World::new(|state| {
        grant(state, "a", Constraints::default());
        price(state, "1");
        metering(state, Some(10));
        budget(state, "money", Measure::Cost, 100 * USD, true);
        budget(state, "tokens", Measure::Tokens, 60, true);
        budget(state, "soft", Measure::Cost, USD, false);
        budget(state, "calls", Measure::Calls, 1_000, true);
    })
    .await
}

fn output(tokens: u64) -> Used {
    let amounts = Amounts::default().with(Meter::Output, tokens).with(Meter::Call, 1);
    Used { amounts: amounts.with(Meter::Second, 5).with(Meter::Byte, 9), model: Some("m1-x".to_owned()) }
}

async fn end(admitted: &Admitted, outcome: CallOutcome, used: &Used) {
    admitted.settle(outcome, Digest([6; 32]), 9, used).await.unwrap();
}

/// Everything is posted: what the node still has in hand is free, all of it.
async fn settled(world: &World, dollars: i128, tokens: i128, calls: i128) {
    let expected = [("money", dollars * USD), ("soft", dollars * USD), ("tokens", tokens), ("calls", calls)];
    world
        .until("everything is posted", |state| {
            expected.iter().all(|(id, amount)| {
                let key = only_account(state, &format!("budget/{id}"));
                key.map_or(0, |key| state.ledger.accounts[&key].posted) == *amount
            })
        })
        .await;
    let free = async {
        while !world.enforcer.held().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let freed = tokio::time::timeout(std::time::Duration::from_secs(30), free).await;
    assert!(freed.is_ok(), "still held: {:?}", world.enforcer.held());
}

#[tokio::test]
async fn a_call_is_charged_what_it_used() {
    let world = world().await;
    let admitted = world.admit().await.unwrap();
    let held: Vec<i128> = world.enforcer.held().into_values().collect();
    assert_eq!(held.len(), 4, "a permit, calls, money and tokens: {held:?}");
    assert!(held.contains(&(10 * USD)) && held.contains(&10) && held.contains(&1));
    end(&admitted, CallOutcome::Success, &output(3)).await;
    settled(&world, 3, 3, 1).await;
    // More than declared: all of it, the rest as an overrun.
    let admitted = world.admit().await.unwrap();
    end(&admitted, CallOutcome::Success, &output(25)).await;
    settled(&world, 28, 28, 2).await;
    let costs = costs(&world);
    assert_eq!(costs.len(), 2);
    let cost = &costs[0];
    assert_eq!((cost.total().unwrap().0, cost.held.0, cost.at_hold), (3 * USD, 10 * USD, false));
    assert_eq!((cost.provider.as_str(), cost.model.as_str()), ("maker", "m1"));
    assert_eq!((cost.model_answered.as_str(), cost.cost_center.as_str()), ("m1-x", "cc1"));
    assert_eq!((cost.principal.as_str(), cost.item.as_str(), cost.upstream.as_str()), ("ann", TOOL, "demo"));
    // The bound was passed: the next call is held for as much as was seen.
    let admitted = world.admit().await.unwrap();
    assert!(world.enforcer.held().values().any(|amount| *amount == 25 * USD), "{:?}", world.enforcer.held());
    end(&admitted, CallOutcome::Success, &output(1)).await;
    settled(&world, 29, 29, 3).await;
}

/// What completions told, in order.
fn costs(world: &World) -> Vec<Cost> {
    let records = world.cluster.records.lock().unwrap();
    let cost = |record: &Record| match record {
        Record::Completion(completion) => completion.cost.as_deref().cloned(),
        _ => None,
    };
    records.iter().filter_map(cost).collect()
}

#[tokio::test]
async fn a_cost_is_told_without_any_budget_and_a_free_call_is_not_worth_it() {
    let world = World::new(|state| {
        grant(state, "a", Constraints::default());
        price(state, "1");
        metering(state, None);
    })
    .await;
    let admitted = world.admit().await.unwrap();
    end(&admitted, CallOutcome::Success, &output(3)).await;
    world.until("it is applied", |_| !costs(&world).is_empty()).await;
    assert_eq!(costs(&world)[0].total().unwrap().0, 3 * USD);
    let free = World::new(|state| {
        grant(state, "a", Constraints { cost_limit_daily_pico_usd: Some(1), ..Constraints::default() });
        free_calls(state);
    })
    .await;
    let admitted = free.admit().await.unwrap();
    end(&admitted, CallOutcome::Success, &output(3)).await;
    let ended = |record: &Record| matches!(record, Record::Completion(_));
    free.until("it is applied", |_| free.cluster.records.lock().unwrap().iter().any(ended)).await;
    assert!(costs(&free).is_empty());
    let records = free.cluster.records.lock().unwrap();
    assert!(records.iter().all(|record| !matches!(record, Record::Admission(a) if a.quote.is_some())));
}

/// As a cluster begins.
fn free_calls(state: &mut State) {
    put_price(
        state,
        PriceEntry {
            id: PriceId::new("free-calls").unwrap(),
            tenant: TenantId::system(),
            subject: PriceSubject::Tool(Glob::new("*").unwrap()),
            currency: Currency::USD,
            valid_from: TimestampMs(0),
            version: 1,
            lines: Vec::new(),
            free: vec![Meter::Call],
        },
    );
}

#[tokio::test]
async fn what_is_not_known_costs_the_hold() {
    let world = world().await;
    let (mut dollars, mut calls) = (0, 0);
    let unknown = Used::default();
    // As the gateway tells an answer without readable usage.
    let counted = Used { amounts: Amounts::default().with(Meter::Call, 1).with(Meter::Byte, 3), model: None };
    for (outcome, used) in [
        (CallOutcome::Success, &counted),
        (CallOutcome::UpstreamFailed, &unknown),
        (CallOutcome::TimedOut, &unknown),
    ] {
        let admitted = world.admit().await.unwrap();
        end(&admitted, outcome, used).await;
        (dollars, calls) = (dollars + 10, calls + 1);
        settled(&world, dollars, dollars, calls).await;
    }
    // Nobody says how it ended: the caller's task is gone.
    drop(world.admit().await.unwrap());
    settled(&world, dollars + 10, dollars + 10, calls + 1).await;
}

#[tokio::test]
async fn a_call_that_never_left_costs_nothing_but_the_call() {
    let world = world().await;
    let admitted = world.admit().await.unwrap();
    let nothing = Meter::ALL.into_iter().fold(Amounts::default(), |all, meter| all.with(meter, 0));
    end(&admitted, CallOutcome::UpstreamFailed, &Used { amounts: nothing, model: None }).await;
    settled(&world, 0, 0, 1).await;
}

#[tokio::test]
async fn a_price_changed_in_mid_call_does_not_touch_the_call() {
    let world = world().await;
    let admitted = world.admit().await.unwrap();
    world.cluster.change(|state| price(state, "7"));
    end(&admitted, CallOutcome::Success, &output(2)).await;
    settled(&world, 2, 2, 1).await;
    let admitted = world.admit().await.unwrap();
    end(&admitted, CallOutcome::Success, &output(2)).await;
    settled(&world, 2 + 14, 4, 2).await;
}

#[tokio::test]
async fn the_last_dollar_can_be_spent_and_no_other() {
    let world = World::new(|state| {
        grant(state, "a", Constraints::default());
        price(state, "1");
        metering(state, Some(10));
        budget(state, "money", Measure::Cost, 25 * USD, true);
    })
    .await;
    for _ in 0..2 {
        end(&world.admit().await.unwrap(), CallOutcome::Success, &output(7)).await;
    }
    let world = &world;
    let key = |state: &State| only_account(state, "budget/money").unwrap();
    world.until("both are posted", |state| state.ledger.accounts[&key(state)].posted == 14 * USD).await;
    end(&world.admit().await.unwrap(), CallOutcome::Success, &output(10)).await;
    world.until("the third too", |state| state.ledger.accounts[&key(state)].posted == 24 * USD).await;
    let refused = world.admit().await.err().unwrap();
    assert_eq!(refused.reason, Reason::BudgetExceeded, "a dollar is left, ten may be needed");
}

#[tokio::test]
async fn a_hard_limit_needs_a_price_and_a_bound() {
    let world = World::new(|state| {
        grant(state, "a", Constraints::default());
        metering(state, None);
        budget(state, "money", Measure::Cost, 25 * USD, true);
    })
    .await;
    let refused = world.admit().await.err().unwrap();
    assert_eq!(refused.reason, Reason::NoPrice);
    assert!(refused.message.contains("no price for output"), "{}", refused.message);
    assert!(refused.message.contains("only1mcp ctl price set"), "{}", refused.message);
    world.cluster.change(|state| price(state, "1"));
    let refused = world.admit().await.err().unwrap();
    assert_eq!(refused.reason, Reason::NoBound);
    assert!(refused.message.contains("no bound on output"), "{}", refused.message);
    world.cluster.change(|state| metering(state, Some(10)));
    assert!(world.admit().await.is_ok());
}

#[tokio::test]
async fn a_call_found_open_after_a_crash_costs_its_hold() {
    let mut world = world().await;
    let admitted = world.admit().await.unwrap();
    admitted.sealed().await.unwrap();
    world.cut_off();
    world.crash().await;
    world
        .until("it is charged", |state| {
            let posted = |id: &str| only_account(state, id).map(|key| state.ledger.accounts[&key].posted);
            // A limit that only counts counts it, too.
            let soft = posted("budget/soft") == Some(10 * USD);
            soft && (posted("budget/money"), posted("budget/tokens")) == (Some(10 * USD), Some(10))
        })
        .await;
    let unknown =
        |record: &Record| matches!(record, Record::Completion(c) if c.outcome == CallOutcome::Unknown);
    let records = world.cluster.records.lock().unwrap();
    let Some(Record::Completion(completion)) = records.iter().find(|record| unknown(record)) else {
        panic!("no record of its end: {records:#?}")
    };
    let cost = completion.cost.as_ref().expect("a cost record");
    assert_eq!((cost.total().unwrap().0, cost.at_hold), (10 * USD, true));
    assert_eq!((cost.model.as_str(), cost.cost_center.as_str()), ("m1", "cc1"));
    drop(records);
    drop(Arc::new(admitted));
}

/// Why: a client that takes a call back while its admission is being written was charged all that was held for it,
/// though nothing was sent.
#[tokio::test]
async fn a_call_taken_back_while_its_admission_is_written_costs_nothing_but_itself() {
    let world = world().await;
    // The slices come first, so that the next call has everything in hand.
    end(&world.admit().await.unwrap(), CallOutcome::Success, &output(3)).await;
    settled(&world, 3, 3, 1).await;
    world.hold_disk();
    {
        let mut admitting = std::pin::pin!(world.admit());
        loop {
            tokio::select! {
                biased;
                admitted = &mut admitting => panic!("admitted without a disk: {}", admitted.is_ok()),
                () = tokio::task::yield_now() => {}
            }
            if world.waiting_for_disk() > 0 {
                break;
            }
        }
    }
    world.release_disk();
    settled(&world, 3, 3, 2).await;
}

#[tokio::test]
async fn a_call_taken_back_in_line_holds_nothing() {
    let world = World::new(|state| {
        grant(state, "a", Constraints::default());
        budget(state, "few", Measure::Calls, 1, true);
    })
    .await;
    let first = world.admit().await.unwrap();
    {
        let mut waiting = std::pin::pin!(world.admit());
        tokio::select! {
            admitted = &mut waiting => panic!("admitted past the limit: {}", admitted.is_ok()),
            () = world.until("it waits", |state| !state.ledger.waiters.is_empty()) => {}
        }
    }
    end(&first, CallOutcome::Success, &Used::default()).await;
    world.until("it is posted", |_| world.posted()["budget/few"] == (1, 0)).await;
    tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while !world.enforcer.held().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn while_the_disk_is_low_neither_calls_nor_sessions_are_let_in() {
    let world = world().await;
    world.enforcer.set_disk_low(true);
    assert!(matches!(world.admit().await, Err(refused) if refused.reason == Reason::DiskLow));
    let session = world.enforcer.permit_session(&World::facts()).await;
    assert!(matches!(session, Err(refused) if refused.reason == Reason::DiskLow));
    world.enforcer.set_disk_low(false);
    end(&world.admit().await.unwrap(), CallOutcome::Success, &output(3)).await;
    settled(&world, 3, 3, 1).await;
}
