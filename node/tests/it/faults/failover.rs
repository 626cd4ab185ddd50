//! P3, P6: the leader dies ten times in a row under load, and then hands its office over a few times. How long each took
//! is told, not judged; nobody may be refused. `cargo xtask soak --faults` has it die far more often, and keeps the times.

use std::fmt::Write as _;

use tokio::time::{Duration, Instant, sleep};

use crate::cluster::eventually;
use crate::faults::load::{Load, Told, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, TENANT, World, play};

/// What a soak asks for: so many kills, or kills for so long; and where the times are to be written.
const KILLS: &str = "ONLY1MCP_SOAK_KILLS";
const MINUTES: &str = "ONLY1MCP_SOAK_MINUTES";
const REPORT: &str = "ONLY1MCP_SOAK_REPORT";
const KILLS_SHORT: usize = 10;
const TRANSFERS_SHORT: usize = 3;
/// A transfer's calls are those under way from its start until so long after it.
const AFTER: Duration = Duration::from_millis(1_000);

fn asked(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// How long one failover took.
pub struct Failover {
    /// From the kill to the first sealed answer of a survivor to a call sent after it.
    pub first: Duration,
    /// From the kill until both survivors had given one.
    pub both: Duration,
}

/// Which one died, and how long it took; it is not started again.
pub async fn a_leader_dies(world: &mut World, load: &Load, round: usize) -> (usize, Failover) {
    let leader = world.leader().await;
    let killed_at = Instant::now();
    world.kill(leader);
    let mut firsts = Vec::new();
    for other in world.others(leader) {
        firsts.push(load.sealed(other, killed_at, 5).await);
    }
    let first = *firsts.iter().min().unwrap() - killed_at;
    let both = *firsts.iter().max().unwrap() - killed_at;
    eprintln!(
        "failover {round}: node {leader} was killed, a survivor's next sealed answer came after {first:?}"
    );
    (leader, Failover { first, both })
}

/// Gives the office to another node; how long the slowest call took that was under way meanwhile.
pub async fn hand_over(world: &World, load: &Load) -> (Duration, Instant, Instant) {
    let leader = world.leader().await;
    let next = leader % NODES + 1;
    let began = Instant::now();
    world.ctl(leader, &["cluster", "transfer", &next.to_string()]).await;
    let told = began.elapsed();
    eventually("the successor leads", async || world.leader().await == next).await;
    for number in 1..=NODES {
        load.sealed(number, began, 5).await;
    }
    sleep(AFTER).await;
    (told, began, Instant::now())
}

pub fn slowest(told: &[Told], from: Instant, to: Instant) -> Duration {
    let under_way = told.iter().filter(|told| told.answered >= from && told.sent <= to && told.what.is_ok());
    under_way.map(|told| told.answered - told.sent).max().unwrap_or_default()
}

/// The time that this share of them, in percent, took at most; nearest rank.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

pub fn row(what: &str, times: &[Duration]) -> String {
    let ms = |time: Duration| time.as_millis();
    format!(
        "| {what} | {} | {} | {} | {} |",
        times.len(),
        ms(percentile(times, 50)),
        ms(percentile(times, 99)),
        ms(percentile(times, 100))
    )
}

/// Leaves what was measured to whoever asked for it, once all that was to hold has held.
pub fn report(table: &str) {
    if let Ok(path) = std::env::var(REPORT) {
        std::fs::write(path, table).unwrap();
    }
}

async fn leaders_change(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let minutes = asked(MINUTES).map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let kills = asked(KILLS).map_or(KILLS_SHORT, |kills| usize::try_from(kills).unwrap());
    let mut failovers = Vec::new();
    while minutes.map_or(failovers.len() < kills, |until| Instant::now() < until) {
        let (leader, failover) = a_leader_dies(world, &load, failovers.len() + 1).await;
        failovers.push(failover);
        let restarted_at = Instant::now();
        world.spawn(leader);
        world.wait_ready(leader).await;
        // Its callers are back, too, before the next one dies.
        load.sealed(leader, restarted_at, 5).await;
    }
    let mut transfers = Vec::new();
    for _ in 0..TRANSFERS_SHORT.max(failovers.len() / 5) {
        transfers.push(hand_over(world, &load).await);
    }
    let told = load.end().await;
    let all: Vec<usize> = (1..=NODES).collect();
    let first: Vec<Duration> = failovers.iter().map(|failover| failover.first).collect();
    let both: Vec<Duration> = failovers.iter().map(|failover| failover.both).collect();
    let asked_for: Vec<Duration> = transfers.iter().map(|(told, _, _)| *told).collect();
    let stalls: Vec<Duration> = transfers.iter().map(|(_, from, to)| slowest(&told, *from, *to)).collect();
    let sealed = told.iter().filter(|told| told.what.is_ok()).count();
    let refused = refusals(&told, &all);
    let mut table = String::from("| times in ms | count | p50 | p99 | max |\n|---|---|---|---|---|\n");
    for row in [
        row("kill -9 of the leader to the next sealed answer of a survivor", &first),
        row("the same, until both survivors answered", &both),
        row("planned transfer: the command, its process included", &asked_for),
        row("planned transfer: the slowest call under way", &stalls),
    ] {
        table += &row;
        table.push('\n');
    }
    writeln!(table, "\n{sealed} sealed answers; refused: {}.", told.len() - sealed).unwrap();
    eprintln!("{table}");
    assert_eq!(refused, Vec::<String>::new(), "a failover delays, it does not refuse");
    agree(world, &told).await;
    report(&table);
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_ten_leaders_die_in_a_row() {
    play(4, async |world| locally(leaders_change(world)).await);
}
