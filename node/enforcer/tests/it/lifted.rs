//! Limits that are lifted while calls wait.

use std::time::Duration;

use only1mcp_domain::State;
use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::ids::{BudgetId, Digest};
use only1mcp_domain::model::{Constraints, Measure};

use crate::world::{World, acme, budget, grant};

fn lift(state: &mut State, id: &str) {
    assert!(state.budgets.remove(&(acme(), BudgetId::new(id).unwrap())).is_some());
}

/// Why: found by the simulation. The limit was put in place again before the call ended, and the call, which held
/// nothing on it, was charged to it: past what the limit allows, had others used it up by then.
#[tokio::test]
async fn a_limit_that_a_call_does_not_hold_on_is_not_charged() {
    let world = World::new(|state| {
        grant(state, "a", Constraints::default());
        budget(state, "few", Measure::Calls, 1, true);
        budget(state, "other", Measure::Calls, 100, true);
    })
    .await;
    let first = world.admit().await.unwrap();
    let (second, ()) = tokio::join!(world.admit(), async {
        world.until("the second waits", |state| !state.ledger.waiters.is_empty()).await;
        world.cluster.change(|state| lift(state, "other"));
        world.cluster.change(|state| {
            lift(state, "few");
            budget(state, "few", Measure::Calls, 2, true);
        });
        first.complete(CallOutcome::Success, Digest([6; 32]), 1).await.unwrap();
    });
    let second = second.unwrap();
    world.cluster.change(|state| budget(state, "other", Measure::Calls, 100, true));
    second.complete(CallOutcome::Success, Digest([6; 32]), 1).await.unwrap();
    world.until("both are posted", |_| world.posted()["budget/few"].0 == 2).await;
    assert_eq!(world.posted()["budget/few"], (2, 0));
    assert_eq!(world.posted()["budget/other"], (1, 0), "the first one's");
    tokio::time::timeout(Duration::from_secs(30), async {
        while !world.enforcer.held().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}
