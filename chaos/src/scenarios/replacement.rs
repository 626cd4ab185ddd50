//! A node is replaced while faults strike: it is removed, journal and all, and a new one joins in its place. Its folder
//! is lost, or is an older copy put back with which the node runs for a while, or the node still runs, unaware. Or its log,
//! vote or journal rotted, which it must notice and end for; or its disk lied, and what it had acknowledged is gone.
//!
//! Source: DESIGN, "Consensus": damage in vote or log retires a voter id for good.

use std::sync::atomic::Ordering;

use crate::faults::{Fault, Faults, Part};
use crate::rng::Rng;
use crate::stage::locked;
use crate::world::World;

/// A restored folder holds an older vote and an older log, against which no consensus is safe where another node lags
/// too: it is put back only while the others have all that it has (seed 35).
const QUIET_MS: u64 = 30_000;
const REMOVED_MS: u64 = 30_000;
/// A node that starts reads its disk before anything else.
const NOTICED_MS: u64 = 100;
/// A disk takes 250 ms at most.
const LIED_MS: u64 = 600;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replacement {
    None,
    /// Nothing is left of it.
    Lost,
    /// An older copy of its folder runs for this long first. Units: milliseconds.
    Restored(u64),
    /// It runs on until it has been removed.
    Alive,
    /// It finds, when it starts, what rotted.
    Rotten(Part),
    /// Of its log so many records are gone that were synced. A node that notices stays, and is sent them again; one that
    /// does not is heard no more by whoever knows that it had them, and is replaced.
    Lied {
        records: usize,
        noticed: bool,
    },
}

impl Replacement {
    pub fn draw(rng: &mut Rng, rots: bool) -> Self {
        match rng.between(0, if rots { 19 } else { 9 }) {
            0..=3 => Self::None,
            4..=5 => Self::Lost,
            6..=7 => Self::Restored(rng.between(300, 3_000)),
            8..=9 => Self::Alive,
            // One node's segments may rot.
            10..=11 => Self::None,
            12..=14 => Self::Rotten(Part::Log),
            15 => Self::Rotten(Part::Vote),
            16 => Self::Rotten(Part::Journal),
            _ => Self::Lied {
                records: usize::try_from(rng.between(1, 6)).unwrap_or(1),
                noticed: rng.percent(50),
            },
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
            Self::Rotten(part) => rotten(world, gone, part)?,
            Self::Lied { records, noticed } => {
                lied(world, faults, gone, records, noticed)?;
                if noticed {
                    return Ok(None);
                }
            }
        }
        for mend in faults.leaves(gone) {
            world.inflict(&mend);
        }
        faults.joins(world.stage.shape.spare());
        self.replace(world, gone);
        Ok(Some(gone))
    }

    /// The spare comes in its place.
    pub fn replace(self, world: &mut World, gone: u64) {
        if self != Self::Alive {
            locked(&world.stage.oracle).members.retain(|member| *member != gone);
        }
        world.stage.trace.line("--", format_args!("{self:?}: n{gone} is replaced"));
        world.replace(gone);
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

/// What one node is about to lose all others have, and have synced.
fn quiet(world: &mut World, faults: &mut Faults, gone: u64) -> Result<(), ()> {
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
    Ok(())
}

fn restored(world: &mut World, faults: &mut Faults, gone: u64, ms: u64) -> Result<(), ()> {
    if !world.has_copy(gone) {
        world.inflict(&Fault::Lost(gone));
        return Ok(());
    }
    quiet(world, faults, gone)?;
    world.inflict(&Fault::OldFolder(gone));
    world.inflict(&Fault::Restart(gone));
    if !world.steps(ms) {
        return Err(());
    }
    world.inflict(&Fault::Lost(gone));
    Ok(())
}

pub fn rotten(world: &mut World, gone: u64, part: Part) -> Result<(), ()> {
    if let Some(site) = world.site(gone) {
        site.dismiss();
    }
    let told_of = |world: &World, part: Part| locked(&world.stage.oracle).told_of(part.rot());
    let mut part = part;
    let (struck, _) = told_of(world, part);
    world.inflict(&Fault::RotForGood(gone, part));
    if told_of(world, part).0 == struck {
        // There is nothing in it yet.
        part = Part::Vote;
        world.inflict(&Fault::RotForGood(gone, part));
    }
    let (_, noticed) = told_of(world, part);
    world.inflict(&Fault::Restart(gone));
    if !world.steps(NOTICED_MS) {
        return Err(());
    }
    // INVARIANT: P6
    if world.live(gone).is_some() || told_of(world, part).1 == noticed {
        world.stage.violated("P6 rot", format_args!("n{gone} did not end, though its {part:?} rotted"));
        return Err(());
    }
    world.inflict(&Fault::Lost(gone));
    Ok(())
}

fn lied(world: &mut World, faults: &mut Faults, gone: u64, records: usize, noticed: bool) -> Result<(), ()> {
    quiet(world, faults, gone)?;
    world.inflict(&Fault::Lied(gone, records, noticed));
    world.inflict(&Fault::Restart(gone));
    // What the others have is synced by the end of it.
    if !world.steps(LIED_MS) {
        return Err(());
    }
    if !noticed {
        world.inflict(&Fault::Lost(gone));
    }
    Ok(())
}
