//! Two nodes and one duty: whatever becomes of the first, every event arrives, and the log listens to one alone.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::memory::{Memory, eventually};
use crate::receiver::{Answer, Receiver};

#[tokio::test]
async fn a_delivery_under_an_old_assignment_does_not_count() {
    let memory = Memory::new();
    let (_first, _second) = (memory.node(1), memory.node(2));
    let receiver = Receiver::start(&[Answer::Gated]).await;
    memory.webhook("w", &receiver.url, 1);
    memory.spend(75);
    let start = memory.duty("w").cursor;
    let id = receiver.wait(1).await[0].id().to_owned();
    // The leader has not heard of node 1 for long, while it waits for the answer.
    let fence = memory.assign("w", 2);
    let got = receiver.wait(2).await;
    assert_eq!(got[1].id(), id, "the other begins where the log says, and the receiver knows the id");
    receiver.open_gate();
    eventually("the second's word counts", || memory.duty("w").cursor.0.to_string() == id).await;
    assert!(memory.duty("w").cursor > start && memory.duty("w").assigned_at == fence);
    memory.spend(15);
    assert_eq!(receiver.wait(3).await.len(), 3);
    eventually("the first has let go", || memory.runner(0).metrics().held == 0).await;
}

#[tokio::test]
async fn what_was_taken_but_not_told_to_the_log_is_sent_again_by_the_next() {
    let memory = Memory::new();
    let (first, _second) = (memory.node(1), memory.node(2));
    let receiver = Receiver::start(&[]).await;
    memory.webhook("w", &receiver.url, 1);
    first.cut_off.store(true, Ordering::SeqCst);
    memory.spend(75);
    receiver.wait(1).await;
    memory.spend(15);
    memory.assign("w", 2);
    let got = receiver.wait(3).await;
    let ids: BTreeSet<&str> = got.iter().map(|got| got.id()).collect();
    assert_eq!((got[0].id() == got[1].id(), ids.len()), (true, 2), "at least once, and known by its id");
    eventually("the log knows", || memory.duty("w").cursor.0.to_string() == got[2].id()).await;
}
