//! Three regions, 80 to 200 ms apart and back, a voter in each. The leader's region is lost for a while, and later
//! another is cut off; calls go on in the others, nobody admits on state older than the bound, and nothing is lost.

use std::time::Duration;

use only1mcp_consensus::Timing;

use crate::faults::Fault;
use crate::scenarios::{leases, storm};
use crate::stage::locked;
use crate::world::World;

/// One way.
pub const LATENCIES: (Duration, Duration) = (Duration::from_millis(40), Duration::from_millis(100));
/// As `ctl cluster settings set --preset regions`.
pub const TIMING: Timing = Timing { heartbeat_ms: 300, election_ms_min: 1_500, election_ms_max: 3_000 };
const CALLERS: u64 = 4;
const SPENDERS: u64 = 3;
const CALM_MS: u64 = 2_000;
/// Longer than three elections and a call's patience, so that the rest goes on without it.
const LOST_MS: u64 = 15_000;

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
    let answered = locked(&world.stage.oracle).answered_calls;
    world.inflict(&Fault::Crash(leader));
    if !world.steps(LOST_MS) {
        return;
    }
    if locked(&world.stage.oracle).answered_calls == answered {
        return world.stage.violated("liveness", "no call was answered while a region was lost");
    }
    world.inflict(&Fault::Restart(leader));
    if !world.steps(CALM_MS) {
        return;
    }
    let cut: Vec<Fault> =
        (1..=3).filter(|node| *node != leader).map(|node| Fault::Cut(leader, node)).collect();
    cut.iter().for_each(|fault| world.inflict(fault));
    if !world.steps(LOST_MS) {
        return;
    }
    for fault in &cut {
        if let Fault::Cut(a, b) = fault {
            world.inflict(&Fault::Mend(*a, *b));
        }
    }
    world.stage.trace.line("--", "all faults have ended");
    locked(&world.stage.oracle).faults_over = true;
    storm::heal(world);
}
