//! `max_concurrent_requests` on real clusters: no more calls run at once, over all nodes, than the tenant may; those that
//! wait have their turn; and what a dead node was lent comes back with its next life.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::audit::Export;
use crate::cluster::{Cluster, eventually};

const PERMITS: usize = 10;

async fn allow_ten(cluster: &Cluster) {
    let ten = format!("max_concurrent_requests={PERMITS}");
    let update =
        ["tenant", "update", "acme", "--quota", &ten, "--quota", "max_requests_per_minute=unlimited"];
    cluster.ctl(1, &[&update[..], &["--wait"]].concat()).await;
}

/// One call that takes `ms`, tried again as long as it is told that too many run; how often it was told so.
async fn persist(
    cluster: &Cluster,
    node: usize,
    ms: u64,
    tasks: &mut JoinSet<()>,
    refused: &Arc<AtomicUsize>,
) {
    let mut client = cluster.client(node, &cluster.key("admin")).await;
    let refused = refused.clone();
    tasks.spawn(async move {
        loop {
            let exchange = client.call("demo__slow", json!({"ms": ms})).await;
            match exchange.refusal() {
                None => return assert!(exchange.receipt().is_some(), "{}", exchange.answer),
                Some("concurrency_exceeded") => {
                    let data = &exchange.answer["error"]["data"];
                    assert_eq!((&data["limit"], &data["retry"]), (&json!("quota/concurrent"), &json!(true)));
                    assert!(data.get("resets_at_ms").is_none(), "there is no period to wait for: {data}");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Some(other) => panic!("{other}: {}", exchange.answer),
            }
        }
    });
}

/// How many calls of the tool ran at once, at most, by the times in the chain: all nodes here have one clock.
fn most_at_once(export: &Export) -> usize {
    let mut changes: Vec<(u64, i64)> = Vec::new();
    let slow = export.events.iter().map(|line| &line["event"]).filter(|event| {
        event["action"] == "tools/call"
            && event["resource"]["id"] == "demo__slow"
            && event["outcome"] == "success"
    });
    let calls: std::collections::BTreeSet<&str> = slow.filter_map(|event| event["call"].as_str()).collect();
    for event in export.events.iter().map(|line| &line["event"]) {
        if event["call"].as_str().is_some_and(|call| calls.contains(call)) {
            let at = event["observed_at_ms"].as_u64().unwrap();
            changes.push((at, if event["action"] == "call.complete" { -1 } else { 1 }));
        }
    }
    assert_eq!(changes.iter().map(|(_, change)| change).sum::<i64>(), 0, "every call ended");
    // Of the same millisecond the end comes first.
    changes.sort_unstable();
    let (mut running, mut most) = (0, 0);
    for (_, change) in changes {
        running += change;
        most = most.max(running);
    }
    usize::try_from(most).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_run_at_once_than_the_tenant_may_and_each_has_its_turn() {
    let cluster = Cluster::start(34).await;
    allow_ten(&cluster).await;
    let (mut tasks, refused) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for call in 0..60 {
        persist(&cluster, call % 3 + 1, 200, &mut tasks, &refused).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let mut export = Export::of(&cluster, 1).await;
    // Completions follow their answers.
    for _ in 0..50 {
        if export.completions().len() >= 60 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        export = Export::of(&cluster, 1).await;
    }
    let most = most_at_once(&export);
    assert!(most <= PERMITS, "{most} at once");
    assert!(most > PERMITS / 2, "they could run at once: {most}");
    let shown = cluster.ctl(1, &["budget", "show", "quota/concurrent", "--tenant", "acme"]).await;
    assert_eq!((&shown[0]["posted"], &shown[0]["period"]), (&json!("0"), &json!("at once")), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_permits_of_a_node_that_was_killed_come_back_with_its_next_life() {
    let mut cluster = Cluster::start(35).await;
    allow_ten(&cluster).await;
    let victim = cluster.leader().await % 3 + 1;
    let other = victim % 3 + 1;
    let mut doomed = JoinSet::new();
    for _ in 0..PERMITS {
        let mut client = cluster.client(victim, &cluster.key("admin")).await;
        doomed.spawn(async move { client.try_call("demo__slow", json!({"ms": 60_000})).await.is_ok() });
    }
    let lent = async |cluster: &Cluster, asked: usize, node: usize| {
        let shown = cluster.ctl(asked, &["budget", "show", "quota/concurrent", "--tenant", "acme"]).await;
        let lent = shown[0]["lent"].as_array().cloned().unwrap_or_default();
        let of_node = lent.iter().find(|lent| lent["node"] == node).map(|lent| lent["outstanding"].clone());
        of_node.unwrap_or_else(|| json!("0"))
    };
    eventually("all permits are in use", async || lent(&cluster, other, victim).await == json!("10")).await;
    let mut client = cluster.client(other, &cluster.key("admin")).await;
    let told = client.call("demo__echo", json!({"text": "x"})).await;
    assert_eq!(told.refusal(), Some("concurrency_exceeded"), "{}", told.answer);
    cluster.kill(victim);
    while let Some(ended) = doomed.join_next().await {
        assert!(!ended.unwrap(), "its node is gone");
    }
    cluster.restart(victim).await;
    eventually("they are free", async || lent(&cluster, other, victim).await == json!("0")).await;
    let (mut tasks, refused) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for _ in 0..PERMITS {
        persist(&cluster, other, 100, &mut tasks, &refused).await;
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(refused.load(Ordering::Relaxed), 0, "all ten were there");
    let events =
        cluster.ctl(other, &["audit", "query", "--tenant", "system", "--kind", "AnomalyDetected"]).await;
    assert!(!events.to_string().contains("unattributed"), "a permit is nothing that can be lost: {events}");
}
