//! P3, P6: a network that loses every fifth packet slows the cluster down and takes nothing from it.

use tokio::time::{Duration, Instant, sleep};

use crate::faults::load::{CUT_OFF, Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, TENANT, World, play};

const LOST_PERCENT: u8 = 20;
const LOSING: Duration = Duration::from_secs(8);

async fn packets_vanish(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let began = Instant::now();
    world.net.lose(LOST_PERCENT);
    sleep(LOSING).await;
    let healed_at = Instant::now();
    world.net.heal();
    for number in 1..=NODES {
        world.wait_ready(number).await;
        load.sealed(number, healed_at, 10).await;
    }
    let told = load.end().await;
    let meanwhile = told.iter().filter(|told| (began..healed_at).contains(&told.answered));
    let sealed = meanwhile.filter(|told| told.what.is_ok()).count();
    let all: Vec<usize> = (1..=NODES).collect();
    let refused = refusals(&told, &all);
    eprintln!("{sealed} sealed answers in {LOSING:?} of {LOST_PERCENT} % loss; refusals: {refused:?}");
    // Losing the quorum for longer than a request may wait is said as such, and in no other way.
    assert!(refused.iter().all(|code| CUT_OFF.contains(&code.as_str())), "{refused:?}");
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_lost_packets_cost_time_and_nothing_else() {
    play(5, async |world| locally(packets_vanish(world)).await);
}
