//! P3, P6: the leader dies ten times in a row under load. How long each failover took is told, not judged.

use tokio::time::{Duration, Instant};

use crate::faults::load::{Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, TENANT, World, play};

const ROUNDS: usize = 10;

async fn leaders_die(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let mut times: Vec<Duration> = Vec::new();
    for round in 1..=ROUNDS {
        let leader = world.leader().await;
        let killed_at = Instant::now();
        world.kill(leader);
        let mut firsts = Vec::new();
        for other in world.others(leader) {
            firsts.push(load.sealed(other, killed_at, 5).await);
        }
        let took = *firsts.iter().min().unwrap() - killed_at;
        eprintln!(
            "failover {round}: node {leader} was killed, a survivor's next sealed answer came after {took:?}"
        );
        times.push(took);
        let restarted_at = Instant::now();
        world.spawn(leader);
        world.wait_ready(leader).await;
        // Its callers are back, too, before the next one dies.
        load.sealed(leader, restarted_at, 5).await;
    }
    times.sort();
    let (p50, max) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("{ROUNDS} failovers from kill -9 to the next sealed answer: p50 {p50:?}, max {max:?}");
    let told = load.end().await;
    let all: Vec<usize> = (1..=NODES).collect();
    assert_eq!(refusals(&told, &all), Vec::<String>::new(), "a failover delays, it does not refuse");
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_ten_leaders_die_in_a_row() {
    play(4, async |world| locally(leaders_die(world)).await);
}
