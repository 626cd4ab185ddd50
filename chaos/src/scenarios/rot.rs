//! One bit flips on one node's disk: with each five seeds in the log, the vote, the journal, a row, a segment of the audit
//! trail. The node must notice. Where others counted on what rotted it ends, and is replaced under a new id; rows it makes
//! anew and a segment it fetches again, under its own.
//!
//! Source: DESIGN, "Consensus": damage in vote or log retires a voter id for good; "The promises", P6.

use super::replacement::Replacement;
use super::storm;
use crate::faults::{Fault, Part};
use crate::scenarios::replacement;
use crate::stage::locked;
use crate::world::World;

const CALLERS: u64 = 4;
const SPENDERS: u64 = 3;
/// Long enough for calls to be under way, and events to be sealed.
const CALM_MS: u64 = 1_500;
/// A node with a row that rotted is away for so long.
const AWAY_MS: u64 = 300;

pub fn play(world: &mut World) {
    if !world.form() {
        return;
    }
    world.hire(CALLERS, SPENDERS);
    if !world.steps(CALM_MS) {
        return;
    }
    let node = world.rng.between(1, world.stage.shape.founders);
    match world.options.seed % 5 {
        1 => retired(world, node, Part::Log),
        2 => retired(world, node, Part::Vote),
        3 => retired(world, node, Part::Journal),
        4 => rows(world, node),
        _ => {
            world.inflict(&Fault::RotSegment(node));
            over(world);
        }
    }
}

/// The node ends for good, and another comes in its place.
fn retired(world: &mut World, node: u64, part: Part) {
    if replacement::rotten(world, node, part).is_err() {
        return;
    }
    let replacement = Replacement::Rotten(part);
    replacement.replace(world, node);
    if replacement.end(world, node) {
        over(world);
    }
}

/// The node stays, with rows made anew.
fn rows(world: &mut World, node: u64) {
    world.inflict(&Fault::Rot(node));
    if world.steps(AWAY_MS) {
        world.inflict(&Fault::Restart(node));
        over(world);
    }
}

fn over(world: &mut World) {
    world.stage.trace.line("--", "all faults have ended");
    locked(&world.stage.oracle).faults_over = true;
    storm::heal(world);
}
