//! A node is replaced while faults strike: it is removed, journal and all, and a new one joins in its place. Its folder
//! is lost, or is an older copy put back with which the node runs for a while, or the node still runs, unaware.

use std::sync::atomic::Ordering;

use crate::faults::{Fault, Faults};
use crate::rng::Rng;
use crate::stage::locked;
use crate::world::World;

/// A restored folder holds an older vote and an older log, against which no consensus is safe where another node lags
/// too: it is put back only while the others have all that it has (seed 35).
const QUIET_MS: u64 = 30_000;
const REMOVED_MS: u64 = 30_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacement {
    None,
    /// Nothing is left of it.
    Lost,
    /// An older copy of its folder runs for this long first. Units: milliseconds.
    Restored(u64),
    /// It runs on until it has been removed.
    Alive,
}

impl Replacement {
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.between(0, 9) {
            0..=3 => Self::None,
            4..=5 => Self::Lost,
            6..=7 => Self::Restored(rng.between(300, 3_000)),
            _ => Self::Alive,
        }
    }

    /// Who goes. `Err`: an invariant was broken on the way.
    pub fn begin(self, world: &mut World, faults: &mut Faults) -> Result<Option<u64>, ()> {
        let gone = faults.node();
        match self {
            Self::None => return Ok(None),
            Self::Lost => world.inflict(&Fault::Lost(gone)),
            Self::Restored(ms) => restored(world, faults, gone, ms)?,
            Self::Alive => {}
        }
        for mend in faults.leaves(gone) {
            world.inflict(&mend);
        }
        faults.joins(world.stage.shape.spare());
        if self != Self::Alive {
            locked(&world.stage.oracle).members.retain(|member| *member != gone);
        }
        world.stage.trace.line("--", format_args!("{self:?}: n{gone} is replaced"));
        world.replace(gone);
        Ok(Some(gone))
    }

    /// Once all faults have ended. False: an invariant is broken.
    pub fn end(self, world: &mut World, gone: u64) -> bool {
        if !world.until(REMOVED_MS, |world| locked(&world.stage.oracle).replaced) {
            if !world.stage.is_violated() {
                world.stage.violated("liveness", "a node could not be replaced");
            }
            return false;
        }
        if self == Self::Alive {
            world.inflict(&Fault::Lost(gone));
        }
        true
    }
}

/// Whether every other node's log is at least as long.
fn is_spare(world: &World, gone: u64) -> bool {
    let last = |node: u64| world.live(node).map(|live| live.handle.status().last_log);
    let own = last(gone);
    own.is_some() && world.members().all(|site| last(site.node.0) >= own)
}

fn restored(world: &mut World, faults: &mut Faults, gone: u64, ms: u64) -> Result<(), ()> {
    if !world.has_copy(gone) {
        world.inflict(&Fault::Lost(gone));
        return Ok(());
    }
    for fault in faults.end() {
        world.inflict(&fault);
    }
    world.sites.iter().for_each(|site| site.paused_until_ms.store(0, Ordering::Relaxed));
    if !world.until(QUIET_MS, |world| world.all_admit() && is_spare(world, gone)) {
        if !world.stage.is_violated() {
            world.stage.violated("liveness", "the cluster did not heal");
        }
        return Err(());
    }
    world.inflict(&Fault::OldFolder(gone));
    world.inflict(&Fault::Restart(gone));
    if !world.steps(ms) {
        return Err(());
    }
    world.inflict(&Fault::Lost(gone));
    Ok(())
}
