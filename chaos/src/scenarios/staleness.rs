//! A follower is far from the others, so that all it learns is old when it comes; then it is cut off altogether. It must
//! decide on nothing older than the bound, and what it decided on authority that was gone by then is caught when applied.
//!
//! Source: DESIGN, "Freshness and revocation": fresh "as of the instant the question was sent"; "The promises", P4.

use crate::client::{GRANTS, Job, REVOKES};
use crate::faults::Fault;
use crate::scenarios::{leases, storm};
use crate::stage::locked;
use crate::world::World;

const CALLERS: u64 = 4;
const SPENDERS: u64 = 3;
const CALM_MS: u64 = 1_500;
/// One way. Less than the bound there and back, with an entry's way besides: the node is fresh now and then.
const FAR_MS: (u64, u64) = (420, 600);
/// Grants come, then go, then come again.
const TURNS: u64 = 8;
const TURN_MS: (u64, u64) = (350, 600);
/// Until well after the last moment at which it may count as fresh by any reckoning.
const CUT_MS: u64 = 3_500;

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
    let others: Vec<u64> = (1..=3).filter(|node| *node != follower).collect();
    let far_ms = world.rng.between(FAR_MS.0, FAR_MS.1);
    others.iter().for_each(|node| world.inflict(&Fault::Slow(follower, *node, far_ms)));
    {
        let mut oracle = locked(&world.stage.oracle);
        oracle.members.retain(|node| *node != follower);
        oracle.behind = Some(follower);
    }
    world.client("in".to_owned(), Job::Intrude);
    for turn in 0..TURNS {
        let does = if turn.is_multiple_of(2) { GRANTS } else { REVOKES };
        locked(&world.stage.oracle).administrator_does = Some(does);
        let turn_ms = world.rng.between(TURN_MS.0, TURN_MS.1);
        if !world.steps(turn_ms) {
            return;
        }
    }
    others.iter().for_each(|node| world.inflict(&Fault::Cut(follower, *node)));
    if !world.steps(CUT_MS) {
        return;
    }
    others.iter().for_each(|node| world.inflict(&Fault::Mend(follower, *node)));
    world.stage.trace.line("--", "all faults have ended");
    {
        let mut oracle = locked(&world.stage.oracle);
        oracle.behind = None;
        oracle.administrator_does = None;
        oracle.members.push(follower);
        oracle.faults_over = true;
    }
    storm::heal(world);
}
