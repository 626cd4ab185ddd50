//! What calls cost on a real cluster: priced by what an operator typed, charged to the last digit, and told the same by
//! every node.

use only1mcp_domain::money::PicoUsd;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};

const TENANT: [&str; 2] = ["--tenant", "acme"];

/// Two cents a call and an odd price for a byte, so that no amount is round; a thousand dollars a month.
async fn priced(cluster: &Cluster) {
    let price = [
        "price",
        "set",
        "echo",
        "--tools",
        "demo__echo",
        "--line",
        "call=0.02",
        "--line",
        "byte=0.000000123457/7",
    ];
    cluster.ctl(1, &[&price[..], &TENANT].concat()).await;
    let metering = ["price", "metering", "set", "echo", "--tools", "demo__echo", "--model", "demo/echo"];
    let usage = ["--usage", "call", "--usage", "byte", "--bound", "call=1", "--bound", "byte=1M"];
    cluster.ctl(2, &[&metering[..], &usage, &TENANT].concat()).await;
    let budget = ["budget", "set", "money", "--amount", "1000USD", "--per-period", "month"];
    cluster.ctl(3, &[&budget[..], &TENANT, &["--wait"]].concat()).await;
}

fn usd(value: &Value) -> PicoUsd {
    PicoUsd::parse(value.as_str().unwrap_or_else(|| panic!("no amount: {value}"))).unwrap()
}

fn sum(amounts: impl Iterator<Item = PicoUsd>) -> PicoUsd {
    amounts.fold(PicoUsd::ZERO, |sum, amount| sum.checked_add(amount).unwrap())
}

async fn posted(cluster: &Cluster, node: usize) -> PicoUsd {
    let shown = cluster.ctl(node, &[&["budget", "show", "money"][..], &TENANT].concat()).await;
    usd(&shown[0]["posted"])
}

async fn report(cluster: &Cluster, node: usize, by: &str) -> Value {
    cluster.ctl(node, &[&["cost", "report", "--by", by][..], &TENANT].concat()).await
}

/// Amounts by name.
fn groups(report: &Value) -> Vec<(String, PicoUsd)> {
    let groups = report["groups"].as_array().unwrap_or_else(|| panic!("no groups: {report}"));
    groups.iter().map(|group| (group["name"].as_str().unwrap().to_owned(), usd(&group["cost_usd"]))).collect()
}

/// Lines of JSON; a single one has been read as JSON already.
async fn export(cluster: &Cluster, node: usize) -> Vec<Value> {
    let exported = cluster.ctl(node, &[&["cost", "export"][..], &TENANT].concat()).await;
    match exported {
        Value::String(text) => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        record => vec![record],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_charged_is_reported_exported_and_posted_to_the_last_digit() {
    const CALLS: usize = 3;
    let cluster = Cluster::start(70).await;
    priced(&cluster).await;
    for (node, role) in [(1, "admin"), (2, "developer"), (3, "admin")] {
        let mut client = cluster.client(node, &cluster.key(role)).await;
        for call in 0..CALLS {
            let text = "x".repeat(call * 100);
            let exchange = client.call("demo__echo", json!({"text": text})).await;
            assert!(exchange.refusal().is_none(), "{}", exchange.answer);
        }
    }
    eventually("every call is told of", async || export(&cluster, 1).await.len() == 3 * CALLS).await;
    let records = export(&cluster, 2).await;
    let charged = sum(records.iter().map(|record| usd(&record["cost_usd"])));
    assert!(charged > PicoUsd::parse("0.18").unwrap(), "nine calls and some bytes: {charged}");
    for node in 1..=3 {
        eventually("it is posted", async || posted(&cluster, node).await == charged).await;
    }
    for record in &records {
        let lines = record["lines"].as_array().unwrap();
        let lines = sum(lines.iter().map(|line| usd(&line["cost_usd"])));
        assert_eq!(lines, usd(&record["cost_usd"]), "{record}");
        assert_eq!(record["tool"], "demo__echo");
    }
    for by in ["principal", "tool", "upstream", "day"] {
        let told = report(&cluster, 3, by).await;
        let groups = groups(&told);
        assert_eq!(usd(&told["total"]["cost_usd"]), charged, "by {by}: {told}");
        assert_eq!(sum(groups.iter().map(|(_, cost)| *cost)), charged, "by {by}: {told}");
        assert_eq!(told["provisional"], true, "the month is not over");
        match by {
            "principal" => {
                let names: Vec<_> = groups.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(names, ["admin", "developer"], "the costliest first");
                assert_eq!(told["groups"][0]["records"], 2 * CALLS);
                assert_eq!(told["groups"][0]["units"]["call"], 2 * CALLS);
            }
            "tool" => assert_eq!(groups[0].0, "demo__echo"),
            "upstream" => assert_eq!(groups[0].0, "demo"),
            _ => assert_eq!(groups.len(), 1),
        }
    }
    // One of them is given back.
    let record = &records[0];
    let id = record["id"].as_str().unwrap();
    let correct = ["cost", "correct", id, "--full", "--reason", "the tool was down"];
    cluster.ctl(2, &[&correct[..], &TENANT].concat()).await;
    let left = charged.checked_sub(usd(&record["cost_usd"])).unwrap();
    eventually("it is given back", async || posted(&cluster, 1).await == left).await;
    let told = report(&cluster, 1, "kind").await;
    assert_eq!(usd(&told["total"]["cost_usd"]), left, "{told}");
    let again = cluster.try_ctl(3, &cluster.root_key(), &[&correct[..], &TENANT].concat()).await;
    assert!(again.is_err(), "nothing is left to give back: {again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_price_is_refused_by_name() {
    let cluster = Cluster::start(71).await;
    let root = cluster.root_key();
    priced(&cluster).await;
    let digits = format!("call={}", "9".repeat(70));
    let long = format!("output=/{}", "a".repeat(600));
    let price = |line: &'static str| vec!["price", "set", "bad", "--tools", "demo__*", "--line", line];
    let metering = ["price", "metering", "set", "bad", "--tools", "demo__*", "--model", "a/b", "--usage"];
    let mut table: Vec<(Vec<&str>, &str)> = vec![
        (price("call=0"), "INVALID"),
        (price("call=-1"), "is negative"),
        (price("call=NaN"), "is not a decimal number"),
        (price("call=1e400"), "digits"),
        (price("call=1000000001"), "INVALID"),
        (price("call=1/0"), "1 unit or more"),
        (price("call=1@5"), "INVALID"),
        (price("tokens=1"), "uncached_input"),
        (vec!["price", "set", "bad", "--tools", "demo__*", "--line", &digits], "digits"),
        ([&price("call=1")[..], &["--currency", "XXX"]].concat(), "INVALID"),
        ([&price("call=1")[..], &["--currency", "eur"]].concat(), "INVALID"),
        (vec!["price", "show", "nothing"], "NOT_FOUND"),
        (vec!["price", "delete", "nothing"], "NOT_FOUND"),
        (vec!["price", "rate", "set", "USD", "1"], "INVALID"),
        (vec!["price", "rate", "set", "EUR", "0"], "INVALID"),
        (vec!["price", "discount", "set", "bad", "--commitment", "1.01"], "INVALID"),
        (vec!["cost", "report", "--period", "2026-13"], "is no period"),
        (vec!["cost", "report", "--period", "today", "--zone", "Europe/Atlantis"], "time zone"),
        (vec!["cost", "correct", "nonsense", "--full", "--reason", "x"], "INVALID"),
        (vec!["cost", "correct", "1796047413083-97", "--full", "--reason", "x"], "NOT_FOUND"),
    ];
    for (usage, code) in [
        ("output", "INVALID"),
        ("output=usage", "JSON pointer"),
        ("output=/usage~2", "INVALID"),
        (long.as_str(), "INVALID"),
        ("output=/a-/b-/b-/b-/b-/b-/b-/b-/b-/b", "INVALID"),
    ] {
        table.push(([&metering[..], &[usage]].concat(), code));
    }
    for (args, code) in table {
        let tenant: &[&str] = if args[1] == "rate" { &[] } else { &TENANT };
        let refused = cluster.try_ctl(1, &root, &[&args[..], tenant].concat()).await;
        let told = refused.expect_err(&format!("{args:?}"));
        assert!(told.contains(code), "{args:?}: {told}");
    }
    // Two prices of one subject from one moment on.
    let at = ["--valid-from", "2026-01-01T00:00:00Z"];
    let set = |id| ["price", "set", id, "--tools", "demo__slow", "--line", "call=1"];
    cluster.ctl(1, &[&set("one")[..], &TENANT, &at].concat()).await;
    let twin = cluster.try_ctl(2, &root, &[&set("two")[..], &TENANT, &at].concat()).await.unwrap_err();
    assert!(twin.contains("INVALID") && twin.contains("valid_from"), "{twin}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_map_is_taken_in_once() {
    let cluster = Cluster::start(72).await;
    let file = cluster.path("prices.json");
    let map = json!({
        "big-1": {"litellm_provider": "maker", "mode": "chat", "input_cost_per_token": 2.5e-6, "output_cost_per_token": 1e-5},
        "small-1": {"litellm_provider": "maker", "input_cost_per_token": 1e-7},
        "painter": {"litellm_provider": "maker", "mode": "image_generation", "output_cost_per_image": 0.04},
    });
    std::fs::write(&file, map.to_string()).unwrap();
    let import = ["price", "import", file.to_str().unwrap(), "--tenant", "system"];
    let dry = cluster.ctl(1, &[&import[..], &["--dry-run"]].concat()).await;
    assert_eq!((&dry["new"], &dry["skipped"][0]["model"]), (&json!(2), &json!("painter")));
    let listed = cluster.ctl(1, &["price", "list", "--tenant", "system"]).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!("free-calls")));
    let first = cluster.ctl(1, &import).await;
    assert_eq!((&first["new"], &first["failed"]), (&json!(2), &json!([])));
    let shown = cluster.ctl(2, &["price", "show", "maker/big-1", "--tenant", "system"]).await;
    assert_eq!(shown["lines"][0]["price"], "0.0000025", "{shown}");
    let again = cluster.ctl(3, &import).await;
    assert_eq!((&again["new"], &again["changed"], &again["unchanged"]), (&json!(0), &json!(0), &json!(2)));
    std::fs::write(&file, map.to_string().replace("0.0000025", "0.000003").replace("2.5e-6", "3e-6"))
        .unwrap();
    let changed = cluster.ctl(1, &import).await;
    assert_eq!(
        (&changed["new"], &changed["changed"], &changed["unchanged"]),
        (&json!(0), &json!(1), &json!(1))
    );
}
