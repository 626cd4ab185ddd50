//! A restarted voter has forgotten its promise to the leader. Were it to vote at once, another node could be elected
//! while the old leader still answers reads from its lease.
//!
//! Source: DESIGN, "Lease reads are unsafe as openraft ships them: a restarted voter forgets its promise".
//!
//! Both followers lose power and are back at once, cut off from the leader, whose lease still rests on their answers.

use only1mcp_consensus::Role;

use crate::faults::Fault;
use crate::stage::locked;
use crate::world::World;

/// Heartbeats, and reads from the lease, before anything happens.
const CALM_MS: u64 = 1_500;
/// For a moment without a write on its way.
/// Long enough for what was written to be synced.
const QUIET_STEPS: usize = 50;
const QUIET_STEPS_MAX: usize = 1_000;
/// At least 1.1 election times and an election.
const WATCHED_MS: u64 = 6_000;

pub fn play(world: &mut World) {
    if !world.form() {
        return;
    }
    let calm_ms = world.rng.between(CALM_MS, CALM_MS.saturating_mul(2));
    if !world.steps(calm_ms) {
        return;
    }
    let Some(leader) = (1..=3).find(|node| leads(world, *node)) else {
        return world.stage.violated("liveness", "nobody leads a cluster without faults");
    };
    let followers: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    locked(&world.stage.oracle).lease_reader = Some(leader);
    if !world.steps(100) {
        return;
    }
    if locked(&world.stage.oracle).lease_read_sent_ms.is_none() {
        return world.stage.violated("the harness", "the leader answers no read from its lease");
    }
    let mut quiet = 0;
    for _ in 0..QUIET_STEPS_MAX {
        quiet = if is_quiet(world) { quiet + 1 } else { 0 };
        if quiet >= QUIET_STEPS || !world.step() {
            break;
        }
    }
    for follower in &followers {
        world.inflict(&Fault::Crash(*follower));
        world.inflict(&Fault::Cut(leader, *follower));
        world.inflict(&Fault::Restart(*follower));
    }
    watch(world, leader, &followers);
}

/// Nothing is on its way. A follower that loses the end of its log keeps from voting until it was sent that again, and
/// here the only one who could is cut off: nobody would be elected.
fn is_quiet(world: &World) -> bool {
    let statuses = (1..=3).filter_map(|node| world.live(node)).map(|live| live.handle.status());
    let logs: Vec<_> = statuses.map(|status| (status.last_log, status.committed)).collect();
    logs.len() == 3
        && logs.iter().all(|(last, committed)| {
            last == committed
                && Some((last, committed)) == logs.first().map(|(last, committed)| (last, committed))
        })
}

fn leads(world: &World, node: u64) -> bool {
    world.live(node).is_some_and(|live| live.handle.status().role == Role::Leader)
}

/// INVARIANT: P8, lease reads: none is answered that was asked after another node was elected.
fn watch(world: &mut World, leader: u64, followers: &[u64]) {
    let mut elected = None;
    let end = world.now_ms().saturating_add(WATCHED_MS);
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
