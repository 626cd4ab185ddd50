//! Random faults under load; then all of them end, and the cluster must heal, serve everybody and hold what it promised.

use std::sync::atomic::Ordering;

use only1mcp_domain::ids::AuditIndex;

use super::replacement::Replacement;
use crate::faults::{Fault, Faults, SEGMENT_ROT};
use crate::node::Live;
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
/// As long as a replacement.
const CHANGED_MS: u64 = 30_000;
const SETTLE_MS: u64 = 8_000;
const SPEND_MS: u64 = 40_000;
/// The last completions reach the log, and the refusals of the second, folded where there were many.
const SPENT_MS: u64 = 1_500;
/// Reading the whole trail takes the machine longer than a millisecond takes the world.
const READ_EVERY_MS: u64 = 50;
/// More than any world has.
const EVENTS_MAX: usize = 100_000;

pub fn play(world: &mut World) {
    if !world.form() {
        return;
    }
    world.hire(CALLERS, SPENDERS);
    let shape = world.stage.shape;
    let replacement = Replacement::draw(&mut world.rng, shape.rots);
    // One change of the members at a time; and of three nodes only one may have lost something.
    let alone = replacement == Replacement::None;
    let mut faults = Faults::new(world.rng.fork(), world.now_ms(), &shape, alone);
    let changes = alone && shape.changes;
    if changes {
        world.change();
    }
    let begins_ms = world.rng.between(FAULTS_MS / 4, FAULTS_MS * 3 / 4);
    if !strike(world, &mut faults, begins_ms) {
        return;
    }
    let gone = match replacement.begin(world, &mut faults) {
        Ok(gone) => gone,
        Err(()) => return,
    };
    if !strike(world, &mut faults, FAULTS_MS.saturating_sub(begins_ms)) {
        return;
    }
    for fault in faults.end() {
        world.inflict(&fault);
    }
    world.sites.iter().for_each(|site| site.paused_until_ms.store(0, Ordering::Relaxed));
    world.stage.trace.line("--", "all faults have ended");
    locked(&world.stage.oracle).faults_over = true;
    if let Some(gone) = gone
        && !replacement.end(world, gone)
    {
        return;
    }
    if changes && !changed(world) {
        return;
    }
    heal(world);
}

/// The learner that was to join has, and is gone again if that was its lot.
fn changed(world: &mut World) -> bool {
    if !world.until(CHANGED_MS, |world| locked(&world.stage.oracle).changed) {
        if !world.stage.is_violated() {
            world.stage.violated("liveness", "a member could not be added, promoted or removed");
        }
        return false;
    }
    let left = locked(&world.stage.oracle).left;
    if let Some(left) = left {
        world.inflict(&Fault::Lost(left));
    }
    true
}

/// Faults follow the learner that joins and leaves.
fn follow(world: &mut World, faults: &mut Faults) {
    let extra = world.stage.shape.spare();
    let (joined, leaving) = {
        let oracle = locked(&world.stage.oracle);
        (oracle.members.contains(&extra), oracle.leaving)
    };
    if joined {
        faults.joins(extra);
    }
    if leaving == Some(extra) && faults.is_among(extra) {
        for mend in faults.leaves(extra) {
            world.inflict(&mend);
        }
    }
}

/// Random faults for `ms`. False once an invariant is broken.
fn strike(world: &mut World, faults: &mut Faults, ms: u64) -> bool {
    let end = world.now_ms().saturating_add(ms);
    while world.now_ms() < end {
        follow(world, faults);
        for fault in faults.due(world.now_ms()) {
            world.inflict(&fault);
        }
        if !world.step() {
            return false;
        }
    }
    true
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

/// Every node has applied the same entries, and lacks nothing of the trail.
fn is_level(world: &World) -> bool {
    let applied: Vec<_> = world
        .members()
        .filter_map(|site| site.live())
        .filter(|live| live.handle.audit_segments().1 == 0)
        .map(|live| (live.handle.state().last_applied, live.handle.state().chain))
        .collect();
    applied.len() == world.members().count() && applied.windows(2).all(|pair| pair.first() == pair.last())
}

/// And whatever rotted of it is found, as it is read, and fetched again.
fn becomes_whole(world: &mut World) -> bool {
    if !locked(&world.stage.oracle).faults.contains_key(SEGMENT_ROT) {
        return true;
    }
    let reads = |live: Live| live.handle.audit_events(AuditIndex(1), EVENTS_MAX).is_ok();
    for _ in 0..SETTLE_MS / READ_EVERY_MS {
        if is_level(world) && world.members().filter_map(|site| site.live()).all(reads) {
            return true;
        }
        if !world.steps(READ_EVERY_MS) {
            return false;
        }
    }
    false
}

/// No rot goes unnoticed: each row's at the next start, each segment's once all were read, as `becomes_whole` does.
// INVARIANT: P6
fn noticed(world: &World) {
    let segments = std::mem::take(&mut locked(&world.stage.oracle).rotten_segments);
    for (node, address, rotten) in segments {
        let Some(site) = world.members().find(|site| site.node == node) else { continue };
        if site.disk.segment_bytes(&address) == Some(rotten) {
            world.stage.violated("P6 rot", format_args!("{} keeps the rotten segment {address}", site.name));
        } else {
            site.noticed(SEGMENT_ROT);
        }
    }
    let rows = locked(&world.stage.oracle).rotten_rows.clone();
    for site in world.members().filter(|site| rows.contains(&site.node)) {
        world.stage.violated("P6 rot", format_args!("{} never noticed that a row of its rotted", site.name));
    }
}

/// Nobody holds or waits.
fn is_calm(world: &World) -> bool {
    let mut live = world.members().map(|site| site.live());
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
        let served =
            locked(&world.stage.oracle).served_after_faults.values().filter(|count| **count > 2).count();
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
    // And a node that has not applied the last raise of a limit yet may refuse by the old one (seed 41).
    if !world.until(SETTLE_MS, |world| is_calm(world) && is_level(world)) {
        if !world.stage.is_violated() {
            world.stage.violated("P1 liveness", "calls that ended still hold or wait");
        }
        return;
    }
    if !spend(world) {
        return;
    }
    if !world.until(SETTLE_MS, is_level) || !becomes_whole(world) {
        if !world.stage.is_violated() {
            world.stage.violated("liveness", "the nodes do not come level");
        }
        return;
    }
    noticed(world);
    judge::judge(world);
}
