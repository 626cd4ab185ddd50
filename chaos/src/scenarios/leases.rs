//! What the scenarios about leases share: a leader that is read from again and again, and the look out for an answer
//! that was asked for after another was elected.

use only1mcp_consensus::Role;

use crate::stage::locked;
use crate::world::World;

/// Heartbeats, and reads from the lease, before anything happens.
const CALM_MS: u64 = 1_500;

/// The leader of a formed cluster, read from its lease, and its followers. `None` where the world is over already.
pub fn begin(world: &mut World) -> Option<(u64, Vec<u64>)> {
    if !world.form() {
        return None;
    }
    let calm_ms = world.rng.between(CALM_MS, CALM_MS.saturating_mul(2));
    if !world.steps(calm_ms) {
        return None;
    }
    let Some(leader) = (1..=3).find(|node| leads(world, *node)) else {
        world.stage.violated("liveness", "nobody leads a cluster without faults");
        return None;
    };
    let followers: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    locked(&world.stage.oracle).lease_reader = Some(leader);
    if !world.steps(100) {
        return None;
    }
    if locked(&world.stage.oracle).lease_read_sent_ms.is_none() {
        world.stage.violated("the harness", "the leader answers no read from its lease");
        return None;
    }
    Some((leader, followers))
}

pub fn leads(world: &World, node: u64) -> bool {
    world.live(node).is_some_and(|live| live.handle.status().role == Role::Leader)
}

/// INVARIANT: P8, lease reads: none is answered that was asked after another node was elected.
pub fn watch(world: &mut World, leader: u64, followers: &[u64], watched_ms: u64) {
    let mut elected = None;
    let end = world.now_ms().saturating_add(watched_ms);
    while world.now_ms() < end {
        if !world.step() {
            return;
        }
        if elected.is_none()
            && let Some(other) = followers.iter().find(|node| leads(world, **node))
        {
            world.stage.trace.line("--", format_args!("node {other} was elected"));
            elected = Some(world.now_ms());
        }
        let read_at = locked(&world.stage.oracle).lease_read_sent_ms;
        if let (Some(elected), Some(read_at)) = (elected, read_at)
            && read_at > elected
        {
            let what = format!(
                "node {leader} answered a read from its lease that was asked at {read_at} ms; another leads since {elected} ms"
            );
            return world.stage.violated("lease reads", what);
        }
    }
    let last = locked(&world.stage.oracle).lease_read_sent_ms;
    world.stage.trace.line("--", format_args!("the last read from the lease was asked at {last:?} ms"));
    if elected.is_none() {
        world.stage.violated("liveness", "two of three nodes did not elect a leader");
    }
}
