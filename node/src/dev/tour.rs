//! The README's walk against the live cluster: each step prints its real request and answer, and must come out as told.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::dev::Cluster;
use crate::dev::mcp_client::{Exchange, McpClient};

/// How long the cluster may take to elect anew and serve again.
const FAILOVER: Duration = Duration::from_secs(15);

/// Plays all steps; the first that does not come out as told ends it with an error.
pub(super) async fn play(cluster: &mut Cluster) -> anyhow::Result<()> {
    let tenant = cluster.tenants.first().context("dev makes two tenants")?.clone();
    let mut developer = McpClient::new(&cluster.mcp_url(0)?, &tenant.keys.developer);

    step(1, "A developer calls a tool; the answer carries a receipt from the audit chain");
    developer.initialize().await?;
    let exchange = developer.call("demo__echo", json!({"text": "hello"})).await?;
    show(&exchange);
    let receipt = receipt(&exchange)?;
    ensure!(receipt.get("state") == Some(&json!("sealed")), "the receipt does not say sealed");

    step(2, "A viewer may look but not call: refused, with a reason and what to ask for");
    let mut viewer = McpClient::new(&cluster.mcp_url(1)?, &tenant.keys.viewer);
    viewer.initialize().await?;
    let exchange = viewer.call("demo__echo", json!({"text": "hello"})).await?;
    show(&exchange);
    refusal(&exchange, "no_permission")?;

    step(3, "A list hides what is denied: the restricted tool is there for an administrator only");
    let exchange = developer.list_tools().await?;
    let for_developer = names(&exchange)?;
    let mut admin = McpClient::new(&cluster.mcp_url(2)?, &tenant.keys.admin);
    admin.initialize().await?;
    let for_admin = names(&admin.list_tools().await?)?;
    println!("  developer sees: {}", for_developer.join(", "));
    println!("  admin sees:     {}", for_admin.join(", "));
    ensure!(
        !for_developer.iter().any(|n| n == "demo__admin_only"),
        "the restricted tool is listed to a developer"
    );
    ensure!(
        for_admin.iter().any(|n| n == "demo__admin_only"),
        "the restricted tool is hidden from an administrator"
    );

    step(4, "A role granted on node 2 is effective on node 3");
    let grant =
        ["grant", "create", "--tenant", &tenant.id, "--principal", "viewer", "--role", "developer", "--wait"];
    print_lines(&cluster.ctl(1, &grant).await?);
    let mut promoted = McpClient::new(&cluster.mcp_url(2)?, &tenant.keys.viewer);
    promoted.initialize().await?;
    let exchange = promoted.call("demo__echo", json!({"text": "granted on node 2"})).await?;
    show(&exchange);
    self::receipt(&exchange)?;

    step(5, "The leader is killed while calls go on");
    failover(cluster, &tenant.keys.developer).await?;

    step(6, "The audit chain is verified, online and from an export without any server");
    let index = cluster.alive().context("no node is left")?;
    print_lines(&cluster.ctl(index, &["audit", "verify"]).await?);
    let file = cluster.dir.join("audit-export.jsonl");
    let path = file.to_str().context("the folder's name is not UTF-8")?;
    print_lines(&cluster.ctl(index, &["audit", "export", "--all-tenants", "--file", path]).await?);
    print_lines(&verify_offline(&["--file", path]).await?);
    let named = |name: &str| cluster.dir.join(name).display().to_string();
    let (keys, told, proof) = (named("signers.json"), named("receipt.json"), named("proof.json"));
    std::fs::write(&told, receipt.to_string())?;
    print_lines(&cluster.ctl(index, &["audit", "keys", "--file", &keys]).await?);
    print_lines(&cluster.ctl(index, &["audit", "prove", &told, "--file", &proof]).await?);
    print_lines(&verify_offline(&["--proof", &proof, "--keys", &keys, "--receipt", &told]).await?);
    println!("\nEvery step came out as told.");
    Ok(())
}

async fn failover(cluster: &mut Cluster, key: &str) -> anyhow::Result<()> {
    let leader = cluster.leader().await?;
    let survivor = cluster.other_than(leader).context("a cluster of one has no failover")?;
    let mut client = McpClient::new(&cluster.mcp_url(survivor)?, key);
    client.initialize().await?;
    client.call("demo__echo", json!({"text": "before"})).await?;
    println!("  node {} leads; kill -9 {}", leader + 1, cluster.pid(leader)?);
    cluster.kill(leader).await?;
    let killed = Instant::now();
    let mut answered = 0u32;
    let mut longest = Duration::ZERO;
    while answered < 20 {
        ensure!(killed.elapsed() < FAILOVER, "calls do not go on after the leader was killed");
        let sent = Instant::now();
        let exchange =
            client.call("demo__echo", json!({"text": format!("call {answered} after the kill")})).await?;
        self::receipt(&exchange)?;
        longest = longest.max(sent.elapsed());
        answered += 1;
    }
    println!(
        "  {answered} calls on node {} after the kill, each answered and sealed; none was refused",
        survivor + 1
    );
    println!(
        "  the longest was delayed by {} ms; node {} leads now",
        longest.as_millis(),
        cluster.leader().await? + 1
    );
    cluster.restart(leader).await?;
    println!("  node {} was started again and is ready", leader + 1);
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

async fn verify_offline(args: &[&str]) -> anyhow::Result<String> {
    println!("  $ only1mcp audit verify {}", args.join(" "));
    let output = tokio::process::Command::new(std::env::current_exe()?)
        .args(["audit", "verify"])
        .args(args)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "offline verification failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn step(number: u8, title: &str) {
    println!("\n{number}. {title}");
}

fn show(exchange: &Exchange) {
    println!("  > {}", exchange.request);
    println!("  < {} {}", exchange.status, exchange.answer);
}

fn print_lines(text: &str) {
    for line in text.lines() {
        println!("  {line}");
    }
}

fn receipt(exchange: &Exchange) -> anyhow::Result<Value> {
    let found = exchange.answer.pointer("/result/_meta/only1mcp~1receipt");
    found.cloned().with_context(|| format!("the answer has no receipt: {}", exchange.answer))
}

fn refusal(exchange: &Exchange, reason: &str) -> anyhow::Result<()> {
    let found = exchange.answer.pointer("/error/data/code").and_then(Value::as_str);
    if found != Some(reason) {
        bail!("expected a refusal with reason {reason}, got {}", exchange.answer);
    }
    Ok(())
}

fn names(exchange: &Exchange) -> anyhow::Result<Vec<String>> {
    let tools = exchange.answer.pointer("/result/tools").and_then(Value::as_array);
    let tools = tools.with_context(|| format!("no list of tools: {}", exchange.answer))?;
    Ok(tools.iter().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect())
}
