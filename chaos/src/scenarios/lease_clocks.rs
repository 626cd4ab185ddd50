//! Clocks under a lease. The leader's may be slow against those whose promises its lease rests on, and it may stand
//! still while the host sleeps; another must not be elected while it answers reads from that lease.
//!
//! Source: Gray and Cheriton, "Leases" (SOSP 1989), on clocks that fail: the holder's slow, the grantor's fast.

use crate::faults::Fault;
use crate::scenarios::leases::{begin, watch};
use crate::world::World;

/// How much faster the followers' clocks are. An election begins after the promise of 1,000 ms and an election time of
/// at least 500: with clocks twice as fast, from 750 ms of the leader's on, when 70 % of its lease are over but not all.
const FASTER_PER_MILLE: u64 = 900;
const MUCH_FASTER_PER_MILLE: u64 = 1_100;
const WATCHED_MS: u64 = 6_000;
/// Longer than the lease and the longest election time.
const SLEPT_MS: u64 = 2_500;

/// The followers' clocks are fast, at once when they are cut off from the leader.
pub fn drift(world: &mut World) {
    let Some((leader, followers)) = begin(world) else { return };
    let faster = world.rng.between(FASTER_PER_MILLE, MUCH_FASTER_PER_MILLE);
    for follower in &followers {
        if let Some(site) = world.site(*follower) {
            site.hurry.run(faster);
        }
        world.inflict(&Fault::Cut(leader, *follower));
    }
    world.stage.trace.line("--", format_args!("the followers' clocks are fast by {faster} per mille"));
    watch(world, leader, &followers, WATCHED_MS);
}

/// The leader's host sleeps. By the leader's own clock the others go on in no time.
pub fn sleep(world: &mut World) {
    let Some((leader, followers)) = begin(world) else { return };
    let slept_ms = world.rng.between(SLEPT_MS, SLEPT_MS.saturating_mul(20));
    for follower in &followers {
        world.inflict(&Fault::Cut(leader, *follower));
        if let Some(site) = world.site(*follower) {
            site.hurry.jump(slept_ms);
        }
    }
    if let Some(site) = world.site(leader) {
        site.clock.slept(slept_ms);
    }
    world.stage.trace.line("--", format_args!("node {leader} sleeps for {slept_ms} ms"));
    watch(world, leader, &followers, WATCHED_MS);
}
