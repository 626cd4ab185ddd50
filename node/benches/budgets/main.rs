//! What limits cost a cluster: processor time of a call with all of them and with none, entries of the log with limits
//! for each of thousands of users, and, beside it in the same run, what reserving and settling cost Redis.
//!
//! `cargo xtask bench budgets [-- --seconds N | --quick]`. Everything shares this machine's cores: the ratios tell more
//! than the absolute numbers. What the purse alone costs, and how many calls a loan of the log serves: `bench purse`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "a benchmark may fail loudly, and measures real time"
)]

#[path = "../gateway/cluster.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
#[path = "../gateway/echo.rs"]
mod echo;
#[path = "../gateway/load.rs"]
mod load;
mod paired;
mod redis;
mod spread;
mod users;

use std::path::Path;
use std::time::Duration;

use cluster::Cluster;
use common::{Args, Table, memory_mib, temp_folder};
use load::Target;
use paired::Paired;
use redis::Redis;

const CLIENTS: usize = 32;
/// With limits and without, in turn: the machine's moods meet both.
const PAIRS: usize = 12;
const LIMITED: &str = "acme";
const FREE: &str = "globex";
/// Accounts of one call under all the limits below.
const ACCOUNTS: usize = 8;
const USERS: usize = 5_000;
const USERS_QUICK: usize = 100;
/// All users together.
const CALLS_PER_SECOND: u32 = 200;
const USER_PAIRS: usize = 3;

#[tokio::main]
async fn main() {
    let args = Args::parse("bench budgets: what limits cost a call and the log, beside Redis");
    let folder = temp_folder();
    tokio::select! {
        () = measure(&args, folder.path()) => {}
        () = only1mcp_node::serve::signals::ended() => eprintln!("ended early"),
    }
}

async fn measure(args: &Args, folder: &Path) {
    let extra_us = {
        let echo = echo::start().await;
        let cluster = Cluster::start(folder, 3, echo, CLIENTS).await;
        let extra_us = calls(&cluster, args).await;
        entries(&cluster, args).await;
        extra_us
    };
    beside_redis(folder, args, extra_us).await;
}

/// Processor time of a call, all nodes together. Returns what the limits add. Units: microseconds.
async fn calls(cluster: &Cluster, args: &Args) -> f64 {
    limit_everything(cluster);
    for quota in ["max_requests_per_minute", "max_concurrent_requests"] {
        cluster.ctl(&["tenant", "update", FREE, "--quota", &format!("{quota}=unlimited"), "--wait"]);
    }
    let (limited, free) = (cluster.targets.clone(), cluster.sessions_of(1, CLIENTS).await);
    let mut pairs = Vec::new();
    for number in 0..PAIRS {
        eprintln!("calls with limits and without, pair {} of {PAIRS} …", number + 1);
        // Neither is always the first.
        let pair = if number % 2 == 0 {
            let with = cpu_us(cluster, &limited, args).await;
            (with, cpu_us(cluster, &free, args).await)
        } else {
            let without = cpu_us(cluster, &free, args).await;
            (cpu_us(cluster, &limited, args).await, without)
        };
        pairs.push(pair);
    }
    let paired = Paired::of(&pairs);
    println!(
        "\nprocessor time of a call, three nodes together, {CLIENTS} clients, {PAIRS} pairs of {:?}",
        args.measured
    );
    println!("  no limits                 {:.0} µs", paired.without);
    println!("  {ACCOUNTS} accounts to hold on     {:.0} µs", paired.with);
    println!(
        "  ratio                     {:.3}, with 95 % certainty from {:.3} to {:.3} (the upper end counts)",
        paired.ratio, paired.low, paired.high
    );
    paired.with - paired.without
}

async fn cpu_us(cluster: &Cluster, targets: &[Target], args: &Args) -> f64 {
    let sample = load::run(targets, args, &cluster.pids()).await;
    assert_eq!(sample.failed, 0, "calls failed, the first with {:?}", sample.first_failure);
    let calls = sample.latencies.count() as f64;
    eprintln!("  {:.0} calls/s", calls / sample.lasted.as_secs_f64());
    sample.cpu.as_secs_f64() * 1e6 / calls
}

/// Every kind of limit that counts calls, with room for all that are made.
fn limit_everything(cluster: &Cluster) {
    let room = "100000000";
    let calls = format!("{room}calls");
    for quota in ["max_requests_per_minute", "max_concurrent_requests"] {
        cluster.ctl(&["tenant", "update", LIMITED, "--quota", &format!("{quota}={room}")]);
    }
    let rate = format!("{room}/hour");
    let rule = ["restriction", "put", "rate", "--tenant", LIMITED, "--tools", "bench__*", "--role", "admin"];
    cluster.ctl(&[&rule[..], &["--rate", &rate]].concat());
    let budgets: [(&str, &str, &[&str]); ACCOUNTS - 3] = [
        ("a-minute", "minute", &["--each", "principal"]),
        ("a-day", "day", &["--each", "principal"]),
        ("of-a-tool", "hour", &["--tools", "bench__*", "--each", "tool"]),
        ("of-the-upstream", "month", &["--upstream", "bench"]),
        ("of-all", "total", &["--wait"]),
    ];
    for (id, period, more) in budgets {
        let set = ["budget", "set", id, "--tenant", LIMITED, "--amount", &calls, "--per-period", period];
        cluster.ctl(&[&set[..], more].concat());
    }
}

/// Entries of the log with a limit a minute and one a day for each user, and with none, at one rate of calls.
async fn entries(cluster: &Cluster, args: &Args) {
    let quick = args.measured < Duration::from_secs(1);
    let count = if quick { USERS_QUICK } else { USERS };
    eprintln!("making {count} users …");
    let users = users::make(cluster, FREE, count).await;
    let lasting = args.measured * if quick { 1 } else { 6 };
    let mut table = Table::new(&["", "calls/s", "entries/s", "entries/call", "MiB/node", "failed"]);
    for number in 0..USER_PAIRS {
        for (what, limited) in [("two limits a user", true), ("no limits", false)] {
            eprintln!("{count} users, {what}, {} of {USER_PAIRS} …", number + 1);
            limit_users(cluster, limited);
            let before = cluster.metric("only1mcp_raft_last_log_index").await;
            let told = spread::run(&users, CALLS_PER_SECOND, lasting).await;
            let entries = cluster.metric("only1mcp_raft_last_log_index").await - before;
            let seconds = told.lasted.as_secs_f64();
            let largest = cluster.pids().iter().filter_map(|pid| memory_mib(*pid)).fold(0.0, f64::max);
            table.row(vec![
                what.to_owned(),
                format!("{:.0}", told.answered as f64 / seconds),
                format!("{:.1}", entries / seconds),
                format!("{:.3}", entries / told.answered as f64),
                format!("{largest:.0}"),
                told.failed.to_string(),
            ]);
        }
    }
    println!("\n{count} users, {CALLS_PER_SECOND} calls a second asked for, {lasting:?} each\n");
    table.print();
}

fn limit_users(cluster: &Cluster, limited: bool) {
    for (id, period) in [("user-minute", "minute"), ("user-day", "day")] {
        if limited {
            let set = ["budget", "set", id, "--tenant", FREE, "--amount", "1000000calls"];
            cluster.ctl(&[&set[..], &["--per-period", period, "--each", "principal", "--wait"]].concat());
        } else {
            cluster.ctl(&["budget", "delete", id, "--tenant", FREE, "--wait"]);
        }
    }
}

async fn beside_redis(folder: &Path, args: &Args, extra_us: f64) {
    let mut table =
        Table::new(&["redis", "clients", "pairs/s", "p50 ms", "p99 ms", "CPU µs/pair", "ours / its CPU"]);
    for appendfsync in ["no", "always"] {
        let redis = Redis::start(folder, appendfsync).await;
        for clients in [1, CLIENTS] {
            eprintln!("redis, appendfsync {appendfsync}, {clients} clients …");
            let mut sample = redis.run(clients, ACCOUNTS, args).await;
            let pairs = sample.latencies.count() as f64;
            let cpu_us = sample.cpu.as_secs_f64() * 1e6 / pairs;
            table.row(vec![
                format!("appendfsync {appendfsync}"),
                clients.to_string(),
                format!("{:.0}", pairs / sample.lasted.as_secs_f64()),
                format!("{:.3}", sample.latencies.at_ms(500)),
                format!("{:.3}", sample.latencies.at_ms(990)),
                format!("{cpu_us:.1}"),
                format!("{:.2}", extra_us / cpu_us),
            ]);
        }
    }
    println!("\nreserve and settle by Lua, {ACCOUNTS} accounts, one of them everybody's\n");
    table.print();
    println!(
        "\nOurs is what limits add to a call, all nodes together: {extra_us:.1} µs. They add no round trip while a"
    );
    println!("slice is in hand; a gateway that asks Redis makes two for every call.");
}
