//! A follower's disk stalls while a question of its is answered; then it is cut off, and later its disk goes on. It has
//! learnt an index long before it stands there: what it knows by then is as old as its question, and no newer.
//!
//! Source: DESIGN, "Freshness and revocation": fresh "as of the instant the question was sent".

use std::sync::atomic::Ordering;

use crate::faults::Fault;
use crate::scenarios::{leases, storm};
use crate::stage::locked;
use crate::world::World;

const CALLERS: u64 = 4;
const SPENDERS: u64 = 3;
const CALM_MS: u64 = 2_000;
/// Less than the bound: the answer still counts.
const STALLED_MS: (u64, u64) = (1_700, 1_950);
/// After at least one question, which are asked every 400 ms.
const CUT_AFTER_MS: (u64, u64) = (400, 700);
/// Until well after the last moment at which it may count as fresh by any reckoning.
const WATCHED_MS: u64 = 4_500;

pub fn play(world: &mut World) {
    if !world.form() {
        return;
    }
    world.hire(CALLERS, SPENDERS);
    if !world.steps(CALM_MS) {
        return;
    }
    let Some(leader) = (1..=3).find(|node| leases::leads(world, *node)) else {
        return world.stage.violated("liveness", "nobody leads a cluster without faults");
    };
    let follower = if leader == 1 { 2 } else { 1 };
    locked(&world.stage.oracle).local_reader = Some(follower);
    let stalled_ms = world.rng.between(STALLED_MS.0, STALLED_MS.1);
    world.inflict(&Fault::Pause(follower, stalled_ms));
    let cut_after_ms = world.rng.between(CUT_AFTER_MS.0, CUT_AFTER_MS.1);
    if !world.steps(cut_after_ms) {
        return;
    }
    let others = (1..=3).filter(|node| *node != follower);
    let cut: Vec<(u64, u64)> = others.map(|node| (follower, node)).collect();
    cut.iter().for_each(|(a, b)| world.inflict(&Fault::Cut(*a, *b)));
    if !world.steps(WATCHED_MS) {
        return;
    }
    cut.iter().for_each(|(a, b)| world.inflict(&Fault::Mend(*a, *b)));
    world.sites.iter().for_each(|site| site.paused_until_ms.store(0, Ordering::Relaxed));
    world.stage.trace.line("--", "all faults have ended");
    {
        let mut oracle = locked(&world.stage.oracle);
        oracle.local_reader = None;
        oracle.faults_over = true;
    }
    storm::heal(world);
}
