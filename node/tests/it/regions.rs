//! Voters and a learner in regions of their own, 80 to 200 ms apart and back: each node is reached through a proxy of
//! ours that holds every byte back for a while, one way as the other.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep_until};

use crate::audit::agree;
use crate::cluster::{Cluster, eventually};
use crate::load::Load;
use crate::members::{is_voter, prepare, token};

/// One way, to and from each node.
const DELAYS_MS: [u64; 4] = [40, 70, 100, 60];
const CHUNK_BYTES: usize = 16 << 10;
const AHEAD: usize = 1_024;
const TIMED: usize = 11;

/// Listens, and carries every connection on to `to`, late by `delay`. Ends with the test's runtime.
async fn proxy(to: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(late(near_in, far_out, delay));
            tokio::spawn(late(far_in, near_out, delay));
        }
    });
    address
}

/// In order, each piece when it has been on its way for long enough.
async fn late(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    delay: Duration,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(AHEAD);
    let writing = tokio::spawn(async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut piece = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        if sender.send((Instant::now() + delay, piece[..count].to_vec())).await.is_err() {
            break;
        }
    }
    drop(sender);
    let _ = writing.await;
}

/// From now on the others reach node `number` through a proxy, once it has started again.
async fn move_away(cluster: &Cluster, number: usize) {
    let peer = cluster.http_port(number) + 1;
    let to: SocketAddr = format!("127.0.0.1:{peer}").parse().unwrap();
    let through = proxy(to, Duration::from_millis(DELAYS_MS[number - 1])).await;
    let config = cluster.path(&format!("node-{number}.yaml"));
    let text = std::fs::read_to_string(&config).unwrap();
    let mut yaml: serde_norway::Value = serde_norway::from_str(&text).unwrap();
    yaml["peer"]["advertise"] = through.to_string().into();
    yaml["region"] = format!("region-{number}").into();
    std::fs::write(&config, serde_norway::to_string(&yaml).unwrap()).unwrap();
}

/// Calls one after the other on each node. Told, not judged.
async fn tell_how_long(cluster: &Cluster, number: usize) {
    let mut client = cluster.client(number, &cluster.key("admin")).await;
    let mut times = Vec::new();
    for _ in 0..TIMED {
        let began = Instant::now();
        let echo = client.call("demo__echo", serde_json::json!({"text": "timed"})).await;
        assert!(echo.receipt().is_some(), "node {number}: {}", echo.answer);
        times.push(began.elapsed().as_millis());
    }
    times.sort_unstable();
    let round_trip_ms = 2 * DELAYS_MS[number - 1];
    eprintln!(
        "node {number}, {round_trip_ms} ms away and back: a sealed answer took {} ms in the median, {} at most",
        times[TIMED / 2],
        times[TIMED - 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: cargo xtask soak --faults"]
async fn faults_soak_regions_far_apart_serve_read_revoke_and_lose_nothing_with_one_of_them() {
    let mut cluster = Cluster::start(115).await;
    // Told to end while they start anew with other times, they end.
    cluster.ctl(1, &["cluster", "settings", "set", "--preset", "regions", "--wait"]).await;
    cluster.keep_demo();
    for number in 1..=3 {
        cluster.signal(number, "TERM");
    }
    for number in 1..=3 {
        cluster.wait_gone(number).await;
        move_away(&cluster, number).await;
        cluster.spawn(number);
    }
    for number in 1..=3 {
        cluster.wait_ready(number).await;
    }
    let fresh = token(&cluster).await;
    prepare(&cluster, 4, "node-4", "pki", &fresh).await;
    let config = cluster.path("node-4.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("token_file:", "voter: false, token_file:")).unwrap();
    move_away(&cluster, 4).await;
    cluster.spawn(4);
    cluster.wait_ready(4).await;
    eventually("all are where they are said to be, with the new times", async || {
        let status = cluster.ctl(4, &["cluster", "status"]).await;
        let members = status["members"].as_array().unwrap();
        members.iter().all(|member| {
            let is_there = member["timed"] == true && member["reachable"] == true;
            is_there && member["region"] == format!("region-{}", member["id"])
        })
    })
    .await;

    // Everybody serves; a lease is read everywhere; a revoke that has returned is in force everywhere.
    let load = Load::start(&cluster, &[1, 2, 3, 4], 1).await;
    load.more(20).await;
    for number in 1..=4 {
        let shown = cluster.ctl(number, &["cluster", "settings", "show", "--consistency", "lease"]).await;
        assert_eq!(shown["election_ms_max"], 3_000);
    }
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new());
    eprintln!("node {} leads", cluster.leader().await);
    for number in 1..=4 {
        tell_how_long(&cluster, number).await;
    }
    let grant =
        ["grant", "create", "--tenant", "acme", "--principal", "viewer", "--role", "developer", "--wait"];
    let made = cluster.ctl(1, &grant).await;
    let grant = made["grant"].as_str().unwrap().to_owned();
    let mut viewers = Vec::new();
    for number in 1..=4 {
        let mut client = cluster.client(number, &cluster.key("viewer")).await;
        let echo = client.call("demo__echo", serde_json::json!({"text": "far"})).await;
        assert!(echo.receipt().is_some(), "node {number}: {}", echo.answer);
        viewers.push(client);
    }
    cluster.ctl(2, &["grant", "revoke", "--tenant", "acme", &grant, "--wait"]).await;
    for client in &mut viewers {
        let echo = client.call("demo__echo", serde_json::json!({"text": "far"})).await;
        assert!(echo.receipt().is_none(), "admitted on a revoked grant: {}", echo.answer);
    }

    // The leader's region is lost; the others go on.
    let lost = cluster.leader().await;
    let left: Vec<usize> = (1..=4).filter(|number| *number != lost).collect();
    let load = Load::start(&cluster, &left, 1).await;
    load.more(10).await;
    let killed_at = Instant::now();
    cluster.kill(lost);
    // As many may have been under way.
    load.more(left.len() as u64 + 1).await;
    eprintln!("the leader's region was lost: the others answered again after {:?}", killed_at.elapsed());
    load.more(40).await;
    cluster.restart(lost).await;
    eventually("the lost region is back", async || {
        is_voter(&cluster, left[0], &format!("node-{lost}")).await
    })
    .await;
    let again = load.end().await;
    assert_eq!(again.refused, Vec::<String>::new());
    agree(&cluster, &[1, 2, 3, 4], &[told.receipts, again.receipts].concat()).await;
}
