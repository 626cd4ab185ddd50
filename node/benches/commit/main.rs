//! What one commit costs: 256 bytes appended by three members of ours, and put by three members of etcd.
//!
//! `cargo xtask bench commit [-- --seconds N | --quick]`. The same client speaks the same gRPC call to the leader of both;
//! both put their data on the same disk and sync it before they answer; members speak plain TCP among themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a benchmark may fail loudly, and measures real time"
)]

#[path = "../common/mod.rs"]
mod common;
mod etcd;
mod members;
mod ours;
mod plain;
mod records;
mod wire;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Args, Latencies, Table, cpu, memory_mib, temp_folder};
use wire::Client;

const CLIENTS: [u32; 3] = [1, 32, 128];
const BYTES: usize = 256;
/// Keys that are written, again and again: the value's history is what grows.
const KEYS: u64 = 1_000;

struct Row {
    who: &'static str,
    clients: u32,
    latencies: Latencies,
    lasted: Duration,
    cpu: Duration,
    memory_mib: f64,
    failed: Option<String>,
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "counts of commits are far below 2^53")]
    fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.lasted.as_secs_f64()
    }
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("--serve") {
        let folder = words.next().unwrap();
        return ours::serve(Path::new(&folder)).await;
    }
    let args = Args::parse("bench commit: one 256-byte append for each request, ours against etcd's");
    let folder = temp_folder();
    tokio::select! {
        rows = measure(&args, folder.path()) => print(rows, &args),
        () = only1mcp_node::serve::signals::ended() => eprintln!("ended early"),
    }
}

async fn measure(args: &Args, folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    {
        let mut etcd = etcd::Etcd::start(folder);
        let leader = etcd.leader().await;
        for clients in CLIENTS {
            rows.push(run("etcd", &leader, clients, args, &etcd.pids()).await);
        }
    }
    let (process, address) = ours::start(folder);
    for clients in CLIENTS {
        rows.push(run("only1mcp", &address, clients, args, &[process.pid()]).await);
    }
    rows
}

async fn run(who: &'static str, address: &str, clients: u32, args: &Args, pids: &[u32]) -> Row {
    eprintln!("{who}, {clients} clients …");
    let from = Instant::now() + args.warm_up;
    let until = from + args.measured;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let address = address.to_owned();
        tasks.spawn(async move {
            let mut client = Client::connect(&address).await.unwrap();
            let (mut latencies, mut failed, mut count) = (Latencies::default(), None, u64::from(number));
            while Instant::now() < until {
                let key = format!("audit/{:08}", count % KEYS).into_bytes();
                count += u64::from(clients);
                let began = Instant::now();
                match client.put(key, vec![b'x'; BYTES]).await {
                    Ok(()) if began >= from => latencies.add(began.elapsed()),
                    Ok(()) => {}
                    Err(status) => {
                        failed = Some(status.to_string());
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            (latencies, failed)
        });
    }
    tokio::time::sleep_until(from.into()).await;
    let before = cpu(pids);
    tokio::time::sleep_until(until.into()).await;
    let (lasted, after) = (from.elapsed(), cpu(pids));
    let memory_mib = pids.iter().filter_map(|pid| memory_mib(*pid)).sum();
    let cpu = after.saturating_sub(before);
    let mut row =
        Row { who, clients, latencies: Latencies::default(), lasted, cpu, memory_mib, failed: None };
    while let Some(done) = tasks.join_next().await {
        let (latencies, failed) = done.unwrap();
        row.latencies.join(latencies);
        row.failed = row.failed.or(failed);
    }
    row
}

fn print(mut rows: Vec<Row>, args: &Args) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "\n{BYTES}-byte commits on three members, {:?} a row, {cores} cores shared by clients and members\n",
        args.measured
    );
    let head = [
        "",
        "clients",
        "commits/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU µs/commit",
        "MiB",
        "x etcd",
        "p50 / etcd",
    ];
    let mut table = Table::new(&head);
    let etcd: Vec<(u32, f64, f64)> = rows
        .iter_mut()
        .filter(|row| row.who == "etcd")
        .map(|row| (row.clients, row.per_second(), row.latencies.at_ms(500)))
        .collect();
    rows.sort_by_key(|row| row.clients);
    for row in &mut rows {
        let per_second = row.per_second();
        let (_, rate, p50) = etcd.iter().find(|(clients, ..)| *clients == row.clients).unwrap();
        table.row(vec![
            row.who.to_owned(),
            row.clients.to_string(),
            format!("{per_second:.0}"),
            format!("{:.3}", row.latencies.at_ms(500)),
            format!("{:.3}", row.latencies.at_ms(990)),
            format!("{:.3}", row.latencies.at_ms(999)),
            format!("{:.0}", row.cpu.as_secs_f64() * 1e6 / (per_second * row.lasted.as_secs_f64())),
            format!("{:.1}", row.memory_mib),
            format!("{:.2}", per_second / rate),
            format!("{:.2}", row.latencies.at_ms(500) / p50),
        ]);
    }
    table.print();
    println!(
        "\netcd is three processes, ours are three members in one process; CPU and MiB are of all three together. For each"
    );
    println!(
        "put of ours a call is decided, its admission journaled on the leader, committed and applied, and, unlike at etcd,"
    );
    println!("a second record, its completion, is written after the answer.");
    for row in rows.iter().filter(|row| row.failed.is_some()) {
        println!(
            "{}, {} clients: some failed, the last with {}",
            row.who,
            row.clients,
            row.failed.as_deref().unwrap_or("")
        );
    }
}
