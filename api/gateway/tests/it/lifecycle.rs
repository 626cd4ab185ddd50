//! Draining, and that nothing outlives its session or the gateway.

use std::time::Duration;

use http::Method;
use only1mcp_gateway::ports::Revocation;
use serde_json::json;
use tokio::time::Instant;

use crate::client::request;
use crate::real::serve;
use crate::world::{World, http, stdio, until, upstream};
use only1mcp_domain::model::Transport;

/// Processes whose environment bears this mark.
fn marked(mark: &str) -> usize {
    let mark = format!("MARK={mark}");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let environment = std::fs::read(path.join("environ")).ok()?;
        let marked = environment.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes());
        marked.then_some(())
    });
    processes.count()
}

#[tokio::test]
async fn processes_end_with_their_session_and_so_do_their_children() {
    let mark = format!("{}-{}", std::process::id(), line!());
    let mut child = stdio("child");
    // A shell in between, which starts another process and does not pass signals on.
    let Transport::Stdio { command, args, env } = &mut child.transport else { panic!() };
    let inner = format!("sleep 300 & '{command}' {}; exit 0", args.join(" "));
    (*command, *args) = ("sh".to_owned(), vec!["-c".to_owned(), inner]);
    env.insert("MARK".to_owned(), mark.clone());
    let world = World::new(vec![child]).await;
    let (one, two) = (world.ann().await, world.ann().await);
    for client in [&one, &two] {
        assert_eq!(client.call(1, "child__echo", json!({})).await["result"]["content"][0]["text"], "{}");
    }
    assert_eq!(marked(&mark), 6);
    assert_eq!(one.send(Method::DELETE, "").await.status, 204);
    until("one session's processes to end", || marked(&mark) == 3).await;
    world.shutdown().await;
    // Killed by then; the orphaned one is reaped by the system, whenever it likes.
    until("all processes to end", || marked(&mark) == 0).await;
}

#[tokio::test]
async fn a_process_that_will_not_end_is_killed() {
    let mark = format!("{}-{}", std::process::id(), line!());
    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "sh", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 1, "result": result});
    let script = format!("trap '' TERM INT HUP; read a; echo '{hello}'; while :; do sleep 1; done");
    let env = [("MARK".to_owned(), mark.clone())].into();
    let stubborn =
        upstream("up", Transport::Stdio { command: "sh".into(), args: vec!["-c".into(), script], env });
    let world = World::new(vec![stubborn]).await;
    assert!(world.ann().await.ask(1, "tools/list", json!({})).await.get("result").is_some());
    assert!(marked(&mark) >= 1);
    world.shutdown().await;
    until("all processes to end", || marked(&mark) == 0).await;
}

#[tokio::test]
async fn draining_takes_nothing_new_and_finishes_what_runs() {
    let (addr, _) = serve().await;
    let slow = crate::scripted::Scripted::new(|message| {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let result = crate::scripted::text_result("late");
            crate::scripted::json_body(
                json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string(),
            )
        })
    })
    .await;
    let world = World::new(vec![http("slow", slow.addr), http("up", addr)]).await;
    let client = world.ann().await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.call(1, "slow__t", json!({})).await }
    });
    until("the call", || !slow.texts("tools/call").is_empty()).await;
    world.fake.revocations.send(Revocation::Draining).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.call(2, "up__echo", json!({})).await["error"]["data"]["code"], "draining");
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let refused = world.client("key-ann").post(&request(1, "initialize", params)).await;
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (503, "1"));
    let started = Instant::now();
    world.shutdown().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(running.await.unwrap()["result"]["content"][0]["text"], "late");
}

#[tokio::test]
async fn shutdown_ends_what_does_not_end_by_its_deadline() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr)]).await;
    let client = world.ann().await;
    let running = tokio::spawn({
        let client = client.clone();
        async move { client.call(1, "up__slow", json!({})).await }
    });
    until("the admission", || !world.fake.admitted.lock().unwrap().is_empty()).await;
    world.gateway.shutdown(Instant::now() + Duration::from_millis(100)).await;
    assert_eq!(running.await.unwrap()["error"]["data"]["code"], "draining");
    let metrics = world.gateway.metrics();
    assert_eq!((metrics.sessions_open, metrics.requests_in_flight, metrics.streams_open), (0, 0, 0));
    assert!(metrics.calls.contains(&("cancelled", 1)));
}

#[tokio::test]
async fn no_task_outlives_its_session() {
    let (addr, _) = serve().await;
    let world = World::new(vec![http("up", addr), stdio("child")]).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let cycle = async || {
        let client = world.ann().await;
        let stream = client.get().await;
        client.call(1, "up__echo", json!({})).await;
        client.call(2, "child__echo", json!({})).await;
        assert_eq!(client.send(Method::DELETE, "").await.status, 204);
        drop(stream);
    };
    cycle().await;
    // Connections that are kept for reuse, on both sides, come and go; ten sessions would leave far more.
    let before = tasks();
    for _ in 0..10 {
        cycle().await;
    }
    until("the tasks of ten sessions to end", || tasks() <= before + 10).await;
    world.shutdown().await;
}
