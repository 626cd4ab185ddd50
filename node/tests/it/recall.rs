//! An operator's recall on a real cluster: what nodes hold and no call needs comes back, and nothing else.

use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};
use crate::gate::Gate;
use crate::ledger::{account, lift_quotas};

const NODES: [usize; 3] = [1, 2, 3];
const TENANT: [&str; 2] = ["--tenant", "acme"];
const BUDGET: &str = "plenty";

async fn recall(cluster: &Cluster, node: usize) -> Vec<Value> {
    let rows = cluster.ctl(node, &[&["budget", "recall", BUDGET][..], &TENANT].concat()).await;
    let rows = rows.as_array().unwrap_or_else(|| panic!("no rows: {rows}")).clone();
    assert_eq!(rows.iter().map(|row| row["node"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    rows
}

/// Calls' worth that came back, over all nodes.
fn calls(rows: &[Value]) -> usize {
    let amounts = rows.iter().filter_map(|row| row["amounts"]["calls"].as_str());
    amounts.map(|amount| amount.parse::<usize>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_call_needs_comes_back_and_what_an_open_call_holds_stays() {
    let mut cluster = Cluster::start(89).await;
    let gate = Gate::start().await;
    gate.register(&cluster, "gate", &[]).await;
    lift_quotas(&cluster).await;
    let set = ["budget", "set", BUDGET, "--amount", "1000calls", "--per-period", "total", "--wait"];
    cluster.ctl(1, &[&set[..], &TENANT].concat()).await;
    for node in NODES {
        let mut client = cluster.client(node, &cluster.key("admin")).await;
        let exchange = client.call("demo__echo", json!({"text": "x"})).await;
        assert!(exchange.refusal().is_none(), "{}", exchange.answer);
    }
    let mut waiting = cluster.client(1, &cluster.key("admin")).await;
    let open = tokio::spawn(async move { waiting.call("gate__wait", json!({})).await });
    eventually("one call is open", async || gate.held() == 1).await;
    eventually("the others are posted", async || account(&cluster, 2, BUDGET).await.posted == 3).await;
    let before = account(&cluster, 2, BUDGET).await;
    assert_eq!(before.lent.len(), 3, "every node was lent a slice: {before:?}");

    // Who may not set budgets may not call them back.
    let refused = cluster.try_ctl(1, &cluster.key("viewer"), &["budget", "recall", BUDGET]).await;
    assert!(refused.is_err_and(|error| error.contains("CostBudgetSet")));
    let unknown = [&["budget", "recall", "nonsense"][..], &TENANT].concat();
    assert!(cluster.try_ctl(1, &cluster.root_key(), &unknown).await.is_err_and(|e| e.contains("nonsense")));
    assert_eq!(account(&cluster, 2, BUDGET).await, before, "nothing came of either");

    let rows = recall(&cluster, 2).await;
    assert!(rows.iter().all(|row| row["answered"] == true && row["accounts"] == 1), "{rows:?}");
    assert_eq!(calls(&rows), before.outstanding - 1, "all but what the open call holds: {rows:?}");
    for node in NODES {
        eventually("it can be lent again", async || {
            let now = account(&cluster, node, BUDGET).await;
            (now.posted, now.outstanding, now.available) == (3, 1, 996)
        })
        .await;
    }
    assert_eq!(calls(&recall(&cluster, 3).await), 0, "and comes back once");
    gate.open();
    let exchange = open.await.unwrap();
    assert!(exchange.refusal().is_none(), "{}", exchange.answer);
    eventually("the open call is posted", async || account(&cluster, 3, BUDGET).await.posted == 4).await;

    // A node that does not answer keeps what it was lent, and is told of.
    let mut client = cluster.client(3, &cluster.key("admin")).await;
    assert!(client.call("demo__echo", json!({"text": "x"})).await.refusal().is_none());
    eventually("it is posted", async || account(&cluster, 1, BUDGET).await.posted == 5).await;
    cluster.kill(3);
    let mut rows = Vec::new();
    eventually("two nodes of three answer", async || {
        rows = recall(&cluster, 1).await;
        rows[0]["answered"] == true && rows[1]["answered"] == true
    })
    .await;
    assert_eq!((&rows[2]["answered"], &rows[2]["came_back"]), (&json!(false), &json!("no answer")));
    let left = account(&cluster, 1, BUDGET).await;
    assert_eq!(left.lent.keys().copied().collect::<Vec<_>>(), [3], "{left:?}");
}
