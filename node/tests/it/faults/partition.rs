//! P2, P4: a leader that is cut off from its peers gives nothing away that a quorum did not take, and says that it is
//! stale; the others go on. When it is heard again it catches up.

use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::faults::load::{CUT_OFF, Load, locally, refusals};
use crate::faults::net::Cut;
use crate::faults::oracle::agree;
use crate::faults::world::{BOUND, SLACK, STALE_WAIT, TENANT, World, play};

/// What was committed before the cut may still be on its way to the caller.
const IN_FLIGHT: Duration = Duration::from_millis(500);

async fn the_leader_is_cut_off(world: &mut World, cut: Cut) {
    let key = world.developer(TENANT, "worker").await;
    let leader = world.leader().await;
    let others = world.others(leader);
    let mut probe = world.client(leader, &key);
    assert_eq!(probe.initialize().await.status, 200);
    let load = Load::start(world, &key, 2).await;

    let cut_at = Instant::now();
    world.net.cut(leader, cut);
    world.wait_unready(leader).await;
    let unready = cut_at.elapsed();
    assert!(unready <= BOUND + SLACK, "the cut-off leader stayed ready for {unready:?}");

    let asked_at = Instant::now();
    let answer = probe.call("demo__echo", json!({"text": "is anybody there"})).await;
    assert_eq!(answer.refusal(), Some("stale"), "{}", answer.answer);
    let refused = asked_at.elapsed();
    assert!(refused <= STALE_WAIT + SLACK, "the cut-off leader took {refused:?} to refuse");

    for other in &others {
        let first = load.sealed(*other, cut_at, 20).await;
        eprintln!("node {other} gave its next sealed answer {:?} after the cut", first - cut_at);
    }
    assert_ne!(world.leader_of(&others).await, leader, "the cut-off leader is still followed");

    let healed_at = Instant::now();
    world.net.heal();
    world.wait_ready(leader).await;
    load.sealed(leader, healed_at, 10).await;
    eprintln!("the cut-off node was whole again {:?} after the cut ended", healed_at.elapsed());
    let told = load.end().await;

    // INVARIANT: P2
    let alone = cut_at + IN_FLIGHT..healed_at;
    let sealed_alone = told.iter().any(|t| t.node == leader && t.what.is_ok() && alone.contains(&t.answered));
    assert!(!sealed_alone, "a leader without followers sealed an answer");
    let withheld = refusals(&told, &[leader]);
    eprintln!("what the cut-off node said instead of sealed answers: {withheld:?}");
    assert!(withheld.iter().all(|code| CUT_OFF.contains(&code.as_str())), "{withheld:?}");
    // INVARIANT: P4 (a failover delays, it does not refuse).
    assert_eq!(refusals(&told, &others), Vec::<String>::new(), "the majority refused");
    agree(world, &told).await;
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_a_leader_that_is_cut_off_refuses_as_stale_and_catches_up() {
    play(1, async |world| locally(the_leader_is_cut_off(world, Cut::Both)).await);
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_a_leader_that_speaks_but_does_not_hear_is_replaced() {
    play(2, async |world| locally(the_leader_is_cut_off(world, Cut::Incoming)).await);
}

#[test]
#[ignore = "needs root: cargo xtask test --faults"]
fn faults_a_leader_that_hears_but_does_not_speak_is_replaced() {
    play(6, async |world| locally(the_leader_is_cut_off(world, Cut::Outgoing)).await);
}
