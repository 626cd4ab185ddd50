//! The drill, on real processes: everything is destroyed and a new cluster made of the backup; and two of three nodes
//! are lost for good.

use std::collections::BTreeSet;
use std::path::Path;

use only1mcp_domain::ids::BudgetId;
use only1mcp_domain::ledger::LimitId;
use only1mcp_node::ctl::backup::{Protection, Target, check};
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually, run};
use crate::load::Load;

const LIMIT: i128 = 400;

async fn budget(cluster: &Cluster) {
    let lifted = ["tenant", "update", "acme", "--quota", "max_requests_per_minute=unlimited"];
    cluster.ctl(1, &lifted).await;
    let amount = format!("{LIMIT}calls");
    let set = ["budget", "set", "limit", "--amount", &amount, "--per-period", "total", "--tenant", "acme"];
    cluster.ctl(1, &[&set[..], &["--wait"]].concat()).await;
}

/// What the budget's account has posted and lent, as a node tells it.
async fn account(cluster: &Cluster, node: usize) -> (i128, i128) {
    let shown = cluster.ctl(node, &["budget", "show", "limit", "--tenant", "acme"]).await;
    let number = |name: &str| shown[0][name].as_str().unwrap_or("0").parse().unwrap();
    (number("posted"), number("outstanding"))
}

async fn back_up(cluster: &Cluster, folder: &Path) -> Value {
    let keys = cluster.path("node-1.yaml");
    let protected = ["--keys", keys.to_str().unwrap()];
    cluster.ctl(1, &[&["backup", "create", "--to", folder.to_str().unwrap()], &protected[..]].concat()).await
}

async fn token(cluster: &Cluster, number: usize) {
    let made = cluster.ctl(1, &["cluster", "join-token"]).await;
    std::fs::write(cluster.path(&format!("join-{number}.token")), made["token"].as_str().unwrap()).unwrap();
}

async fn voters(cluster: &Cluster) -> BTreeSet<String> {
    let status = cluster.ctl(1, &["cluster", "status"]).await;
    let members = status["members"].as_array().unwrap().iter().filter(|member| member["role"] == "voter");
    members.map(|member| member["name"].as_str().unwrap().to_owned()).collect()
}

async fn epoch(cluster: &Cluster, node: usize) -> Value {
    cluster.ctl(node, &["cluster", "status"]).await["epoch"].clone()
}

/// The chain of a node from event 1 on, held against places that clients were told.
async fn verify(cluster: &Cluster, node: usize, heads: &[String]) -> String {
    let online = cluster.ctl(node, &["audit", "verify"]).await;
    assert_eq!(online["valid"], true, "{online}");
    let path = cluster.path("export.jsonl");
    let file = path.to_str().unwrap();
    cluster.ctl(node, &["audit", "export", "--all-tenants", "--file", file]).await;
    let mut args = vec!["audit", "verify", "--file", file];
    heads.iter().for_each(|head| args.extend(["--head", head]));
    let (valid, said) = run(&args).await;
    assert!(valid, "{said}");
    assert!(said.contains("epoch 2"), "{said}");
    std::fs::read_to_string(path).unwrap()
}

/// Calls until the budget refuses; how many were answered.
async fn spend(cluster: &Cluster, node: usize) -> i128 {
    let mut client = cluster.client(node, &cluster.key("admin")).await;
    let mut answered = 0;
    loop {
        let exchange = client.try_call("demo__echo", json!({"text": "x"})).await.unwrap();
        match exchange.refusal() {
            None => {
                let receipt = &exchange.answer["result"]["_meta"]["only1mcp/receipt"];
                assert_eq!(receipt["epoch"], 2, "{}", exchange.answer);
                answered += 1;
            }
            Some("budget_exceeded") => return answered,
            Some(_) => panic!("{}", exchange.answer),
        }
        assert!(answered <= LIMIT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_destroyed_and_a_new_cluster_made_of_the_backup() {
    let mut cluster = Cluster::start(70).await;
    budget(&cluster).await;
    let folder = tempfile::tempdir().unwrap();
    let load = Load::start(&cluster, &[1, 2, 3], 1).await;
    load.more(20).await;
    let first = back_up(&cluster, folder.path()).await;
    load.more(20).await;
    let second = back_up(&cluster, folder.path()).await;
    assert!(second["log_index"].as_u64() > first["log_index"].as_u64(), "{first} {second}");
    let leader = cluster.leader().await;
    assert_ne!(second["node"], leader, "a follower gives it: {second}");
    load.more(10).await;
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new());
    let at = folder.path().to_str().unwrap();
    let config = cluster.path("node-1.yaml");
    let keys = config.to_str().unwrap();
    let (valid, said) = run(&["ctl", "backup", "verify", "--from", at, "--keys", keys]).await;
    assert!(valid, "{said}");
    let denied =
        cluster.try_ctl(1, &cluster.key("admin"), &["backup", "create", "--to", at, "--keys", keys]).await;
    assert!(denied.is_err(), "a tenant's administrator is no operator");

    // What it stands at, and which of the receipts it covers.
    let target = Target::existing(at, &Protection::load(&config).unwrap()).await.unwrap();
    let manifest = target.newest().unwrap();
    let image = check(&target, &manifest).unwrap().state;
    let limit = LimitId::Budget(BudgetId::new("limit").unwrap());
    let (_, then) = image.ledger.accounts.iter().find(|(key, _)| key.limit == limit).unwrap();
    let spent = then.posted + then.outstanding();
    assert!(spent > 0 && spent <= LIMIT);
    let covered = told.receipts.iter().filter(|receipt| receipt.audit_index <= manifest.audit_index);
    let mut heads: Vec<String> =
        covered.map(|receipt| format!("{}:{}", receipt.audit_index, receipt.event_hash)).collect();
    heads.push(format!("{}:{}", manifest.audit_index, manifest.audit_hash));
    assert!(heads.len() > 20);

    for number in 1..=3 {
        cluster.kill(number);
        std::fs::remove_dir_all(cluster.path(&format!("node-{number}"))).unwrap();
    }
    cluster.restart_demo().await;
    let (restored, said) = run(&["restore", "--from", at, "--config", config.to_str().unwrap()]).await;
    assert!(restored, "{said}");
    cluster.restart(1).await;
    assert_eq!(epoch(&cluster, 1).await, 2);
    assert_eq!(account(&cluster, 1).await, (spent, 0), "what was lent counts as spent, and no more");
    for number in [2, 3] {
        token(&cluster, number).await;
        cluster.restart(number).await;
    }
    let all = BTreeSet::from(["node-1", "node-2", "node-3"].map(str::to_owned));
    eventually("all three vote", async || voters(&cluster).await == all).await;
    assert_eq!(epoch(&cluster, 3).await, 2);
    // The same keys; and nobody spends what the old cluster may have spent.
    assert_eq!(spend(&cluster, 2).await, LIMIT - spent);
    let chain = verify(&cluster, 3, &heads).await;
    for told in ["cluster.restore", "node.lost", "backup.create", &manifest.digest().unwrap().to_string()] {
        assert!(chain.contains(told), "{told} stands in the chain");
    }
    // Into the same folder, from the new cluster.
    let third = back_up(&cluster, folder.path()).await;
    assert_eq!(third["epoch"], 2, "{third}");
    let (valid, said) = run(&["ctl", "backup", "verify", "--from", at, "--keys", keys]).await;
    assert!(valid, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_goes_on_when_the_others_are_lost_for_good() {
    let mut cluster = Cluster::start(71).await;
    budget(&cluster).await;
    let load = Load::start(&cluster, &[1, 2, 3], 1).await;
    load.more(30).await;
    let told = load.end().await;
    let (posted, outstanding) = account(&cluster, 1).await;
    for number in 1..=3 {
        cluster.kill(number);
    }
    // One of the two may yet come back: its folder is kept aside.
    std::fs::rename(cluster.path("node-2"), cluster.path("kept-2")).unwrap();
    std::fs::remove_dir_all(cluster.path("node-3")).unwrap();
    cluster.restart_demo().await;
    let config = cluster.path("node-1.yaml");
    let config = config.to_str().unwrap();
    let recover = ["cluster", "recover", "--unsafe", "--config", config];
    let (done, said) = run(&recover).await;
    assert!(!done && said.contains("nothing was done") && said.contains("will be lost"), "{said}");
    let (done, said) = run(&[&recover[..], &["--yes-i-lost-the-majority"]].concat()).await;
    assert!(done, "{said}");
    let (again, said) = run(&[&recover[..], &["--yes-i-lost-the-majority"]].concat()).await;
    assert!(!again && said.contains("only member"), "{said}");
    cluster.restart(1).await;
    assert_eq!(epoch(&cluster, 1).await, 2);
    assert_eq!(voters(&cluster).await, BTreeSet::from(["node-1".to_owned()]));
    // INVARIANT: P1 (what the lost nodes held is spent; nothing is spent twice)
    eventually("node 1 has told what it did", async || {
        let (now, lent) = account(&cluster, 1).await;
        now + lent <= posted + outstanding && now >= posted
    })
    .await;
    let heads: Vec<String> =
        told.receipts.iter().map(|r| format!("{}:{}", r.audit_index, r.event_hash)).collect();
    let chain = verify(&cluster, 1, &heads).await;
    assert!(chain.contains("cluster.recover_unsafe") && chain.contains("node.lost"), "it is told");

    // The one that comes back is not listened to.
    std::fs::rename(cluster.path("kept-2"), cluster.path("node-2")).unwrap();
    cluster.spawn(2);
    let before = cluster.ctl(1, &["cluster", "status"]).await;
    let answered = spend(&cluster, 1).await;
    assert!(answered <= LIMIT - posted, "{answered} after {posted}");
    let after = cluster.ctl(1, &["cluster", "status"]).await;
    assert_eq!(before["term"], after["term"], "no election was forced on it");
    assert!(!cluster.is_ready(2).await);
    cluster.kill(2);
}
