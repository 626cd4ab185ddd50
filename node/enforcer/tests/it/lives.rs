//! What a life of a node finds of the lives before it.

use only1mcp_domain::activity::{CallOutcome, Record};
use only1mcp_domain::ids::CallId;
use only1mcp_domain::model::Constraints;

use crate::world::{World, grant};

/// Whether each admission and each end of the call that was sent to the cluster is its only one.
fn told(world: &World, call: CallId) -> (usize, usize) {
    let records = world.cluster.records.lock().unwrap();
    let admitted = records.iter().filter(|record| matches!(record, Record::Admission(a) if a.call == call));
    let ended = records.iter().filter(|record| matches!(record, Record::Completion(c) if c.call == call));
    (admitted.count(), ended.count())
}

/// What the cluster was told about restarts, in order.
async fn restarts(world: &World, count: usize) -> Vec<bool> {
    let restarts = |world: &World| -> Vec<bool> {
        let records = world.cluster.records.lock().unwrap();
        let complete = |record: &Record| match record {
            Record::Restarted { complete } => Some(*complete),
            _ => None,
        };
        records.iter().filter_map(complete).collect()
    };
    world.until("it is back", |_| restarts(world).len() >= count).await;
    restarts(world)
}

/// A journal of an earlier day holds what a later life has sent since: sent anew under a new incarnation, nothing would
/// show the cluster that it has it already.
#[tokio::test]
async fn an_older_copy_of_the_journal_tells_nothing_twice() {
    let mut world = World::new(|state| grant(state, "a", Constraints::default())).await;
    // With it the node has permits in hand, and needs no cluster for the next call.
    let first = world.admit().await.unwrap();
    first.complete(CallOutcome::Success, only1mcp_domain::ids::Digest([6; 32]), 1).await.unwrap();
    world.cut_off();
    let open = world.admit().await.unwrap();
    let call = open.call();
    let copy = world.copy_journal();
    assert_eq!(told(&world, call), (0, 0), "it stands in the journal only");

    world.crash().await;
    assert_eq!(restarts(&world, 2).await, [true, true]);
    assert_eq!(told(&world, call), (1, 1), "the next life tells it, and that nobody knows its end");

    world.crash_and_find(Some(copy)).await;
    assert_eq!(restarts(&world, 3).await, [true, true, false]);
    assert_eq!(told(&world, call), (1, 1));
}
