//! P1 on real clusters: a limit holds over all nodes, to the last call, and whatever a node takes with it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, eventually};

const LIMIT: usize = 100;

/// What callers were told, by code; an answer is `answered`, a broken connection `unknown`.
#[derive(Default)]
struct Told {
    answered: AtomicUsize,
    exceeded: AtomicUsize,
    unavailable: AtomicUsize,
    unknown: AtomicUsize,
}

async fn budget(cluster: &Cluster) {
    let lifted = ["tenant", "update", "acme", "--quota", "max_requests_per_minute=unlimited"];
    cluster.ctl(1, &lifted).await;
    let amount = format!("{LIMIT}calls");
    let set = ["budget", "set", "hundred", "--amount", &amount, "--per-period", "total", "--tenant", "acme"];
    cluster.ctl(1, &[&set[..], &["--wait"]].concat()).await;
}

/// `clients` on each of `nodes`, each calling `calls` times.
async fn demand(cluster: &Cluster, nodes: &[usize], clients: usize, calls: usize, told: &Arc<Told>) {
    let mut tasks = JoinSet::new();
    for node in nodes {
        for _ in 0..clients {
            let mut client = cluster.client(*node, &cluster.key("admin")).await;
            let told = told.clone();
            tasks.spawn(async move {
                for _ in 0..calls {
                    let Ok(exchange) = client.try_call("demo__echo", json!({"text": "x"})).await else {
                        told.unknown.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    match exchange.refusal() {
                        None if exchange.receipt().is_some() => {
                            told.answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Some("budget_exceeded") => {
                            told.exceeded.fetch_add(1, Ordering::Relaxed);
                            assert_eq!(exchange.answer["error"]["data"]["limit"], "budget/hundred");
                        }
                        Some("budget_unavailable") => {
                            told.unavailable.fetch_add(1, Ordering::Relaxed);
                        }
                        _ => panic!("node: {} {}", exchange.status, exchange.answer),
                    }
                }
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Amounts of the budget's one account, as a node tells them.
async fn account(cluster: &Cluster, node: usize) -> (usize, usize) {
    let shown = cluster.ctl(node, &["budget", "show", "hundred", "--tenant", "acme"]).await;
    let number = |name: &str| {
        let value: &Value = &shown[0][name];
        value.as_str().unwrap_or_else(|| panic!("no {name} in {shown}")).parse().unwrap()
    };
    (number("posted"), number("outstanding"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_holds_over_three_nodes_to_the_last_call() {
    let cluster = Cluster::start(30).await;
    budget(&cluster).await;
    let told = Arc::new(Told::default());
    demand(&cluster, &[1, 2, 3], 20, 6, &told).await;
    let answered = told.answered.load(Ordering::Relaxed);
    assert_eq!(answered, LIMIT, "of 360 calls exactly those that the limit allows");
    assert_eq!(told.exceeded.load(Ordering::Relaxed), 360 - LIMIT, "and every other one is told why");
    for node in 1..=3 {
        eventually("every call is posted", async || account(&cluster, node).await == (LIMIT, 0)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_takes_no_more_than_it_was_lent_and_brings_it_back() {
    let mut cluster = Cluster::start(31).await;
    budget(&cluster).await;
    let told = Arc::new(Told::default());
    demand(&cluster, &[1, 2, 3], 4, 2, &told).await;
    let victim = cluster.leader().await % 3 + 1;
    let survivors: Vec<usize> = (1..=3).filter(|number| *number != victim).collect();
    cluster.kill(victim);
    demand(&cluster, &survivors, 10, 8, &told).await;
    let answered = told.answered.load(Ordering::Relaxed);
    assert!(answered <= LIMIT, "{answered} calls under a limit of {LIMIT}");
    let (posted, outstanding) = account(&cluster, survivors[0]).await;
    assert_eq!(told.unknown.load(Ordering::Relaxed), 0);
    assert!(posted + outstanding <= LIMIT, "{posted} posted, {outstanding} with the dead node");
    assert!(posted + outstanding == LIMIT, "the others could spend all but what the dead node holds");
    cluster.restart(victim).await;
    demand(&cluster, &[1, 2, 3], 8, 5, &told).await;
    eventually("what it held is spent too", async || account(&cluster, victim).await == (LIMIT, 0)).await;
    assert_eq!(
        told.answered.load(Ordering::Relaxed),
        LIMIT,
        "nothing was lost with it, nothing was spent twice"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_node_held_counts_as_spent_once_an_operator_says_so() {
    let mut cluster = Cluster::start(32).await;
    budget(&cluster).await;
    let told = Arc::new(Told::default());
    demand(&cluster, &[1, 2, 3], 4, 2, &told).await;
    let victim = cluster.leader().await % 3 + 1;
    let asked = victim % 3 + 1;
    cluster.kill(victim);
    let (_, outstanding) = account(&cluster, asked).await;
    let node = victim.to_string();
    cluster.ctl(asked, &["budget", "force-close", "--node", &node, "--yes"]).await;
    let survivors: Vec<usize> = (1..=3).filter(|number| *number != victim).collect();
    demand(&cluster, &survivors, 10, 10, &told).await;
    eventually("all of it is posted", async || account(&cluster, asked).await == (LIMIT, 0)).await;
    let answered = told.answered.load(Ordering::Relaxed);
    assert!(
        answered <= LIMIT && answered + outstanding >= LIMIT,
        "{answered} answered, {outstanding} were lent"
    );
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_remember_everything_has_spent_all_it_was_lent() {
    let mut cluster = Cluster::start(33).await;
    budget(&cluster).await;
    let told = Arc::new(Told::default());
    let victim = cluster.leader().await % 3 + 1;
    let asked = victim % 3 + 1;
    demand(&cluster, &[victim], 2, 2, &told).await;
    cluster.kill(victim);
    let journal = cluster.path(&format!("node-{victim}")).join("journal");
    let copy = cluster.path("older-journal");
    copy_files(&journal, &copy);
    cluster.restart(victim).await;
    demand(&cluster, &[victim], 2, 3, &told).await;
    // Nothing is under way: what is outstanding is in that node's hand alone.
    eventually("all calls are posted", async || account(&cluster, asked).await.0 == 10).await;
    cluster.kill(victim);
    std::fs::remove_dir_all(&journal).unwrap();
    copy_files(&copy, &journal);
    let (posted, outstanding) = account(&cluster, asked).await;
    assert!(outstanding > 0, "it was lent a slice");
    cluster.restart(victim).await;
    let forfeited = (posted + outstanding, 0);
    eventually("all of it counts as spent", async || account(&cluster, asked).await == forfeited).await;
    let query = ["audit", "query", "--tenant", "system", "--kind", "AnomalyDetected"];
    let events = cluster.ctl(asked, &query).await;
    assert!(events.to_string().contains("unattributed_restart"), "{events}");
}
