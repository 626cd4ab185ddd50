//! Budget levels reach a webhook: signed, whatever becomes of the receiver and of the node that delivers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, eventually};

/// Headers and body.
pub type Request = (BTreeMap<String, String>, String);

/// Requests as they came.
#[derive(Clone, Default)]
pub struct Receiver(Arc<Mutex<Vec<Request>>>);

impl Receiver {
    pub fn listen(&self, listener: TcpListener) {
        let own = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move { own.take(stream).await });
            }
        });
    }

    pub async fn take(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
            bytes.extend_from_slice(&part[..count]);
            let text = String::from_utf8(bytes.clone()).ok()?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let headers: BTreeMap<String, String> = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            if body.len() < headers["content-length"].parse().unwrap() {
                continue;
            }
            self.0.lock().unwrap().push((headers, body.to_owned()));
            let answer = "HTTP/1.1 204 Taken\r\nconnection: close\r\n\r\n";
            return stream.write_all(answer.as_bytes()).await.ok();
        }
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Levels in the order of their events, each once by its id; all of them signed with `secret`.
    pub fn levels(&self, secret: &str) -> Vec<String> {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let mut levels = BTreeMap::new();
        for (headers, body) in self.0.lock().unwrap().iter() {
            let id = &headers["webhook-id"];
            let signed = format!("{id}.{}.{body}", headers["webhook-timestamp"]);
            let given = STANDARD.decode(headers["webhook-signature"].strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&key, signed.as_bytes(), &given).unwrap_or_else(|_| panic!("not signed: {body}"));
            let told: Value = serde_json::from_str(body).unwrap();
            assert_eq!((&told["tenant"], &told["limit"]), (&json!("acme"), &json!("budget/twenty")));
            levels.insert(id.parse::<u64>().unwrap(), told["level"].as_str().unwrap().to_owned());
        }
        levels.into_values().collect()
    }
}

pub const LEVELS: [&str; 3] = ["notice", "warning", "exceeded"];

/// A budget of twenty calls, and a webhook; gives its secret.
async fn set(cluster: &Cluster, port: u16) -> String {
    set_at(cluster, &format!("http://127.0.0.1:{port}/budgets")).await
}

/// The same of any address.
pub async fn set_at(cluster: &Cluster, url: &str) -> String {
    let budget =
        ["budget", "set", "twenty", "--amount", "20calls", "--per-period", "total", "--tenant", "acme"];
    cluster.ctl(1, &budget).await;
    let made =
        cluster.ctl(1, &["webhook", "set", "alerts", "--url", url, "--tenant", "acme", "--wait"]).await;
    made["secret"].as_str().unwrap_or_else(|| panic!("no secret in {made}")).to_owned()
}

/// Twenty calls on a node: all that the budget allows.
pub async fn spend(cluster: &Cluster, node: usize) {
    let mut client = cluster.client(node, &cluster.key("admin")).await;
    for _ in 0..20 {
        let exchange = client.try_call("demo__echo", json!({"text": "x"})).await.unwrap();
        assert!(exchange.receipt().is_some(), "{}", exchange.answer);
    }
}

pub async fn delivery(cluster: &Cluster, node: usize) -> Value {
    cluster.ctl(node, &["webhook", "show", "alerts", "--tenant", "acme"]).await["delivery"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_level_is_told_to_a_webhook_signed_and_once() {
    let cluster = Cluster::start(60).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = Receiver::default();
    receiver.listen(listener);
    let secret = set(&cluster, port).await;
    spend(&cluster, 2).await;
    eventually("three levels arrive", async || receiver.levels(&secret) == LEVELS).await;
    assert_eq!(receiver.count(), 3, "nothing failed, so nothing came twice");
    eventually("the log knows", async || delivery(&cluster, 3).await["attempts"] == 0).await;
    let holder = delivery(&cluster, 3).await["node"].as_u64().unwrap() as usize;
    assert!((1..=3).contains(&holder));
    assert_eq!(cluster.metric(holder, "only1mcp_webhook_deliveries_total").await, 3.0);
    let shown = cluster.ctl(1, &["webhook", "list", "--tenant", "acme"]).await.to_string();
    assert!(shown.contains("alerts") && !shown.contains("whsec_"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_receiver_that_is_down_nor_a_node_that_dies_loses_a_level() {
    let mut cluster = Cluster::start(61).await;
    // Nobody listens there for now.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let secret = set(&cluster, port).await;
    spend(&cluster, 1).await;
    eventually("its failing is told on every node", async || {
        let mut told = true;
        for node in 1..=3 {
            let delivery = delivery(&cluster, node).await;
            told &= delivery["attempts"] != 0 && delivery["last_error"] != "";
        }
        told
    })
    .await;
    let before = delivery(&cluster, 1).await;
    let victim = before["node"].as_u64().unwrap() as usize;
    cluster.kill(victim);
    let receiver = Receiver::default();
    receiver.listen(TcpListener::bind(("127.0.0.1", port)).await.unwrap());
    eventually("every level arrives by another node", async || receiver.levels(&secret) == LEVELS).await;
    let asked = victim % 3 + 1;
    let after = delivery(&cluster, asked).await;
    assert_ne!(after["node"], before["node"]);
    assert!(after["assigned_at"].as_u64() > before["assigned_at"].as_u64(), "{before} {after}");
    cluster.restart(victim).await;
    let back = delivery(&cluster, victim).await;
    assert_eq!(back["node"], after["node"], "a node that comes back moves nothing");
}
