//! What a tenant may take of a real cluster besides calls and money: input, storage, bandwidth, memory and processors of
//! its child processes; and what its cost records are tagged with.

use serde_json::{Value, json};

use crate::cluster::{BINARY, Cluster, eventually};

const TENANT: [&str; 2] = ["--tenant", "acme"];

async fn update(cluster: &Cluster, args: &[&str]) {
    cluster.ctl(1, &[&["tenant", "update", "acme"][..], args, &["--wait"]].concat()).await;
}

async fn shown(cluster: &Cluster) -> Value {
    cluster.ctl(2, &["tenant", "show", "acme"]).await
}

async fn text_of(cluster: &Cluster, node: usize, text: &str) -> Result<String, String> {
    let mut client = cluster.client(node, &cluster.key("developer")).await;
    let exchange = client.call("demo__echo", json!({"text": text})).await;
    match exchange.refusal() {
        Some(code) => Err(code.to_owned()),
        None => Ok(exchange.text().unwrap_or_else(|| panic!("{}", exchange.answer)).to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_may_take_is_bounded() {
    let cluster = Cluster::start(94).await;
    let root = cluster.root_key();
    assert_eq!(shown(&cluster).await["not_enforced"], json!([]));

    // Input: ten tokens are forty bytes of arguments.
    update(&cluster, &["--quota", "max_context_size=10"]).await;
    let fits = "x".repeat(40 - r#"{"text":""}"#.len());
    for node in 1..=3 {
        assert_eq!(text_of(&cluster, node, &fits).await.as_deref(), Ok(fits.as_str()));
        assert_eq!(text_of(&cluster, node, &format!("{fits}y")).await, Err("context_exceeded".to_owned()));
    }
    update(&cluster, &["--quota", "max_context_size=unlimited"]).await;

    // Storage: what is there stays, and can be taken away.
    let stored = shown(&cluster).await["storage_bytes"].as_u64().unwrap();
    assert!(stored > 0);
    let create = |id: &'static str| [&["principal", "create", id][..], &TENANT].concat();
    cluster.ctl(1, &create("before")).await;
    assert!(shown(&cluster).await["storage_bytes"].as_u64().unwrap() > stored);
    update(&cluster, &["--quota", "storage_mib=0"]).await;
    let refused = cluster.try_ctl(3, &root, &create("after")).await.unwrap_err();
    assert!(refused.contains("QUOTA_EXCEEDED"), "{refused}");
    cluster.ctl(2, &[&["principal", "delete", "before"][..], &TENANT].concat()).await;
    assert_eq!(shown(&cluster).await["storage_bytes"].as_u64(), Some(stored));
    update(&cluster, &["--quota", "storage_mib=unlimited"]).await;

    // Bandwidth: a node's share is a third of a megabit a second, so this waits, and comes all the same.
    update(&cluster, &["--quota", "bandwidth_mbps=1"]).await;
    let long = "z".repeat(30_000);
    for node in 1..=2 {
        assert_eq!(text_of(&cluster, node, &long).await.as_deref(), Ok(long.as_str()));
    }
    update(&cluster, &["--quota", "bandwidth_mbps=unlimited"]).await;

    // Child processes.
    update(&cluster, &["--quota", "memory_mib=256", "--quota", "cpu_millicores=500"]).await;
    let told = cluster.path("limits");
    let script = format!(
        "grep -E 'Max data size' /proc/self/limits >{0}; grep Cpus_allowed_list /proc/self/status >>{0}; \
         exec {BINARY} demo --stdio",
        told.display()
    );
    let add = ["upstream", "add", "--tenant", "acme", "child", "--command", "/bin/sh"];
    cluster.ctl(1, &[&add[..], &["--arg", "-c", "--arg", &script, "--wait"]].concat()).await;
    let mut client = cluster.client(2, &cluster.key("developer")).await;
    let exchange = client.call("child__echo", json!({"text": "bounded"})).await;
    assert_eq!(exchange.text(), Some("bounded"), "{}", exchange.answer);
    let limits = std::fs::read_to_string(&told).unwrap();
    let bytes = (256_u64 << 20).to_string();
    assert!(limits.lines().any(|line| line.matches(&bytes).count() == 2), "soft and hard: {limits}");
    let cpus = limits.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    assert!(cpus.parse::<usize>().is_ok(), "one of them: {cpus}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cost_records_are_tagged_as_the_tenant_allows() {
    let cluster = Cluster::start(95).await;
    let price = ["price", "set", "echo", "--tools", "demo__echo", "--line", "call=0.02"];
    cluster.ctl(1, &[&price[..], &TENANT].concat()).await;
    let metering = ["price", "metering", "set", "echo", "--tools", "demo__echo", "--model", "demo/echo"];
    let usage = ["--usage", "call", "--bound", "call=1", "--tag", "kind=test", "--tag", "env=metered"];
    cluster.ctl(1, &[&metering[..], &usage, &TENANT].concat()).await;
    let attributes = ["--attribute", "team=search", "--attribute", "floor=3"];
    cluster.ctl(1, &[&["principal", "update", "developer"][..], &attributes, &TENANT].concat()).await;
    let tags = ["--cost-tag", "env=prod", "--cost-tag", "region=eu"];
    let sources = ["--tag-from-attribute", "team", "--tag-from-call", "ticket"];
    update(&cluster, &[&tags[..], &sources].concat()).await;
    let mut client = cluster.client(2, &cluster.key("developer")).await;
    for ticket in ["T-1", "T-2"] {
        let said = json!({"only1mcp/tags": {"ticket": ticket, "team": "mine", "other": "x"}});
        let params = json!({"name": "demo__echo", "arguments": {"text": "x"}, "_meta": said});
        let exchange = client.request("tools/call", params).await;
        assert!(exchange.receipt().is_some(), "{}", exchange.answer);
    }
    let report = async |node: usize, by: &str| {
        let told = cluster.ctl(node, &[&["cost", "report", "--by", by][..], &TENANT].concat()).await;
        let groups = told["groups"].as_array().unwrap().iter();
        groups.map(|group| format!("{} {}", group["name"].as_str().unwrap(), group["records"])).collect()
    };
    let two = |names: [&str; 2]| names.map(|name| format!("{name} 1")).to_vec();
    eventually("both calls are told of", async || {
        let told: Vec<String> = report(3, "tag:ticket").await;
        told == two(["T-1", "T-2"])
    })
    .await;
    for (key, expected) in [("team", "search 2"), ("env", "metered 2"), ("region", "eu 2"), ("other", " 2")] {
        assert_eq!(report(1, &format!("tag:{key}")).await, [expected], "{key}");
    }
    let exported = cluster.ctl(1, &[&["cost", "export"][..], &TENANT].concat()).await;
    let first: Value = serde_json::from_str(exported.as_str().unwrap().lines().next().unwrap()).unwrap();
    let tags = json!({"env": "metered", "kind": "test", "region": "eu", "team": "search", "ticket": "T-1"});
    assert_eq!((&first["tags"], &first["request_type"]), (&tags, &json!("tool")), "{first}");
    assert_eq!(first["storage_usd"], "0");
    // Whoever read them is told of in the trail.
    let query = ["audit", "query", "--kind", "DataAccess"];
    eventually("the reports are on record", async || {
        let events = cluster.ctl(2, &[&query[..], &TENANT].concat()).await;
        events.to_string().contains("cost.report")
    })
    .await;
}
