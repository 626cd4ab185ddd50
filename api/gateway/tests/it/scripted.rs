//! An upstream whose every answer a test writes, byte by byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::broadcast;

type Script = dyn Fn(Value) -> BoxFuture<'static, Response> + Send + Sync;

#[derive(Clone)]
pub struct Scripted {
    pub addr: SocketAddr,
    /// Every POSTed message with its raw text, in order.
    pub seen: Arc<Mutex<Vec<(Value, String)>>>,
    pub secrets: Arc<Mutex<Vec<String>>>,
    pub deleted: Arc<Mutex<u32>>,
    pub initialized: Arc<Mutex<u32>>,
    pub capabilities: Arc<Mutex<Value>>,
    /// What it says on the listening streams of its clients; without readers of this there are none.
    pub said: broadcast::Sender<String>,
    pub listens: Arc<AtomicBool>,
}

pub fn json_body(text: impl Into<String>) -> Response {
    Response::builder().header("content-type", "application/json").body(Body::from(text.into())).unwrap()
}

pub fn sse_body(body: Body) -> Response {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

pub fn status(status: u16) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

impl Scripted {
    /// Shakes hands by itself; `script` answers every other request.
    pub async fn new<F>(script: F) -> Self
    where
        F: Fn(Value) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scripted = Self {
            addr: listener.local_addr().unwrap(),
            seen: Arc::default(),
            secrets: Arc::default(),
            deleted: Arc::default(),
            initialized: Arc::default(),
            capabilities: Arc::new(Mutex::new(json!({"tools": {}, "resources": {}, "prompts": {}}))),
            said: broadcast::Sender::new(64),
            listens: Arc::default(),
        };
        let (this, script) = (scripted.clone(), Arc::new(script) as Arc<Script>);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (this, script) = (this.clone(), script.clone());
            async move { this.answer(request, &*script).await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        scripted
    }

    async fn answer(&self, request: Request, script: &Script) -> Response {
        let (parts, body) = request.into_parts();
        if parts.method == "DELETE" {
            *self.deleted.lock().unwrap() += 1;
            return status(204);
        }
        if parts.method == "GET" {
            return match parts.headers.get("last-event-id") {
                Some(last) => script(json!({"method": "resume", "last": last.to_str().unwrap()})).await,
                None if self.listens.load(Ordering::SeqCst) => {
                    sse_body(Body::from_stream(told(self.said.subscribe())))
                }
                None => status(405),
            };
        }
        let body: Bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let message: Value = serde_json::from_str(&text).unwrap();
        let secret = parts.headers.get("x-secret").map(|value| value.to_str().unwrap().to_owned());
        self.secrets.lock().unwrap().extend(secret);
        self.seen.lock().unwrap().push((message.clone(), text));
        if message["method"] == "initialize" {
            *self.initialized.lock().unwrap() += 1;
            let result = json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": *self.capabilities.lock().unwrap(),
                "serverInfo": {"name": "scripted", "version": "1"},
            });
            let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
            return Response::builder()
                .header("content-type", "application/json")
                .header("mcp-session-id", "scripted-1")
                .body(Body::from(text))
                .unwrap();
        }
        if message.get("id").is_none() || message.get("method").is_none() {
            return Response::builder().status(StatusCode::ACCEPTED).body(Body::empty()).unwrap();
        }
        script(message).await
    }

    /// Says something of its own accord, to all who listen.
    pub async fn say(&self, text: &str) {
        crate::world::until("a listener", || self.said.receiver_count() > 0).await;
        self.said.send(text.to_owned()).unwrap();
    }

    /// Raw texts of messages with that method.
    pub fn texts(&self, method: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(m, _)| m["method"] == method).map(|(_, text)| text.clone()).collect()
    }
}

fn told(
    said: broadcast::Receiver<String>,
) -> impl futures_util::Stream<Item = Result<String, std::io::Error>> {
    futures_util::stream::unfold(said, async |mut said| {
        let text = said.recv().await.ok()?;
        Some((Ok(format!("data: {text}\n\n")), said))
    })
}

/// Answers every request with `result`.
pub async fn always(result: Value) -> Scripted {
    Scripted::new(move |message| {
        let text = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
        Box::pin(async move { json_body(text) })
    })
    .await
}

pub fn text_result(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}
