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

/// Home, and two more nodes; each reaches the other two.
async fn three(upstreams: Vec<only1mcp_domain::model::Upstream>) -> (World, World, World, Client) {
    let mut worlds = Vec::new();
    for node in 1..=3 {
        worlds.push(World::with(node, upstreams.clone(), |_| {}).await);
    }
    for world in &worlds {
        for other in worlds.iter().filter(|other| other.addr != world.addr) {
            world.homes.0.lock().unwrap().insert(other.fake.node, other.gateway.clone());
        }
    }
    let [home, second, third] = worlds.try_into().ok().unwrap();
    let at_home = home.ann().await;
    (home, second, third, at_home)
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

#[tokio::test]
async fn a_cancellation_finds_the_call_on_whichever_node_runs_it() {
    let (addr, _) = serve().await;
    let upstreams = vec![shared(http("all", addr))];
    let (home, runner, third, at_home) = three(upstreams).await;
    let (mut at_runner, mut at_third) = (at_home.clone(), at_home.clone());
    (at_runner.addr, at_third.addr) = (runner.addr, third.addr);
    let cancel =
        |id: u64| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    // Told on a third node, on the home, and on a third node when the home is gone.
    for (round, home_lives) in [(1, true), (2, true), (3, false)] {
        if !home_lives {
            third.homes.0.lock().unwrap().remove(&NodeId(1));
        }
        let call = tokio::spawn({
            let client = at_runner.clone();
            async move { client.call(round, "all__slow", json!({})).await }
        });
        let admitted = || runner.fake.admitted.lock().unwrap().len();
        until("the admission", || admitted() == usize::try_from(round).unwrap()).await;
        let teller = if round == 2 { &at_home } else { &at_third };
        assert_eq!(teller.post(&cancel(round)).await.status, 202);
        assert_eq!(call.await.unwrap()["error"]["code"], -32800);
        assert_eq!(runner.fake.completed().last().unwrap().outcome, CallOutcome::Cancelled);
    }
    // What runs nowhere is asked for once, everywhere, and passed on by nobody.
    let before = [&home, &runner, &third].map(|world| world.gateway.metrics().forwarded);
    assert_eq!(at_runner.post(&cancel(99)).await.status, 202);
    let after = [&home, &runner, &third].map(|world| world.gateway.metrics().forwarded);
    assert_eq!([after[0] - before[0], after[1] - before[1], after[2] - before[2]], [0, 2, 0]);
    runner.shutdown().await;
}

#[tokio::test]
async fn a_cancellation_is_nobodys_but_the_sessions_own() {
    let (addr, _) = serve().await;
    let (_home, runner, third, at_home) = three(vec![shared(http("all", addr))]).await;
    let mut at_runner = at_home.clone();
    at_runner.addr = runner.addr;
    let call = tokio::spawn(async move { at_runner.call(1, "all__slow", json!({})).await });
    until("the admission", || runner.fake.admitted.lock().unwrap().len() == 1).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
    assert_eq!(third.ann().await.post(&cancel).await.status, 202, "another session's request 1 is another");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!call.is_finished() && runner.fake.completed().is_empty());
    call.abort();
    runner.gateway.shutdown(tokio::time::Instant::now()).await;
}

#[tokio::test]
async fn streams_are_read_and_resumed_through_any_node() {
    let (addr, _) = serve().await;
    let (home, other, at_home, mut client) = two(vec![http("own", addr)]).await;
    let params = json!({"name": "own__progress", "_meta": {"progressToken": 7}});
    let mut answer = client.post(&request(1, "tools/call", params)).await;
    assert!(answer.is_stream());
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
    // The session's own stream: live, then resumed on the other node without a gap.
    client.set("last-event-id", "");
    let mut stream = client.get().await;
    let change = || {
        let tenant = only1mcp_domain::ids::TenantId::new("acme").unwrap();
        home.fake.revocations.send(only1mcp_gateway::ports::Revocation::UpstreamsChanged { tenant }).unwrap();
    };
    change();
    let mut last = String::new();
    for _ in 0..2 {
        let event = stream.event().await.unwrap();
        if event.data.is_null() {
            continue;
        }
        assert_eq!(event.data["method"], "notifications/tools/list_changed");
        last = event.id.unwrap();
    }
    drop(stream);
    client.set("last-event-id", &last);
    let mut resumed = client.get().await;
    assert_eq!(resumed.message().await["method"], "notifications/prompts/list_changed");
    assert_eq!(resumed.message().await["method"], "notifications/resources/list_changed");
    assert!(other.gateway.metrics().forwarded >= 5);
    drop((resumed, at_home));
    home.shutdown().await;
}

#[tokio::test]
async fn a_custom_notification_goes_to_the_home_that_has_the_upstream_session() {
    let upstream = crate::scripted::always(crate::scripted::text_result("ok")).await;
    let (_home, other, at_home, client) = two(vec![http("own", upstream.addr)]).await;
    at_home.call(1, "own__t", json!({})).await;
    let note = json!({"jsonrpc": "2.0", "method": "notifications/x-team/note", "params": {"x": 1}});
    assert_eq!(client.post(&note).await.status, 202);
    assert_eq!(upstream.texts("notifications/x-team/note").len(), 1);
    other.homes.0.lock().unwrap().clear();
    assert_eq!(client.post(&note).await.status, 404, "the upstream session went with its home");
}
