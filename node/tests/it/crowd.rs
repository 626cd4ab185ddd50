//! Many callers at one time: each has a connection of its own, open before the first of them calls; sessions are shared
//! by as many as one may have requests in flight.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cluster::{Cluster, PATIENCE};
use crate::mcp::{self, Client, Exchange, Receipt};

/// Half of what a session may have in flight.
const CALLERS_PER_SESSION: usize = 64;

/// What one caller was told.
pub struct Told {
    pub node: usize,
    pub what: What,
}

pub enum What {
    Sealed(Receipt),
    /// Answered, and not in the chain yet: the call's id.
    Pending(String),
    /// The error's data.
    Refused(Value),
    /// The connection broke before there was an answer.
    Broken,
}

struct Caller {
    node: usize,
    /// The session it shares, and the key.
    client: Client,
    id: u64,
    sender: SendRequest<Full<Bytes>>,
}

#[derive(Default)]
pub struct Crowd {
    callers: Vec<Caller>,
}

/// Calls under way.
pub struct Calls {
    tasks: JoinSet<Told>,
}

impl Crowd {
    /// `count` callers in all, in turn on each of `nodes`, as the first tenant's administrator.
    pub async fn gather(cluster: &Cluster, nodes: &[usize], count: usize) -> Self {
        raise_open_files();
        let mut crowd = Self::default();
        for (at, node) in nodes.iter().enumerate() {
            let share = (count + nodes.len() - 1 - at) / nodes.len();
            let client = Client::new(&cluster.mcp_url(*node), &cluster.key("admin"));
            crowd.join(*node, client, share).await;
        }
        crowd
    }

    /// Adds callers of one node, as whoever `client` is.
    pub async fn join(&mut self, node: usize, mut client: Client, count: usize) {
        for number in 0..count {
            if number % CALLERS_PER_SESSION == 0 {
                let answer = client.initialize().await;
                assert_eq!(answer.status, 200, "initialize on node {node}: {}", answer.text());
            }
            let host = client.url.strip_prefix("http://").unwrap().split_once('/').unwrap().0;
            let stream = TcpStream::connect(host).await.unwrap();
            let (sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            self.callers.push(Caller { node, client: client.clone(), id: 1_000 + number as u64, sender });
        }
    }

    /// Everybody calls, nobody before all are ready.
    pub fn call(self, tool: &str, arguments: &Value) -> Calls {
        let ready = Arc::new(Barrier::new(self.callers.len()));
        let mut tasks = JoinSet::new();
        for caller in self.callers {
            let (tool, arguments, ready) = (tool.to_owned(), arguments.clone(), ready.clone());
            tasks.spawn(async move {
                ready.wait().await;
                let node = caller.node;
                Told { node, what: caller.call(&tool, arguments).await }
            });
        }
        Calls { tasks }
    }
}

impl Calls {
    pub async fn end(self) -> Vec<Told> {
        self.tasks.join_all().await
    }
}

impl Caller {
    async fn call(mut self, tool: &str, arguments: Value) -> What {
        let params = json!({"name": tool, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": self.id, "method": "tools/call", "params": params});
        let (host, path) = self.client.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut request = Request::post(format!("/{path}")).header("host", host);
        let bearer = self.client.bearer();
        for (name, value) in self.client.headers(&bearer) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(message.to_string()))).unwrap();
        let exchange = async {
            let (parts, body) = self.sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((parts, body.collect().await?.to_bytes()))
        };
        let Ok((parts, body)) = timeout(PATIENCE, exchange).await.expect("a call stays unanswered") else {
            return What::Broken;
        };
        let stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let mut messages = match stream {
            true => mcp::events(&String::from_utf8_lossy(&body)),
            false => vec![serde_json::from_slice(&body).unwrap_or(Value::Null)],
        };
        let Some(at) = messages.iter().position(|said| said["id"] == self.id) else {
            // A node that dies ends its streams without an answer.
            assert!(stream, "node {}: {} {messages:?}", self.node, parts.status);
            return What::Broken;
        };
        let exchange =
            Exchange { status: parts.status.as_u16(), before: Vec::new(), answer: messages.swap_remove(at) };
        let pending = exchange.answer.pointer("/result/_meta/only1mcp~1receipt/call").and_then(Value::as_str);
        match (exchange.receipt(), pending) {
            (Some(receipt), _) => What::Sealed(receipt),
            (None, Some(call)) => What::Pending(call.to_owned()),
            (None, None) => {
                assert!(exchange.refusal().is_some(), "node {}: {}", self.node, exchange.answer);
                What::Refused(exchange.answer["error"]["data"].clone())
            }
        }
    }
}

pub fn receipts(told: &[Told]) -> Vec<Receipt> {
    let sealed = |told: &Told| match &told.what {
        What::Sealed(receipt) => Some(receipt.clone()),
        What::Pending(_) | What::Refused(_) | What::Broken => None,
    };
    told.iter().filter_map(sealed).collect()
}

/// The calls that were answered, whether or not they were in the chain by then.
pub fn answered(told: &[Told]) -> Vec<&str> {
    let calls = told.iter().filter_map(|told| match &told.what {
        What::Sealed(receipt) => Some(receipt.call.as_str()),
        What::Pending(call) => Some(call.as_str()),
        What::Refused(_) | What::Broken => None,
    });
    calls.collect()
}

/// How many were refused with this code.
pub fn refused(told: &[Told], code: &str) -> usize {
    told.iter().filter(|told| matches!(&told.what, What::Refused(data) if data["code"] == code)).count()
}

/// The nodes whose connections broke.
pub fn broken(told: &[Told]) -> Vec<usize> {
    told.iter().filter(|told| matches!(told.what, What::Broken)).map(|told| told.node).collect()
}

/// As many files as this process may open: a crowd is more than many systems allow without being asked.
fn raise_open_files() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}
