//! MCP sessions move between nodes: any node takes a request, the home node does what needs it, and a client whose home
//! is gone starts anew.

use serde_json::json;

use crate::cluster::{Cluster, eventually};
use crate::mcp::Client;

async fn status_of(client: &Client, method: &str) -> u16 {
    let message = json!({"jsonrpc": "2.0", "id": 900, "method": method, "params": {}});
    client.post(&message.to_string()).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_good_on_every_node_and_ends_with_its_home() {
    let mut cluster = Cluster::start(10).await;
    let home = cluster.client(1, &cluster.key("developer")).await;
    let mut elsewhere = [home.at(&cluster.mcp_url(2)), home.at(&cluster.mcp_url(3))];
    let tools = home.clone().tools().await;
    assert!(tools.contains(&"demo__echo".to_owned()));
    for client in &mut elsewhere {
        assert_eq!(client.tools().await, tools, "the same list wherever it is asked for");
        let exchange = client.call("demo__echo", json!({"text": "moved"})).await;
        assert_eq!(exchange.text(), Some("moved"));
        assert_eq!(exchange.answer["result"]["_meta"]["only1mcp/receipt"]["node"], 1, "its home did it");
        let mut slow = client.clone();
        let told = slow
            .request(
                "tools/call",
                json!({"name": "demo__progress", "arguments": {"steps": 3, "step_ms": 20},
                       "_meta": {"progressToken": "mine"}}),
            )
            .await;
        let progress: Vec<_> =
            told.before.iter().map(|said| said["params"]["progress"].as_f64().unwrap()).collect();
        assert_eq!(progress, [1.0, 2.0, 3.0], "{told:?}");
        assert!(told.before.iter().all(|said| said["params"]["progressToken"] == "mine"), "{told:?}");
    }
    let stream = elsewhere[0].listen().await;
    cluster.kill(1);
    stream.until_closed().await;
    for client in &mut elsewhere {
        assert_eq!(status_of(client, "ping").await, 200, "what needs no home goes on without it");
        assert_eq!(client.call("demo__echo", json!({"text": "x"})).await.status, 404);
        assert_eq!(client.initialize().await.status, 200);
        assert_eq!(client.call("demo__echo", json!({"text": "anew"})).await.text(), Some("anew"));
    }
    cluster.restart(1).await;
    assert_eq!(
        home.clone().call("demo__echo", json!({"text": "x"})).await.status,
        404,
        "its memory died with it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_deleted_on_one_node_is_gone_on_all() {
    let mut cluster = Cluster::start(11).await;
    let home = cluster.client(3, &cluster.key("developer")).await;
    let mut here = home.clone();
    assert!(here.call("demo__echo", json!({"text": "x"})).await.receipt().is_some());
    let stream = home.listen().await;
    assert_eq!(home.at(&cluster.mcp_url(2)).delete().await.status, 204);
    stream.until_closed().await;
    for number in 1..=3 {
        let client = home.at(&cluster.mcp_url(number));
        eventually("the tombstone arrives", async || status_of(&client, "ping").await == 404).await;
        assert_eq!(status_of(&client, "tools/list").await, 404);
        assert_eq!(client.delete().await.status, 404);
    }
    assert_eq!(cluster.metric(3, "only1mcp_sessions_open").await, 0.0);
    // The tombstone is part of the replicated state.
    cluster.kill(2);
    cluster.restart(2).await;
    assert_eq!(status_of(&home.at(&cluster.mcp_url(2)), "ping").await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_its_owners_alone() {
    let cluster = Cluster::start(12).await;
    let own = cluster.client(1, &cluster.key("developer")).await;
    let other_tenant = cluster.file["tenants"][1]["keys"]["developer"].as_str().unwrap().to_owned();
    for key in [cluster.key("admin"), other_tenant.clone(), cluster.root_key()] {
        for number in 1..=3 {
            let mut thief = own.at(&cluster.mcp_url(number));
            thief.key.clone_from(&key);
            assert_eq!(status_of(&thief, "ping").await, 404);
            assert_eq!(thief.delete().await.status, 404);
        }
    }
    assert_eq!(status_of(&own, "ping").await, 200, "and nothing of that has touched it");
    // INVARIANT: P7
    let mut intruder = Client::new(&format!("{}/t/acme/mcp", cluster.http_url(1)), &other_tenant);
    let answer = intruder.initialize().await;
    assert_eq!((answer.status, &answer.json()["error"]["data"]["code"]), (403, &json!("cross_tenant")));
    let mut operator = Client::new(&format!("{}/t/acme/mcp", cluster.http_url(1)), &cluster.root_key());
    assert_eq!(operator.initialize().await.status, 200, "the operators may");
}
