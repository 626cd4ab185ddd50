//! P4: what an administrator changes on one node holds on every node once the write that waits has returned.

use serde_json::{Value, json};

use crate::audit::Export;
use crate::cluster::{Cluster, eventually};
use crate::mcp::Client;

/// A session on each node.
async fn everywhere(cluster: &Cluster, key: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 1..=3 {
        clients.push(cluster.client(number, key).await);
    }
    clients
}

/// A write that returns when every node has applied it.
async fn change(cluster: &Cluster, number: usize, args: &[&str]) -> Value {
    let done = cluster.ctl(number, &[args, &["--wait"]].concat()).await;
    assert_eq!(done["everywhere"], true, "{args:?}: {done}");
    done
}

/// Asks once on each node, without any patience.
async fn all_refuse(clients: &mut [Client], reason: &str) {
    for client in clients {
        let exchange = client.call("demo__echo", json!({"text": "x"})).await;
        assert_eq!(exchange.refusal(), Some(reason), "{}: {}", client.url, exchange.answer);
    }
}

async fn all_answer(clients: &mut [Client]) {
    for client in clients {
        let exchange = client.call("demo__echo", json!({"text": "x"})).await;
        assert!(exchange.receipt().is_some(), "{}: {} {}", client.url, exchange.status, exchange.answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grants_rules_and_upstreams_change_on_every_node_at_once() {
    let cluster = Cluster::start(5).await;
    let mut viewers = everywhere(&cluster, &cluster.key("viewer")).await;
    let mut developers = everywhere(&cluster, &cluster.key("developer")).await;
    all_refuse(&mut viewers, "no_permission").await;
    let grant = ["grant", "create", "--tenant", "acme", "--principal", "viewer", "--role", "developer"];
    let granted = change(&cluster, 2, &grant).await;
    all_answer(&mut viewers).await;
    change(&cluster, 3, &["grant", "revoke", "--tenant", "acme", granted["grant"].as_str().unwrap()]).await;
    all_refuse(&mut viewers, "no_permission").await;

    all_answer(&mut developers).await;
    change(&cluster, 1, &["upstream", "tool-disable", "--tenant", "system", "demo", "echo"]).await;
    all_refuse(&mut developers, "tool_disabled").await;
    for client in &mut developers {
        let tools = client.tools().await;
        assert!(
            !tools.contains(&"demo__echo".to_owned()) && tools.contains(&"demo__slow".to_owned()),
            "{tools:?}"
        );
    }
    change(&cluster, 2, &["upstream", "tool-enable", "--tenant", "system", "demo", "echo"]).await;
    all_answer(&mut developers).await;

    change(&cluster, 3, &["upstream", "disable", "--tenant", "system", "demo"]).await;
    all_refuse(&mut developers, "upstream_disabled").await;
    for client in &mut developers {
        assert_eq!(client.tools().await, Vec::<String>::new());
    }
    change(&cluster, 1, &["upstream", "enable", "--tenant", "system", "demo"]).await;
    all_answer(&mut developers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_tenant_is_out_everywhere_and_the_other_goes_on() {
    let cluster = Cluster::start(6).await;
    let mut insiders = everywhere(&cluster, &cluster.key("developer")).await;
    let other = cluster.file["tenants"][1]["keys"]["developer"].as_str().unwrap().to_owned();
    let mut others = everywhere(&cluster, &other).await;
    all_answer(&mut insiders).await;
    change(&cluster, 1, &["tenant", "suspend", "acme"]).await;
    for client in &mut insiders {
        let exchange = client.call("demo__echo", json!({"text": "x"})).await;
        assert_eq!(
            (exchange.status, exchange.refusal()),
            (403, Some("tenant_suspended")),
            "{}",
            exchange.answer
        );
        let mut anew = Client::new(&client.url, &client.key);
        assert_eq!(anew.initialize().await.status, 403);
    }
    all_answer(&mut others).await;
    change(&cluster, 3, &["tenant", "activate", "acme"]).await;
    let mut anew = everywhere(&cluster, &cluster.key("developer")).await;
    all_answer(&mut anew).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_its_streams_sessions_and_calls_on_every_node() {
    let cluster = Cluster::start(7).await;
    let make = ["key", "create", "--tenant", "acme", "--principal", "developer"];
    let made = change(&cluster, 2, &make).await;
    let key = made["key"].as_str().unwrap();
    let id = key.split('_').nth(1).unwrap();
    let mut clients = everywhere(&cluster, key).await;
    all_answer(&mut clients).await;
    let mut streams = Vec::new();
    let mut running = Vec::new();
    for client in &clients {
        streams.push(client.listen().await);
        let mut client = client.clone();
        running.push(tokio::spawn(async move { client.call("demo__slow", json!({"ms": 50_000})).await }));
    }
    for number in 1..=3 {
        eventually("the slow call runs", async || {
            cluster.metric(number, "only1mcp_requests_in_flight").await >= 1.0
        })
        .await;
    }
    change(&cluster, 3, &["key", "revoke", "--tenant", "acme", id]).await;
    for client in &mut clients {
        let exchange = client.call("demo__echo", json!({"text": "x"})).await;
        assert_eq!(exchange.status, 401, "{}: {}", client.url, exchange.answer);
    }
    for stream in streams {
        stream.until_closed().await;
    }
    for call in running {
        let exchange = call.await.unwrap();
        // Which of the two depends on whether the call or its session was ended first.
        assert!(
            matches!(exchange.refusal(), Some("revoked_in_flight" | "key_revoked")),
            "{} {}",
            exchange.status,
            exchange.answer
        );
    }
    // Its other key, and so its holder, goes on.
    all_answer(&mut everywhere(&cluster, &cluster.key("developer")).await).await;
    for number in 1..=3 {
        eventually("nothing of the revoked sessions is left", async || {
            cluster.metric(number, "only1mcp_streams_open").await == 0.0
                && cluster.metric(number, "only1mcp_requests_in_flight").await == 0.0
        })
        .await;
    }
    let export = Export::of(&cluster, 1).await;
    let revoked = export.events.iter().filter(|line| line["event"]["resource"]["id"] == "demo__slow");
    assert_eq!(revoked.count(), 3, "each call that was admitted stands there, whatever became of it");
    assert!(
        !export.events.iter().any(|line| line.to_string().contains(key)),
        "a key stands in the audit trail"
    );
}

/// Who read the trail, and who was refused what in administration, stand in the trail itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trail_tells_who_read_it_and_who_was_refused_administration() {
    let cluster = Cluster::start(25).await;
    let developer = cluster.key("developer");
    assert!(cluster.try_ctl(2, &developer, &["tenant", "list"]).await.is_err());
    assert!(cluster.try_ctl(2, &developer, &["audit", "export", "--file", "none.jsonl"]).await.is_err());
    let file = cluster.path("export.jsonl");
    cluster.ctl(3, &["audit", "export", "--all-tenants", "--file", file.to_str().unwrap()]).await;
    let expected = [
        ("AccessDenied", "admin.Tenants/ListTenants", "rpc Tenants/ListTenants"),
        ("AccessDenied", "admin.Audit/ExportAudit", "rpc Audit/ExportAudit"),
        ("AuditLogExport", "audit.export", "audit *"),
        ("AuditLogAccess", "audit.query", "audit *"),
    ];
    for (kind, action, resource) in expected {
        eventually("it is in the trail", async || {
            let told = cluster.ctl(1, &["audit", "query", "--all-tenants", "--kind", kind]).await;
            let events = told.as_array().unwrap();
            events.iter().any(|event| event["action"] == action && event["resource"] == resource)
        })
        .await;
    }
}
