//! What the gateway costs: tools/call to a local echo server, direct, through nginx, through one node, through three.
//!
//! `cargo xtask bench gateway [-- --seconds N | --quick]`. Everything runs in one go on this machine: load, echo server
//! and what stands between share its cores, so that the ratios tell more than the absolute numbers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a benchmark may fail loudly, and measures real time"
)]

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod echo;
mod load;
mod nginx;

use std::net::SocketAddr;

use cluster::Cluster;
use common::{Args, Table, memory_mib, temp_folder};
use load::{Sample, Target};
use nginx::Nginx;

const CLIENTS: [usize; 3] = [1, 32, CLIENTS_MAX];
const CLIENTS_MAX: usize = 128;

/// What one way gave at one number of clients.
struct Row {
    way: &'static str,
    clients: usize,
    sample: Sample,
    servers: usize,
    memory_mib: Option<f64>,
    /// Mean, from the nodes' own metrics. Units: milliseconds.
    commit_ms: Option<f64>,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^53")]
    fn per_second(&self) -> f64 {
        self.sample.latencies.count() as f64 / self.sample.lasted.as_secs_f64()
    }
}

#[tokio::main]
async fn main() {
    let args =
        Args::parse("bench gateway: tools/call direct, through nginx, through one node and through three");
    let folder = temp_folder();
    tokio::select! {
        rows = measure(&args, folder.path()) => print(rows, &args),
        () = only1mcp_node::serve::signals::ended() => eprintln!("ended early"),
    }
}

async fn measure(args: &Args, folder: &std::path::Path) -> Vec<Row> {
    let echo = echo::start().await;
    let mut rows = Vec::new();
    for clients in CLIENTS {
        rows.push(plain("direct", echo, clients, args, &[]).await);
    }
    {
        let nginx = Nginx::start(folder, echo).await;
        for clients in CLIENTS {
            rows.push(plain("nginx", nginx.address, clients, args, &[nginx.pid()]).await);
        }
    }
    {
        let one = Cluster::start(folder, 1, echo, CLIENTS_MAX).await;
        through(&one, "1 node, journaled", "journaled", args, &mut rows).await;
        through(&one, "1 node, sealed", "sealed", args, &mut rows).await;
    }
    let three = Cluster::start(folder, 3, echo, CLIENTS_MAX).await;
    through(&three, "3 nodes, sealed", "sealed", args, &mut rows).await;
    rows
}

async fn plain(way: &'static str, address: SocketAddr, clients: usize, args: &Args, pids: &[u32]) -> Row {
    eprintln!("{way}, {clients} clients …");
    let targets = vec![Target { address, tool: "echo", key: None, session: None }; clients];
    let sample = load::run(&targets, args, pids).await;
    Row {
        way,
        clients,
        sample,
        servers: pids.len(),
        memory_mib: pids.first().and_then(|pid| memory_mib(*pid)),
        commit_ms: None,
    }
}

async fn through(cluster: &Cluster, way: &'static str, mode: &str, args: &Args, rows: &mut Vec<Row>) {
    cluster.seal_mode(mode).await;
    let pids = cluster.pids();
    for clients in CLIENTS {
        eprintln!("{way}, {clients} clients …");
        let before = cluster.commits().await;
        let sample = load::run(&cluster.targets[..clients], args, &pids).await;
        let after = cluster.commits().await;
        let commits = after.0 - before.0;
        let largest = pids.iter().filter_map(|pid| memory_mib(*pid)).fold(0.0, f64::max);
        rows.push(Row {
            way,
            clients,
            sample,
            servers: pids.len(),
            memory_mib: Some(largest),
            commit_ms: (commits > 0.0).then(|| (after.1 - before.1) * 1_000.0 / commits),
        });
    }
}

fn print(mut rows: Vec<Row>, args: &Args) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\ntools/call, {:?} a row, {cores} cores shared by clients, echo server and gateway\n",
        args.measured
    );
    let head = [
        "",
        "clients",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU µs/call",
        "MiB/server",
        "commit ms",
        "x nginx",
        "x direct",
        "failed",
    ];
    let mut table = Table::new(&head);
    let rates: Vec<(&str, usize, f64)> =
        rows.iter().map(|row| (row.way, row.clients, row.per_second())).collect();
    let rate = |way: &str, clients: usize| {
        rates.iter().find(|(w, c, _)| *w == way && *c == clients).map_or(f64::NAN, |(_, _, rate)| *rate)
    };
    rows.sort_by_key(|row| row.clients);
    for row in &mut rows {
        let per_second = row.per_second();
        let cpu = row.sample.cpu.as_secs_f64() * 1e6 / (per_second * row.sample.lasted.as_secs_f64());
        let or_dash =
            |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        table.row(vec![
            row.way.to_owned(),
            row.clients.to_string(),
            format!("{per_second:.0}"),
            format!("{:.3}", row.sample.latencies.at_ms(500)),
            format!("{:.3}", row.sample.latencies.at_ms(990)),
            format!("{:.3}", row.sample.latencies.at_ms(999)),
            or_dash((row.servers > 0).then_some(cpu), 0),
            or_dash(row.memory_mib, 1),
            or_dash(row.commit_ms, 3),
            format!("{:.2}", per_second / rate("nginx", row.clients)),
            format!("{:.2}", per_second / rate("direct", row.clients)),
            row.sample.failed.to_string(),
        ]);
    }
    table.print();
    println!(
        "\nCPU is that of nginx or of all nodes together. MiB is resident memory, of the largest node. commit ms is the"
    );
    println!(
        "nodes' own mean from an admission to its being applied (journal and quorum), while the call runs beside it."
    );
    for row in &rows {
        if let Some(why) = &row.sample.first_failure {
            println!(
                "{}, {} clients: {} calls failed, the first with {why}",
                row.way, row.clients, row.sample.failed
            );
        }
    }
}
