//! Every version, over both kinds of upstream.

use serde_json::json;

use crate::client::request;
use crate::real::serve;
use crate::world::{World, http, stdio};

#[tokio::test]
async fn every_version_initializes_lists_and_calls_over_http_and_stdio() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("web", addr), stdio("child")]).await;
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = world.client("key-ann");
        let result = client.initialize(version).await;
        assert_eq!(result["protocolVersion"], version);
        assert_eq!(result["serverInfo"]["name"], "only1mcp");
        assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
        assert!(result.get("instructions").is_none());
        let names = client.names("tools/list", "tools").await;
        let own = ["echo", "progress", "slow", "ask", "fail", "touch"];
        let expected =
            ["child", "web"].iter().flat_map(|u| own.iter().map(move |name| format!("{u}__{name}")));
        assert_eq!(names, expected.collect::<Vec<_>>());
        for (id, tool) in [(2, "web__echo"), (3, "child__echo")] {
            let answer = client.call(id, tool, json!({"n": 1})).await;
            assert_eq!(answer["id"], id);
            assert_eq!(answer["result"]["content"][0]["text"], r#"{"n":1}"#);
            let receipt = &answer["result"]["_meta"]["only1mcp/receipt"];
            assert_eq!(
                *receipt,
                json!({
                    "call": "01".repeat(16), "node": 1, "epoch": 1, "revision": 42, "mode": "sealed",
                    "audit_index": 7, "event_hash": "09".repeat(32), "state": "sealed",
                })
            );
        }
    }
    let opened = world.fake.opened.lock().unwrap().clone();
    assert_eq!(opened.len(), 3);
    assert_eq!(opened[0], ("test".to_owned(), "2025-03-26".to_owned()));
    world.shutdown().await;
}

#[tokio::test]
async fn an_unknown_version_is_answered_with_the_newest_and_refused_in_the_header() {
    let world = World::new(Vec::new()).await;
    let mut client = world.client("key-ann");
    assert_eq!(client.initialize("1999-01-01").await["protocolVersion"], "2025-11-25");
    client.set("mcp-protocol-version", "2026-07-28");
    let answer = client.post(&request(1, "ping", json!({}))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.value().await["error"]["data"]["supported"][2], "2025-11-25");
    client.set("mcp-protocol-version", "");
    assert_eq!(client.ask(1, "ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn each_session_has_an_upstream_session_of_its_own_unless_it_is_shared() {
    let ((own, own_seen), (all, all_seen)) = (serve().await, serve().await);
    let world = World::new(vec![http("own", own), crate::world::shared(http("all", all))]).await;
    for _ in 0..3 {
        let client = world.ann().await;
        client.call(1, "own__echo", json!({})).await;
        client.call(2, "all__echo", json!({})).await;
    }
    let count = |seen: &crate::real::Seen| seen.sessions.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!((count(&own_seen), count(&all_seen)), (3, 1));
    world.shutdown().await;
}
