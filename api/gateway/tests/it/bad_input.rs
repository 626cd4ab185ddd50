//! What the transport refuses, and how.

use http::Method;
use serde_json::{Value, json};

use crate::client::{Client, request};
use crate::scripted::{always, text_result};
use crate::world::{World, http};

async fn refusal(client: &Client, body: impl Into<bytes::Bytes>) -> (u16, Value) {
    let answer = client.send(Method::POST, body).await;
    let status = answer.status;
    (status, answer.value().await["error"]["code"].clone())
}

#[tokio::test]
async fn broken_bodies() {
    let world = World::new(Vec::new()).await;
    let client = world.ann().await;
    for broken in ["", "{", "nonsense", "{\"jsonrpc\":\"2.0\",}", "[{]", "\u{1}"] {
        assert_eq!(refusal(&client, broken).await, (400, json!(-32700)), "{broken:?}");
    }
    assert_eq!(refusal(&client, vec![b'"', 0xff, b'"']).await, (400, json!(-32700)));
    for invalid in
        ["1", "{}", r#"{"jsonrpc":"2.0","id":1}"#, r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#]
    {
        assert_eq!(refusal(&client, invalid).await, (400, json!(-32600)), "{invalid}");
    }
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__b","name":"c__d"}}"#;
    assert_eq!(refusal(&client, twice).await, (200, json!(-32602)));
    assert_eq!(client.ask(1, "no/such", json!({})).await["error"]["code"], -32601);
    assert_eq!(client.ask(1, "initialize", json!({})).await["error"]["code"], -32602);
}

#[tokio::test]
async fn body_bytes_max_and_json_depth_max_are_met_on_both_sides() {
    let world = World::with(1, Vec::new(), |config| config.body_bytes_max = 1_000).await;
    let client = world.ann().await;
    let padded = |bytes: usize| {
        let ping = request(1, "ping", json!({})).to_string();
        format!("{ping}{}", " ".repeat(bytes - ping.len()))
    };
    assert_eq!(client.send(Method::POST, padded(1_000)).await.status, 200);
    assert_eq!(refusal(&client, padded(1_001)).await, (413, json!(-32600)));
    // `params` is the second level.
    let nested = |n: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}1{}}}}}"#,
            "[".repeat(n),
            "]".repeat(n)
        )
    };
    assert_eq!(client.send(Method::POST, nested(62)).await.status, 200);
    assert_eq!(refusal(&client, nested(63)).await, (400, json!(-32600)));
}

#[tokio::test]
async fn origins_and_media_types() {
    let world = World::new(Vec::new()).await;
    world.fake.origins.lock().unwrap().push("https://app.example".into());
    let client = world.ann().await;
    let ping = request(1, "ping", json!({}));
    let with = |name: &str, value: &str| {
        let mut client = client.clone();
        client.set(name, value);
        client
    };
    let own = format!("http://{}", world.addr);
    for (origin, status) in
        [("https://app.example", 200), (own.as_str(), 200), ("https://evil.example", 403), ("null", 403)]
    {
        assert_eq!(with("origin", origin).post(&ping).await.status, status, "{origin}");
        assert_eq!(with("origin", origin).get().await.status, status, "{origin}");
    }
    assert_eq!(with("content-type", "text/plain").post(&ping).await.status, 415);
    assert_eq!(with("content-type", "application/json; charset=utf-8").post(&ping).await.status, 200);
    assert_eq!(with("accept", "application/json").post(&ping).await.status, 406);
    assert_eq!(with("accept", "application/json").get().await.status, 406);
    assert_eq!(with("accept", "*/*").post(&ping).await.status, 200);
    assert_eq!(with("x-only1mcp-project", "no spaces").post(&ping).await.status, 400);
    let put = client.send(Method::PUT, "").await;
    assert_eq!((put.status, put.headers["allow"].to_str().unwrap()), (405, "POST, GET, DELETE"));
}

#[tokio::test]
async fn batches_belong_to_the_oldest_version_only() {
    let upstream = always(text_result("ok")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let mut old = world.client("key-ann");
    old.initialize("2025-03-26").await;
    let ping = |id| request(id, "ping", json!({}));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let answers = old.post(&json!([ping(1), note, ping(2)])).await.value().await;
    assert_eq!(answers.as_array().unwrap().iter().map(|a| a["id"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(old.post(&json!([note])).await.status, 202);
    let call = |id| request(id, "tools/call", json!({"name": "up__t"}));
    let mut streamed = old.post(&json!([call(3), ping(4), call(5)])).await;
    let mut ids = Vec::new();
    while let Some(event) = streamed.event().await {
        ids.push(event.data["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, [3, 4, 5]);
    let too_many: Vec<Value> = (0..65).map(ping).collect();
    for bad in [json!([]), json!(too_many), json!([1])] {
        assert_eq!(refusal(&old, bad.to_string()).await, (400, json!(-32600)));
    }
    let newer = world.ann().await;
    assert_eq!(refusal(&newer, json!([ping(1)]).to_string()).await, (400, json!(-32600)));
    world.shutdown().await;
}

#[tokio::test]
async fn one_id_is_in_flight_once() {
    let (addr, _) = crate::real::serve().await;
    let world = World::with(1, vec![http("up", addr)], |config| config.requests_per_session_max = 2).await;
    let client = world.ann().await;
    let slow = |id| {
        let client = client.clone();
        tokio::spawn(async move { client.call(id, "up__slow", json!({})).await })
    };
    let (_one, _two) = (slow(1), slow(2));
    crate::world::until("both in flight", || world.gateway.metrics().requests_in_flight == 2).await;
    assert_eq!(client.call(1, "up__echo", json!({})).await["error"]["code"], -32600);
    assert_eq!(client.call(3, "up__echo", json!({})).await["error"]["data"]["code"], "overloaded");
    world.gateway.shutdown(tokio::time::Instant::now()).await;
}
