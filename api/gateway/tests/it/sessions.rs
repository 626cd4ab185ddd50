//! Whose session it is, and when it ends.

use std::sync::atomic::Ordering;

use http::Method;
use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_gateway::ports::Revocation;
use serde_json::json;

use crate::client::request;
use crate::real::serve;
use crate::scripted::{always, text_result};
use crate::world::{World, http, until};

#[tokio::test]
async fn missing_and_unknown_keys_are_challenged() {
    let world = World::new(Vec::new()).await;
    for key in ["nope", ""] {
        let answer = world.client(key).post(&request(1, "ping", json!({}))).await;
        assert_eq!(answer.status, 401);
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    let mut client = world.client("");
    client.set("authorization", "");
    assert_eq!(client.get().await.status, 401);
    client.set("x-api-key", "key-ann");
    assert_eq!(client.initialize("2025-11-25").await["protocolVersion"], "2025-11-25");
    assert_eq!(world.gateway.metrics().unauthenticated, 3);
}

#[tokio::test]
async fn only_operators_may_name_another_tenant() {
    let world = World::new(Vec::new()).await;
    let mut ann = world.client("key-ann");
    ann.path = "/t/acme/mcp".into();
    ann.initialize("2025-11-25").await;
    for path in ["/t/globex/mcp", "/t/Not%20One/mcp"] {
        ann.path = path.into();
        assert_eq!(ann.post(&request(1, "ping", json!({}))).await.status, 403, "{path}");
    }
    ann.path = "/mcp".into();
    ann.set("host", "mcp.globex.example");
    assert_eq!(ann.post(&request(1, "ping", json!({}))).await.status, 403);
    let mut ops = world.client("key-ops");
    ops.path = "/t/globex/mcp".into();
    ops.initialize("2025-11-25").await;
    assert_eq!(ops.ask(1, "ping", json!({})).await["result"], json!({}));
    ops.path = "/mcp".into();
    assert_eq!(ops.post(&request(1, "ping", json!({}))).await.status, 404, "the session is globex's");
}

#[tokio::test]
async fn foreign_unknown_and_expired_sessions_are_not_found() {
    let world = World::new(Vec::new()).await;
    let ann = world.ann().await;
    for key in ["key-bob", "key-ann-2", "key-eve"] {
        let mut other = world.client(key);
        other.session = ann.session.clone();
        assert_eq!(other.post(&request(1, "ping", json!({}))).await.status, 404, "{key}");
        assert_eq!(other.get().await.status, 404, "{key}");
        assert_eq!(other.send(Method::DELETE, "").await.status, 404, "{key}");
    }
    let mut forged = ann.clone();
    forged.session = Some("AAAA".into());
    assert_eq!(forged.post(&request(1, "ping", json!({}))).await.status, 404);
    forged.session = None;
    assert_eq!(forged.post(&request(1, "ping", json!({}))).await.status, 400);
    assert_eq!(ann.ask(1, "ping", json!({})).await["result"], json!({}));
    world.fake.now_ms.fetch_add(24 * 3_600 * 1_000, Ordering::SeqCst);
    assert_eq!(ann.post(&request(1, "ping", json!({}))).await.status, 404);
    until("the reaper", || world.gateway.metrics().sessions_open == 0).await;
}

#[tokio::test]
async fn delete_ends_the_session_everywhere_and_tells_the_upstream() {
    let upstream = always(text_result("ok")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let client = world.ann().await;
    client.call(1, "up__t", json!({})).await;
    let mut stream = client.get().await;
    assert_eq!(client.send(Method::DELETE, "").await.status, 204);
    assert_eq!(client.post(&request(2, "ping", json!({}))).await.status, 404);
    while stream.event().await.is_some() {}
    assert_eq!(world.fake.closed.lock().unwrap().len(), 1);
    until("the upstream's DELETE", || *upstream.deleted.lock().unwrap() == 1).await;
    assert_eq!(world.gateway.metrics().sessions_open, 0);
}

#[tokio::test]
async fn revoked_callers_lose_sessions_streams_and_calls() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let client = world.ann().await;
    let mut bob = world.client("key-bob");
    bob.initialize("2025-11-25").await;
    let mut stream = client.get().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.post(&request(1, "tools/call", json!({"name": "up__slow"}))).await.text().await }
    });
    until("the admission", || !world.fake.admitted.lock().unwrap().is_empty()).await;
    world.fake.barred.lock().unwrap().insert(PrincipalId::new("ann").unwrap());
    let tenant = Some(TenantId::new("acme").unwrap());
    world.fake.revocations.send(Revocation::PolicyChanged { tenant }).unwrap();
    let text = call.await.unwrap();
    // Which of them depends on who notices first: the call, its session, or the request that waits for it.
    let reasons = ["session_closed", "revoked_in_flight", "principal_disabled"];
    assert!(reasons.iter().any(|reason| text.contains(reason)), "{text}");
    while stream.event().await.is_some() {}
    assert_eq!(world.fake.completed_once().await.outcome, CallOutcome::Withheld);
    assert_eq!(client.post(&request(2, "ping", json!({}))).await.status, 403);
    assert_eq!(bob.ask(1, "ping", json!({})).await["result"], json!({}));
    assert_eq!(world.gateway.metrics().sessions_open, 1);
    world.shutdown().await;
}

/// The call is over and recorded; what waits for bandwidth has not left yet. INVARIANT: P4
#[tokio::test]
async fn an_answer_that_waits_for_bandwidth_is_not_handed_out_once_authority_is_gone() {
    let upstream = always(text_result(&"secret ".repeat(1_000))).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    world.fake.held_back_from.store(5_000, Ordering::SeqCst);
    let client = world.ann().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.post(&request(1, "tools/call", json!({"name": "up__t"}))).await.text().await }
    });
    until("the answer's turn", || world.fake.paced.lock().unwrap().len() == 2).await;
    assert_eq!(world.fake.completed_once().await.outcome, CallOutcome::Success);
    world.fake.barred.lock().unwrap().insert(PrincipalId::new("ann").unwrap());
    let tenant = Some(TenantId::new("acme").unwrap());
    world.fake.revocations.send(Revocation::PolicyChanged { tenant }).unwrap();
    let text = call.await.unwrap();
    assert!(!text.contains("secret"), "{text}");
    world.shutdown().await;
}

#[tokio::test]
async fn changed_upstreams_close_connections_and_announce_new_lists() {
    let upstream = always(text_result("ok")).await;
    let world = World::new(vec![http("up", upstream.addr)]).await;
    let client = world.ann().await;
    client.call(1, "up__t", json!({})).await;
    let mut stream = client.get().await;
    world.fake.upstreams.lock().unwrap().clear();
    let tenant = TenantId::new("acme").unwrap();
    world.fake.revocations.send(Revocation::UpstreamsChanged { tenant }).unwrap();
    let mut methods = Vec::new();
    for _ in 0..3 {
        methods.push(stream.message().await["method"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        methods,
        ["tools", "prompts", "resources"].map(|kind| format!("notifications/{kind}/list_changed"))
    );
    until("the upstream's DELETE", || *upstream.deleted.lock().unwrap() == 1).await;
    assert_eq!(client.call(2, "up__t", json!({})).await["error"]["data"]["code"], "upstream_unknown");
    assert!(world.gateway.upstream_health().is_empty());
}

#[tokio::test]
async fn idle_sessions_are_given_back() {
    let upstream = always(text_result("ok")).await;
    let world = World::with(1, vec![http("up", upstream.addr)], |config| config.session_idle_ms = 200).await;
    let (idle, reading) = (world.ann().await, world.ann().await);
    idle.call(1, "up__t", json!({})).await;
    let stream = reading.get().await;
    until("the reaper", || world.gateway.metrics().sessions_open == 1).await;
    until("the upstream's DELETE", || *upstream.deleted.lock().unwrap() == 1).await;
    // What needs no session state goes on; what does starts anew.
    assert_eq!(idle.ask(2, "ping", json!({})).await["result"], json!({}));
    assert_eq!(idle.post(&request(3, "tools/call", json!({"name": "up__t"}))).await.status, 404);
    drop(stream);
    until("the reaper", || world.gateway.metrics().sessions_open == 0).await;
}

#[tokio::test]
async fn sessions_of_one_principal_are_bounded() {
    let world = World::with(1, Vec::new(), |config| config.sessions_per_principal_max = 2).await;
    world.ann().await;
    world.ann().await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let third = world.client("key-ann").post(&request(1, "initialize", params)).await;
    assert_eq!(third.status, 503);
    assert_eq!(third.value().await["error"]["data"]["code"], "overloaded");
    world.client("key-bob").initialize("2025-11-25").await;
}

/// Whichever way a session ends, another may be opened in its place.
#[tokio::test]
async fn a_session_holds_its_permit_until_it_ends() {
    let world = World::with(1, Vec::new(), |config| config.session_idle_ms = 3_600_000).await;
    let all = world.fake.permits.available_permits();
    let left = || world.fake.permits.available_permits();
    world.fake.permits.forget_permits(all - 2);
    let (ann, mut bob) = (world.ann().await, world.client("key-bob"));
    bob.initialize("2025-11-25").await;
    assert_eq!(left(), 0);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let third = world.client("key-bob").post(&request(7, "initialize", params)).await;
    assert_eq!(third.status, 503);
    let told = third.value().await;
    assert_eq!((&told["id"], &told["error"]["data"]["code"]), (&json!(7), &json!("connections_exceeded")));
    assert_eq!(told["error"]["data"]["retry"], true);
    assert_eq!(world.fake.opened.lock().unwrap().len(), 2, "a session that was refused is none");
    // Closed by its client.
    assert_eq!(ann.send(Method::DELETE, "").await.status, 204);
    assert_eq!(left(), 1);
    world.ann().await;
    assert_eq!(left(), 0);
    let tenant = Some(TenantId::new("acme").unwrap());
    // Revoked.
    world.fake.barred.lock().unwrap().insert(PrincipalId::new("ann").unwrap());
    world.fake.revocations.send(Revocation::PolicyChanged { tenant }).unwrap();
    until("the revoked one's permit", || left() == 1).await;
    // Expired.
    world.fake.now_ms.fetch_add(24 * 3_600 * 1_000, Ordering::SeqCst);
    until("the expired one's permit", || left() == 2).await;
    // Refused by the node's own bound on sessions.
    let full = World::with(1, Vec::new(), |config| config.sessions_max = 0).await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let none = full.client("key-ann").post(&request(1, "initialize", params)).await;
    assert_eq!(none.value().await["error"]["data"]["code"], "overloaded");
    assert_eq!(full.fake.permits.available_permits(), all);
    // At shutdown.
    let last = World::new(Vec::new()).await;
    last.ann().await;
    assert_eq!(last.fake.permits.available_permits(), all - 1);
    last.shutdown().await;
    assert_eq!(last.fake.permits.available_permits(), all);
}
