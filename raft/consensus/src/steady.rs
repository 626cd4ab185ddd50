//! How long each member has kept up with this node as leader: one that comes and goes is neither made a voter, which
//! would put it into quorums, nor handed the leadership.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use openraft::Instant as _;
use tokio::time::Instant;

use crate::handle::Handle;
use crate::types::TypeConfig;

/// Entries a member may lag behind and still keep up.
pub const LAG_MAX: u64 = 64;
/// Looked at less often than this, what lies between is not known.
const UNSEEN_MAX: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Steady {
    members: Mutex<BTreeMap<NodeId, Kept>>,
}

#[derive(Clone, Copy)]
struct Kept {
    since: Instant,
    seen: Instant,
}

impl Steady {
    /// Notes whether `node` keeps up `now`, and tells for how long it has.
    fn look(&self, node: NodeId, keeps_up: bool, now: Instant) -> Duration {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if !keeps_up {
            members.remove(&node);
            return Duration::ZERO;
        }
        let kept = members.entry(node).or_insert(Kept { since: now, seen: now });
        if now.saturating_duration_since(kept.seen) > UNSEEN_MAX {
            kept.since = now;
        }
        kept.seen = now;
        now.saturating_duration_since(kept.since)
    }
}

impl Handle {
    /// For how long `node` has kept up, as far as this node, which leads, has looked.
    pub(crate) fn kept_up(&self, metrics: &openraft::RaftMetrics<TypeConfig>, node: NodeId) -> Duration {
        self.steady().look(node, self.keeps_up(metrics, node).unwrap_or(false), Instant::now())
    }

    fn keeps_up(&self, metrics: &openraft::RaftMetrics<TypeConfig>, node: NodeId) -> Option<bool> {
        let matched = metrics.replication.as_ref()?.get(&node.0)?.as_ref().map_or(0, |id| id.index);
        let lag = metrics.last_log_index?.saturating_sub(matched);
        let heard = metrics.heartbeat.as_ref()?.get(&node.0).copied()??.into_inner().elapsed();
        Some(lag <= LAG_MAX && heard <= Duration::from_millis(self.timing().election_ms_max))
    }

    /// How long that must be for a learner to be made a voter.
    pub(crate) fn stable(&self) -> Duration {
        let state = self.state();
        let told = state.cluster.as_ref().map(|cluster| cluster.settings.value.stable_ms);
        Duration::from_millis(told.unwrap_or(limits::STABLE_MS_DEFAULT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn counts_from_when_it_last_failed_to_keep_up() {
        let (steady, start) = (Steady::default(), Instant::now());
        assert_eq!(steady.look(NodeId(4), true, start), ms(0));
        assert_eq!(steady.look(NodeId(4), true, start + ms(900)), ms(900));
        assert_eq!(steady.look(NodeId(5), true, start + ms(900)), ms(0), "another");
        assert_eq!(steady.look(NodeId(4), true, start + ms(1_900)), ms(1_900));
        assert_eq!(steady.look(NodeId(4), false, start + ms(2_000)), ms(0));
        assert_eq!(steady.look(NodeId(4), true, start + ms(2_050)), ms(0));
        assert_eq!(steady.look(NodeId(4), true, start + ms(3_051)), ms(0), "not looked at for too long");
        assert_eq!(steady.look(NodeId(4), true, start + ms(3_151)), ms(100));
    }
}
