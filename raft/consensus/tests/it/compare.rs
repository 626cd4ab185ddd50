//! Nodes that do not agree are told apart, and what lies on a disk is read before it is needed.

use std::time::Duration;

use only1mcp_consensus::Handle;
use only1mcp_domain::ids::{AuditIndex, Digest, PrincipalId, TenantId};
use only1mcp_domain::row::{RowKey, RowValue, Table};
use only1mcp_proto::codec;
use only1mcp_storage::{Engine as _, SegmentCopy, Segments as _};
use tokio::time::Instant;

use crate::world::{World, soon};

async fn until(what: &str, done: impl FnMut() -> bool) {
    until_or(what, done, String::new).await;
}

async fn until_or(what: &str, mut done: impl FnMut() -> bool, told: impl Fn() -> String) {
    let (began, deadline) = (Instant::now(), soon() + Duration::from_secs(30));
    while !done() {
        assert!(Instant::now() < deadline, "in vain for {:?}: {what}; {}", began.elapsed(), told());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All that a node can say of its trail, for a wait that was in vain.
fn told(handle: &Handle) -> String {
    let (size, events) = (*handle.tree().size().borrow(), handle.audit_events(AuditIndex(1), usize::MAX));
    let (segments, scrubbed, status) = (handle.audit_segments(), handle.scrubbed(), handle.status());
    format!(
        "tree of {size}, chain of {}, {} readable; segments {segments:?}; {scrubbed:?}; {status:?}",
        handle.state().chain.index.0,
        events.map_or_else(|error| error.to_string(), |events| events.len().to_string()),
    )
}

/// One row of a node that does not run, changed as a defect would: sound in itself.
fn alter(world: &World, id: u64) {
    let engine = world.disks[&id].engine();
    let key = RowKey::principal(&TenantId::system(), &PrincipalId::new("root").unwrap());
    let row = codec::decode_row(Table::Principals, &engine.get(&key.0).unwrap().unwrap()).unwrap();
    let RowValue::Principal(mut record) = row else { panic!("{row:?}") };
    record.value.display_name = "somebody else".to_owned();
    engine.write(vec![(key.0, Some(codec::encode_row(&RowValue::Principal(record))))], true).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_odd_one_out_stops_and_the_others_go_on() {
    let mut world = World::new(3).await;
    world.digest_every = 8;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    for _ in 0..16 {
        world.tick(1).await;
    }
    for id in 1..=3 {
        let handle = world.handle(id);
        until("all agree", || handle.agreed_index() > 0).await;
    }
    world.agree(&[1, 2, 3]).await;
    // The leader or a follower, whichever it is.
    world.kill(3).await;
    alter(&world, 3);
    world.start(3).await;
    let odd = world.handle(3);
    while odd.status().fatal.is_none() {
        world.tick(1).await;
        assert!(world.handle(1).status().applied < 2_000, "it was not noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let why = odd.status().fatal.unwrap();
    assert!(why.contains("STATE_DIVERGED"), "{why}");
    let before = world.handle(1).agreed_index();
    for _ in 0..24 {
        world.tick(1).await;
    }
    for id in [1, 2] {
        let handle = world.handle(id);
        until("two are a majority", || handle.agreed_index() > before).await;
        assert_eq!(handle.status().fatal, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_differ_are_told_of_and_both_go_on() {
    let mut world = World::new(2).await;
    world.digest_every = 8;
    world.form().await;
    world.join(2).await;
    world.agree(&[1, 2]).await;
    world.kill(2).await;
    alter(&world, 2);
    world.start(2).await;
    for _ in 0..24 {
        world.tick(1).await;
    }
    for id in [1, 2] {
        assert_eq!(world.handle(id).status().fatal, None, "nobody knows which of them is right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_nobody_reads_is_found_damaged_and_fetched_again() {
    let mut world = World::new(3).await;
    // So slow that the last segment is not read for a second after the start.
    world.scrub = 3_000;
    world.segment_events = 3;
    world.form().await;
    world.join(2).await;
    world.join(3).await;
    for id in [1, 2] {
        let handle = world.handle(id);
        let sealed = || handle.audit_segments().0 >= 2 && handle.audit_segments().1 == 0;
        until_or("segments are sealed", sealed, || told(&handle)).await;
    }
    world.kill(2).await;
    world.start(2).await;
    let handle = world.handle(2);
    // The tree of the trail reads everything once as the node starts.
    let size = handle.tree().size();
    let whole = || *size.borrow() == handle.state().chain.index.0;
    until_or("the tree is whole", whole, || told(&handle)).await;
    let files = world.disks[&2].segments();
    let read = |address: &Digest| files.read(address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    let good: Vec<_> = files.addresses().unwrap().into_iter().map(|a| (a, read(&a))).collect();
    assert!(good.len() >= 2);
    for (address, content) in &good {
        let mut bad = content.clone();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        files.remove(address, SegmentCopy::Part).unwrap();
        files.append(address, 0, &bad).unwrap();
        files.finish(address).unwrap();
    }
    // But for the one that was being read at that moment.
    let whole = || good.iter().filter(|(address, content)| read(address) == *content).count();
    until("they are found", || handle.scrubbed().faults + 1 >= good.len() as u64).await;
    until("they are whole again", || handle.audit_segments().1 == 0 && whole() + 1 >= good.len()).await;
    until("all of it is read", || handle.scrubbed().rounds > 0).await;
    assert!(handle.scrubbed().bytes > 0);
    assert_eq!(handle.status().fatal, None);
}
