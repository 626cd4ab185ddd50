//! `max_connections`: an open MCP session holds a permit of its tenant's until it ends, and nothing else.

use only1mcp_domain::activity::Record;
use only1mcp_domain::decide::Reason;
use only1mcp_domain::model::{Constraints, Quota};
use only1mcp_enforcer::{Refused, SessionPermit};

use crate::world::{World, acme, grant};

async fn world(max: Quota) -> World {
    World::new(|state| {
        grant(state, "a", Constraints::default());
        state.tenants.get_mut(&acme()).unwrap().value.quotas.max_connections = max;
    })
    .await
}

async fn open(world: &World) -> Result<SessionPermit, Refused> {
    world.enforcer.permit_session(&World::facts()).await
}

#[tokio::test]
async fn so_many_sessions_as_may_and_one_more_in_the_place_of_one_that_ended() {
    let world = world(Quota::AtMost(3)).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(open(&world).await.unwrap());
    }
    let Err(refused) = open(&world).await else { panic!("a fourth session") };
    assert_eq!(refused.reason, Reason::ConnectionsExceeded);
    let (account, _) = refused.limit.unwrap();
    assert_eq!(account.limit.to_string(), "quota/connections");
    assert!(refused.message.contains("connections_exceeded"), "{}", refused.message);
    let is_refusal = |record: &Record| matches!(record, Record::Refusal(refusal) if refusal.reason == Reason::ConnectionsExceeded);
    world
        .until("the refusal is recorded", |_| world.cluster.records.lock().unwrap().iter().any(is_refusal))
        .await;
    drop(sessions.pop());
    sessions.push(open(&world).await.unwrap());
    // One that waits is served as another ends.
    let (waiting, ()) = tokio::join!(open(&world), async { drop(sessions.pop()) });
    sessions.push(waiting.unwrap());
    // Sessions are no calls, and keep no period of theirs open.
    world.admit().await.unwrap();
    assert!(world.posted().values().all(|(posted, overrun)| (*posted, *overrun) == (0, 0)));
}

#[tokio::test]
async fn no_limit_no_permit_and_none_at_zero() {
    let unlimited = world(Quota::Unlimited).await;
    for _ in 0..50 {
        std::mem::forget(open(&unlimited).await.unwrap());
    }
    assert!(unlimited.cluster.records.lock().unwrap().iter().all(|record| !matches!(record, Record::Ask(_))));
    let none = world(Quota::AtMost(0)).await;
    assert!(matches!(open(&none).await, Err(refused) if refused.reason == Reason::ConnectionsExceeded));
}

#[tokio::test]
async fn a_restarted_node_begins_without_sessions() {
    let mut world = world(Quota::AtMost(1)).await;
    let before = open(&world).await.unwrap();
    world.crash().await;
    let after = open(&world).await.unwrap();
    // The end of a session of an earlier life frees nothing of this one's.
    drop(before);
    assert!(open(&world).await.is_err());
    drop(after);
}
