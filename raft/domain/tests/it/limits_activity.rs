//! Both sides of the bounds on batches and on what their records say.

use only1mcp_domain::Outcome;
use only1mcp_domain::Rejection;
use only1mcp_domain::activity::Record;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits::*;
use only1mcp_domain::time::TimestampMs;

use crate::apply_world::*;
use crate::limits::letters;

#[test]
fn batch_records_max() {
    let mut world = World::formed();
    let life = world.open(1);
    let used = Record::KeyUsed { key: key_id("key-root"), at: TimestampMs(START_MS) };
    let of = |count: usize| Command::Activity(batch(1, life, 1, vec![used.clone(); count]));
    let over = world.submit(&node(1), of(BATCH_RECORDS_MAX + 1)).outcome;
    assert!(matches!(over, Err(Rejection::Invalid { .. })));
    assert!(world.submit(&node(1), of(BATCH_RECORDS_MAX)).outcome.is_ok());
}

#[test]
fn batch_window_max() {
    let mut world = World::formed();
    let life = world.open(1);
    let first = |world: &mut World, sequence: u64| {
        let outcome = world.submit(&node(1), Command::Activity(batch(1, life, sequence, Vec::new()))).outcome;
        match outcome {
            Ok(Outcome::BatchDuplicate { first_index }) => first_index,
            other => panic!("{other:?}"),
        }
    };
    for sequence in 1..=BATCH_WINDOW_MAX as u64 {
        world.submit(&node(1), Command::Activity(batch(1, life, sequence, Vec::new()))).outcome.unwrap();
    }
    assert_ne!(first(&mut world, 1), 0);
    let next = BATCH_WINDOW_MAX as u64 + 1;
    world.submit(&node(1), Command::Activity(batch(1, life, next, Vec::new()))).outcome.unwrap();
    assert_eq!(first(&mut world, 1), 0, "older than the window");
    assert_ne!(first(&mut world, 2), 0);
    assert_eq!(world.state.activity.get(&NodeId(1)).unwrap().window.len(), BATCH_WINDOW_MAX);
    world.assert_mirrored();
}

#[test]
fn texts_of_records_are_cut_not_refused() {
    let mut world = World::with_acme();
    let life = world.open(1);
    let mut long = admission(world.state.policy_revision);
    long.caller.user_agent = letters(EVENT_TEXT_BYTES_MAX + 1);
    long.caller.request_id = letters(EVENT_TEXT_BYTES_MAX);
    let records = vec![Record::Admission(Box::new(long))];
    assert!(world.submit(&node(1), Command::Activity(batch(1, life, 1, records))).outcome.is_ok());
    let event = world.last_event();
    assert!(event.user_agent.len() <= EVENT_TEXT_BYTES_MAX && event.user_agent.ends_with("…[cut]"));
    assert_eq!(event.request_id.len(), EVENT_TEXT_BYTES_MAX);
}
