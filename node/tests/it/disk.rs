//! P6: a node whose files were torn by a crash says what it cut, comes back, and catches up.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::audit::agree;
use crate::cluster::Cluster;
use crate::load::Load;

/// Bytes of a write that was begun and cut short: what was finished before it stays.
fn begin_write(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

/// The Raft log grows with each record; every one begins as the first does.
fn tear_log(path: &Path) {
    let content = std::fs::read(path).unwrap();
    begin_write(path, content.len() as u64, &content[..10]);
}

/// The journal takes its space ahead: zeros follow what is written.
fn tear_journal(path: &Path) {
    let content = std::fs::read(path).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).expect("something was written") + 1;
    begin_write(path, end as u64, b"O1JF");
}

/// The newest file in a folder whose name ends so.
fn newest(folder: &Path, suffix: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter(|path| path.to_str().unwrap().ends_with(suffix));
    named.max().unwrap_or_else(|| panic!("no *{suffix} in {}", folder.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_torn_files_says_so_and_catches_up() {
    let mut cluster = Cluster::start(18).await;
    let victim = cluster.leader().await % 3 + 1;
    let load = Load::start(&cluster, &[1, 2, 3], 2).await;
    load.more(60).await;
    cluster.kill(victim);
    let data = cluster.path(&format!("node-{victim}"));
    tear_log(&newest(&data.join("log/wal"), ".wal"));
    tear_journal(&newest(&data.join("journal"), ".log"));
    load.more(20).await;
    cluster.restart(victim).await;
    let log = cluster.log(&format!("node-{victim}.log"));
    assert_eq!(
        log.matches("a torn end was cut at start").count(),
        2,
        "log and journal, each says so:\n{log}"
    );
    load.more(20).await;
    let told = load.end().await;
    agree(&cluster, &[1, 2, 3], &told.receipts).await;
    // It votes again: the cluster lives on with it and one other.
    let other = cluster.leader().await;
    let other = if other == victim { victim % 3 + 1 } else { other };
    cluster.kill(other);
    let load = Load::start(&cluster, &[victim], 2).await;
    load.more(10).await;
    assert_eq!(load.end().await.refused, Vec::<String>::new());
}

/// Bytes that were acknowledged are gone: rot, or a disk that lied. More of them than the mark behind what was synced.
fn lose_the_end(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 200).unwrap();
    file.sync_all().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_the_end_of_its_log_stops_nobody() {
    let mut cluster = Cluster::start(23).await;
    let leader = cluster.leader().await;
    let victim = leader % 3 + 1;
    let load = Load::start(&cluster, &[1, 2, 3], 2).await;
    load.more(60).await;
    cluster.kill(victim);
    lose_the_end(&newest(&cluster.path(&format!("node-{victim}")).join("log/wal"), ".wal"));
    cluster.restart(victim).await;
    load.more(20).await;
    let told = load.end().await;
    for number in 1..=3 {
        assert!(crate::cluster::is_alive(cluster.pid(number)), "node {number} ended");
        cluster.wait_ready(number).await;
    }
    agree(&cluster, &[1, 2, 3], &told.receipts).await;
}
