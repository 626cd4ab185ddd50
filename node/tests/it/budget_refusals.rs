//! What a caller, a log and an operator's metrics learn of a limit that leaves no room.

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::{Cluster, eventually};
use crate::gate::Gate;
use crate::ledger::{all_tell, denials, lift_quotas};
use crate::mcp::Client;

const BUDGET: &str = "daily";
const NODES: [usize; 3] = [1, 2, 3];
const CLIENTS: usize = 8;
const CALLS: usize = 60;
/// Single events of one kind of refusal in a second, and the one that tells of the others.
const EVENTS_PER_SECOND: u64 = 11;
/// The clock's own entries and whatever else a node has to say without being asked.
const OTHERS_PER_SECOND: u64 = 6;

#[expect(
    clippy::disallowed_methods,
    reason = "what a caller's own clock says is what the time is compared with"
)]
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

async fn refused(client: &mut Client, code: &str) {
    let exchange = client.call("gate__wait", json!({})).await;
    assert_eq!(exchange.refusal(), Some(code), "{exchange:?}");
    let data = &exchange.answer["error"]["data"];
    assert_eq!(data["limit"], "budget/daily", "{data}");
    assert_eq!(data["retry"], code == "budget_unavailable", "{data}");
    let resets_at = data["resets_at_ms"].as_u64().unwrap_or_else(|| panic!("no time in {data}"));
    assert!(resets_at > now_ms(), "a limit begins anew in the future: {data}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_limit_is_told_apart_from_one_that_others_hold_and_costs_no_proposal() {
    let cluster = Cluster::start(85).await;
    let gate = Gate::start().await;
    gate.register(&cluster, "gate", &[]).await;
    lift_quotas(&cluster).await;
    let set = ["budget", "set", BUDGET, "--amount", "2calls", "--per-period", "day", "--tenant", "acme"];
    cluster.ctl(1, &[&set[..], &["--wait"]].concat()).await;

    // Both calls are open on one node: what a third one would need may still come back.
    let holder = cluster.client(1, &cluster.key("admin")).await;
    let mut open = JoinSet::new();
    for number in 0..2 {
        let mut client = holder.clone();
        client.next_id = 100 + number;
        open.spawn(async move { client.call("gate__wait", json!({})).await });
    }
    eventually("both calls are at the upstream", async || gate.held() == 2).await;
    let mut client = cluster.client(2, &cluster.key("admin")).await;
    refused(&mut client, "budget_unavailable").await;
    let told =
        (denials(&cluster, 2, "budget_unavailable").await, denials(&cluster, 2, "budget_exceeded").await);
    assert_eq!(told, (1, 0), "the metrics tell one from the other");
    gate.open();
    for exchange in open.join_all().await {
        assert!(exchange.receipt().is_some(), "{exchange:?}");
    }
    all_tell(&cluster, &NODES, BUDGET, 2).await;

    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(cluster.client(2, &cluster.key("admin")).await);
    }
    let metric = async |name: &str| cluster.metric(2, name).await as u64;
    let (entries, events) =
        (metric("only1mcp_raft_last_log_index").await, metric("only1mcp_audit_index").await);
    let began = Instant::now();
    let mut calling = JoinSet::new();
    for mut client in clients {
        calling.spawn(async move {
            for _ in 0..CALLS {
                refused(&mut client, "budget_exceeded").await;
            }
        });
    }
    calling.join_all().await;
    let more_entries = metric("only1mcp_raft_last_log_index").await - entries;
    let more_events = metric("only1mcp_audit_index").await - events;
    // Of the clock: it may have begun in one second's end and ended in another's beginning.
    let seconds = began.elapsed().as_secs() + 3;
    eprintln!("{} refusals in {seconds} s: {more_entries} entries, {more_events} events", CLIENTS * CALLS);
    assert!(more_events <= EVENTS_PER_SECOND * seconds, "{more_events} events in {seconds} s");
    assert!(
        more_entries <= more_events + OTHERS_PER_SECOND * seconds,
        "{more_entries} entries and {more_events} events in {seconds} s: something was proposed for a refusal"
    );
    let all = (CLIENTS * CALLS) as u64;
    let told =
        (denials(&cluster, 2, "budget_unavailable").await, denials(&cluster, 2, "budget_exceeded").await);
    assert_eq!(told, (1, all));
    all_tell(&cluster, &NODES, BUDGET, 2).await;
}
