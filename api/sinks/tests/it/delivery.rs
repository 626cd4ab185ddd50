//! One node's deliveries: what is sent, and what becomes of it when the receiver does not do its part.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use only1mcp_domain::limits::{WEBHOOK_REQUESTS_MAX, WEBHOOK_REQUESTS_PER_TENANT_MAX};
use only1mcp_domain::model::WebhookEvent;
use serde_json::json;

use crate::memory::{Memory, eventually, other_tenant, webhook_secret};
use crate::receiver::{Answer, Receiver};

#[tokio::test]
async fn levels_arrive_signed_in_their_order_and_once() {
    let memory = Memory::new();
    let node = memory.node(1);
    let receiver = Receiver::start(&[]).await;
    memory.webhook("w", &receiver.url, 1);
    for calls in [74, 1, 15, 9, 1, 5] {
        memory.spend(calls);
    }
    let got = receiver.wait(3).await;
    let told: Vec<_> =
        got.iter().map(|got| (got.json()["level"].clone(), got.json()["posted"].clone())).collect();
    let expected = [("notice", "75"), ("warning", "90"), ("exceeded", "100")];
    assert_eq!(told, expected.map(|(level, posted)| (json!(level), json!(posted))));
    for got in &got {
        assert!(got.is_signed_by(&webhook_secret()), "{got:?}");
        assert!(!got.is_signed_by("whsec_AAAA"));
        assert_eq!(got.header("content-type"), "application/json");
        let body = got.json();
        assert_eq!(body["id"], got.id());
        assert_eq!(body["audit_index"].to_string(), got.id());
        assert_eq!((&body["tenant"], &body["kind"]), (&json!("acme"), &json!("budget_level")));
        assert_eq!((&body["limit"], &body["measure"]), (&json!("budget/b"), &json!("calls")));
        assert_eq!((&body["amount"], &body["period_end"]), (&json!("100"), &json!(null)));
        assert_eq!(body["event_hash"].as_str().unwrap().len(), 64);
    }
    let last: u64 = got[2].id().parse().unwrap();
    eventually("the log knows", || memory.duty("w").cursor.0 == last).await;
    assert_eq!(receiver.got().len(), 3, "and no other event was told");
    let metrics = memory.runner(0).metrics();
    assert_eq!((metrics.delivered, metrics.failed, metrics.held, metrics.failing), (3, 0, 1, 0));
    drop(node);
}

#[tokio::test]
async fn what_fails_is_sent_again_under_the_same_id_and_nothing_overtakes_it() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let receiver = Receiver::start(&[Answer::Status(500), Answer::Break]).await;
    memory.webhook("w", &receiver.url, 1);
    memory.spend(75);
    memory.spend(15);
    receiver.wait(1).await;
    eventually("the log knows why", || memory.duty("w").last_error == "answered HTTP 500").await;
    assert_eq!(memory.duty("w").attempts, 1);
    let got = receiver.wait(4).await;
    let ids: Vec<&str> = got.iter().map(|got| got.id()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    assert!(got[0].body == got[1].body && got[1].body == got[2].body, "a repetition says the same");
    eventually("it is over", || memory.duty("w").cursor.0.to_string() == ids[3]).await;
    assert_eq!((memory.duty("w").attempts, memory.duty("w").last_error.as_str()), (0, ""));
    let metrics = memory.runner(0).metrics();
    assert_eq!((metrics.delivered, metrics.failed, metrics.failing), (2, 2, 0));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_for_ever_and_a_slow_one_is() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let receiver = Receiver::start(&[Answer::Late(1_500, 200), Answer::Hang]).await;
    memory.webhook("w", &receiver.url, 1);
    memory.spend(75);
    let slow = receiver.wait(1).await[0].id().to_owned();
    eventually("the slow answer counts", || memory.duty("w").cursor.0.to_string() == slow).await;
    assert_eq!(receiver.got().len(), 1);
    memory.spend(15);
    let got = receiver.wait(3).await;
    assert_eq!(got[1].id(), got[2].id());
    assert_eq!(memory.duty("w").last_error, "did not answer within 10 s");
}

#[tokio::test]
async fn redirects_are_not_followed_and_gone_is_told() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let elsewhere = Receiver::start(&[]).await;
    let receiver = Receiver::start(&[Answer::Redirect(elsewhere.url.clone()), Answer::Status(410)]).await;
    memory.webhook("w", &receiver.url, 1);
    memory.spend(75);
    receiver.wait(3).await;
    eventually("taken in the end", || memory.duty("w").attempts == 0 && memory.duty("w").cursor.0 > 3).await;
    assert!(elsewhere.got().is_empty());
    assert_eq!(memory.runner(0).metrics().failed, 2);
}

/// `limits::WEBHOOK_ANSWER_BYTES_MAX`, past which nothing is read; an empty answer is on the other side of it.
#[tokio::test]
async fn webhook_answer_bytes_max() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let receiver = Receiver::start(&[Answer::Endless]).await;
    memory.webhook("w", &receiver.url, 1);
    memory.spend(75);
    let id = receiver.wait(1).await[0].id().to_owned();
    eventually("taken", || memory.duty("w").cursor.0.to_string() == id).await;
    memory.spend(25);
    receiver.wait(2).await;
}

#[tokio::test]
async fn one_that_is_down_holds_up_nobody_else_and_loses_nothing() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let (down, up) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    down.answers_from_now_on(Answer::Status(503));
    memory.webhook("down", &down.url, 1);
    memory.webhook("up", &up.url, 1);
    for calls in [75, 15, 10] {
        memory.spend(calls);
    }
    up.wait(3).await;
    eventually("it is seen", || memory.runner(0).metrics().failing == 1).await;
    assert!(memory.runner(0).metrics().lag > 0);
    down.answers_from_now_on(Answer::Status(200));
    let last = up.got()[2].id().to_owned();
    eventually("everything arrives", || memory.duty("down").cursor.0.to_string() == last).await;
    let ids: BTreeSet<String> = down.got().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!(ids, up.got().iter().map(|got| got.id().to_owned()).collect());
}

#[tokio::test]
async fn a_webhook_is_told_what_it_asks_for_and_a_disabled_one_keeps_its_place() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let (overruns, levels) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    memory.webhook("overruns", &overruns.url, 1);
    memory.change("overruns", |webhook| webhook.events = vec![WebhookEvent::Overrun]);
    memory.webhook("levels", &levels.url, 1);
    memory.change("levels", |webhook| webhook.enabled = false);
    for calls in [75, 15, 10] {
        memory.spend(calls);
    }
    memory.change("levels", |webhook| webhook.enabled = true);
    levels.wait(3).await;
    assert!(overruns.got().is_empty());
}

/// A node whose state is stale may have lost the duty without knowing.
#[tokio::test]
async fn a_stale_node_sends_nothing() {
    let memory = Memory::new();
    let node = memory.node(1);
    node.fresh.store(false, Ordering::SeqCst);
    let (receiver, other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    memory.webhook("w", &receiver.url, 1);
    memory.spend(75);
    // Another node's delivery shows that there was time enough.
    let _second = memory.node(2);
    memory.webhook("other", &other.url, 2);
    memory.spend(15);
    other.wait(1).await;
    assert!(receiver.got().is_empty());
    node.fresh.store(true, Ordering::SeqCst);
    receiver.wait(2).await;
}

/// Why: 32 places were all that a node had, and one tenant's receivers that never answered took every one of them.
/// INVARIANT: P7
#[tokio::test]
async fn a_tenant_whose_receivers_are_slow_holds_up_nobody_else() {
    let memory = Memory::new();
    let _node = memory.node(1);
    let (slow, quick) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    slow.answers_from_now_on(Answer::Gated);
    for number in 0..2 * WEBHOOK_REQUESTS_MAX {
        memory.webhook(&format!("w{number}"), &slow.url, 1);
    }
    memory.spend(75);
    assert_eq!(slow.wait(WEBHOOK_REQUESTS_PER_TENANT_MAX).await.len(), WEBHOOK_REQUESTS_PER_TENANT_MAX);
    memory.webhook_of(other_tenant(), "w", &quick.url, 1);
    for calls in [75, 15, 10] {
        memory.spend_of(other_tenant(), calls);
    }
    quick.wait(3).await;
    assert_eq!(slow.got().len(), WEBHOOK_REQUESTS_PER_TENANT_MAX, "its others wait for a place");
    slow.open_gate();
    slow.wait(2 * WEBHOOK_REQUESTS_MAX).await;
}
