//! Bad input at a live node: a clear refusal each, and nothing left behind.

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cluster::{BINARY, Cluster, eventually};
use crate::http;
use crate::mcp::Client;

/// What is wrong, method, path, headers, body, and the status of the refusal.
type Case<'a> = (&'a str, Method, &'a str, Vec<(&'a str, &'a str)>, String, u16);

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_bad_request_gets_its_clear_refusal() {
    let cluster = Cluster::start(13).await;
    let client = cluster.client(1, &cluster.key("developer")).await;
    let bearer = format!("Bearer {}", client.key);
    let session = client.session.clone().unwrap();
    let plain: Vec<(&str, &str)> = vec![
        ("authorization", &bearer),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", &session),
    ];
    let with = |name: &'static str, value: &'static str| {
        let mut headers = plain.clone();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
        headers
    };
    let without = |name: &str| {
        let mut headers = plain.clone();
        headers.retain(|(known, _)| *known != name);
        headers
    };
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}1{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let post = Method::POST;
    let cases: Vec<Case<'_>> = vec![
        ("broken JSON", post.clone(), "/mcp", plain.clone(), r#"{"jsonrpc":"2.0","#.into(), 400),
        ("not UTF-8 text", post.clone(), "/mcp", plain.clone(), "\u{fffd}\0".into(), 400),
        ("no body", post.clone(), "/mcp", plain.clone(), String::new(), 400),
        ("no JSON-RPC", post.clone(), "/mcp", plain.clone(), r#"{"hello":1}"#.into(), 400),
        ("too deep", post.clone(), "/mcp", plain.clone(), deep, 400),
        ("too large", post.clone(), "/mcp", plain.clone(), format!("\"{}\"", "x".repeat(5 << 20)), 413),
        ("a batch, which this version lacks", post.clone(), "/mcp", plain.clone(), format!("[{PING}]"), 400),
        ("unknown path", post.clone(), "/nowhere", plain.clone(), PING.into(), 404),
        ("unknown method", Method::PUT, "/mcp", plain.clone(), PING.into(), 405),
        ("foreign Origin", post.clone(), "/mcp", with("origin", "https://evil.example"), PING.into(), 403),
        ("wrong content type", post.clone(), "/mcp", with("content-type", "text/plain"), PING.into(), 415),
        ("takes no answer of ours", post.clone(), "/mcp", with("accept", "text/html"), PING.into(), 406),
        (
            "unknown version",
            post.clone(),
            "/mcp",
            with("mcp-protocol-version", "1999-01-01"),
            PING.into(),
            400,
        ),
        ("no key", post.clone(), "/mcp", without("authorization"), PING.into(), 401),
        ("unknown key", post.clone(), "/mcp", with("authorization", "Bearer o1_k1_x"), PING.into(), 401),
        ("another scheme", post.clone(), "/mcp", with("authorization", "Basic eDp5"), PING.into(), 401),
        ("no session", post.clone(), "/mcp", without("mcp-session-id"), PING.into(), 400),
        ("no session of ours", post.clone(), "/mcp", with("mcp-session-id", "nonsense"), PING.into(), 404),
        ("a tenant that cannot be", post.clone(), "/t/%2e%2e/mcp", plain.clone(), PING.into(), 403),
    ];
    for (what, method, path, headers, body, status) in cases {
        let url = format!("{}{path}", cluster.http_url(1));
        let answer =
            http::send(method, &url, &headers, body).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        let explained = answer.text().contains("error") || status == 405 || path == "/nowhere";
        assert!(explained, "{what}: the refusal does not say why: {}", answer.text());
        assert!(status != 401 || answer.headers.contains_key("www-authenticate"), "{what}");
    }
    let mut client = client;
    for (tool, code) in
        [("demo__none", None), ("nobody__echo", Some("upstream_unknown")), ("echo", Some("upstream_unknown"))]
    {
        let exchange = client.call(tool, json!({})).await;
        assert!(
            exchange.answer.get("error").is_some() || exchange.answer["result"]["isError"] == true,
            "{tool}"
        );
        assert!(code.is_none() || exchange.refusal() == code, "{tool}: {}", exchange.answer);
    }
    let unknown = client.request("no/such", json!({})).await;
    assert_eq!(unknown.answer["error"]["code"], -32601, "{}", unknown.answer);
    long_texts(&cluster, &mut client).await;
    broken_connections(&cluster).await;
    assert_eq!(client.call("demo__echo", json!({"text": "still here"})).await.text(), Some("still here"));
}

/// Names far past every bound: refused or cut, recorded, and no node stops over them.
async fn long_texts(cluster: &Cluster, client: &mut Client) {
    for name in [format!("demo__{}", "x".repeat(100_000)), format!("{}__echo", "x".repeat(100_000))] {
        let refused = client.call(&name, json!({})).await;
        assert_eq!(refused.answer["error"]["code"], -32602, "{}", refused.answer);
    }
    // The longest name that is taken at all reaches the audit trail.
    let longest = format!("nobody__{}", "x".repeat(248));
    assert_eq!(client.call(&longest, json!({})).await.refusal(), Some("upstream_unknown"));
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "n".repeat(1_000_000), "version": "v".repeat(1_000_000)}}});
    let mut other = Client::new(&client.url, &client.key);
    other.post(&hello.to_string()).await.unwrap();
    other.initialize().await;
    // The node's batches go on being applied: a sealed answer needs that.
    for number in 1..=3 {
        let mut next = cluster.client(number, &client.key).await;
        assert!(next.call("demo__echo", json!({"text": "on"})).await.receipt().is_some(), "node {number}");
    }
}

/// Bytes that are no HTTP, a request that breaks off, and one that never goes on.
async fn broken_connections(cluster: &Cluster) {
    let address = cluster.http_url(1);
    let address = address.strip_prefix("http://").unwrap();
    let connect = || tokio::net::TcpStream::connect(address);
    let mut noise = connect().await.unwrap();
    noise.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP at all\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = noise.read_to_end(&mut said).await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&said));
    let mut half = connect().await.unwrap();
    half.write_all(b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    drop(half);
    let mut idle = connect().await.unwrap();
    idle.write_all(b"POST /mcp HT").await.unwrap();
    assert_eq!(cluster.get(1, "/health/live", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_revoked_and_scoped_keys_are_told_apart_from_good_ones() {
    let cluster = Cluster::start(14).await;
    let make = |more: &[&str]| {
        let args: Vec<String> = ["key", "create", "--tenant", "acme", "--principal", "developer", "--wait"]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect();
        let cluster = &cluster;
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            cluster.ctl(1, &args).await["key"].as_str().unwrap().to_owned()
        }
    };
    let status =
        async |number: usize, key: &str| Client::new(&cluster.mcp_url(number), key).initialize().await.status;
    let brief = make(&["--ttl", "3s"]).await;
    assert_eq!(status(2, &brief).await, 200);
    eventually("the key expires", async || status(2, &brief).await == 401).await;
    let revoked = make(&[]).await;
    let id = revoked.split('_').nth(1).unwrap();
    cluster.ctl(3, &["key", "revoke", "--tenant", "acme", id, "--wait"]).await;
    for number in 1..=3 {
        assert_eq!(status(number, &revoked).await, 401);
        assert_eq!(status(number, &format!("{revoked}x")).await, 401);
    }
    let scoped = make(&["--tool", "demo__slow"]).await;
    let mut client = cluster.client(3, &scoped).await;
    assert_eq!(client.tools().await, ["demo__slow"], "a list shows what the key is good for");
    let refused = client.call("demo__echo", json!({"text": "x"})).await;
    assert_eq!(refused.refusal(), Some("key_scope"), "{}", refused.answer);
    let administers = cluster.try_ctl(1, &scoped, &["grant", "list"]).await;
    assert!(administers.is_err(), "a key of limited scope administers nothing: {administers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_sessions_that_were_ended() {
    let upstream = format!("local={BINARY} demo --stdio");
    let cluster = Cluster::start_with(15, &["--upstream", &upstream]).await;
    for number in 1..=3 {
        assert_eq!(children(cluster.pid(number)), Vec::<u32>::new());
    }
    let mut clients = Vec::new();
    for number in [1, 1, 2, 3, 3] {
        let mut client = cluster.client(number, &cluster.key("developer")).await;
        let exchange = client.call("local__echo", json!({"text": "over stdio"})).await;
        assert_eq!(exchange.text(), Some("over stdio"), "{}", exchange.answer);
        assert_eq!(client.call("demo__echo", json!({"text": "x"})).await.text(), Some("x"));
        clients.push(client);
    }
    let stdio = |number| children(cluster.pid(number)).len();
    assert_eq!([stdio(1), stdio(2), stdio(3)], [2, 1, 2], "a process for each session that called");
    // One of them in the middle of a call, whose answer nobody will read.
    let mut abandoned = clients[0].clone();
    let call = tokio::spawn(async move { abandoned.try_call("local__slow", json!({"ms": 50_000})).await });
    eventually("the call runs", async || cluster.metric(1, "only1mcp_requests_in_flight").await >= 1.0).await;
    call.abort();
    for client in &clients {
        assert_eq!(client.delete().await.status, 204);
    }
    for number in 1..=3 {
        eventually("no session, stream, request or process is left", async || {
            let mut left = stdio(number) as f64;
            for name in ["sessions_open", "streams_open", "requests_in_flight"] {
                left += cluster.metric(number, &format!("only1mcp_{name}")).await;
            }
            left == 0.0
        })
        .await;
    }
}

/// Processes whose parent is `pid`.
fn children(pid: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let child: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        let parent: u32 = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        (parent == pid).then_some(child)
    });
    processes.collect()
}
