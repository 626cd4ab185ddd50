//! A call that waits in line for a permit and is not wanted any more leaves the line, and says so in the chain; the
//! permit goes to whoever still waits.

use hyper::Method;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::audit::Export;
use crate::cluster::{Cluster, eventually};
use crate::gate::Gate;
use crate::http;
use crate::ledger::denials;
use crate::mcp::{Client, Exchange};

fn calling(client: &Client) -> JoinHandle<Exchange> {
    let mut client = client.clone();
    tokio::spawn(async move { client.call("gate__wait", json!({})).await })
}

async fn in_flight(cluster: &Cluster, node: usize, count: f64) {
    eventually(&format!("{count} calls are in flight on node {node}"), async || {
        cluster.metric(node, "only1mcp_requests_in_flight").await == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_gives_up_in_line_is_recorded_as_that_and_holds_nothing() {
    let cluster = Cluster::start(102).await;
    let gate = Gate::start().await;
    gate.register(&cluster, "gate", &[]).await;
    let one = ["tenant", "update", "acme", "--quota", "max_concurrent_requests=1", "--wait"];
    cluster.ctl(1, &one).await;
    let holder = cluster.client(1, &cluster.key("admin")).await;
    let waiter = cluster.client(2, &cluster.key("admin")).await;
    let home = cluster.client(3, &cluster.key("admin")).await;
    let holding = calling(&holder);
    eventually("the permit is in use", async || gate.held() == 1).await;

    // Told by the client, on the node it waits on and through another.
    for through in [waiter.clone(), waiter.at(&cluster.mcp_url(3))] {
        let waiting = calling(&waiter);
        in_flight(&cluster, 2, 1.0).await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                            "params": {"requestId": waiter.next_id + 1}});
        assert_eq!(through.post(&cancel.to_string()).await.unwrap().status, 202);
        let told = waiting.await.unwrap();
        assert_eq!(told.answer["error"]["code"], -32800, "{}", told.answer);
        in_flight(&cluster, 2, 0.0).await;
    }
    // By leaving: on its session's home, and on a node that passes its requests on to it.
    for client in [home.clone(), home.at(&cluster.mcp_url(1))] {
        let (url, bearer) = (client.url.clone(), client.bearer());
        let session = client.session.clone().unwrap();
        let leaving = tokio::spawn(async move {
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
                ("mcp-session-id", session.as_str()),
            ];
            let body = json!({"jsonrpc": "2.0", "id": 700, "method": "tools/call",
                              "params": {"name": "gate__wait", "arguments": {}}});
            http::open(Method::POST, &url, &headers, body.to_string()).await.map(drop)
        });
        let at = if client.url == home.url { 3 } else { 1 };
        let before = if at == 1 { 1.0 } else { 0.0 };
        // A shared upstream's call runs where it is asked for.
        in_flight(&cluster, at, before + 1.0).await;
        leaving.abort();
        assert!(leaving.await.unwrap_err().is_cancelled());
        in_flight(&cluster, at, before).await;
    }
    assert_eq!(gate.held(), 1, "none of them was sent");
    let mut withdrawn = 0;
    for node in 1..=3 {
        withdrawn += denials(&cluster, node, "withdrawn").await;
        assert_eq!(denials(&cluster, node, "concurrency_exceeded").await, 0, "none waited to the end");
    }
    assert_eq!(withdrawn, 4);

    // What is still wanted has its turn, and the permit is there for it.
    let last = calling(&waiter);
    in_flight(&cluster, 2, 1.0).await;
    gate.open();
    for call in [holding, last] {
        let told = call.await.unwrap();
        assert!(told.receipt().is_some(), "{}", told.answer);
    }
    eventually("the chain tells of each", async || {
        let export = Export::of(&cluster, 2).await;
        export.refusals("withdrawn") == 4 && export.admissions().len() == 2 && export.completions().len() == 2
    })
    .await;
}
