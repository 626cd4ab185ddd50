//! What goes to and fro while a call runs, and what comes outside of calls.

use std::sync::atomic::Ordering;

use only1mcp_domain::activity::CallOutcome;
use serde_json::json;

use crate::client::request;
use crate::real::serve;
use crate::world::{World, http, stdio, until};

#[tokio::test]
async fn progress_comes_under_the_clients_own_token_and_with_event_ids() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let client = world.ann().await;
    let params = json!({"name": "up__progress", "_meta": {"progressToken": 7}});
    let mut answer = client.post(&request(1, "tools/call", params)).await;
    assert!(answer.is_stream());
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    let mut ids = Vec::new();
    let mut messages = Vec::new();
    while let Some(event) = answer.event().await {
        ids.push(event.id.unwrap());
        messages.push(event.data);
    }
    assert_eq!(ids, ["1-0", "1-1", "1-2", "1-3", "1-4"]);
    assert!(messages[0].is_null(), "the priming event");
    assert_eq!(messages[1]["params"]["progressToken"], 7);
    assert_eq!(messages[4]["result"]["content"][0]["text"], "done");
    world.shutdown().await;
}

#[tokio::test]
async fn a_broken_stream_is_resumed_where_it_broke() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let mut client = world.ann().await;
    let params = json!({"name": "up__progress", "_meta": {"progressToken": 7}});
    let mut answer = client.post(&request(1, "tools/call", params)).await;
    answer.event().await.unwrap();
    let seen = answer.event().await.unwrap().id.unwrap();
    assert_eq!(seen, "1-1");
    drop(answer);
    client.set("last-event-id", &seen);
    let mut resumed = client.get().await;
    assert_eq!(resumed.message().await["params"]["progress"].as_f64(), Some(2.0));
    resumed.message().await;
    assert_eq!(resumed.message().await["result"]["content"][0]["text"], "done");
    assert!(resumed.event().await.is_none());
    client.set("last-event-id", "77-1");
    assert_eq!(client.get().await.status, 400);
    world.shutdown().await;
}

#[tokio::test]
async fn a_cancellation_reaches_the_right_request_under_its_own_id() {
    let (addr, seen) = serve().await;
    let world = World::new(vec![http("up", addr), stdio("child")]).await;
    let client = world.ann().await;
    for (id, tool) in [(5, "up__slow"), (6, "child__slow")] {
        let before = world.fake.completed().len();
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.call(id, tool, json!({})).await }
        });
        until("the admission", || world.fake.admitted.lock().unwrap().len() > before).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "enough"}});
        assert_eq!(client.post(&cancel).await.status, 202);
        assert_eq!(call.await.unwrap()["error"]["code"], -32800);
        assert_eq!(world.fake.completed()[before].outcome, CallOutcome::Cancelled);
    }
    until("the server to see it", || seen.cancelled.load(Ordering::SeqCst) == 1).await;
    // The connection is as good as before.
    assert!(client.call(7, "child__echo", json!({})).await.get("result").is_some());
    world.shutdown().await;
}

#[tokio::test]
async fn a_question_goes_to_the_client_and_its_answer_back() {
    let (addr, _) = serve().await;
    for upstream in [http("up", addr), stdio("up")] {
        let world = World::new(vec![upstream]).await;
        let client = world.ann().await;
        let mut answer = client.post(&request(1, "tools/call", json!({"name": "up__ask"}))).await;
        let question = answer.message().await;
        assert_eq!(question["method"], "elicitation/create");
        assert_eq!(question["params"]["message"], "who?");
        let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "Ann"}}});
        assert_eq!(client.post(&reply).await.status, 202);
        let text = answer.message().await["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("Ann"), "{text}");
        // The same answer again goes nowhere, and harms nothing.
        assert_eq!(client.post(&reply).await.status, 202);
        world.shutdown().await;
    }
}

#[tokio::test]
async fn notifications_outside_of_calls_come_over_get() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let client = world.ann().await;
    let mut stream = client.get().await;
    assert!(stream.is_stream());
    client.ask(1, "resources/subscribe", json!({"uri": "up+file:///a+b.txt"})).await;
    let touched = client.post(&request(2, "tools/call", json!({"name": "up__touch"}))).await;
    let mut inline = touched;
    let (mut methods, mut uris) = (Vec::new(), Vec::new());
    // rmcp sends both on the call's own stream or on its listening stream; either way they arrive once.
    if inline.is_stream() {
        while let Some(event) = inline.event().await {
            methods.extend(event.data["method"].as_str().map(str::to_owned));
            uris.extend(event.data["params"]["uri"].as_str().map(str::to_owned));
        }
    }
    while methods.len() < 2 {
        let message = stream.message().await;
        methods.extend(message["method"].as_str().map(str::to_owned));
        uris.extend(message["params"]["uri"].as_str().map(str::to_owned));
    }
    methods.sort();
    assert_eq!(methods, ["notifications/resources/updated", "notifications/tools/list_changed"]);
    assert_eq!(uris, ["up+file:///a+b.txt"]);
    assert_eq!(world.gateway.metrics().streams_open, 1);
    world.shutdown().await;
    // The stream ends with the gateway, and nothing came twice.
    while let Some(event) = stream.event().await {
        assert!(event.data.is_null(), "{event:?}");
    }
}

#[tokio::test]
async fn roots_and_log_level_reach_the_sessions_upstreams() {
    let (addr, seen) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let client = world.ann().await;
    client.call(1, "up__echo", json!({})).await;
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    assert_eq!(client.post(&changed).await.status, 202);
    until("the notification", || seen.roots_changed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(client.ask(2, "logging/setLevel", json!({"level": "debug"})).await["result"], json!({}));
    assert_eq!(client.ask(3, "logging/setLevel", json!({"level": "loud"})).await["error"]["code"], -32602);
    world.shutdown().await;
}

#[tokio::test]
async fn a_client_that_disconnects_has_not_cancelled() {
    let upstream = crate::scripted::Scripted::new(|message| {
        Box::pin(async move {
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            let result = crate::scripted::text_result("late");
            crate::scripted::json_body(
                json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string(),
            )
        })
    })
    .await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let client = world.ann().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(1, "up__t", json!({})).await }
    });
    until("the call at the upstream", || !upstream.texts("tools/call").is_empty()).await;
    call.abort();
    let completed = world.fake.completed_once().await;
    assert_eq!(completed.outcome, CallOutcome::Success);
    assert!(upstream.texts("notifications/cancelled").is_empty());
    world.shutdown().await;
}

#[tokio::test]
async fn a_shared_upstreams_changed_lists_are_announced_to_every_session() {
    let (addr, _) = serve().await;
    let world = World::new(vec![crate::world::shared(http("all", addr))]).await;
    let (one, two) = (world.ann().await, world.ann().await);
    let mut streams = [one.get().await, two.get().await];
    one.call(1, "all__touch", json!({})).await;
    for stream in &mut streams {
        assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    }
    // What one caller watches is not another's: a shared upstream offers no subscriptions.
    let refused = one.ask(2, "resources/subscribe", json!({"uri": "all+file:///a+b.txt"})).await;
    assert_eq!(refused["error"]["code"], -32601);
    world.shutdown().await;
}
