//! P3, P4: processes that stand still, for a blink or for long, whether they lead or not. Whoever did not stand still
//! refuses nobody, and nobody who did says what is no longer so.

use tokio::time::{Duration, Instant, sleep};

use crate::faults::load::{CUT_OFF, Load, locally, refusals};
use crate::faults::oracle::agree;
use crate::faults::world::{NODES, TENANT, World, is_soak, play};

const PAUSES_MS: [u64; 3] = [100, 1_000, 10_000];
/// How often all of them are gone through in a soak.
const ROUNDS: usize = 5;

async fn everybody_pauses(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let mut stopped: Vec<(usize, Instant, Instant)> = Vec::new();
    let mut pauses: Vec<(u64, bool)> = PAUSES_MS.iter().flat_map(|ms| [(*ms, true), (*ms, false)]).collect();
    if is_soak() {
        pauses = pauses.repeat(ROUNDS);
    } else {
        // That a follower stands still for so long is nothing new after the leader did.
        pauses.retain(|pause| *pause != (10_000, false));
    }
    for (ms, leads) in pauses {
        let leader = world.leader().await;
        let victim = if leads { leader } else { leader % 3 + 1 };
        let stopped_at = Instant::now();
        world.stop(victim).await;
        sleep(Duration::from_millis(ms)).await;
        let woken_at = Instant::now();
        world.wake(victim);
        for number in 1..=NODES {
            load.sealed(number, woken_at, 5).await;
        }
        let whole = woken_at.elapsed();
        let role = if leads { "the leader" } else { "a follower" };
        eprintln!("{role} stood still for {ms} ms; everybody was served again {whole:?} after");
        stopped.push((victim, stopped_at, Instant::now()));
    }
    let told = load.end().await;
    let all: Vec<usize> = (1..=NODES).collect();
    let kinds = refusals(&told, &all);
    assert!(kinds.iter().all(|code| CUT_OFF.contains(&code.as_str())), "{kinds:?}");
    for refused in told.iter().filter(|told| told.what.is_err()) {
        let stood = stopped.iter().any(|(victim, from, to)| {
            refused.node == *victim && refused.answered >= *from && refused.sent <= *to
        });
        // INVARIANT: P4 (a failover delays, it does not refuse)
        assert!(stood, "node {} refused: {:?}", refused.node, refused.what.as_ref().err());
    }
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_leaders_and_followers_stand_still_for_a_blink_and_for_long() {
    play(10, async |world| locally(everybody_pauses(world)).await);
}
