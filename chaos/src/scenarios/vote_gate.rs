//! A restarted voter has forgotten its promise to the leader. Were it to vote at once, another node could be elected
//! while the old leader still answers reads from its lease.
//!
//! Source: DESIGN, "Lease reads are unsafe as openraft ships them: a restarted voter forgets its promise".
//!
//! One follower cannot hear the leader and asks for votes all the time; the other one, on whose answers the lease rests,
//! crashes and comes back at once, cut off from the leader too.

use only1mcp_consensus::Role;

use crate::faults::Fault;
use crate::stage::locked;
use crate::world::World;

/// Long enough for the follower that hears nothing to ask for votes again and again.
const LONELY_MS: u64 = 3_000;
const WATCHED_MS: u64 = 6_000;

pub fn play(world: &mut World) {
    if !world.form() || !world.steps(1_500) {
        return;
    }
    let leads = |world: &World, node: u64| {
        world.live(node).is_some_and(|live| live.handle.status().role == Role::Leader)
    };
    let Some(leader) = (1..=3).find(|node| leads(world, *node)) else {
        return world.stage.violated("liveness", "nobody leads a cluster without faults");
    };
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    let [forgetful, lonely] = others.as_slice() else { return };
    let (forgetful, lonely) = (*forgetful, *lonely);
    world.inflict(&Fault::Cut(leader, lonely));
    if !world.steps(LONELY_MS.saturating_add(world.rng.clone().between(0, 1_000))) {
        return;
    }
    if !leads(world, leader) {
        return world.stage.violated("liveness", "one cut link unseated the leader");
    }
    locked(&world.stage.oracle).lease_reader = Some(leader);
    if !world.steps(50) {
        return;
    }
    if locked(&world.stage.oracle).lease_read_sent_ms.is_none() {
        return world.stage.violated("the harness", "the leader answers no read from its lease");
    }
    world.inflict(&Fault::Crash(forgetful));
    world.inflict(&Fault::Cut(leader, forgetful));
    world.inflict(&Fault::Restart(forgetful));
    let mut elected = None;
    let end = world.now_ms().saturating_add(WATCHED_MS);
    while world.now_ms() < end {
        if !world.step() {
            return;
        }
        let now = world.now_ms();
        if elected.is_none()
            && let Some(other) = [forgetful, lonely].into_iter().find(|node| leads(world, *node))
        {
            world.stage.trace.line("--", format_args!("node {other} was elected"));
            elected = Some(now);
        }
        let read_at = locked(&world.stage.oracle).lease_read_sent_ms;
        if let (Some(elected), Some(read_at)) = (elected, read_at)
            && read_at > elected
        {
            let what = format!(
                "node {leader} answered a read from its lease that was asked at {read_at} ms; another node leads since {elected} ms"
            );
            return world.stage.violated("lease reads", what);
        }
    }
    if elected.is_none() {
        world.stage.violated("liveness", "two of three nodes did not elect a leader");
    }
}
