//! P6: damage that is found before it is needed. A damaged segment of the audit trail a node fetches again; a damaged log,
//! which it finds by reading its own disk through, ends it for good, and it comes back under another id.

use std::path::{Path, PathBuf};

use crate::audit::agree;
use crate::cluster::{Cluster, eventually, run};
use crate::load::Load;
use crate::members::{is_voter, prepare};

/// Full segments take thousands of calls; a build for tests takes smaller ones.
const SMALL_SEGMENTS: [(&str, &str); 1] = [("ONLY1MCP_TEST_SEGMENT_EVENTS", "8")];
const VICTIM: usize = 3;

fn files(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 4;
    // In place: the file of a running node stays the same file.
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content[at..=at], at as u64).unwrap();
}

async fn doctor(cluster: &Cluster) -> (bool, String) {
    let (folder, config) = (cluster.path("node-3"), cluster.path("node-3.yaml"));
    run(&["doctor", folder.to_str().unwrap(), "--config", config.to_str().unwrap()]).await
}

fn reads_at(cluster: &Cluster, bytes_per_second: u64) {
    let config = cluster.path("node-3.yaml");
    let mut yaml: serde_norway::Value =
        serde_norway::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    yaml["scrub_bytes_per_second"] = bytes_per_second.into();
    std::fs::write(&config, serde_norway::to_string(&yaml).unwrap()).unwrap();
}

/// Everything here is of today: a run looks at every sealed segment, and nothing goes.
async fn retention(cluster: &Cluster) {
    cluster.ctl(1, &["audit", "retention", "set", "authentication=30"]).await;
    let shown = cluster.ctl(2, &["audit", "retention", "show"]).await;
    assert_eq!((&shown["authentication"], &shown["compliance"]), (&30.into(), &3_650.into()), "{shown}");
    let due = cluster.ctl(1, &["audit", "retention", "run", "--dry-run"]).await;
    assert_eq!(due.as_array().map(Vec::len), Some(0), "{due}");
    cluster.ctl(1, &["audit", "retention", "run"]).await;
    eventually("a run has ended", async || {
        let shown = cluster.ctl(3, &["audit", "retention", "show"]).await;
        shown["run_under_way"] == false && shown["last_run"].is_string() && shown["payloads_dropped"] == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_a_segment_is_made_good_and_one_in_the_log_retires_the_node() {
    let mut cluster = Cluster::start_in(116, &[], &SMALL_SEGMENTS).await;
    let load = Load::start(&cluster, &[1], 2).await;
    load.more(40).await;
    let mut told = load.end().await;
    let segments = cluster.path("node-3/segments");
    retention(&cluster).await;
    eventually("segments are sealed", async || files(&segments).len() > 3).await;
    cluster.signal(VICTIM, "TERM");
    cluster.wait_gone(VICTIM).await;
    let damaged = files(&segments).swap_remove(1);
    flip(&damaged, std::fs::metadata(&damaged).unwrap().len() as usize / 2);
    let (sound, said) = doctor(&cluster).await;
    let name = damaged.file_name().unwrap().to_str().unwrap();
    assert!(!sound && said.contains(name), "{said}");
    reads_at(&cluster, 10_000_000);
    cluster.spawn_in(VICTIM, &SMALL_SEGMENTS);
    cluster.wait_ready(VICTIM).await;
    eventually("it is fetched again", async || {
        cluster.metric(VICTIM, "only1mcp_audit_segments_lacking").await == 0.0
    })
    .await;
    let fetched = format!("was fetched segment={name}");
    assert!(cluster.log("node-3.log").contains(&fetched), "not fetched: {name}");
    assert_eq!(cluster.end(VICTIM).await, Some(0));
    let (sound, said) = doctor(&cluster).await;
    assert!(sound, "{said}");

    // Nothing opens without the ring of its data keys.
    let ring = cluster.path("node-3/key-ring");
    let good = std::fs::read(&ring).unwrap();
    flip(&ring, good.len() / 2);
    let (sound, said) = doctor(&cluster).await;
    assert!(!sound && said.contains("key-ring"), "{said}");
    cluster.spawn_in(VICTIM, &SMALL_SEGMENTS);
    assert_eq!(cluster.exit_code(VICTIM).await, Some(1));
    let said = cluster.log("node-3.log");
    assert!(said.contains("key-ring is corrupt") && said.contains("only1mcp doctor"), "{said}");
    std::fs::write(&ring, good).unwrap();

    // While it runs, in its log, which it would serve from memory. It reads slowly, so that it has not come to it yet.
    reads_at(&cluster, 20_000);
    cluster.spawn_in(VICTIM, &SMALL_SEGMENTS);
    cluster.wait_ready(VICTIM).await;
    let log = files(&cluster.path("node-3/log/wal")).into_iter().rfind(|path| path.extension().is_some());
    let log = log.expect("a file of the log");
    flip(&log, std::fs::metadata(&log).unwrap().len() as usize / 3);
    assert_eq!(cluster.exit_code(VICTIM).await, Some(1));
    let said = cluster.log("node-3.log");
    assert!(said.contains("LOG_DAMAGED") && said.contains("do not start it again"), "{said}");
    cluster.spawn_in(VICTIM, &SMALL_SEGMENTS);
    assert_eq!(cluster.exit_code(VICTIM).await, Some(1), "it does not vote with a damaged log");
    assert!(cluster.log("node-3.log").contains("only1mcp doctor"));
    let replaced = cluster.ctl(1, &["cluster", "replace", "3"]).await;
    prepare(&cluster, 4, "node-4", "pki", replaced["token"].as_str().unwrap()).await;
    cluster.spawn_in(4, &SMALL_SEGMENTS);
    cluster.wait_ready(4).await;
    eventually("node 4 votes", async || is_voter(&cluster, 1, "node-4").await).await;
    let load = Load::start(&cluster, &[1, 4], 1).await;
    load.more(20).await;
    let again = load.end().await;
    assert_eq!([told.refused, again.refused].concat(), Vec::<String>::new());
    told.receipts.extend(again.receipts);
    agree(&cluster, &[1, 2, 4], &told.receipts).await;
}
