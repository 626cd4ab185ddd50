//! What `initialize` claims is served, and what an upstream does not offer is refused rather than waited for.

use std::sync::atomic::Ordering;

use only1mcp_domain::ids::TenantId;
use only1mcp_gateway::ports::Revocation;
use serde_json::json;

use crate::scripted::{Scripted, always, json_body};
use crate::world::{World, http, shared, until};

#[tokio::test]
async fn every_claimed_capability_is_served() {
    let upstream = always(json!({"completion": {"values": ["a"]}})).await;
    *upstream.capabilities.lock().unwrap() = json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true},
        "resources": {"subscribe": true, "listChanged": true}, "completions": {}, "logging": {}});
    upstream.listens.store(true, Ordering::SeqCst);
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let mut client = world.client("key-ann");
    let claimed = client.initialize("2025-11-25").await["capabilities"].clone();
    let expected = json!({"completions": {}, "logging": {}, "prompts": {"listChanged": true},
        "resources": {"listChanged": true, "subscribe": true}, "tools": {"listChanged": true}});
    assert_eq!(claimed, expected);
    let mut stream = client.get().await;
    // completions
    let reference = json!({"ref": {"type": "ref/prompt", "name": "up__p", "x": 1}, "argument": {"name": "n", "value": "v"}});
    let completed = client.ask(1, "completion/complete", reference).await;
    assert_eq!(completed["result"]["completion"]["values"], json!(["a"]));
    let sent = upstream.texts("completion/complete").remove(0);
    assert!(sent.contains(r#""ref":{"type":"ref/prompt","name":"p","x":1}"#), "{sent}");
    // logging: told to upstreams that are open, and to those that are opened later
    assert_eq!(client.ask(2, "logging/setLevel", json!({"level": "error"})).await["result"], json!({}));
    assert_eq!(upstream.texts("logging/setLevel").len(), 1);
    upstream
        .say(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}"#)
        .await;
    assert_eq!(stream.message().await["params"]["data"], 1);
    // subscriptions
    let watched = json!({"uri": "up+file:///a"});
    assert!(client.ask(3, "resources/subscribe", watched.clone()).await.get("result").is_some());
    upstream
        .say(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}"#)
        .await;
    assert_eq!(stream.message().await["params"]["uri"], "up+file:///a");
    assert!(client.ask(4, "resources/unsubscribe", watched).await.get("result").is_some());
    // changed lists, as the upstream says
    for kind in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{kind}/list_changed");
        upstream.say(&json!({"jsonrpc": "2.0", "method": method}).to_string()).await;
        assert_eq!(stream.message().await["method"], method);
    }
    // changed lists, as policy or the set of upstreams says
    let tenant = TenantId::new("acme").unwrap();
    let changes =
        [Revocation::PolicyChanged { tenant: Some(tenant.clone()) }, Revocation::UpstreamsChanged { tenant }];
    for change in changes {
        world.fake.revocations.send(change).unwrap();
        for kind in ["tools", "prompts", "resources"] {
            assert_eq!(stream.message().await["method"], format!("notifications/{kind}/list_changed"));
        }
    }
    world.shutdown().await;
}

#[tokio::test]
async fn many_changes_of_policy_are_announced_together_and_to_those_concerned() {
    let world = World::new(Vec::new()).await;
    let (client, mut other) = (world.ann().await, world.client("key-eve"));
    other.initialize("2025-11-25").await;
    let (mut stream, mut silent) = (client.get().await, other.get().await);
    let tenant = Some(TenantId::new("acme").unwrap());
    for _ in 0..50 {
        world.fake.revocations.send(Revocation::PolicyChanged { tenant: tenant.clone() }).unwrap();
    }
    world.fake.revocations.send(Revocation::Draining).unwrap();
    for kind in ["tools", "prompts", "resources"] {
        assert_eq!(stream.message().await["method"], format!("notifications/{kind}/list_changed"));
    }
    assert!(stream.is_silent(600).await);
    assert!(silent.is_silent(10).await, "another tenant's policy");
    world.shutdown().await;
}

#[tokio::test]
async fn what_an_upstream_does_not_offer_is_refused_at_once() {
    // Would never answer.
    let upstream = Scripted::new(|_| Box::pin(std::future::pending())).await;
    *upstream.capabilities.lock().unwrap() = json!({"resources": {}});
    let world = World::new(vec![http("up", upstream.addr), shared(http("all", upstream.addr))]).await;
    let client = world.ann().await;
    let prompt =
        |up: &str| json!({"ref": {"type": "ref/prompt", "name": format!("{up}__p")}, "argument": {}});
    for up in ["up", "all"] {
        for (method, params) in [
            ("tools/call", json!({"name": format!("{up}__t")})),
            ("prompts/get", json!({"name": format!("{up}__p")})),
            ("resources/subscribe", json!({"uri": format!("{up}+file:///a")})),
            ("resources/unsubscribe", json!({"uri": format!("{up}+file:///a")})),
            ("completion/complete", prompt(up)),
        ] {
            let answer = client.ask(1, method, params).await;
            assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
            assert!(upstream.texts(method).is_empty(), "{method}");
        }
    }
    // Logging is the gateway's own: an upstream without it is not asked.
    assert_eq!(client.ask(2, "logging/setLevel", json!({"level": "error"})).await["result"], json!({}));
    assert!(upstream.texts("logging/setLevel").is_empty());
    assert_eq!(client.ask(3, "x-team/ask", json!({})).await["error"]["code"], -32601);
    world.shutdown().await;
}

#[tokio::test]
async fn an_upstream_that_never_takes_the_log_level_is_heard_all_the_same() {
    let upstream = Scripted::new(|message| {
        let hangs = message["method"] == "logging/setLevel";
        let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": {}}).to_string();
        Box::pin(async move { if hangs { std::future::pending().await } else { json_body(text) } })
    })
    .await;
    *upstream.capabilities.lock().unwrap() = json!({"tools": {}, "logging": {}});
    upstream.listens.store(true, Ordering::SeqCst);
    let world = World::with(1, vec![http("up", upstream.addr)], |config| config.list_ms_max = 200).await;
    let client = world.ann().await;
    let mut stream = client.get().await;
    assert_eq!(client.ask(1, "logging/setLevel", json!({"level": "error"})).await["result"], json!({}));
    client.call(2, "up__t", json!({})).await;
    until("the level at the upstream", || !upstream.texts("logging/setLevel").is_empty()).await;
    upstream
        .say(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":1}}"#)
        .await;
    assert_eq!(stream.message().await["params"]["data"], 1);
    world.shutdown().await;
}
