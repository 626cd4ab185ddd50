//! Voters, learners and leaders of real processes: replaced, added under load, kept where they are wanted.

use crate::audit::agree;
use crate::cluster::{Cluster, eventually, run};
use crate::load::Load;
use crate::members::{is_voter, members, prepare, token};

async fn joins(cluster: &mut Cluster, number: usize) {
    let fresh = token(cluster).await;
    let name = format!("node-{number}");
    prepare(cluster, number, &name, "pki", &fresh).await;
    cluster.spawn(number);
    cluster.wait_ready(number).await;
    eventually(&format!("{name} votes"), async || is_voter(cluster, 1, &name).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_replaced_and_one_that_lost_its_log_votes_no_more() {
    let mut cluster = Cluster::start(110).await;
    let refused = cluster.try_ctl(1, &cluster.root_key(), &["cluster", "replace", "3"]).await;
    assert!(refused.unwrap_err().contains("answers"), "a node that lives was taken out");
    cluster.kill(3);
    let replaced = cluster.ctl(1, &["cluster", "replace", "3"]).await;
    prepare(&cluster, 4, "node-4", "pki", replaced["token"].as_str().unwrap()).await;
    cluster.spawn(4);
    cluster.wait_ready(4).await;
    eventually("node 4 votes", async || is_voter(&cluster, 1, "node-4").await).await;
    let known = members(&cluster, 2).await;
    assert!(known.contains(&("node-3".to_owned(), "removed".to_owned())), "{known:?}");
    let status = cluster.ctl(2, &["cluster", "status"]).await;
    let ids: Vec<u64> =
        status["members"].as_array().unwrap().iter().map(|member| member["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4], "an id was used again");

    // It remembers who it is, and neither what it promised nor what it acknowledged.
    assert_eq!(cluster.end(4).await, Some(0));
    std::fs::remove_dir_all(cluster.path("data-4/log")).unwrap();
    cluster.spawn(4);
    assert_eq!(cluster.exit_code(4).await, Some(1));
    let log = cluster.log("node-4.log");
    assert!(log.contains("the Raft log of node 4 is lost"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_to_five_to_three_under_load() {
    let mut cluster = Cluster::start(111).await;
    let load = Load::start(&cluster, &[1, 2], 2).await;
    load.more(20).await;
    for number in [4, 5] {
        joins(&mut cluster, number).await;
        load.more(20).await;
    }
    let config = cluster.path("node-3.yaml");
    let (left, said) = run(&["leave", "--config", config.to_str().unwrap()]).await;
    assert!(left, "{said}");
    cluster.wait_gone(3).await;
    load.more(20).await;
    cluster.kill(4);
    cluster.ctl(1, &["cluster", "remove", "4", "--lose-journal"]).await;
    load.more(20).await;
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new());
    agree(&cluster, &[1, 2, 5], &told.receipts).await;
}

/// A learner stays one and reads as the others do; and the leader goes where it is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_reads_at_each_consistency_and_the_leader_is_where_it_is_wanted() {
    let mut cluster = Cluster::start(112).await;
    let fresh = token(&cluster).await;
    prepare(&cluster, 4, "node-4", "pki", &fresh).await;
    let config = cluster.path("node-4.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("token_file:", "voter: false, token_file:")).unwrap();
    cluster.spawn(4);
    cluster.wait_ready(4).await;

    let leader = cluster.leader().await;
    let follower = if leader == 2 { 3 } else { 2 };
    for (number, asked) in [leader, follower, 4].into_iter().enumerate() {
        for (other, level) in ["linearizable", "lease", "local"].into_iter().enumerate() {
            let written = (2_500 + 10 * number + other).to_string();
            cluster.ctl(1, &["cluster", "settings", "set", "--staleness-ms-max", &written, "--wait"]).await;
            let read = ["cluster", "settings", "show", "--consistency", level];
            let shown = cluster.ctl(asked, &read).await;
            assert_eq!(shown["staleness_ms_max"].to_string(), written, "{level} on node {asked}");
        }
    }
    assert!(!is_voter(&cluster, 1, "node-4").await, "a learner became a voter");

    let wanted = if leader == 2 { ("zone-c", 3) } else { ("zone-b", 2) };
    cluster.ctl(1, &["cluster", "settings", "set", "--leader-zone", wanted.0]).await;
    eventually("the leader is in its zone", async || cluster.leader().await == wanted.1).await;
}

/// One after the other starts anew with them, and nobody is refused for it but where it drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clusters_times_are_changed_while_it_runs() {
    let mut cluster = Cluster::start(113).await;
    let load = Load::start(&cluster, &[1, 2, 3], 1).await;
    load.more(20).await;
    let times = ["--heartbeat-ms", "120", "--election-ms-min", "600", "--election-ms-max", "1200"];
    cluster.ctl(1, &[&["cluster", "settings", "set"][..], &times].concat()).await;
    let timed = async || {
        let status = cluster.try_ctl(1, &cluster.root_key(), &["cluster", "status"]).await;
        status.is_ok_and(|status| {
            let members = status["members"].as_array().unwrap();
            members.iter().all(|member| member["timed"] == true)
        })
    };
    eventually("all run with the new times", timed).await;
    for number in 1..=3 {
        cluster.wait_ready(number).await;
    }
    let told = load.end().await;
    // Until it serves again it answers 503.
    let waits = ["draining", "session_closed", ": 503 "];
    let wait = |refusal: &String| waits.iter().any(|wait| refusal.contains(wait));
    assert!(told.refused.iter().all(wait), "{:?}", told.refused.iter().find(|refusal| !wait(refusal)));
    // A node that starts anew closes its sessions.
    let load = Load::start(&cluster, &[1, 2, 3], 1).await;
    load.more(20).await;
    let again = load.end().await;
    assert_eq!(again.refused, Vec::<String>::new());
    agree(&cluster, &[1, 2, 3], &[told.receipts, again.receipts].concat()).await;
    let lease = cluster.ctl(2, &["cluster", "settings", "show", "--consistency", "lease"]).await;
    assert_eq!(lease["election_ms_max"], 1_200);
    // Whoever led waited until another could.
    for number in 1..=3 {
        let log = cluster.log(&format!("node-{number}.log"));
        assert!(!log.contains("not handed over"), "node {number}: {log}");
    }

    // One that is configured for other times does not start.
    cluster.kill(3);
    let config = cluster.path("node-3.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let other = "timing: { heartbeat_ms: 100, election_ms_min: 500, election_ms_max: 1000 }\n";
    std::fs::write(&config, format!("{text}{other}")).unwrap();
    cluster.spawn(3);
    assert_eq!(cluster.exit_code(3).await, Some(1));
    let log = cluster.log("node-3.log");
    assert!(log.contains("timed differently break each other's leases"), "{log}");
    std::fs::write(&config, text).unwrap();
    cluster.restart(3).await;
}
