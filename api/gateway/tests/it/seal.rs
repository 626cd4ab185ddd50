//! P2: nothing that an upstream caused leaves before the admission is sealed.

use std::time::Duration;

use axum::body::Body;
use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::model::SealMode;
use serde_json::json;

use crate::client::request;
use crate::fake::Seal;
use crate::real::serve;
use crate::scripted::{Scripted, always, sse_body, text_result};
use crate::world::{World, http, stdio, until};

#[tokio::test]
async fn neither_progress_nor_result_leaves_before_the_seal() {
    let (addr, _) = serve().await;
    for upstream in [http("up", addr), stdio("up")] {
        let world = World::with(1, vec![upstream], |config| config.stream_after_ms = 50).await;
        let client = world.ann().await;
        client.call(1, "up__echo", json!({})).await;
        world.fake.seal.send_replace(Seal::Shut);
        let params = json!({"name": "up__progress", "arguments": {}, "_meta": {"progressToken": "mine"}});
        // A stream opens, to keep the connection alive; it stays empty.
        let mut answer = client.post(&request(2, "tools/call", params)).await;
        assert!(answer.is_stream());
        assert!(answer.is_silent(300).await);
        assert_eq!(world.fake.completed().len(), 1);
        world.fake.seal.send_replace(Seal::Open);
        for step in 1..=3 {
            let progress = answer.message().await;
            assert_eq!(progress["params"]["progressToken"], "mine");
            assert_eq!(progress["params"]["progress"].as_f64(), Some(f64::from(step)));
        }
        assert_eq!(answer.message().await["result"]["content"][0]["text"], "done");
        assert!(answer.event().await.is_none());
        world.shutdown().await;
    }
}

#[tokio::test]
async fn what_is_not_sealed_is_withheld() {
    let upstream = always(text_result("secret")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    world.fake.seal.send_replace(Seal::Shut);
    let client = world.ann().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(1, "up__t", json!({})).await }
    });
    until("the call at the upstream", || !upstream.texts("tools/call").is_empty()).await;
    world.fake.seal.send_replace(Seal::Revoked);
    let answer = call.await.unwrap();
    assert_eq!(answer["error"]["data"]["code"], "revoked_in_flight");
    assert!(!answer.to_string().contains("secret"));
    assert_eq!(world.fake.completed_once().await.outcome, CallOutcome::Withheld);
}

#[tokio::test]
async fn interim_messages_of_a_revoked_call_are_withheld_and_the_upstream_is_told() {
    let upstream = Scripted::new(|_| {
        let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "secret"}});
        let events = futures_util::stream::iter([Ok::<_, std::io::Error>(format!("data: {log}\n\n"))]);
        let body = futures_util::StreamExt::chain(events, futures_util::stream::pending());
        Box::pin(async move { sse_body(Body::from_stream(body)) })
    })
    .await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    world.fake.seal.send_replace(Seal::Revoked);
    let client = world.ann().await;
    let answer = client.post(&request(1, "tools/call", json!({"name": "up__t"}))).await.text().await;
    assert!(answer.contains("revoked_in_flight") && !answer.contains("secret"), "{answer}");
    until("the cancellation", || !upstream.texts("notifications/cancelled").is_empty()).await;
    world.shutdown().await;
}

#[tokio::test]
async fn a_seal_that_never_comes_withholds() {
    let upstream = always(text_result("secret")).await;
    let world = World::with(1, vec![http("up", upstream.addr)], |config| config.seal_ms_max = 100).await;
    world.fake.seal.send_replace(Seal::Shut);
    let answer = world.ann().await.call(1, "up__t", json!({})).await;
    assert_eq!(answer["error"]["data"]["code"], "audit_unavailable");
    assert_eq!(answer["error"]["data"]["retry"], true);
}

#[tokio::test]
async fn before_dispatch_sends_nothing_until_committed_and_journaled_waits_for_nothing() {
    let upstream = always(text_result("ok")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    world.fake.seal.send_replace(Seal::Shut);
    *world.fake.mode.lock().unwrap() = SealMode::BeforeDispatch;
    let client = world.ann().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(1, "up__t", json!({})).await }
    });
    until("the admission", || !world.fake.admitted.lock().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(upstream.texts("tools/call").is_empty());
    world.fake.seal.send_replace(Seal::Open);
    assert_eq!(call.await.unwrap()["result"]["_meta"]["only1mcp/receipt"]["mode"], "before_dispatch");
    world.fake.seal.send_replace(Seal::Shut);
    *world.fake.mode.lock().unwrap() = SealMode::Journaled;
    let receipt = client.call(2, "up__t", json!({})).await["result"]["_meta"]["only1mcp/receipt"].clone();
    assert_eq!((receipt["state"].as_str(), receipt.get("audit_index")), (Some("pending"), None));
}

#[tokio::test]
async fn a_question_is_held_like_anything_else() {
    let (addr, _) = serve().await;
    for upstream in [http("up", addr), stdio("up")] {
        let world = World::with(1, vec![upstream], |config| config.stream_after_ms = 50).await;
        let client = world.ann().await;
        client.call(1, "up__echo", json!({})).await;
        let mut outside = client.get().await;
        world.fake.seal.send_replace(Seal::Shut);
        let mut answer = client.post(&request(2, "tools/call", json!({"name": "up__ask"}))).await;
        assert!(answer.is_silent(300).await);
        assert!(outside.is_silent(10).await);
        world.fake.seal.send_replace(Seal::Open);
        let question = answer.message().await;
        assert_eq!(question["method"], "elicitation/create");
        let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}});
        assert_eq!(client.post(&reply).await.status, 202);
        assert!(answer.message().await.get("result").is_some());
        world.shutdown().await;
    }
}
