//! Clients: each one keep-alive connection, one call at a time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::common::{Args, Latencies, cpu};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// What every call says and gets back.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, again and again.";

/// Where a client sends its calls, and as whom.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub tool: &'static str,
    pub key: Option<String>,
    pub session: Option<String>,
}

/// What a run gave.
pub struct Sample {
    pub latencies: Latencies,
    pub lasted: Duration,
    /// CPU time of the processes in between.
    pub cpu: Duration,
    pub failed: usize,
    pub first_failure: Option<String>,
}

pub struct Client {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    next_id: u64,
}

impl Client {
    pub async fn connect(target: Target) -> Self {
        let stream = TcpStream::connect(target.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { target, sender, next_id: 1 }
    }

    /// From now on calls in another session, on the same connection.
    #[allow(dead_code, reason = "not every benchmark has more sessions than connections")]
    pub fn act_as(&mut self, target: &Target) {
        self.target = target.clone();
    }

    async fn post(&mut self, body: String) -> Result<(u16, HeaderMap, Bytes), String> {
        let mut request = Request::post("/mcp")
            .header("host", self.target.address.to_string())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(key) = &self.target.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(session) = &self.target.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let exchange = async {
            self.sender.ready().await.map_err(|error| error.to_string())?;
            let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok((parts.status.as_u16(), parts.headers, body))
        };
        tokio::time::timeout(ANSWER_WITHIN, exchange).await.map_err(|_| "no answer".to_owned())?
    }

    /// Opens an MCP session, as a real client does; its id is what further clients may use.
    pub async fn initialize(&mut self) -> Result<String, String> {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                            "clientInfo": {"name": "bench", "version": "1"}});
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let (status, headers, body) = self.post(request.to_string()).await?;
        let session = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        let Some(session) = session else {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
        };
        self.target.session = Some(session.clone());
        self.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()).await?;
        Ok(session)
    }

    /// One tools/call, its answer read and checked.
    pub async fn call(&mut self) -> Result<(), String> {
        let (id, tool) = (self.next_id, self.target.tool);
        self.next_id += 1;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{TEXT}"}}}}}}"#
        );
        let (status, _, body) = self.post(body).await?;
        let said = || String::from_utf8_lossy(&body).chars().take(300).collect::<String>();
        // Looked for rather than parsed: the client's own cost is in every row.
        let right = status == 200 && body.windows(TEXT.len()).any(|bytes| bytes == TEXT.as_bytes());
        if right { Ok(()) } else { Err(format!("{status}: {}", said())) }
    }

    /// As `call`, and the whole answer.
    pub async fn show(&mut self) -> Result<Value, String> {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
                             "params": {"name": self.target.tool, "arguments": {"text": TEXT}}});
        let (_, _, body) = self.post(request.to_string()).await?;
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}

/// Lets one client call at each target until the time is over; `pids` are the servers whose CPU time counts.
pub async fn run(targets: &[Target], args: &Args, pids: &[u32]) -> Sample {
    let from = Instant::now() + args.warm_up;
    let until = from + args.measured;
    let mut tasks = tokio::task::JoinSet::new();
    for target in targets.iter().cloned() {
        tasks.spawn(async move {
            let mut client = Client::connect(target).await;
            let (mut latencies, mut failures) = (Latencies::default(), Vec::new());
            loop {
                let began = Instant::now();
                if began >= until {
                    return (latencies, failures);
                }
                let result = client.call().await;
                let measured = began >= from;
                match result {
                    Ok(()) if measured => latencies.add(began.elapsed()),
                    Ok(()) => {}
                    Err(why) => {
                        failures.push(why);
                        // Its connection may be gone; and what fails at once must not fail a million times.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        client = Client::connect(client.target.clone()).await;
                    }
                }
            }
        });
    }
    tokio::time::sleep_until(from.into()).await;
    let cpu_before = cpu(pids);
    tokio::time::sleep_until(until.into()).await;
    let (lasted, cpu_after) = (from.elapsed(), cpu(pids));
    let mut sample = Sample {
        latencies: Latencies::default(),
        lasted,
        cpu: cpu_after.saturating_sub(cpu_before),
        failed: 0,
        first_failure: None,
    };
    while let Some(done) = tasks.join_next().await {
        let (latencies, failures) = done.unwrap();
        sample.latencies.join(latencies);
        sample.failed += failures.len();
        sample.first_failure = sample.first_failure.or_else(|| failures.into_iter().next());
    }
    sample
}
