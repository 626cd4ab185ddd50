//! A small MCP client over Streamable HTTP: raw JSON-RPC, so that a test sees every field as it came.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Method, Response};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::cluster::PATIENCE;
use crate::http::{self, Answer};

pub const VERSION: &str = "2025-11-25";
const PAUSE_REFUSED: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Client {
    pub url: String,
    pub key: String,
    pub session: Option<String>,
    /// The latest request's.
    pub next_id: u64,
}

/// What an answered call carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    pub call: String,
    pub audit_index: u64,
    pub event_hash: String,
}

/// The messages of one request: what came before the answer, and the answer.
#[derive(Debug)]
pub struct Exchange {
    pub status: u16,
    pub before: Vec<Value>,
    pub answer: Value,
}

impl Exchange {
    /// Of an answer that is sealed.
    pub fn receipt(&self) -> Option<Receipt> {
        let receipt = self.answer.pointer("/result/_meta/only1mcp~1receipt")?;
        (receipt["state"] == "sealed").then(|| Receipt {
            call: receipt["call"].as_str().unwrap().to_owned(),
            audit_index: receipt["audit_index"].as_u64().unwrap(),
            event_hash: receipt["event_hash"].as_str().unwrap().to_owned(),
        })
    }

    /// The stable code of a refusal.
    pub fn refusal(&self) -> Option<&str> {
        self.answer.pointer("/error/data/code")?.as_str()
    }

    pub fn text(&self) -> Option<&str> {
        self.answer.pointer("/result/content/0/text")?.as_str()
    }
}

impl Client {
    pub fn new(url: &str, key: &str) -> Self {
        Self { url: url.to_owned(), key: key.to_owned(), session: None, next_id: 1 }
    }

    /// The same session, spoken to on another node.
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    pub async fn initialize(&mut self) -> Answer {
        self.try_initialize().await.unwrap()
    }

    /// Errors: no whole answer came.
    pub async fn try_initialize(&mut self) -> anyhow::Result<Answer> {
        self.session = None;
        let params = json!({"protocolVersion": VERSION, "capabilities": {},
                            "clientInfo": {"name": "only1mcp-it", "version": "1"}});
        let answer = self.post(&self.message("initialize", params).to_string()).await?;
        if let Some(session) = answer.headers.get("mcp-session-id") {
            self.session = Some(session.to_str().unwrap().to_owned());
            let told = self.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await?;
            // The key may have expired in between, before it was looked at or after: then that is the answer.
            if told.status == 401 || (told.status == 403 && told.text().contains("key_expired")) {
                return Ok(told);
            }
            assert_eq!(told.status, 202, "{}", told.text());
        }
        Ok(answer)
    }

    fn message(&self, method: &str, params: Value) -> Value {
        json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params})
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.key)
    }

    pub fn headers<'a>(&'a self, bearer: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut headers = vec![
            ("authorization", bearer),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if let Some(session) = &self.session {
            headers.extend([("mcp-session-id", session.as_str()), ("mcp-protocol-version", VERSION)]);
        }
        headers
    }

    pub async fn post(&self, body: &str) -> anyhow::Result<Answer> {
        let bearer = self.bearer();
        http::send(Method::POST, &self.url, &self.headers(&bearer), body.to_owned()).await
    }

    /// Errors: no whole answer came, as when the node died meanwhile.
    pub async fn try_request(&mut self, method: &str, params: Value) -> anyhow::Result<Exchange> {
        self.next_id += 1;
        let message = self.message(method, params);
        let answer = self.post(&message.to_string()).await?;
        let mut before = if answer.is_stream() { events(&answer.text()) } else { Vec::new() };
        let ours = |said: &Value| said["id"] == message["id"] && said.get("method").is_none();
        let found = match before.iter().position(ours) {
            Some(at) => before.remove(at),
            None if answer.is_stream() => {
                anyhow::bail!("the stream ended without an answer: {}", answer.text())
            }
            None => serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        };
        Ok(Exchange { status: answer.status, before, answer: found })
    }

    pub async fn request(&mut self, method: &str, params: Value) -> Exchange {
        self.try_request(method, params).await.unwrap()
    }

    pub async fn try_call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<Exchange> {
        self.try_request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    pub async fn call(&mut self, tool: &str, arguments: Value) -> Exchange {
        self.try_call(tool, arguments).await.unwrap()
    }

    /// The sealed answer of a caller that does what a refusal with `retry` asks for: a machine that is busy may well be
    /// refused once.
    pub async fn call_until_sealed(&mut self, tool: &str, arguments: Value) -> Exchange {
        let until = Instant::now() + PATIENCE;
        loop {
            let exchange = self.call(tool, arguments.clone()).await;
            if exchange.receipt().is_some() {
                return exchange;
            }
            let asked_to_retry = exchange.answer.pointer("/error/data/retry") == Some(&Value::Bool(true));
            assert!(asked_to_retry && Instant::now() < until, "no receipt: {exchange:?}");
            eprintln!("refused, to be tried again: {exchange:?}");
            sleep(PAUSE_REFUSED).await;
        }
    }

    /// The names on `tools/list`, which must be answered.
    pub async fn tools(&mut self) -> Vec<String> {
        let listed = self.request("tools/list", json!({})).await;
        let tools = listed.answer["result"]["tools"].as_array();
        let tools = tools.unwrap_or_else(|| panic!("no list: {} {}", listed.status, listed.answer));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The stream on which the server speaks first.
    pub async fn listen(&self) -> Stream {
        let bearer = self.bearer();
        let response =
            http::open(Method::GET, &self.url, &self.headers(&bearer), Bytes::new()).await.unwrap();
        assert_eq!(response.status(), 200, "GET");
        Stream { response }
    }

    pub async fn delete(&self) -> Answer {
        let bearer = self.bearer();
        http::send(Method::DELETE, &self.url, &self.headers(&bearer), Bytes::new()).await.unwrap()
    }
}

pub struct Stream {
    response: Response<Incoming>,
}

impl Stream {
    /// Reads to its end, which the server must bring about.
    pub async fn until_closed(self) -> String {
        let body = self.response.into_body().collect();
        match timeout(PATIENCE, body).await.expect("the stream stays open") {
            Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            Err(error) => format!("closed: {error}"),
        }
    }
}

/// The messages of an event stream.
pub fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start);
    data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}
