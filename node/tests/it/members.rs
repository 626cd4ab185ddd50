//! Nodes come and go: shut down in order, leave for good, join by a one-time token, and nobody else gets in.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use only1mcp_consensus::{Connector, PeerIo, PeerTarget, ask_to_join};
use only1mcp_node::tls::{Expect, Keeper, NodeConnector, TlsFiles};
use only1mcp_proto::peer::{JoinRequest, NodeAddresses};
use serde_json::Value;
use tokio::time::Instant;

use crate::audit::agree;
use crate::cluster::{Cluster, eventually, run};
use crate::load::Load;

/// The members as node `asked` lists them: name and role.
pub async fn members(cluster: &Cluster, asked: usize) -> Vec<(String, String)> {
    let status = cluster.ctl(asked, &["cluster", "status"]).await;
    let text = |member: &Value, field: &str| member[field].as_str().unwrap().to_owned();
    let members = status["members"].as_array().unwrap().iter();
    members.map(|member| (text(member, "name"), text(member, "role"))).collect()
}

pub async fn is_voter(cluster: &Cluster, asked: usize, name: &str) -> bool {
    members(cluster, asked).await.contains(&(name.to_owned(), "voter".to_owned()))
}

/// Writes what node `number` needs to join under `name`: certificate from the authority in `pki`, token, configuration.
pub async fn prepare(cluster: &Cluster, number: usize, name: &str, pki: &str, token: &str) {
    let out = cluster.path(&format!("certificates-{number}"));
    std::fs::create_dir_all(&out).unwrap();
    let (dir, to) = (cluster.path(pki), out.to_str().unwrap().to_owned());
    let dir = dir.to_str().unwrap();
    let (made, said) = run(&["pki", "node", name, "--ip", "127.0.0.1", "--dir", dir, "--out", &to]).await;
    assert!(made, "{said}");
    std::fs::write(cluster.path(&format!("join-{number}.token")), token).unwrap();
    let port = |offset: usize| cluster.http_port(number) + offset;
    let tls = format!("{{ cert: {to}/{name}.pem, key: {to}/{name}-key.pem, ca: {dir}/ca.pem }}");
    let config = format!(
        "name: {name}\ndata_dir: data-{number}\n\
         peer: {{ listen: '127.0.0.1:{}', tls: {tls} }}\n\
         admin: {{ listen: '127.0.0.1:{}', tls: {tls} }}\n\
         http: {{ listen: '127.0.0.1:{}' }}\n\
         keys: {{ file: keys/node-1.json }}\n\
         join: {{ peers: ['127.0.0.1:{}', '127.0.0.1:{}'], token_file: join-{number}.token }}\n",
        port(1),
        port(2),
        port(0),
        cluster.http_port(1) + 1,
        cluster.http_port(2) + 1,
    );
    std::fs::write(cluster.path(&format!("node-{number}.yaml")), config).unwrap();
}

pub async fn token(cluster: &Cluster) -> String {
    cluster.ctl(2, &["cluster", "join-token"]).await["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_end_hands_over_and_the_others_go_on() {
    let mut cluster = Cluster::start(19).await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = (1..=3).filter(|number| *number != leader).collect();
    let load = Load::start(&cluster, &others, 3).await;
    load.more(20).await;
    cluster.signal(leader, "TERM");
    cluster.wait_gone(leader).await;
    load.more(40).await;
    let log = cluster.log(&format!("node-{leader}.log"));
    assert!(log.contains("shutting down") && !log.contains("not handed over"), "{log}");
    // `dev` is the parent and tells how its children ended.
    let ended = format!("node {leader} ended (exit status: 0)");
    eventually("dev tells that the node ended well", async || cluster.log("dev.log").contains(&ended)).await;
    assert_ne!(cluster.leader().await, leader);
    cluster.restart(leader).await;
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new());
    agree(&cluster, &[1, 2, 3], &told.receipts).await;
    // Under load, too: what it has begun it ends, and the rest it refuses as such.
    let load = Load::start(&cluster, &[leader], 3).await;
    load.more(20).await;
    assert_eq!(cluster.end(leader).await, Some(0));
    let told = load.end().await;
    let clear = |refusal: &String| refusal.contains("draining") || refusal.contains("session_closed");
    assert!(told.refused.iter().all(clear), "{:?}", told.refused);
    agree(&cluster, &others, &told.receipts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_joins_by_a_token_once_and_one_leaves_for_good() {
    let mut cluster = Cluster::start(20).await;
    let first = token(&cluster).await;
    prepare(&cluster, 4, "node-4", "pki", &first).await;
    cluster.spawn(4);
    cluster.wait_ready(4).await;
    eventually("node 4 votes", async || is_voter(&cluster, 1, "node-4").await).await;
    let load = Load::start(&cluster, &[1, 4], 2).await;
    load.more(20).await;
    let told = load.end().await;
    assert_eq!(told.refused, Vec::<String>::new());
    agree(&cluster, &[1, 2, 3, 4], &told.receipts).await;

    // The same token again, and one that never was.
    let last = if first.ends_with('A') { 'B' } else { 'A' };
    for bad in [first.clone(), format!("{}{last}", &first[..first.len() - 1])] {
        prepare_again(&cluster, 5, "node-5", &bad).await;
        assert_refused(&mut cluster, 5, "unknown or used").await;
    }

    let (left, said) = run(&["leave", "--config", cluster.path("node-3.yaml").to_str().unwrap()]).await;
    assert!(left, "{said}");
    cluster.wait_gone(3).await;
    assert!(!is_voter(&cluster, 1, "node-3").await);
    for number in [1, 2, 4] {
        cluster.wait_ready(number).await;
    }
    let load = Load::start(&cluster, &[1, 2, 4], 1).await;
    load.more(20).await;
    let again = load.end().await;
    assert_eq!(again.refused, Vec::<String>::new());
    let receipts = [told.receipts, again.receipts].concat();
    agree(&cluster, &[1, 2, 4], &receipts).await;

    // Its name is barred, whatever token it brings; so is its old folder.
    let fresh = token(&cluster).await;
    prepare_again(&cluster, 5, "node-3", &fresh).await;
    assert_refused(&mut cluster, 5, "barred").await;
    assert!(!is_voter(&cluster, 1, "node-3").await);
}

/// As `prepare`, where an attempt was made before.
async fn prepare_again(cluster: &Cluster, number: usize, name: &str, token: &str) {
    let _ = std::fs::remove_dir_all(cluster.path(&format!("certificates-{number}")));
    let _ = std::fs::remove_dir_all(cluster.path(&format!("data-{number}")));
    let _ = std::fs::remove_file(cluster.path(&format!("node-{number}.log")));
    prepare(cluster, number, name, "pki", token).await;
}

async fn assert_refused(cluster: &mut Cluster, number: usize, why: &str) {
    cluster.spawn(number);
    assert_eq!(cluster.exit_code(number).await, Some(1), "a refused node ends");
    let log = cluster.log(&format!("node-{number}.log"));
    assert!(log.contains("refuses this node") && log.contains(why), "{log}");
}

/// Connects as the node whose certificate it holds.
struct As(NodeConnector);

impl Connector for As {
    fn connect(&self, target: PeerTarget) -> BoxFuture<'static, std::io::Result<Box<dyn PeerIo>>> {
        let connector = self.0.clone();
        Box::pin(async move {
            let stream = connector.connect(&target.address, &Expect::AnyNode).await;
            Ok(Box::new(stream.map_err(std::io::Error::other)?) as Box<dyn PeerIo>)
        })
    }
}

/// The cluster took the node in, and the answer did not arrive: the token is used, and the node knows nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_was_cut_off_is_finished_by_asking_again() {
    let mut cluster = Cluster::start(24).await;
    let used = token(&cluster).await;
    prepare(&cluster, 4, "node-4", "pki", &used).await;
    let file = |name: &str| cluster.path("certificates-4").join(name);
    let keeper = Keeper::load(TlsFiles {
        certificate: file("node-4.pem"),
        key: file("node-4-key.pem"),
        ca: Some(cluster.path("pki/ca.pem")),
    });
    let connector = Arc::new(As(NodeConnector::new(keeper.unwrap(), 5_000)));
    let peer_port = |number: usize| format!("127.0.0.1:{}", cluster.http_port(number) + 1);
    let request = JoinRequest {
        token: used,
        name: "node-4".to_owned(),
        addresses: Some(NodeAddresses { peer: peer_port(4), ..NodeAddresses::default() }),
        feature_level_max: only1mcp_domain::limits::FEATURE_LEVEL_MAX,
        ..JoinRequest::default()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let taken_in = ask_to_join(connector, peer_port(1), request, deadline).await.unwrap();
    cluster.spawn(4);
    cluster.wait_ready(4).await;
    eventually("node 4 votes", async || is_voter(&cluster, 1, "node-4").await).await;
    let status = cluster.ctl(1, &["cluster", "status"]).await;
    let known = status["members"].as_array().unwrap();
    assert_eq!(known.len(), 4, "it is known once: {known:?}");
    assert!(known.iter().any(|member| member["id"] == taken_in.node), "under the same id: {known:?}");

    // From now on its name alone lets nobody in.
    prepare_again(&cluster, 5, "node-4", &token(&cluster).await).await;
    assert_refused(&mut cluster, 5, "exists already").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_does_not_get_in() {
    let mut cluster = Cluster::start(21).await;
    let foreign = cluster.path("foreign");
    let (made, said) = run(&["pki", "ca", "--dir", foreign.to_str().unwrap()]).await;
    assert!(made, "{said}");
    let good = token(&cluster).await;
    prepare(&cluster, 4, "node-4", "foreign", &good).await;
    cluster.spawn(4);
    eventually("it has tried both members", async || {
        cluster.log("node-4.log").matches("not taken in yet").count() >= 2
    })
    .await;
    assert_eq!(cluster.get(4, "/health/ready", None).await.status, 503);
    assert_eq!(cluster.get(4, "/mcp", None).await.status, 503, "it serves nobody");
    assert_eq!(members(&cluster, 1).await.len(), 3);
    assert_eq!(cluster.end(4).await, Some(0), "it ends when told to, member or not");
    // The token was not spent on it.
    prepare_again(&cluster, 4, "node-4", &good).await;
    cluster.restart(4).await;
    eventually("node 4 votes", async || is_voter(&cluster, 1, "node-4").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_administrator_key_is_replaced_on_the_host() {
    let cluster = Cluster::start(22).await;
    let old = cluster.root_key();
    let (done, said) =
        run(&["recover-admin", "--config", cluster.path("node-2.yaml").to_str().unwrap()]).await;
    assert!(done, "{said}");
    let new = said.lines().find(|line| line.starts_with("o1_")).expect("a key").to_owned();
    for number in 1..=3 {
        eventually("the old key is no good", async || {
            cluster.try_ctl(number, &old, &["whoami"]).await.is_err_and(|said| said.contains("KEY_REVOKED"))
        })
        .await;
        let who = cluster.try_ctl(number, &new, &["whoami"]).await.unwrap();
        assert_eq!((&who["tenant"], &who["principal"]), (&"system".into(), &"root".into()), "{who}");
    }
    let events = cluster.try_ctl(1, &new, &["audit", "query", "--limit", "5"]).await.unwrap();
    assert!(events.to_string().contains("local_socket"), "it is in the audit trail, by its way: {events}");
}
