//! P3, P6: kill -9 under load loses nothing that a client was told, doubles nothing, and leaves one chain on all nodes.

use crate::audit::agree;
use crate::cluster::Cluster;
use crate::load::Load;

/// Kills one node while clients of the others go on, starts it again, and compares all chains.
async fn one_dies(cluster: &mut Cluster, victim: usize) {
    let survivors: Vec<usize> = (1..=3).filter(|number| *number != victim).collect();
    let load = Load::start(cluster, &survivors, 4).await;
    let doomed = Load::start(cluster, &[victim], 2).await;
    load.more(40).await;
    doomed.more(5).await;
    cluster.kill(victim);
    // INVARIANT: P4 (a failover delays, it does not refuse).
    load.more(60).await;
    cluster.restart(victim).await;
    load.more(20).await;
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new(), "a failover delays, it does not refuse");
    let mut receipts = told.receipts;
    receipts.extend(doomed.end().await.receipts);
    agree(cluster, &[1, 2, 3], &receipts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_under_load_and_nothing_told_is_lost_or_doubled() {
    let mut cluster = Cluster::start(2).await;
    let leader = cluster.leader().await;
    one_dies(&mut cluster, leader).await;
    let next = cluster.leader().await;
    // Whoever leads now, another one may die, too.
    one_dies(&mut cluster, next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_dies_under_load_and_nothing_told_is_lost_or_doubled() {
    let mut cluster = Cluster::start(3).await;
    let follower = cluster.leader().await % 3 + 1;
    one_dies(&mut cluster, follower).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_die_at_once_and_nothing_told_is_lost_or_doubled() {
    let mut cluster = Cluster::start(4).await;
    let load = Load::start(&cluster, &[1, 2, 3], 3).await;
    load.more(60).await;
    for number in 1..=3 {
        cluster.kill(number);
    }
    let mut receipts = load.end().await.receipts;
    cluster.restart_demo().await;
    for number in 1..=3 {
        cluster.spawn(number);
    }
    for number in 1..=3 {
        cluster.wait_ready(number).await;
    }
    let load = Load::start(&cluster, &[1, 2, 3], 1).await;
    load.more(10).await;
    receipts.extend(load.end().await.receipts);
    agree(&cluster, &[1, 2, 3], &receipts).await;
}
