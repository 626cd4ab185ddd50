//! `max_connections` on real clusters: no more MCP sessions are open at once, over all nodes, than the tenant may have;
//! the place of one that ends, or whose node dies, is another's.

use serde_json::json;

use crate::audit::Export;
use crate::cluster::{Cluster, eventually};
use crate::ledger::denials;
use crate::mcp::Client;

const NODES: [usize; 3] = [1, 2, 3];
const SESSIONS: usize = 6;
const QUOTA: &str = "quota/connections";

/// One more session on a node, or what it was told instead.
async fn open(cluster: &Cluster, node: usize) -> Result<Client, serde_json::Value> {
    let mut client = Client::new(&cluster.mcp_url(node), &cluster.key("admin"));
    let answer = client.initialize().await;
    match answer.status {
        200 => Ok(client),
        503 => Err(answer.json()["error"]["data"].clone()),
        status => panic!("initialize on node {node}: {status} {}", answer.text()),
    }
}

/// Tried again, as a client would that is told to.
async fn open_in_time(cluster: &Cluster, node: usize) -> Client {
    let mut opened = None;
    eventually("a session is opened", async || {
        opened = open(cluster, node).await.ok();
        opened.is_some()
    })
    .await;
    opened.unwrap()
}

async fn refused_everywhere(cluster: &Cluster) {
    for node in NODES {
        let Err(data) = open(cluster, node).await else { panic!("one more session on node {node}") };
        assert_eq!(
            (&data["code"], &data["limit"], &data["retry"]),
            (&json!("connections_exceeded"), &json!(QUOTA), &json!(true))
        );
        assert!(data.get("resets_at_ms").is_none(), "there is no period to wait for: {data}");
    }
}

async fn lent(cluster: &Cluster, asked: usize, node: usize) -> String {
    let shown = cluster.ctl(asked, &["budget", "show", QUOTA, "--tenant", "acme"]).await;
    let lent = shown[0]["lent"].as_array().cloned().unwrap_or_default();
    let of_node = lent.iter().find(|lent| lent["node"] == node);
    of_node.map_or("0".to_owned(), |lent| lent["outstanding"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_sessions_are_open_at_once_than_the_tenant_may_have() {
    let mut cluster = Cluster::start(101).await;
    let most = format!("max_connections={SESSIONS}");
    cluster.ctl(1, &["tenant", "update", "acme", "--quota", &most, "--wait"]).await;
    let mut sessions = Vec::new();
    for number in 0..SESSIONS {
        let node = number % NODES.len() + 1;
        sessions.push((node, open_in_time(&cluster, node).await));
    }
    refused_everywhere(&cluster).await;
    for node in NODES {
        assert!(denials(&cluster, node, "connections_exceeded").await >= 1);
    }
    // It does not matter where the next one is opened.
    let (_, ended) = sessions.remove(0);
    assert_eq!(ended.delete().await.status, 204);
    sessions.push((2, open_in_time(&cluster, 2).await));
    refused_everywhere(&cluster).await;
    for (_, session) in &mut sessions {
        assert!(session.call("demo__echo", json!({"text": "still here"})).await.receipt().is_some());
    }

    // Its home's death ends a session; what the home was lent comes back with the home.
    let victim = 3;
    let gone = sessions.iter().filter(|(node, _)| *node == victim).count();
    assert_eq!(lent(&cluster, 1, victim).await, gone.to_string());
    cluster.kill(victim);
    cluster.restart(victim).await;
    sessions.retain(|(node, _)| *node != victim);
    eventually("nothing is lent to the node any more", async || lent(&cluster, 1, victim).await == "0").await;
    for node in [1, victim] {
        sessions.push((node, open_in_time(&cluster, node).await));
    }
    assert_eq!(sessions.len(), SESSIONS);
    refused_everywhere(&cluster).await;
    for (_, session) in &mut sessions {
        assert!(session.call("demo__echo", json!({"text": "still here"})).await.receipt().is_some());
    }
    assert!(Export::of(&cluster, 1).await.refusals("connections_exceeded") >= 9);
    let shown = cluster.ctl(1, &["budget", "show", QUOTA, "--tenant", "acme"]).await;
    assert_eq!(shown[0]["posted"], "0", "a permit is nothing that is spent: {shown}");
}
