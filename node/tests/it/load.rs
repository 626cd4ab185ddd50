//! Clients that keep calling while the cluster is broken, and remember what they were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::cluster::{Cluster, PATIENCE};
use crate::mcp::Receipt;

/// After anything but an answer.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    receipts: Mutex<Vec<Receipt>>,
    refused: Mutex<Vec<String>>,
}

pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

/// What the clients were told.
pub struct Told {
    pub receipts: Vec<Receipt>,
    /// Anything that was neither a sealed answer nor a connection that broke.
    pub refused: Vec<String>,
}

impl Load {
    /// `clients` on each of `nodes`, each with a session of its own.
    pub async fn start(cluster: &Cluster, nodes: &[usize], clients: usize) -> Self {
        let shared = Arc::new(Shared::default());
        // What is measured out to people is tested elsewhere (`limits.rs`).
        let lifted = ["tenant", "update", "acme", "--quota", "max_requests_per_minute=unlimited"];
        cluster.ctl(nodes[0], &lifted).await;
        let mut tasks = JoinSet::new();
        for node in nodes {
            for number in 0..clients {
                let mut client = cluster.client(*node, &cluster.key("admin")).await;
                let shared = shared.clone();
                let node = *node;
                tasks.spawn(async move {
                    let mut count = 0;
                    while !shared.stop.load(Ordering::Relaxed) {
                        count += 1;
                        let said = format!("node {node}, client {number}, call {count}");
                        // A connection that breaks told the client nothing.
                        let Ok(exchange) = client.try_call("demo__echo", json!({"text": said})).await else {
                            tokio::time::sleep(PAUSE).await;
                            continue;
                        };
                        match exchange.receipt() {
                            Some(receipt) => {
                                assert_eq!(exchange.text(), Some(said.as_str()), "another call's answer");
                                shared.answered.fetch_add(1, Ordering::Relaxed);
                                shared.receipts.lock().unwrap().push(receipt);
                            }
                            None => {
                                let what = format!("node {node}: {} {}", exchange.status, exchange.answer);
                                shared.refused.lock().unwrap().push(what);
                                // A refused caller that asks again at once takes the processor from the nodes.
                                tokio::time::sleep(PAUSE).await;
                            }
                        }
                    }
                });
            }
        }
        Self { shared, clients: tasks }
    }

    /// Waits until that many more calls were answered.
    pub async fn more(&self, calls: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + calls;
        let until = Instant::now() + PATIENCE;
        while self.shared.answered.load(Ordering::Relaxed) < goal {
            if Instant::now() >= until {
                let left = goal - self.shared.answered.load(Ordering::Relaxed);
                let refused = self.shared.refused.lock().unwrap();
                panic!(
                    "{left} of {calls} more calls are not answered; refused {}, at last {:?}",
                    refused.len(),
                    refused.last()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn end(mut self) -> Told {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        Told {
            receipts: std::mem::take(&mut self.shared.receipts.lock().unwrap()),
            refused: std::mem::take(&mut self.shared.refused.lock().unwrap()),
        }
    }
}
