//! Lower timeouts than the default ones, set while the cluster runs: how much sooner another node leads, and whether
//! anything but a dead leader has the office change hands. Told, not judged; nobody may be refused.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use crate::faults::failover::{a_leader_dies, report, row};
use crate::faults::load::{Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, TENANT, World, play};

/// Heartbeat, and the shortest and the longest election. Units: milliseconds.
const SETTINGS: [[u64; 3]; 3] = [[100, 500, 1_000], [50, 250, 500], [30, 150, 300]];
const KILLS: usize = 10;
/// Under load, with nobody killed: elections then are too many.
const QUIET: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

async fn set(world: &World, times: [u64; 3]) {
    let texts = times.map(|time| time.to_string());
    let names = ["--heartbeat-ms", "--election-ms-min", "--election-ms-max"];
    let args = names.iter().zip(&texts).flat_map(|(name, text)| [*name, text.as_str()]);
    let set: Vec<&str> = ["cluster", "settings", "set"].into_iter().chain(args).collect();
    world.ctl(1, &set).await;
    // One after the other starts anew.
    let timed = async || {
        let status = world.try_ctl(1, &["cluster", "status"]).await.unwrap_or_default();
        let members = status["members"].as_array().cloned().unwrap_or_default();
        members.len() == NODES && members.iter().all(|member| member["timed"] == true)
    };
    let until = Instant::now() + Duration::from_secs(120);
    while !timed().await {
        assert!(Instant::now() < until, "the nodes do not take the times {times:?}");
        sleep(LOOK).await;
    }
    for number in 1..=NODES {
        world.wait_ready(number).await;
    }
}

fn term(status: &Value) -> Option<u64> {
    status["term"].as_u64()
}

/// Elections while nobody dies.
async fn elections(world: &World) -> u64 {
    let mut terms = BTreeSet::new();
    let until = Instant::now() + QUIET;
    while Instant::now() < until {
        let status = world.try_ctl(1, &["cluster", "status"]).await.unwrap_or_default();
        terms.extend(term(&status));
        sleep(LOOK).await;
    }
    let (first, last) = (terms.first().copied(), terms.last().copied());
    last.zip(first).map(|(last, first)| last - first).expect("the terms of a cluster that answers")
}

async fn lower_and_lower(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let mut table = String::from("| times in ms | count | p50 | p99 | max |\n|---|---|---|---|---|\n");
    let mut told = Vec::new();
    let mut by_itself = Vec::new();
    for times in SETTINGS {
        if times != SETTINGS[0] {
            set(world, times).await;
        }
        let load = Load::start(world, &key, 2).await;
        let quiet = elections(world).await;
        let (mut first, mut both) = (Vec::new(), Vec::new());
        for round in 1..=KILLS {
            let (leader, failover) = a_leader_dies(world, &load, round).await;
            first.push(failover.first);
            both.push(failover.both);
            let restarted_at = Instant::now();
            world.spawn(leader);
            world.wait_ready(leader).await;
            load.sealed(leader, restarted_at, 5).await;
        }
        told.extend(load.end().await);
        let [heartbeat, least, most] = times;
        let name = format!("heartbeat {heartbeat}, election {least} to {most}: kill -9 of the leader to the");
        table += &format!("{}\n", row(&format!("{name} next sealed answer"), &first));
        table += &format!("{}\n", row("the same, until both survivors answered", &both));
        by_itself.push(format!("{quiet} with {heartbeat}/{least}/{most}"));
    }
    let all: Vec<usize> = (1..=NODES).collect();
    let refused = refusals(&told, &all);
    table += &format!(
        "\nElections in {} s under the same load with nobody killed: {}. {} sealed answers; refused: {}.\n",
        QUIET.as_secs(),
        by_itself.join(", "),
        told.iter().filter(|told| told.what.is_ok()).count(),
        told.iter().filter(|told| told.what.is_err()).count()
    );
    eprintln!("{table}");
    assert_eq!(refused, Vec::<String>::new(), "a failover delays, it does not refuse");
    agree(world, &told).await;
    report(&table);
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_leaders_die_at_lower_timeouts() {
    play(17, async |world| locally(lower_and_lower(world)).await);
}
