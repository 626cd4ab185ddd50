//! Health endpoints and metrics: what load balancers and scrapers see of a live node, and of one that is cut off.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::cluster::{Cluster, eventually};
use crate::peers::peer;

/// What promtool finds wrong with an exposition.
async fn lint(text: &str) -> Result<(), String> {
    let mut promtool = tokio::process::Command::new(peer("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_satisfy_promtool_and_count_what_happened() {
    let cluster = Cluster::start(8).await;
    let mut client = cluster.client(1, &cluster.key("developer")).await;
    assert!(client.call("demo__echo", json!({"text": "x"})).await.receipt().is_some());
    assert_eq!(client.call("demo__admin_only", json!({})).await.refusal(), Some("tool_restricted"));
    for number in 1..=3 {
        let answer = cluster.get(number, "/metrics", Some(&cluster.root_key())).await;
        assert_eq!(answer.status, 200);
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        lint(&answer.text()).await.unwrap_or_else(|said| panic!("{said}\n{}", answer.text()));
    }
    let text = cluster.get(1, "/metrics", Some(&cluster.root_key())).await.text();
    for line in [
        r#"only1mcp_decisions_total{outcome="allow"} 1"#,
        r#"only1mcp_denials_total{reason="tool_restricted"} 1"#,
        r#"only1mcp_call_seconds_bucket{le="+Inf"} 1"#,
        r#"only1mcp_calls_total{outcome="success"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line} in:\n{text}");
    }
    for name in [
        "batch_records_count",
        "commit_seconds_count",
        "freshness_seconds",
        "raft_term",
        "clock_offset_seconds",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("only1mcp_{name} "))),
            "no {name} in:\n{text}"
        );
    }
    assert!(lint("# HELP a x\n# TYPE a counter\na 1\n").await.is_err(), "promtool finds fault with nothing");
    assert_eq!(cluster.get(1, "/metrics", None).await.status, 401);
    assert_eq!(cluster.get(1, "/metrics", Some(&cluster.key("admin"))).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_is_not_ready_refuses_and_recovers() {
    let cluster = Cluster::start(9).await;
    let mut client = cluster.client(3, &cluster.key("developer")).await;
    assert!(client.call("demo__echo", json!({"text": "x"})).await.receipt().is_some());
    for path in ["/health/live", "/health/ready", "/health"] {
        assert_eq!(cluster.get(3, path, None).await.status, 200, "{path}");
    }
    cluster.signal(1, "STOP");
    cluster.signal(2, "STOP");
    eventually("node 3 says that it is stale", async || {
        let answer = cluster.get(3, "/health/ready", None).await;
        answer.status == 503 && answer.text().contains("stale")
    })
    .await;
    let summary = cluster.get(3, "/health", None).await;
    assert_eq!((summary.status, &summary.json()["ready"]), (503, &json!(false)));
    assert_eq!(cluster.get(3, "/health/live", None).await.status, 200, "it works, it is only cut off");
    // INVARIANT: P4, P5
    let refused = client.call("demo__echo", json!({"text": "x"})).await;
    assert_eq!(refused.refusal(), Some("stale"), "{}", refused.answer);
    cluster.signal(1, "CONT");
    cluster.signal(2, "CONT");
    for number in 1..=3 {
        cluster.wait_ready(number).await;
    }
    let answered = client.call("demo__echo", json!({"text": "again"})).await;
    assert_eq!(answered.text(), Some("again"), "{}", answered.answer);
}
