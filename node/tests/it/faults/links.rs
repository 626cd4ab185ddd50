//! P3, P4, P6: links between nodes that lag, overtake one another, are narrow, break, or carry one way only. They delay;
//! only a node that cannot hear the leader for longer than a call may wait refuses, and says why.

use tokio::time::{Duration, Instant, sleep};

use crate::faults::load::{CUT_OFF, Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::proxy::Way;
use crate::faults::world::{NODES, Setup, TENANT, World, play_with};

const LAG: Way = Way {
    delay: Duration::from_millis(40),
    spread: Duration::from_millis(60),
    bytes_per_second: None,
    held: false,
};
const NARROW: Way =
    Way { delay: Duration::ZERO, spread: Duration::ZERO, bytes_per_second: Some(400_000), held: false };
const HELD: Way = Way { delay: Duration::ZERO, spread: Duration::ZERO, bytes_per_second: None, held: true };
const PHASE: Duration = Duration::from_millis(3_000);
const BREAKS: usize = 8;
const BREAK_EVERY: Duration = Duration::from_millis(300);

async fn served(load: &Load, since: Instant, what: &str) {
    for number in 1..=NODES {
        load.sealed(number, since, 10).await;
    }
    eprintln!("{what}: every node gave ten sealed answers within {:?}", since.elapsed());
}

async fn links_go_wrong(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;

    let began = Instant::now();
    world.proxy().set_all(NODES, LAG);
    sleep(PHASE).await;
    served(&load, began, "links that lag by 40 to 100 ms each way").await;

    let began = Instant::now();
    world.proxy().set_all(NODES, NARROW);
    sleep(PHASE).await;
    served(&load, began, "links of 400 kB/s").await;

    world.proxy().calm();
    let began = Instant::now();
    for _ in 0..BREAKS {
        world.proxy().break_all();
        sleep(BREAK_EVERY).await;
    }
    served(&load, began, "connections that break again and again").await;

    // What the leader says to one follower lies somewhere, and arrives all at once when nobody expects it any more.
    let leader = world.leader().await;
    let victim = leader % 3 + 1;
    let held_at = Instant::now();
    world.proxy().set([((leader, victim), HELD)]);
    sleep(PHASE).await;
    for other in world.others(victim) {
        load.sealed(other, held_at, 10).await;
    }
    world.proxy().calm();
    world.wait_ready(victim).await;
    served(&load, Instant::now(), "after a link that was held for 3 s").await;
    let freed_at = Instant::now();

    let told = load.end().await;
    let all: Vec<usize> = (1..=NODES).collect();
    let kinds = refusals(&told, &all);
    assert!(kinds.iter().all(|code| CUT_OFF.contains(&code.as_str())), "{kinds:?}");
    for refused in told.iter().filter(|told| told.what.is_err()) {
        let unheard = refused.node == victim && refused.answered >= held_at && refused.sent <= freed_at;
        // INVARIANT: P4 (a failover delays, it does not refuse)
        assert!(unheard, "node {} refused: {:?}", refused.node, refused.what.as_ref().err());
    }
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_links_that_lag_overtake_break_and_carry_one_way() {
    let setup = Setup { proxied: true, ..Setup::default() };
    play_with(11, setup, async |world| locally(links_go_wrong(world)).await);
}
