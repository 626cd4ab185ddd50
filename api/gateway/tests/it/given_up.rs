//! Calls that wait to be admitted, for a budget or a permit, and whose clients do not want them any more.

use std::sync::atomic::Ordering;

use http::Method;
use only1mcp_domain::decide::Reason;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::{Client, request};
use crate::real::serve;
use crate::world::{World, http, shared, until};

/// A world in which whoever calls waits.
async fn world() -> World {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr), shared(http("pool", addr))]).await;
    world.fake.queued.send_replace(true);
    world
}

fn calling(client: &Client, id: u64, tool: &'static str) -> JoinHandle<Value> {
    let client = client.clone();
    tokio::spawn(async move { client.call(id, tool, json!({})).await })
}

async fn in_line(world: &World, count: usize) {
    until("the line", || world.fake.in_line.load(Ordering::SeqCst) == count).await;
}

fn refusals(world: &World) -> Vec<(String, Reason)> {
    world.fake.refused.lock().unwrap().clone()
}

#[tokio::test]
async fn a_cancelled_call_leaves_the_line_and_is_told_and_recorded_as_withdrawn() {
    let world = world().await;
    let client = world.ann().await;
    for (id, tool) in [(1, "up__echo"), (2, "pool__echo")] {
        let call = calling(&client, id, tool);
        in_line(&world, 1).await;
        let cancel =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        assert_eq!(client.post(&cancel).await.status, 202);
        let answer = call.await.unwrap();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32800)), "{answer}");
        in_line(&world, 0).await;
        assert_eq!(refusals(&world).last(), Some(&(tool.to_owned(), Reason::Withdrawn)));
    }
    assert!(world.fake.admitted.lock().unwrap().is_empty() && world.fake.completed().is_empty());
    world.shutdown().await;
}

#[tokio::test]
async fn who_disconnects_in_line_leaves_it() {
    let world = world().await;
    let client = world.ann().await;
    let call = calling(&client, 1, "up__echo");
    let other = calling(&world.ann().await, 1, "up__echo");
    in_line(&world, 2).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    in_line(&world, 1).await;
    until("it is recorded", || refusals(&world) == [("up__echo".to_owned(), Reason::Withdrawn)]).await;
    // Whoever stays has its turn.
    world.fake.queued.send_replace(false);
    assert!(other.await.unwrap().get("result").is_some());
    world.shutdown().await;
}

#[tokio::test]
async fn who_can_come_back_for_the_answer_keeps_the_place() {
    let (addr, _) = serve().await;
    let world = World::with(1, vec![http("up", addr)], |config| config.stream_after_ms = 10).await;
    world.fake.queued.send_replace(true);
    let client = world.ann().await;
    let mut answer =
        client.post(&request(1, "tools/call", json!({"name": "up__echo", "arguments": {}}))).await;
    let primed = answer.event().await.unwrap().id.unwrap();
    drop(answer);
    until("nobody reads", || world.gateway.metrics().streams_open == 0).await;
    in_line(&world, 1).await;
    world.fake.queued.send_replace(false);
    let mut again = client.clone();
    again.set("last-event-id", &primed);
    assert!(again.get().await.message().await.get("result").is_some());
    assert!(refusals(&world).is_empty());
    world.shutdown().await;
}

#[tokio::test]
async fn a_session_that_ends_takes_its_calls_out_of_the_line() {
    let world = world().await;
    let client = world.ann().await;
    let calling = client.clone();
    let call = tokio::spawn(async move {
        let params = json!({"name": "up__echo", "arguments": {}});
        calling.post(&request(1, "tools/call", params)).await.status
    });
    in_line(&world, 1).await;
    assert_eq!(client.send(Method::DELETE, "").await.status, 204);
    assert_eq!(call.await.unwrap(), 404, "as every request of a session that is gone");
    in_line(&world, 0).await;
    until("it is recorded", || refusals(&world) == [("up__echo".to_owned(), Reason::SessionClosed)]).await;
    world.shutdown().await;
}
