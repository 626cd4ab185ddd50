//! Random faults under load; then all of them end, and the cluster must heal, serve everybody and hold what it promised.

use std::sync::atomic::Ordering;

use crate::faults::Faults;
use crate::stage::locked;
use crate::world::{World, judge};

const CALLERS: u64 = 4;
const SPENDERS: u64 = 3;
const FAULTS_MS: u64 = 8_000;
/// After all faults have ended. A node that lost the torn end of its log waits up to ten seconds for a leader before it
/// takes part in elections again, and all three may.
const HEAL_MS: u64 = 30_000;
/// The administrator's last write, retried as often as it takes.
const DRAIN_MS: u64 = 12_000;
const SETTLE_MS: u64 = 8_000;
const SPEND_MS: u64 = 40_000;
/// The last completions reach the log.
const SPENT_MS: u64 = 300;

pub fn play(world: &mut World) {
    if !world.form() {
        return;
    }
    world.hire(CALLERS, SPENDERS);
    let mut faults = Faults::new(world.rng.fork(), world.now_ms());
    let end = world.now_ms().saturating_add(FAULTS_MS);
    while world.now_ms() < end {
        for fault in faults.due(world.now_ms()) {
            world.inflict(&fault);
        }
        if !world.step() {
            return;
        }
    }
    for fault in faults.end() {
        world.inflict(&fault);
    }
    world.sites.iter().for_each(|site| site.paused_until_ms.store(0, Ordering::Relaxed));
    world.stage.trace.line("--", "all faults have ended");
    locked(&world.stage.oracle).faults_over = true;
    heal(world);
}

/// All that is left of a limit, by callers at any node at the same time.
fn spend(world: &mut World) -> bool {
    locked(&world.stage.oracle).spend_the_rest = true;
    if world.until(SPEND_MS, |world| locked(&world.stage.oracle).spenders_done == SPENDERS) {
        let spent_ms = world.options.scenario.spent_ms(SPENT_MS);
        return world.steps(spent_ms);
    }
    if !world.stage.is_violated() {
        world.stage.violated("P1 liveness", "what is left of a limit could not be spent");
    }
    false
}

/// Nobody holds or waits.
fn is_calm(world: &World) -> bool {
    let mut live = world.sites.iter().map(|site| site.live());
    live.all(|live| {
        live.is_some_and(|live| {
            live.handle.state().ledger.waiters.is_empty()
                && live.enforcer.is_some_and(|enforcer| enforcer.held().is_empty())
        })
    })
}

/// Everything works again, for everybody, and what was promised held.
pub fn heal(world: &mut World) {
    let served = |world: &World| {
        let oracle = locked(&world.stage.oracle);
        let served = oracle.served_after_faults.values().filter(|count| **count > 2).count();
        world.all_admit() && u64::try_from(served).unwrap_or(0) == CALLERS
    };
    if !world.until(HEAL_MS, served) {
        if !world.stage.is_violated() {
            world.stage.violated("liveness", "the cluster did not heal and serve every client");
        }
        return;
    }
    world.stage.trace.line("--", "healed");
    locked(&world.stage.oracle).clients_stop = true;
    if !world.until(DRAIN_MS, |world| locked(&world.stage.oracle).administrator_is_done) {
        if !world.stage.is_violated() {
            world.stage.violated("liveness", "an administrative write found no end");
        }
        return;
    }
    // Calls end by themselves; a client that gave up may have left one behind that still waits.
    if !world.until(SETTLE_MS, is_calm) {
        if !world.stage.is_violated() {
            world.stage.violated("P1 liveness", "calls that ended still hold or wait");
        }
        return;
    }
    if !spend(world) {
        return;
    }
    let level = |world: &World| {
        let applied: Vec<_> = world
            .sites
            .iter()
            .filter_map(|site| site.live())
            .filter(|live| live.handle.audit_segments().1 == 0)
            .map(|live| (live.handle.state().last_applied, live.handle.state().chain))
            .collect();
        applied.len() == 3 && applied.windows(2).all(|pair| pair.first() == pair.last())
    };
    if !world.until(SETTLE_MS, level) {
        if !world.stage.is_violated() {
            world.stage.violated("liveness", "the nodes do not come level");
        }
        return;
    }
    judge::judge(world);
}
