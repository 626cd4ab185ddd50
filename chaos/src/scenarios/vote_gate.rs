//! A restarted voter has forgotten its promise to the leader. Were it to vote at once, another node could be elected
//! while the old leader still answers reads from its lease.
//!
//! Source: DESIGN, "Lease reads are unsafe as openraft ships them: a restarted voter forgets its promise".
//!
//! Both followers lose power and are back at once, cut off from the leader, whose lease still rests on their answers.

use crate::faults::Fault;
use crate::scenarios::leases::{begin, watch};
use crate::world::World;

/// For a moment without a write on its way.
/// Long enough for what was written to be synced.
const QUIET_STEPS: usize = 50;
const QUIET_STEPS_MAX: usize = 1_000;
/// At least 1.1 election times and an election.
const WATCHED_MS: u64 = 6_000;

pub fn play(world: &mut World) {
    let Some((leader, followers)) = begin(world) else { return };
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
    watch(world, leader, &followers, WATCHED_MS);
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
