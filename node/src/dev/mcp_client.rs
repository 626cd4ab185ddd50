//! A small MCP client over Streamable HTTP, for the tour: it shows the very requests and answers.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

const TIMEOUT: Duration = Duration::from_secs(20);

/// One client with its MCP session.
pub struct McpClient {
    /// `http://host:port/mcp`.
    pub url: String,
    pub key: String,
    session: Option<String>,
    next_id: u64,
}

/// One exchange, as it went over the wire.
pub struct Exchange {
    pub request: Value,
    pub status: u16,
    /// The JSON-RPC answer; `Null` where there was none.
    pub answer: Value,
}

impl McpClient {
    pub fn new(url: &str, key: &str) -> Self {
        Self { url: url.to_owned(), key: key.to_owned(), session: None, next_id: 1 }
    }

    pub async fn initialize(&mut self) -> anyhow::Result<Exchange> {
        let exchange = self
            .request(
                "initialize",
                json!({"protocolVersion": "2025-11-25", "capabilities": {},
                       "clientInfo": {"name": "only1mcp-tour", "version": env!("CARGO_PKG_VERSION")}}),
            )
            .await?;
        if exchange.answer.get("result").is_some() {
            self.post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        }
        Ok(exchange)
    }

    pub async fn list_tools(&mut self) -> anyhow::Result<Exchange> {
        self.request("tools/list", json!({})).await
    }

    pub async fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<Exchange> {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<Exchange> {
        let id = self.next_id;
        self.next_id += 1;
        self.post(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await
    }

    async fn post(&mut self, request: Value) -> anyhow::Result<Exchange> {
        timeout(TIMEOUT, self.exchange(request))
            .await
            .with_context(|| format!("{} does not answer", self.url))?
    }

    async fn exchange(&mut self, request: Value) -> anyhow::Result<Exchange> {
        let authority = self.url.strip_prefix("http://").context("the tour speaks plain HTTP")?;
        let (host, path) = authority.split_once('/').context("an MCP URL has a path")?;
        let stream = TcpStream::connect(host).await.with_context(|| format!("cannot reach {host}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut builder = Request::post(format!("/{path}"))
            .header("host", host)
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            builder = builder.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        let response =
            sender.send_request(builder.body(Full::new(Bytes::from(request.to_string())))?).await?;
        let status = response.status().as_u16();
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = Some(session.to_str()?.to_owned());
        }
        let stream = response
            .headers()
            .get("content-type")
            .is_some_and(|t| t.as_bytes().starts_with(b"text/event-stream"));
        let body = response.into_body().collect().await?.to_bytes();
        driver.abort();
        let answer = if body.is_empty() {
            Value::Null
        } else if stream {
            last_event(&body, request.get("id")).context("the stream held no answer")?
        } else {
            serde_json::from_slice(&body).context("the answer is not JSON")?
        };
        Ok(Exchange { request, status, answer })
    }
}

/// `GET url`: status and body.
pub async fn get(url: &str) -> anyhow::Result<(u16, String)> {
    let authority = url.strip_prefix("http://").context("plain HTTP only")?;
    let (host, path) = authority.split_once('/').context("a URL has a path")?;
    let fetch = async {
        let stream = TcpStream::connect(host).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::get(format!("/{path}")).header("host", host).body(Full::new(Bytes::new()))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        driver.abort();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(TIMEOUT, fetch).await.with_context(|| format!("{url} does not answer"))?
}

/// The answer to `id` among the events of a finished stream.
fn last_event(body: &[u8], id: Option<&Value>) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    text.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter_map(|data| serde_json::from_str::<Value>(data.trim_start()).ok())
        .find(|message| message.get("id") == id && message.get("method").is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_answer_among_other_events() {
        let body = b"event: message\ndata: {\"method\":\"notifications/progress\"}\n\ndata: {\"id\":2,\"result\":{}}\n\n";
        assert_eq!(last_event(body, Some(&json!(2))), Some(json!({"id": 2, "result": {}})));
        assert_eq!(last_event(body, Some(&json!(3))), None);
    }
}
