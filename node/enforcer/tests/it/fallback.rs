//! A role whose own limit is used up is not the end, where another allows the call.

use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::Digest;
use only1mcp_domain::model::{Constraints, Measure};

use crate::world::{World, budget, grant};

fn hourly(count: u32) -> Constraints {
    Constraints { max_requests_per_hour: Some(count), ..Constraints::default() }
}

async fn call(world: &World) -> Result<(), (Reason, Option<String>)> {
    let admitted = world.admit().await;
    let admitted = admitted.map_err(|refused| {
        let limit = refused.limit.map(|(account, _)| account.limit.to_string());
        (refused.reason, limit)
    })?;
    admitted.sealed().await.unwrap();
    admitted.complete(CallOutcome::Success, Digest([6; 32]), 1).await.unwrap();
    Ok(())
}

#[tokio::test]
async fn the_next_role_pays_where_the_first_is_used_up() {
    let world = World::new(|state| {
        grant(state, "a", hourly(2));
        grant(state, "b", hourly(3));
    })
    .await;
    for _ in 0..5 {
        call(&world).await.unwrap();
    }
    let (reason, limit) = call(&world).await.unwrap_err();
    assert_eq!(reason, Reason::BudgetExceeded);
    assert_eq!(limit.as_deref(), Some("role-requests/a"), "the deciding path's");
    world
        .until("all five are posted", |state| {
            let posted: i128 = state.ledger.accounts.values().map(|account| account.posted).sum();
            posted == 5
        })
        .await;
    let posted = world.posted();
    assert_eq!((posted["role-requests/a"], posted["role-requests/b"]), ((2, 0), (3, 0)));
}

#[tokio::test]
async fn no_role_helps_against_the_tenants_own_limit() {
    let world = World::new(|state| {
        grant(state, "a", hourly(100));
        grant(state, "b", hourly(100));
        budget(state, "few", Measure::Calls, 1, true);
    })
    .await;
    call(&world).await.unwrap();
    let (reason, limit) = call(&world).await.unwrap_err();
    assert_eq!((reason, limit.as_deref()), (Reason::BudgetExceeded, Some("budget/few")));
}

#[tokio::test]
async fn paths_tried_max() {
    use only1mcp_domain::limits::PATHS_TRIED_MAX;
    for (used_up, helped) in [(PATHS_TRIED_MAX, true), (PATHS_TRIED_MAX + 1, false)] {
        let world = World::new(|state| {
            (0..used_up).for_each(|n| grant(state, &format!("r{n:02}"), hourly(0)));
            grant(state, "z", hourly(1));
        })
        .await;
        assert_eq!(call(&world).await.is_ok(), helped, "{used_up} used up");
    }
}
