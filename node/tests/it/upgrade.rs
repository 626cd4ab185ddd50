//! Two versions in one cluster. The older one is this very program, told to know an older feature level only: what it
//! may not do is decided by that level alone.

use crate::audit::agree;
use crate::cluster::Cluster;
use crate::load::Load;
use crate::members::{prepare, token};

const OLD: [(&str, &str); 1] = [("ONLY1MCP_TEST_FEATURE_LEVEL_MAX", "1")];

async fn level(cluster: &Cluster) -> u64 {
    cluster.ctl(1, &["cluster", "status"]).await["feature_level"].as_u64().unwrap()
}

async fn finish(cluster: &Cluster) -> u64 {
    cluster.ctl(1, &["cluster", "upgrade", "finish"]).await["feature_level"].as_u64().unwrap()
}

/// Ends one node in order and starts it as the other version.
async fn change(cluster: &mut Cluster, number: usize, variables: &[(&str, &str)]) {
    cluster.signal(number, "TERM");
    cluster.wait_gone(number).await;
    cluster.spawn_in(number, variables);
    cluster.wait_ready(number).await;
}

/// Two versions at once, up and down, with calls going on; nothing moves by itself, nor where one does not know it.
async fn one_up_and_down(cluster: &mut Cluster) {
    assert_eq!(level(cluster).await, 1);
    change(cluster, 3, &[]).await;
    assert_eq!(finish(cluster).await, 1, "nodes of the old version are there");
    let set = ["cluster", "settings", "set", "--feature-level", "2"];
    let refused = cluster.try_ctl(2, &cluster.root_key(), &set).await.unwrap_err();
    assert!(refused.contains("node 1 knows levels up to 1"), "{refused}");
    change(cluster, 3, &OLD).await;
}

fn assert_none_but_closed(refused: &[String]) {
    let wait = |refusal: &String| refusal.contains("draining") || refusal.contains("session_closed");
    assert!(refused.iter().all(wait), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_serve_in_one_cluster_whichever_way_they_change() {
    let mut cluster = Cluster::start_in(117, &[], &OLD).await;
    let load = Load::start(&cluster, &[1, 2], 2).await;
    load.more(20).await;
    one_up_and_down(&mut cluster).await;
    load.more(20).await;
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new());
    agree(&cluster, &[1, 2, 3], &told.receipts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: cargo xtask soak --faults"]
async fn faults_soak_one_version_after_the_other_up_and_down_until_the_level_moves() {
    let mut cluster = Cluster::start_in(114, &[], &OLD).await;
    // A node that ends closes its sessions, so calls go on at one that stays.
    let load = Load::start(&cluster, &[1], 3).await;
    load.more(20).await;
    one_up_and_down(&mut cluster).await;
    change(&mut cluster, 3, &[]).await;
    change(&mut cluster, 2, &[]).await;
    load.more(20).await;
    let first = load.end().await;
    let load = Load::start(&cluster, &[2], 3).await;
    load.more(20).await;
    cluster.keep_demo();
    change(&mut cluster, 1, &[]).await;
    load.more(20).await;
    assert_eq!(level(&cluster).await, 1);
    let newest = u64::from(only1mcp_domain::limits::FEATURE_LEVEL_MAX);
    assert_eq!(finish(&cluster).await, newest);
    assert_eq!(level(&cluster).await, newest);
    load.more(20).await;

    // From now on there is no way back.
    assert_eq!(cluster.end(3).await, Some(0));
    cluster.spawn_in(3, &OLD);
    assert_eq!(cluster.exit_code(3).await, Some(1));
    let log = cluster.log("node-3.log");
    assert!(log.contains("this version knows levels up to 1"), "{log}");
    cluster.restart(3).await;
    let fresh = token(&cluster).await;
    prepare(&cluster, 4, "node-4", "pki", &fresh).await;
    cluster.spawn_in(4, &OLD);
    assert_eq!(cluster.exit_code(4).await, Some(1));
    let log = cluster.log("node-4.log");
    assert!(log.contains("join with a newer one"), "{log}");

    let told = load.end().await;
    assert_none_but_closed(&[first.refused, told.refused].concat());
    agree(&cluster, &[1, 2, 3], &[first.receipts, told.receipts].concat()).await;
}
