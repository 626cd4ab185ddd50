//! A client that sees raw HTTP: statuses, headers, events.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone)]
pub struct Client {
    hyper: Hyper<HttpConnector, Full<Bytes>>,
    pub addr: SocketAddr,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub session: Option<String>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    body: Incoming,
    buffer: String,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    pub id: Option<String>,
    /// `Null` for a priming event.
    pub data: Value,
}

impl Client {
    pub fn new(addr: SocketAddr, key: &str) -> Self {
        let headers = [
            ("authorization", format!("Bearer {key}")),
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
        ];
        Self {
            hyper: Hyper::builder(TokioExecutor::new()).build_http(),
            addr,
            path: "/mcp".into(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            session: None,
        }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    pub async fn send(&self, method: Method, body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{}", self.addr, self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = timeout(PATIENCE, self.hyper.request(request)).await.expect("an answer").unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body, buffer: String::new() }
    }

    pub async fn post(&self, message: &Value) -> Answer {
        self.send(Method::POST, message.to_string()).await
    }

    pub async fn get(&self) -> Answer {
        self.send(Method::GET, "").await
    }

    pub async fn initialize(&mut self, version: &str) -> Value {
        self.initialize_with(version, json!({"elicitation": {}, "sampling": {}})).await
    }

    pub async fn initialize_with(&mut self, version: &str, capabilities: Value) -> Value {
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "1"},
        });
        let answer = self.post(&request(0, "initialize", params)).await;
        assert_eq!(answer.status, 200);
        self.session = Some(answer.headers["mcp-session-id"].to_str().unwrap().to_owned());
        let result = answer.value().await["result"].clone();
        let version = result["protocolVersion"].as_str().unwrap().to_owned();
        self.set("mcp-protocol-version", &version);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.post(&ready).await.status, 202);
        result
    }

    /// The answer's message, whatever came before it.
    pub async fn ask(&self, id: u64, method: &str, params: Value) -> Value {
        let answer = self.post(&request(id, method, params)).await;
        assert_eq!(answer.status, 200, "{method}");
        answer.value().await
    }

    pub async fn call(&self, id: u64, tool: &str, arguments: Value) -> Value {
        self.ask(id, "tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    pub async fn names(&self, method: &str, member: &str) -> Vec<String> {
        let answer = self.ask(90, method, json!({})).await;
        let items = answer["result"][member].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

impl Answer {
    pub fn is_stream(&self) -> bool {
        self.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream")
    }

    pub async fn text(self) -> String {
        let body = timeout(PATIENCE, self.body.collect()).await.expect("a body").unwrap().to_bytes();
        self.buffer + std::str::from_utf8(&body).unwrap()
    }

    pub async fn value(mut self) -> Value {
        if !self.is_stream() {
            let text = self.text().await;
            return serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?}"));
        }
        let mut last = Value::Null;
        while let Some(event) = self.event().await {
            last = event.data;
        }
        last
    }

    /// The next event with data, or priming; `None` at the end.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some((text, rest)) = self.buffer.split_once("\n\n") {
                let (text, rest) = (text.to_owned(), rest.to_owned());
                self.buffer = rest;
                let field =
                    |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                let Some(data) = field("data: ") else { continue };
                return Some(Event {
                    id: field("id: "),
                    data: serde_json::from_str(&data).unwrap_or(Value::Null),
                });
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("an event")?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.buffer.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }

    /// The next event that carries a message.
    pub async fn message(&mut self) -> Value {
        loop {
            let event = self.event().await.expect("the stream ended");
            if !event.data.is_null() {
                return event.data;
            }
        }
    }

    /// That nothing but comments and priming comes for a while.
    pub async fn is_silent(&mut self, for_ms: u64) -> bool {
        timeout(Duration::from_millis(for_ms), self.message()).await.is_err()
    }
}
