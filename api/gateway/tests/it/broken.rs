//! Upstreams that misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use only1mcp_domain::activity::CallOutcome;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scripted::{Scripted, json_body, sse_body, status, text_result};
use crate::world::{World, http, shared, until, upstream};
use only1mcp_domain::model::Transport;

/// Shakes hands properly, then answers every `tools/call` with these bytes and hangs up, or hangs.
async fn raw(answer: &'static [u8], hang: bool) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut text = String::new();
                let mut buffer = [0u8; 4096];
                loop {
                    let Ok(n @ 1..) = stream.read(&mut buffer).await else { return };
                    text.push_str(&String::from_utf8_lossy(&buffer[..n]));
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.to_ascii_lowercase();
                    let length =
                        length.lines().find_map(|l| l.strip_prefix("content-length: ").map(str::to_owned));
                    if body.len() < length.map_or(0, |l| l.parse().unwrap()) {
                        continue;
                    }
                    let reply = if body.contains("\"initialize\"") {
                        let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "raw", "version": "1"}});
                        let body = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
                        format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        )
                    } else if body.contains("tools/call") {
                        stream.write_all(answer).await.unwrap();
                        if hang {
                            tokio::time::sleep(Duration::from_secs(60)).await;
                        }
                        return;
                    } else if head.starts_with("GET") {
                        "HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n".to_owned()
                    } else {
                        "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned()
                    };
                    stream.write_all(reply.as_bytes()).await.unwrap();
                    text.clear();
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn broken_answers_become_errors_and_records() {
    let cases: Vec<(&'static [u8], &str)> = vec![
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"jsonrpc\"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"jsonrpc\"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n", "neither JSON nor an event stream"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{\"a", "not JSON"),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "answered HTTP 500"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 39\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":77777,\"result\":{}}", "broke the protocol"),
        (b"", "cannot be reached"),
        (b"garbage\r\n\r\n", "cannot be reached"),
    ];
    for (answer, expected) in cases {
        let world = World::new(vec![http("up", raw(answer, false).await)]).await;
        let answer = world.ann().await.call(1, "up__t", json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        assert!(message.contains(expected), "{message} is not {expected}");
        assert_eq!(answer["error"]["data"], json!({"code": "upstream_failed", "upstream": "up"}));
        assert_eq!(world.fake.completed_once().await.outcome, CallOutcome::UpstreamFailed);
        world.shutdown().await;
    }
}

#[tokio::test]
async fn a_hanging_call_times_out_and_is_cancelled() {
    let silent = Scripted::new(|_| Box::pin(std::future::pending())).await;
    let mut hanging = http("up", silent.addr);
    hanging.call_timeout_ms = 300;
    let world = World::new(vec![hanging]).await;
    let answer = world.ann().await.call(1, "up__t", json!({})).await;
    assert_eq!(
        (answer["error"]["code"].as_i64(), answer["error"]["data"]["code"].as_str()),
        (Some(-32001), Some("upstream_timeout"))
    );
    assert_eq!(world.fake.completed_once().await.outcome, CallOutcome::TimedOut);
    until("the cancellation", || !silent.texts("notifications/cancelled").is_empty()).await;
    let sent = silent.seen.lock().unwrap().iter().find(|(m, _)| m["method"] == "tools/call").unwrap().0["id"]
        .clone();
    let cancelled: serde_json::Value =
        serde_json::from_str(&silent.texts("notifications/cancelled")[0]).unwrap();
    assert_eq!(cancelled["params"]["requestId"], sent);
    world.shutdown().await;
}

#[tokio::test]
async fn a_hanging_body_times_out_too() {
    let mut hanging =
        http("up", raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hm\n\n", true).await);
    hanging.call_timeout_ms = 300;
    let world = World::new(vec![hanging]).await;
    assert_eq!(world.ann().await.call(1, "up__t", json!({})).await["error"]["code"], -32001);
    world.shutdown().await;
}

#[tokio::test]
async fn upstream_message_bytes_max_is_met_on_both_sides() {
    let sized = |extra: usize| async move {
        let up = Scripted::new(move |message| {
            let empty = json!({"jsonrpc": "2.0", "id": message["id"], "result": text_result("")}).to_string();
            let result = text_result(&"x".repeat(2_000 + extra - empty.len()));
            Box::pin(async move {
                json_body(json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
            })
        })
        .await;
        let world = World::with(1, vec![http("up", up.addr)], |c| c.upstream_message_bytes_max = 2_000).await;
        world.ann().await.call(1, "up__t", json!({})).await
    };
    assert!(sized(0).await.get("result").is_some());
    let message = sized(1).await["error"]["message"].clone();
    assert_eq!(message, "upstream up sent more than 2000 bytes in one message");
}

/// A shell as an MCP server: shakes hands, then does `then` for the next request that has an id.
fn shell(then: &str) -> only1mcp_domain::model::Upstream {
    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "sh", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 1, "result": result});
    let script = format!("read a; echo '{hello}'; read b; read c; {then}");
    upstream(
        "up",
        Transport::Stdio { command: "sh".into(), args: vec!["-c".into(), script], env: Default::default() },
    )
}

#[tokio::test]
async fn a_process_that_dies_or_babbles_fails_its_call_only() {
    let cases = [
        ("exit 3", "closed the connection"),
        ("head -c 3000 /dev/zero | tr '\\0' x; sleep 60", "sent more than 2000 bytes"),
        ("head -c 300000 /dev/zero >&2; exec 2>&-; exit 0", "closed the connection"),
    ];
    for (then, expected) in cases {
        let world = World::with(1, vec![shell(then)], |c| c.upstream_message_bytes_max = 2_000).await;
        let client = world.ann().await;
        for id in 1..=2 {
            let message = client.call(id, "up__t", json!({})).await["error"]["message"].clone();
            assert!(message.as_str().unwrap().contains(expected), "{message} is not {expected}");
        }
        assert_eq!(client.ask(3, "ping", json!({})).await["result"], json!({}));
        world.shutdown().await;
    }
    let absent = upstream(
        "up",
        Transport::Stdio { command: "/no/such".into(), args: vec![], env: Default::default() },
    );
    let world = World::new(vec![absent]).await;
    let answer = world.ann().await.call(1, "up__t", json!({})).await;
    assert_eq!(answer["error"]["message"], "upstream up cannot be reached (its process cannot be started)");
}

#[tokio::test]
async fn a_slow_upstream_delays_a_list_only_so_long() {
    let silent = Scripted::new(|_| Box::pin(std::future::pending())).await;
    let (addr, _) = crate::real::serve().await;
    let world = World::with(1, vec![http("a", silent.addr), http("b", addr)], |c| c.list_ms_max = 300).await;
    let listed = world.ann().await.ask(1, "tools/list", json!({})).await["result"].clone();
    assert_eq!(listed["tools"].as_array().unwrap().len(), 6);
    assert_eq!(
        listed["_meta"]["only1mcp/unavailable"],
        json!([{"upstream": "a", "error": "did not answer in time"}])
    );
    world.shutdown().await;
}

#[tokio::test]
async fn a_full_upstream_refuses_after_a_bounded_wait() {
    let silent = Scripted::new(|_| Box::pin(std::future::pending())).await;
    let mut narrow = shared(http("up", silent.addr));
    narrow.concurrency_max = 1;
    let world = World::with(1, vec![narrow], |config| config.permit_wait_ms_max = 100).await;
    let client = world.ann().await;
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.call(1, "up__t", json!({})).await }
    });
    until("the first call", || !silent.texts("tools/call").is_empty()).await;
    assert_eq!(world.gateway.upstream_health()[0].calls_in_flight, 1);
    assert_eq!(client.call(2, "up__t", json!({})).await["error"]["data"]["code"], "overloaded");
    first.abort();
    world.gateway.shutdown(tokio::time::Instant::now()).await;
    assert_eq!(world.fake.completed().len(), 2);
}

#[tokio::test]
async fn a_lost_upstream_session_is_replaced_and_the_call_sent_again() {
    let lost = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let up = Scripted::new(move |message| {
        let lost = lost.swap(false, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move {
            if lost {
                return status(404);
            }
            json_body(json!({"jsonrpc": "2.0", "id": message["id"], "result": text_result("ok")}).to_string())
        })
    })
    .await;
    let world = World::new(vec![http("up", up.addr)]).await;
    let answer = world.ann().await.call(1, "up__t", json!({})).await;
    assert_eq!(answer["result"]["content"][0]["text"], "ok");
    assert_eq!(*up.initialized.lock().unwrap(), 2);
    world.shutdown().await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_but_its_request_never_sent_again() {
    for refused in [false, true] {
        let up = Scripted::new(move |message| {
            Box::pin(async move {
                match message["method"].as_str().unwrap() {
                    "tools/call" => sse_body(format!("id: {}\nretry: 10\ndata:\n\n", message["id"]).into()),
                    "resume" if refused => status(404),
                    "resume" => {
                        let id: u64 = message["last"].as_str().unwrap().parse().unwrap();
                        let answer = json!({"jsonrpc": "2.0", "id": id, "result": text_result("resumed")});
                        sse_body(format!("data: {answer}\n\n").into())
                    }
                    other => panic!("{other}"),
                }
            })
        })
        .await;
        let world = World::new(vec![http("up", up.addr)]).await;
        let answer = world.ann().await.call(1, "up__t", json!({})).await;
        if refused {
            assert_eq!(answer["error"]["message"], "upstream up closed the connection");
        } else {
            assert_eq!(answer["result"]["content"][0]["text"], "resumed");
        }
        assert_eq!(up.texts("tools/call").len(), 1);
        world.shutdown().await;
    }
}
