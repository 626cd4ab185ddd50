//! P3 for whoever trusts no node: a receipt becomes a proof, checkpoints go on from each other over restarts and a new
//! key, a witness signs, and two verifiers agree on all of it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::cluster::{BINARY, Cluster, eventually, run};
use crate::peers::peer;

/// What the verifier in Python says of these arguments.
fn python(args: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../raft/proofs/verify/verify.py");
    let output = Command::new(peer("mcp-python")).arg(script).args(args).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

async fn valid(args: &[&str]) -> String {
    let (valid, said) = run(&[&["audit", "verify"], args].concat()).await;
    assert!(valid, "{args:?}: {said}");
    said
}

/// Ends with its parent.
struct Witness(Child);

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Witness {
    /// With its address and its key.
    fn start(cluster: &Cluster, keys: &str) -> (Self, String, String) {
        let mut child = Command::new(BINARY)
            .args(["witness", "--until-stdin-closes", "--name", "witness.test/w", "--listen", "127.0.0.1:0"])
            .args(["--keys", keys, "--dir"])
            .arg(cluster.path("witness"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (url, key) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
        (Self(child), url, key)
    }
}

/// Small segments; later, a clock that is ahead.
const AGED: [(&str, &str); 2] = [("ONLY1MCP_TEST_SEGMENT_EVENTS", "8"), ("ONLY1MCP_TEST_DAYS_AHEAD", "40")];

/// Payloads that are past their days go from every node; both verifiers find what is left sound, and what went recorded.
async fn retention(cluster: &Cluster, keys: &str, receipt: &str) {
    cluster.ctl(1, &["audit", "retention", "set", "default=30", "configuration=30", "data_access=30"]).await;
    let due = cluster.ctl(2, &["audit", "retention", "run", "--dry-run"]).await;
    let due = due.as_array().unwrap().clone();
    let count = |segment: &Value| {
        let classes = ["default", "configuration", "data_access"];
        classes.iter().filter_map(|class| segment[class].as_u64()).sum::<u64>()
    };
    let told: u64 = due.iter().map(count).sum();
    assert!(due.len() > 3 && told > 20, "{due:?}");
    cluster.ctl(3, &["audit", "retention", "run"]).await;
    let mut shown = Value::Null;
    eventually("what is past its days is dropped", async || {
        shown = cluster.ctl(2, &["audit", "retention", "show"]).await;
        shown["run_under_way"] == false && shown["payloads_dropped"].as_u64() >= Some(told)
    })
    .await;
    let dropped = shown["payloads_dropped"].as_u64().unwrap();
    for number in 1..=3 {
        eventually("on every node", async || {
            cluster.metric(number, "only1mcp_audit_payloads_dropped_total").await == dropped as f64
        })
        .await;
        let chain = cluster.ctl(number, &["audit", "verify"]).await;
        assert_eq!(chain["valid"], true, "{chain}");
    }
    let export = cluster.path("expired.jsonl").display().to_string();
    let within = (due[1]["first"].as_u64().unwrap() + 2).to_string();
    for (from, expired) in [("0", Some(dropped)), (within.as_str(), None)] {
        let args = ["audit", "export", "--all-tenants", "--file", &export, "--from-index", from];
        cluster.ctl(1, &args).await;
        let said = valid(&["--file", &export, "--keys", keys, "--json"]).await;
        let report: Value = serde_json::from_str(&said).unwrap();
        assert!(expired.is_none_or(|expired| report["expired"] == expired), "{report}");
        let said = python(&["export", &export, "--keys", keys]);
        assert!(said.starts_with("valid"), "{said}");
    }
    let cut = ["audit", "export", "--all-tenants", "--file", &export, "--to-index", &within];
    let refused = cluster.try_ctl(1, &cluster.root_key(), &cut).await.unwrap_err();
    assert!(refused.contains("RECORD_OUTSIDE"), "{refused}");
    // The payload that the receipt is of is gone, and what the receipt proves is not.
    let proof = cluster.path("late.json").display().to_string();
    cluster.ctl(2, &["audit", "prove", receipt, "--file", &proof]).await;
    valid(&["--proof", &proof, "--keys", keys, "--receipt", receipt]).await;
    assert!(python(&["proof", &proof, "--keys", keys]).starts_with("valid"));
}

fn keyed(pinned: &str) -> usize {
    let file: Value = serde_json::from_str(pinned).unwrap_or_default();
    let signers = file["signers"].as_array().cloned().unwrap_or_default();
    signers.iter().filter(|signer| signer["key"].is_string()).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_become_proofs_that_nobody_has_to_be_trusted_for() {
    let mut cluster = Cluster::start_in(93, &[], &AGED[..1]).await;
    let file = |cluster: &Cluster, name: &str| cluster.path(name).display().to_string();
    let keys = file(&cluster, "keys.json");
    eventually("every voter has a signing key", async || {
        let told = cluster.try_ctl(1, &cluster.root_key(), &["audit", "keys", "--file", &keys]).await;
        told.is_ok() && keyed(&std::fs::read_to_string(&keys).unwrap()) == 3
    })
    .await;

    let mut client = cluster.client(2, &cluster.key("developer")).await;
    let answer = client.call_until_sealed("demo__echo", json!({"text": "hello"})).await;
    let receipt = file(&cluster, "answer.json");
    std::fs::write(&receipt, answer.answer.to_string()).unwrap();
    let proof = file(&cluster, "proof.json");
    cluster.ctl(3, &["audit", "prove", &receipt, "--file", &proof]).await;
    let said = valid(&["--proof", &proof, "--keys", &keys, "--receipt", &receipt]).await;
    assert!(said.contains("AccessGranted of acme/developer"), "{said}");
    let said = python(&["proof", &proof, "--keys", &keys]);
    assert!(said.starts_with("valid"), "{said}");

    let mut bundle: Value = serde_json::from_str(&std::fs::read_to_string(&proof).unwrap()).unwrap();
    bundle["path"][0] = json!("ab".repeat(32));
    let forged = file(&cluster, "forged.json");
    std::fs::write(&forged, bundle.to_string()).unwrap();
    let (valid_one, said) = run(&["audit", "verify", "--proof", &forged, "--keys", &keys]).await;
    assert!(!valid_one && said.contains("(INCLUSION_INVALID)"), "{said}");
    assert!(python(&["proof", &forged, "--keys", &keys]).starts_with("INCLUSION_INVALID"));

    let first = file(&cluster, "first.note");
    cluster.ctl(1, &["audit", "checkpoint", "--file", &first]).await;
    // From now on a witness is shown checkpoints, node 3 signs with a new key, and forty days are gone.
    let (witness, url, vkey) = Witness::start(&cluster, &keys);
    for number in 1..=3 {
        let path = cluster.path(&format!("node-{number}.yaml"));
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}\nwitnesses: [{{ url: '{url}', key: '{vkey}' }}]\n")).unwrap();
        cluster.kill(number);
    }
    std::fs::remove_file(cluster.path("node-3/signing-key")).unwrap();
    for number in 1..=3 {
        cluster.spawn_in(number, &AGED);
    }
    for number in 1..=3 {
        cluster.wait_ready(number).await;
    }
    let consistency = file(&cluster, "consistency.json");
    eventually("the witness has signed", async || {
        let asked = ["audit", "checkpoint", "--since", &first, "--file", &consistency];
        let asked = cluster.try_ctl(1, &cluster.root_key(), &asked).await;
        asked.is_ok() && std::fs::read_to_string(&consistency).unwrap().contains("witness.test/w ")
    })
    .await;
    valid(&["--consistency", &consistency, "--keys", &keys, "--witness", &vkey]).await;
    let said = python(&["consistency", &consistency, "--keys", &keys, "--witness", &vkey]);
    assert!(said.starts_with("valid"), "{said}");
    drop(witness);

    let renewed = ["audit", "query", "--all-tenants", "--item", "3", "--kind", "ConfigurationChange"];
    eventually("node 3's new key stands in the chain", async || {
        cluster.ctl(2, &renewed).await.to_string().contains("signing_key_before")
    })
    .await;
    let export = file(&cluster, "export.jsonl");
    cluster.ctl(2, &["audit", "export", "--all-tenants", "--file", &export]).await;
    let args = ["--file", &export, "--keys", &keys, "--checkpoint", &first, "--receipt", &receipt, "--json"];
    let report: Value = serde_json::from_str(&valid(&args).await).unwrap();
    assert_eq!(report["exported_by"], 2, "{report}");
    assert!(report["signed_events"].as_u64().unwrap() > 0, "{report}");
    assert!(report["checkpoints"].as_array().unwrap().len() == 2, "{report}");
    let said = python(&["export", &export, "--keys", &keys, "--checkpoint", &first]);
    assert!(said.starts_with("valid"), "{said}");
    retention(&cluster, &keys, &receipt).await;
    let text = std::fs::read_to_string(&export).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(lines.len() / 2);
    std::fs::write(&export, lines.join("\n") + "\n").unwrap();
    let (sound, said) = run(&[&["audit", "verify"], args.as_slice()].concat()).await;
    assert!(!sound && said.contains("DELETED"), "{said}");
    assert!(python(&["export", &export, "--keys", &keys]).starts_with("DELETED"));
}
