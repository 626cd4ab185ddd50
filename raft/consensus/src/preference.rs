//! Where the leader should be: whoever leads hands over to a voter in the wanted region and zone that has kept up for a
//! while. Reads and writes begin at the leader, so it belongs where most of them come from.

use std::collections::BTreeMap;
use std::time::Duration;

use only1mcp_domain::ids::NodeId;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use crate::handle::{Handle, WeakHandle};
use crate::membership::{Change, ChangeOutcome};

const LOOK: Duration = Duration::from_millis(250);
const HAND_OVER: Duration = Duration::from_secs(5);
/// Before the same member is tried again; twice as long each time. One that gives the leadership back has its reasons.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_DOUBLINGS_MAX: u32 = 5;

/// Members that were handed the leadership, and when they may be again.
#[derive(Default)]
struct Tried(BTreeMap<NodeId, (Instant, u32)>);

impl Tried {
    fn may(&self, node: NodeId, now: Instant) -> bool {
        self.0.get(&node).is_none_or(|(again_at, _)| now >= *again_at)
    }

    fn tried(&mut self, node: NodeId, now: Instant) {
        let times = self.0.get(&node).map_or(0, |(_, times)| *times);
        let pause = PAUSE.saturating_mul(1 << times.min(PAUSE_DOUBLINGS_MAX));
        self.0.insert(node, (now + pause, times.saturating_add(1)));
    }
}

/// Runs until Raft ends.
pub async fn run(weak: WeakHandle) {
    let mut tried = Tried::default();
    loop {
        sleep(LOOK).await;
        let Some(handle) = weak.upgrade() else { return };
        if handle.stopped_because().is_some() {
            return;
        }
        let now = Instant::now();
        let Some(to) = better_leader(&handle, |node| tried.may(node, now)) else { continue };
        tried.tried(to, now);
        tracing::info!(%to, "handing the leadership to where it is wanted");
        let outcome = handle.change_here(&Change::TransferTo(to), now + HAND_OVER).await;
        if let ChangeOutcome::Unknown { detail } | ChangeOutcome::Refused { detail } = outcome {
            tracing::info!(%to, detail, "the leadership was not taken");
        }
    }
}

/// Where this node leads: a voter that suits better and has kept up for long enough.
fn better_leader(handle: &Handle, may: impl Fn(NodeId) -> bool) -> Option<NodeId> {
    let state = handle.state();
    let settings = &state.cluster.as_ref()?.settings.value;
    if settings.leader_region.is_empty() && settings.leader_zone.is_empty() {
        return None;
    }
    let metrics = handle.raft().metrics().borrow_watched().clone();
    if metrics.current_leader != Some(handle.node().0) {
        return None;
    }
    let rank = |node: NodeId| {
        let record = state.nodes.get(&node).map(|record| &record.value);
        record.map_or(0, |record| settings.leader_rank(&record.region, &record.zone))
    };
    // One that has just started takes no part in elections for longer than a lease.
    let elections = Duration::from_millis(handle.timing().election_ms_max.saturating_mul(2));
    let stable = handle.stable().max(elections);
    let own = rank(handle.node());
    let membership = metrics.membership_config.membership();
    let voters = membership.voter_ids().map(NodeId).filter(|node| *node != handle.node());
    voters
        .filter(|node| rank(*node) > own)
        // All are looked at each time: how long one has kept up is known only of those that are.
        .filter(|node| handle.kept_up(&metrics, *node) >= stable && may(*node))
        .max_by_key(|node| (rank(*node), std::cmp::Reverse(*node)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_gives_it_back_is_tried_ever_more_seldom() {
        let (mut tried, start) = (Tried::default(), Instant::now());
        assert!(tried.may(NodeId(2), start));
        tried.tried(NodeId(2), start);
        assert!(!tried.may(NodeId(2), start + PAUSE - Duration::from_millis(1)));
        assert!(tried.may(NodeId(2), start + PAUSE) && tried.may(NodeId(3), start));
        for _ in 0..10 {
            tried.tried(NodeId(2), start);
        }
        let longest = PAUSE * (1 << PAUSE_DOUBLINGS_MAX);
        assert!(!tried.may(NodeId(2), start + longest - Duration::from_millis(1)));
        assert!(tried.may(NodeId(2), start + longest));
    }
}
