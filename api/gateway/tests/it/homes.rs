//! Two nodes: what runs anywhere, what must go home, and a home that is gone.

use http::Method;
use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::ids::NodeId;
use serde_json::json;

use crate::client::{Client, request};
use crate::real::serve;
use crate::world::{World, http, shared, until};

/// Node 1 is home; node 2 can reach it.
async fn two(upstreams: Vec<only1mcp_domain::model::Upstream>) -> (World, World, Client, Client) {
    let home = World::with(1, upstreams.clone(), |_| {}).await;
    let other = World::with(2, upstreams, |_| {}).await;
    other.homes.0.lock().unwrap().insert(NodeId(1), home.gateway.clone());
    let at_home = home.ann().await;
    let mut elsewhere = at_home.clone();
    elsewhere.addr = other.addr;
    (home, other, at_home, elsewhere)
}

#[tokio::test]
async fn stateless_requests_run_on_any_node_also_when_home_is_gone() {
    let (addr, _) = serve().await;
    let (_home, other, _, client) = two(vec![shared(http("all", addr))]).await;
    other.homes.0.lock().unwrap().clear();
    assert_eq!(client.ask(1, "ping", json!({})).await["result"], json!({}));
    assert!(client.names("tools/list", "tools").await.contains(&"all__echo".to_owned()));
    let answer = client.call(2, "all__echo", json!({"n": 1})).await;
    assert_eq!(answer["result"]["_meta"]["only1mcp/receipt"]["node"], 2);
    let params = json!({"name": "all__progress", "_meta": {"progressToken": "t"}});
    let mut streamed = client.post(&request(3, "tools/call", params)).await;
    let first = streamed.event().await.unwrap();
    assert_eq!((first.id, first.data["params"]["progressToken"].as_str()), (None, Some("t")));
    assert_eq!(other.gateway.metrics().forwarded, 0);
    // In flight here: cancelled here, without the home.
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.call(4, "all__slow", json!({})).await }
    });
    until("the admission", || other.fake.admitted.lock().unwrap().len() == 3).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}});
    assert_eq!(client.post(&cancel).await.status, 202);
    assert_eq!(call.await.unwrap()["error"]["code"], -32800);
    assert_eq!(other.fake.completed().last().unwrap().outcome, CallOutcome::Cancelled);
    other.shutdown().await;
}

#[tokio::test]
async fn what_needs_the_session_is_answered_by_its_home() {
    let (addr, _) = serve().await;
    let (home, other, at_home, client) = two(vec![http("own", addr)]).await;
    at_home.call(1, "own__echo", json!({})).await;
    let answer = client.call(2, "own__echo", json!({"n": 2})).await;
    assert_eq!(answer["result"]["_meta"]["only1mcp/receipt"]["node"], 1);
    assert!(client.names("tools/list", "tools").await.contains(&"own__echo".to_owned()));
    // A question asked through one node is answered through the other.
    let mut asked = client.post(&request(3, "tools/call", json!({"name": "own__ask"}))).await;
    let question = asked.message().await;
    let reply = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}});
    assert_eq!(client.post(&reply).await.status, 202);
    assert!(asked.message().await.get("result").is_some());
    let mut stream = client.get().await;
    assert!(stream.is_stream());
    at_home.call(4, "own__touch", json!({})).await;
    assert!(other.gateway.metrics().forwarded >= 5);
    assert_eq!(other.gateway.metrics().sessions_open, 0);
    home.shutdown().await;
    while stream.event().await.is_some() {}
}

#[tokio::test]
async fn a_home_that_is_gone_or_started_anew_took_the_session_with_it() {
    let (addr, _) = serve().await;
    let (_home, other, at_home, client) = two(vec![http("own", addr)]).await;
    other.homes.0.lock().unwrap().clear();
    for answer in [
        client.post(&request(1, "tools/call", json!({"name": "own__echo"}))).await,
        client.post(&request(1, "tools/list", json!({}))).await,
        client.get().await,
    ] {
        assert_eq!(answer.status, 404);
    }
    assert_eq!(client.ask(1, "ping", json!({})).await["result"], json!({}));
    // Node 1 again, with an empty memory.
    let again = World::with(1, vec![http("own", addr)], |_| {}).await;
    let mut client = at_home.clone();
    client.addr = again.addr;
    assert_eq!(client.post(&request(1, "tools/call", json!({"name": "own__echo"}))).await.status, 404);
    assert_eq!(client.get().await.status, 404);
    assert_eq!(client.ask(1, "ping", json!({})).await["result"], json!({}));
}

#[tokio::test]
async fn delete_works_on_any_node() {
    let (home, other, at_home, client) = two(Vec::new()).await;
    assert_eq!(client.send(Method::DELETE, "").await.status, 204);
    // The tombstone is replicated: here, by hand.
    let closed = *other.fake.closed.lock().unwrap().iter().next().unwrap();
    home.fake.closed.lock().unwrap().insert(closed);
    let note = only1mcp_gateway::ports::Revocation::SessionClosed { session: closed };
    home.fake.revocations.send(note).unwrap();
    until("the home to close", || home.gateway.metrics().sessions_open == 0).await;
    assert_eq!(at_home.post(&request(1, "ping", json!({}))).await.status, 404);
}
