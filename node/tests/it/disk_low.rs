//! A node with too little disk space says so and takes no work, while the others do; it still takes what takes something
//! away, and follows. When there is space again it serves. What a disk that is really full does: `faults/full.rs`.

use serde_json::json;

use crate::audit::{Export, agree};
use crate::cluster::{Cluster, eventually};
use crate::ledger::denials;
use crate::mcp::Client;

/// More than any disk has.
const NEVER_ENOUGH: &str = "disk_low_bytes: 1000000000000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_low_on_disk_space_refuses_by_that_name_until_there_is_more() {
    let mut cluster = Cluster::start(104).await;
    let mut session = cluster.client(3, &cluster.key("admin")).await;
    assert!(session.call("demo__echo", json!({"text": "x"})).await.receipt().is_some());
    cluster.kill(3);
    let config = cluster.path("node-3.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    let mark = good.lines().find(|line| line.starts_with("disk_low_bytes: ")).unwrap().to_owned();
    std::fs::write(&config, good.replace(&mark, NEVER_ENOUGH)).unwrap();
    cluster.spawn(3);
    let why = "is low on disk space";
    eventually("the node says why it takes nothing", async || {
        let answer = crate::http::get(&format!("{}/health/ready", cluster.http_url(3)), None).await;
        answer.is_ok_and(|answer| answer.status == 503 && answer.text().contains(why))
    })
    .await;

    let mut client = Client::new(&cluster.mcp_url(3), &cluster.key("admin"));
    let answer = client.initialize().await;
    let data = answer.json()["error"]["data"].clone();
    assert_eq!((answer.status, &data["code"], &data["retry"]), (503, &json!("disk_low"), &json!(true)));
    // A session from elsewhere may ask here, too: its call is refused by the same name.
    let elsewhere = cluster.client(1, &cluster.key("admin")).await;
    let told = elsewhere.at(&cluster.mcp_url(3)).call("demo__echo", json!({"text": "x"})).await;
    assert!(told.receipt().is_some() || told.refusal() == Some("disk_low"), "{}", told.answer);
    let create = ["principal", "create", "late", "--tenant", "acme", "--kind", "service"];
    let refused = cluster.try_ctl(3, &cluster.root_key(), &create).await.unwrap_err();
    assert!(refused.contains("DISK_LOW"), "{refused}");
    cluster.ctl(1, &create).await;
    cluster.ctl(1, &["role", "put", "caller", "--tenant", "acme", "--permission", "ToolAll"]).await;
    let grant =
        ["grant", "create", "--tenant", "acme", "--principal", "late", "--role", "caller", "--id", "late"];
    cluster.ctl(1, &grant).await;
    cluster.ctl(3, &["grant", "revoke", "late", "--tenant", "acme"]).await;
    assert!(denials(&cluster, 3, "disk_low").await >= 1);
    assert_eq!(cluster.metric(3, "only1mcp_disk_low").await, 1.0);
    assert!(cluster.metric(3, "only1mcp_disk_free_bytes").await > 0.0);
    assert_ne!(cluster.leader().await, 3, "who takes no work does not lead");

    cluster.kill(3);
    std::fs::write(&config, good).unwrap();
    cluster.restart(3).await;
    let mut client = cluster.client(3, &cluster.key("admin")).await;
    let receipt = client.call("demo__echo", json!({"text": "x"})).await.receipt().unwrap();
    agree(&cluster, &[1, 2, 3], &[receipt]).await;
    let export = Export::of(&cluster, 3).await;
    assert!(export.refusals("disk_low") >= 1);
    let alarm = |line: &serde_json::Value| line["event"].to_string().contains("disk space is low");
    assert!(export.events.iter().any(alarm), "the chain tells of it");
}
