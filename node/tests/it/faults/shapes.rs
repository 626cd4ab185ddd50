//! P3, P4, P6: partitions that leave everybody somebody to talk to. Whoever cannot hear the leader says that it is stale;
//! the others go on, and nobody unseats a leader that a majority hears.

use tokio::time::{Duration, Instant, sleep};

use crate::faults::load::{CUT_OFF, Load, locally, refusals};
use crate::faults::net::Cut;
use crate::faults::oracle::agree;
use crate::faults::world::{TENANT, World, play};

/// Longer than a state may be old.
const CUT: Duration = Duration::from_millis(2_500);

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// The leader and one follower do not reach each other; both reach the third node.
    Bridge,
    /// The leader's words do not reach one follower.
    Unheard,
    /// One follower's words do not reach the leader.
    Mute,
    /// One follower is cut off from both others.
    Lonely,
}

async fn shapes(world: &mut World) {
    let key = world.developer(TENANT, "worker").await;
    let load = Load::start(world, &key, 2).await;
    let mut refused_at: Vec<(usize, Instant, Instant)> = Vec::new();
    for shape in [Shape::Bridge, Shape::Unheard, Shape::Mute, Shape::Lonely] {
        let leader = world.leader().await;
        let victim = leader % 3 + 1;
        let cut_at = Instant::now();
        match shape {
            Shape::Bridge => world.net.cut_pair(leader, victim),
            Shape::Unheard => world.net.cut_way(leader, victim),
            Shape::Mute => world.net.cut_way(victim, leader),
            Shape::Lonely => world.net.cut(victim, Cut::Both),
        }
        sleep(CUT).await;
        for other in world.others(victim) {
            load.sealed(other, cut_at, 10).await;
        }
        let healed_at = Instant::now();
        world.net.heal();
        world.wait_ready(victim).await;
        load.sealed(victim, healed_at, 10).await;
        let healed = healed_at.elapsed();
        let leads = world.leader().await;
        eprintln!(
            "{shape:?}: {leader} led, {leads} leads; node {victim} was whole {healed:?} after the cut ended"
        );
        refused_at.push((victim, cut_at, Instant::now()));
    }
    let told = load.end().await;
    let all: Vec<usize> = (1..=3).collect();
    let kinds = refusals(&told, &all);
    assert!(kinds.iter().all(|code| CUT_OFF.contains(&code.as_str())), "{kinds:?}");
    for refused in told.iter().filter(|told| told.what.is_err()) {
        let excused = refused_at.iter().any(|(victim, from, to)| {
            refused.node == *victim && refused.answered >= *from && refused.sent <= *to
        });
        // INVARIANT: P4 (a call that can wait is delayed, not refused)
        assert!(excused, "node {} refused: {:?}", refused.node, refused.what.as_ref().err());
    }
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root, and long: cargo xtask soak --faults"]
fn faults_soak_partitions_of_every_shape() {
    play(9, async |world| locally(shapes(world)).await);
}
