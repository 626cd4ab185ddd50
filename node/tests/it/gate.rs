//! An MCP server of the test's own: a call that reaches it is held until the test lets all go, or breaks off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::Cluster;

#[derive(Default)]
struct Shared {
    opened: watch::Sender<bool>,
    /// How often calls were broken off; each one ends with the next.
    broken: watch::Sender<u64>,
    held: AtomicUsize,
}

pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A call that is here, until it is answered or its connection is gone.
struct Held<'a>(&'a AtomicUsize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    /// Closed at first.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = gate.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = hyper::service::service_fn(move |request| answer(shared.clone(), request));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        gate
    }

    /// Makes it an upstream of the first tenant.
    pub async fn register(&self, cluster: &Cluster, id: &str, more: &[&str]) {
        let url = format!("http://{}/mcp", self.address);
        let args = ["upstream", "add", "--tenant", "acme", id, "--url", &url, "--shared-stateless"];
        let more = [&["--concurrency", "1000", "--wait"], more].concat();
        cluster.ctl(1, &[&args[..], &more].concat()).await;
    }

    /// Calls that are here now.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Answers all calls, and further ones at once.
    pub fn open(&self) {
        self.shared.opened.send_replace(true);
    }

    pub fn close(&self) {
        self.shared.opened.send_replace(false);
    }

    /// Closes the connections of all calls that are here, without a word.
    pub fn break_off(&self) {
        self.shared.broken.send_modify(|times| *times += 1);
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    let empty = |status| Ok(Response::builder().status(status).body(Full::default())?);
    match *request.method() {
        Method::POST => {}
        Method::DELETE => return empty(StatusCode::OK),
        _ => return empty(StatusCode::METHOD_NOT_ALLOWED),
    }
    let asked: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
    let Some(id) = asked.get("id") else { return empty(StatusCode::ACCEPTED) };
    let result = match asked["method"].as_str().unwrap_or_default() {
        "tools/call" => pass(&shared).await?,
        "tools/list" => json!({"tools": [{"name": "wait", "inputSchema": {"type": "object"}}]}),
        "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                               "serverInfo": {"name": "gate", "version": "1"}}),
        _ => json!({}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
    Ok(Response::builder().header("content-type", "application/json").body(Full::new(answer.into()))?)
}

async fn pass(shared: &Shared) -> anyhow::Result<Value> {
    let (mut opened, mut broken) = (shared.opened.subscribe(), shared.broken.subscribe());
    shared.held.fetch_add(1, Ordering::SeqCst);
    let _held = Held(&shared.held);
    tokio::select! {
        _ = opened.wait_for(|open| *open) => {
            Ok(json!({"content": [{"type": "text", "text": "passed"}], "isError": false}))
        }
        // The connection ends with an error of its service.
        _ = broken.changed() => anyhow::bail!("broken off"),
    }
}
