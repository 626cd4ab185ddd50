//! Notifications that the gateway knows no meaning of, both ways: passed unharmed where they may go, and nowhere else.

use std::sync::atomic::Ordering;

use only1mcp_domain::ids::TenantId;
use only1mcp_gateway::ports::Revocation;
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::fake::Seal;
use crate::scripted::{Scripted, always, json_body, sse_body, text_result};
use crate::world::{World, http, shared, until};

const CUSTOM: &str = "notifications/x-team/note";

async fn notify(client: &Client, text: &str) -> u16 {
    client.send(http::Method::POST, text.to_owned()).await.status
}

fn note(text: &str) -> String {
    json!({"jsonrpc": "2.0", "method": CUSTOM, "params": {"text": text}}).to_string()
}

#[tokio::test]
async fn a_custom_notification_reaches_what_the_session_was_admitted_to_and_nobody_else() {
    let used = always(text_result("ok")).await;
    let (listed, all, other) =
        (always(json!({"tools": []})).await, always(text_result("ok")).await, used.clone());
    let upstreams = vec![http("listed", listed.addr), shared(http("all", all.addr)), http("used", used.addr)];
    let world = World::new(upstreams).await;
    let (client, neighbour) = (world.ann().await, world.ann().await);
    // Opens a connection to `listed`, but nothing of it was admitted.
    client.ask(1, "tools/list", json!({})).await;
    assert_eq!(notify(&client, &note("too early")).await, 202);
    client.call(2, "all__t", json!({})).await;
    client.call(3, "used__t", json!({})).await;
    neighbour.call(3, "used__t", json!({})).await;
    let text = r#"{"jsonrpc":"2.0","x-top":1.50,"method":"notifications/x-team/note","params":{"n": 1.000,"big":98765432109876543210,"_meta":{"k":1e5}},"after":[ ]}"#;
    assert_eq!(notify(&client, text).await, 202);
    // Taken by the time it is answered, once, as it came.
    assert_eq!(other.texts(CUSTOM), [text]);
    assert_eq!(*listed.initialized.lock().unwrap(), 1);
    assert!(listed.texts(CUSTOM).is_empty() && all.texts(CUSTOM).is_empty());
    world.shutdown().await;
}

#[tokio::test]
async fn a_custom_notification_opens_no_connection_and_waits_for_no_dead_one() {
    let upstream = always(text_result("ok")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let client = world.ann().await;
    assert_eq!(notify(&client, &note("nobody there")).await, 202);
    assert_eq!(*upstream.initialized.lock().unwrap(), 0);
    world.shutdown().await;
}

#[tokio::test]
async fn a_policy_that_moved_ends_what_an_earlier_admission_opened() {
    let upstream = always(text_result("ok")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let client = world.ann().await;
    let mut stream = client.get().await;
    client.call(1, "up__t", json!({})).await;
    let moved = Revocation::PolicyChanged { tenant: Some(TenantId::new("acme").unwrap()) };
    world.fake.revocations.send(moved).unwrap();
    // The announcement comes after the change was taken in.
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    assert_eq!(notify(&client, &note("no more")).await, 202);
    assert!(upstream.texts(CUSTOM).is_empty());
    client.call(2, "up__t", json!({})).await;
    assert_eq!(notify(&client, &note("again")).await, 202);
    assert_eq!(upstream.texts(CUSTOM).len(), 1);
    world.shutdown().await;
}

#[tokio::test]
async fn notification_bytes_max_is_met_on_both_sides() {
    let upstream = always(text_result("ok")).await;
    let (short, long) = (note("x"), note("xx"));
    let world = World::with(1, vec![http("up", upstream.addr)], |config| {
        config.notification_bytes_max = short.len();
    })
    .await;
    let client = world.ann().await;
    client.call(1, "up__t", json!({})).await;
    assert_eq!(notify(&client, &short).await, 202);
    let refused = client.send(http::Method::POST, long).await;
    assert_eq!(refused.status, 413);
    assert_eq!(refused.value().await["error"]["code"], -32600);
    assert_eq!(upstream.texts(CUSTOM), [short]);
    world.shutdown().await;
}

#[tokio::test]
async fn notifications_per_second_max_is_met_on_both_sides() {
    let upstream = always(text_result("ok")).await;
    let world = World::with(1, vec![http("up", upstream.addr)], |config| {
        config.notifications_per_second_max = 3;
    })
    .await;
    let client = world.ann().await;
    client.call(1, "up__t", json!({})).await;
    let mut statuses = Vec::new();
    // However slow the machine: some second of many sees more than three.
    while statuses.last() != Some(&429) {
        statuses.push(notify(&client, &note("x")).await);
        assert!(statuses.len() < 10_000);
    }
    let taken = statuses.len() - 1;
    assert!(taken >= 3 && statuses[..taken].iter().all(|status| *status == 202), "{statuses:?}");
    assert_eq!(upstream.texts(CUSTOM).len(), taken);
    // What is no such notification is not counted.
    assert_eq!(client.ask(2, "ping", json!({})).await["result"], json!({}));
    world.shutdown().await;
}

#[tokio::test]
async fn unknown_notifications_and_fields_reach_the_client_inside_and_outside_of_calls() {
    const SAID: &str = r#"{"jsonrpc":"2.0","zz":1.0e2,"method":"notifications/x-team/said","params":{"n":1.50,"_meta":{"b":2,"a":1}},"huge":12345678901234567890123}"#;
    let upstream = Scripted::new(|message| {
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": message["params"]["_meta"]["progressToken"], "progress": 1, "x-new": [1.5]}});
        let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": text_result("ok")});
        Box::pin(async move { sse_body(format!("data: {SAID}\n\ndata: {progress}\n\ndata: {answer}\n\n").into()) })
    })
    .await;
    upstream.listens.store(true, Ordering::SeqCst);
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let mut client = world.client("key-ann");
    client.initialize("2025-06-18").await;
    let mut stream = client.get().await;
    let params = json!({"name": "up__t", "_meta": {"progressToken": "mine"}});
    let text = client.post(&request(1, "tools/call", params)).await.text().await;
    let mut told = text.lines().filter_map(|line| line.strip_prefix("data: "));
    assert_eq!(told.next(), Some(SAID));
    let progress: Value = serde_json::from_str(told.next().unwrap()).unwrap();
    assert_eq!(progress["params"], json!({"progressToken": "mine", "progress": 1, "x-new": [1.5]}));
    upstream.say(SAID).await;
    let said = stream.event().await.unwrap().data;
    assert_eq!(said.to_string(), serde_json::from_str::<Value>(SAID).unwrap().to_string());
    world.shutdown().await;
}

#[tokio::test]
async fn progress_told_on_the_listening_stream_finds_its_call() {
    let upstream = Scripted::new(|_| Box::pin(std::future::pending())).await;
    upstream.listens.store(true, Ordering::SeqCst);
    let world = World::with(1, vec![http("up", upstream.addr)], |config| config.stream_after_ms = 50).await;
    let client = world.ann().await;
    world.fake.seal.send_replace(Seal::Shut);
    let params = json!({"name": "up__t", "_meta": {"progressToken": "mine"}});
    let mut answer = client.post(&request(1, "tools/call", params)).await;
    until("the call at the upstream", || !upstream.texts("tools/call").is_empty()).await;
    let sent: Value = serde_json::from_str(&upstream.texts("tools/call")[0]).unwrap();
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
        "params": {"progressToken": sent["params"]["_meta"]["progressToken"], "progress": 4}});
    upstream.say(&progress.to_string()).await;
    assert!(answer.is_silent(300).await, "nothing before the seal");
    world.fake.seal.send_replace(Seal::Open);
    let told = answer.message().await;
    assert_eq!(told["params"], json!({"progressToken": "mine", "progress": 4}));
    world.gateway.shutdown(tokio::time::Instant::now()).await;
}

#[tokio::test]
async fn a_shared_upstreams_changed_list_is_announced_sealed_and_in_the_gateways_words() {
    let upstream = Scripted::new(|message| {
        let slow = message["method"] == "tools/call";
        let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": []}}).to_string();
        Box::pin(async move { if slow { std::future::pending().await } else { json_body(text) } })
    })
    .await;
    upstream.listens.store(true, Ordering::SeqCst);
    let world = World::new(vec![shared(http("all", upstream.addr))]).await;
    let (caller, neighbour) = (world.ann().await, world.ann().await);
    world.fake.seal.send_replace(Seal::Shut);
    let call = tokio::spawn(async move { caller.call(1, "all__t", json!({})).await });
    until("the call at the upstream", || !upstream.texts("tools/call").is_empty()).await;
    let mut stream = neighbour.get().await;
    upstream
        .say(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"by":"ann"}}"#)
        .await;
    assert!(stream.is_silent(300).await, "the call in flight may have caused it");
    world.fake.seal.send_replace(Seal::Open);
    assert_eq!(
        stream.message().await,
        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    );
    call.abort();
    world.gateway.shutdown(tokio::time::Instant::now()).await;
}
