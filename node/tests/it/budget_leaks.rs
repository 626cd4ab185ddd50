//! However a call ends, it is charged once and nothing of it stays held: a limit of N lasts for N calls that were
//! cancelled, timed out, given up, or broken by their upstream, and not one fewer.

use hyper::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use crate::cluster::{BINARY, Cluster, eventually, is_alive};
use crate::gate::Gate;
use crate::http;
use crate::ledger::{account, all_posted, all_tell, denials};
use crate::mcp::{Client, Exchange};

const BUDGET: &str = "scarce";
const NODES: [usize; 3] = [1, 2, 3];
/// How often each way to end a call is gone.
const ROUNDS: usize = 8;
/// Six ways, and those calls that show that a broken upstream works again.
const LIMIT: usize = 6 * ROUNDS + 2 * ROUNDS;

struct World {
    cluster: Cluster,
    gate: Gate,
    /// A client on each node.
    clients: Vec<Client>,
    charged: usize,
}

impl World {
    fn client(&self, round: usize) -> Client {
        self.clients[round % NODES.len()].clone()
    }

    async fn at_the_gate(&self, calls: usize) {
        eventually(&format!("{calls} calls are at the upstream"), async || self.gate.held() == calls).await;
    }

    /// So many more calls were charged, and nothing is held for any of them, as every node tells it.
    async fn charge(&mut self, calls: usize) {
        self.charged += calls;
        all_posted(&self.cluster, &NODES, BUDGET, self.charged).await;
        for node in NODES {
            let seen = account(&self.cluster, node, BUDGET).await;
            assert_eq!(seen.posted + seen.outstanding + seen.available, LIMIT, "node {node}: {seen:?}");
        }
    }
}

fn calling(mut client: Client, tool: &'static str) -> tokio::task::JoinHandle<Exchange> {
    tokio::spawn(async move { client.call(tool, json!({"ms": 60_000})).await })
}

async fn cancelled(world: &mut World) {
    for round in 0..ROUNDS {
        let client = world.client(round);
        let call = calling(client.clone(), "gate__wait");
        world.at_the_gate(1).await;
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                            "params": {"requestId": client.next_id + 1}});
        assert_eq!(client.post(&cancel.to_string()).await.unwrap().status, 202);
        let exchange = call.await.unwrap();
        assert_eq!(exchange.answer["error"]["code"], -32800, "{exchange:?}");
        world.at_the_gate(0).await;
        world.charge(1).await;
    }
}

async fn timed_out(world: &mut World) {
    let mut calls = JoinSet::new();
    for round in 0..ROUNDS {
        let mut client = world.client(round);
        // Those of one session go out together: each has an id of its own.
        client.next_id = 500 + round as u64;
        calls.spawn(async move { client.call("brief__wait", json!({})).await });
    }
    for exchange in calls.join_all().await {
        assert_eq!(exchange.refusal(), Some("upstream_timeout"), "{exchange:?}");
    }
    world.at_the_gate(0).await;
    world.charge(ROUNDS).await;
}

async fn given_up(world: &mut World) {
    for round in 0..ROUNDS {
        let client = world.client(round);
        let node = round % NODES.len() + 1;
        let (url, key, session) = (client.url.clone(), client.key.clone(), client.session.clone().unwrap());
        let waiting = tokio::spawn(async move {
            let bearer = format!("Bearer {key}");
            let headers = [
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
                ("mcp-session-id", session.as_str()),
            ];
            let body = json!({"jsonrpc": "2.0", "id": 700 + round, "method": "tools/call",
                              "params": {"name": "gate__wait", "arguments": {}}});
            http::open(Method::POST, &url, &headers, body.to_string()).await.map(drop)
        });
        world.at_the_gate(1).await;
        // Its connection goes with it.
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        // Who disconnects has not cancelled: the call goes on.
        assert_eq!(world.cluster.metric(node, "only1mcp_requests_in_flight").await, 1.0);
        world.gate.open();
        world.at_the_gate(0).await;
        world.charge(1).await;
        world.gate.close();
    }
}

async fn broken_off(world: &mut World) {
    for round in 0..ROUNDS {
        let mut client = world.client(round);
        let call = calling(client.clone(), "gate__wait");
        world.at_the_gate(1).await;
        world.gate.break_off();
        let exchange = call.await.unwrap();
        assert_eq!(exchange.refusal(), Some("upstream_failed"), "{exchange:?}");
        world.charge(1).await;
        // It answers again before it breaks again: else calls would soon not be sent at all.
        world.gate.open();
        assert!(client.call("gate__wait", json!({})).await.receipt().is_some());
        world.gate.close();
        world.charge(1).await;
    }
}

/// A child of the node that dies in mid-call.
async fn killed(world: &mut World) {
    let pids = world.cluster.path("children");
    let script = format!("echo $$ >> {}; exec {BINARY} demo --stdio", pids.display());
    let add = ["upstream", "add", "--tenant", "acme", "child", "--command", "/bin/sh"];
    let add = [&add[..], &["--arg", "-c", "--arg", &script, "--wait"]].concat();
    world.cluster.ctl(1, &add).await;
    for round in 0..ROUNDS {
        let node = round % NODES.len() + 1;
        let mut client = world.client(round);
        let answer = client.call("child__echo", json!({"text": "here"})).await;
        assert!(answer.receipt().is_some(), "{answer:?}");
        let call = calling(client, "child__slow");
        eventually("the call is under way", async || {
            world.cluster.metric(node, "only1mcp_requests_in_flight").await == 1.0
        })
        .await;
        // One that died before the call came to it is started anew for it, and dies, too.
        eventually("the call is over", async || {
            sleep(Duration::from_millis(100)).await;
            let pid = std::fs::read_to_string(&pids).unwrap().lines().last().unwrap().to_owned();
            if !call.is_finished() && is_alive(pid.parse().unwrap()) {
                std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            }
            call.is_finished()
        })
        .await;
        let exchange = call.await.unwrap();
        assert_eq!(exchange.refusal(), Some("upstream_failed"), "{exchange:?}");
        world.charge(2).await;
    }
}

/// Calls that wait for a limit which others hold, and whose callers go away.
async fn given_up_in_line(world: &mut World) {
    // All that is left but one is held at the gate; one more waits for what it will never be given.
    let left = LIMIT - world.charged;
    assert_eq!(left, ROUNDS);
    let mut holding = JoinSet::new();
    for number in 0..left {
        let mut client = world.client(number);
        client.next_id = 800 + number as u64;
        holding.spawn(async move { client.call("gate__wait", json!({})).await });
    }
    world.at_the_gate(left).await;
    for round in 0..ROUNDS {
        let mut client = world.client(round);
        client.next_id = 900 + round as u64;
        let node = round % NODES.len() + 1;
        let before = world.cluster.metric(node, "only1mcp_requests_in_flight").await;
        let waiting = tokio::spawn(async move { client.try_call("gate__wait", json!({})).await.map(drop) });
        eventually("the call waits", async || {
            world.cluster.metric(node, "only1mcp_requests_in_flight").await > before
        })
        .await;
        waiting.abort();
        let _ = waiting.await;
        eventually("it left the line", async || {
            world.cluster.metric(node, "only1mcp_requests_in_flight").await == before
        })
        .await;
    }
    let mut withdrawn = 0;
    for node in NODES {
        withdrawn += denials(&world.cluster, node, "withdrawn").await;
    }
    assert_eq!(withdrawn, ROUNDS as u64, "none of them waited to the end");
    world.gate.open();
    for exchange in holding.join_all().await {
        assert!(exchange.receipt().is_some(), "{exchange:?}");
    }
    world.charge(left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_lasts_for_as_many_calls_however_they_end() {
    let cluster = Cluster::start(84).await;
    let gate = Gate::start().await;
    gate.register(&cluster, "gate", &[]).await;
    gate.register(&cluster, "brief", &["--call-timeout", "2s"]).await;
    let amount = format!("{LIMIT}calls");
    let set = ["budget", "set", BUDGET, "--amount", &amount, "--per-period", "total", "--tenant", "acme"];
    cluster.ctl(1, &[&set[..], &["--wait"]].concat()).await;
    let mut clients = Vec::new();
    for node in NODES {
        clients.push(cluster.client(node, &cluster.key("admin")).await);
    }
    let mut world = World { cluster, gate, clients, charged: 0 };
    cancelled(&mut world).await;
    timed_out(&mut world).await;
    given_up(&mut world).await;
    broken_off(&mut world).await;
    killed(&mut world).await;
    given_up_in_line(&mut world).await;
    // Each of them was let in, so that none can have taken more than one; and there is nothing left for another.
    assert_eq!(world.charged, LIMIT);
    all_tell(&world.cluster, &NODES, BUDGET, LIMIT).await;
    for round in 0..NODES.len() {
        let refused = world.client(round + 100).call("gate__wait", json!({})).await;
        assert_eq!(refused.refusal(), Some("budget_exceeded"), "{refused:?}");
    }
}
