//! Log time never goes back, and moves on to nothing that most of the voters' clocks have not told: no single clock, a
//! year off as it may be, carries it away.
//!
//! Source: DESIGN, "The replicated state machine", log time.

use std::collections::BTreeMap;

use only1mcp_domain::command::Via;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::time::TimestampMs;

use crate::history::Step;

/// What each node's own entries told of its clock last.
#[derive(Debug, Default)]
pub struct LogTime {
    told: BTreeMap<NodeId, TimestampMs>,
}

impl LogTime {
    pub fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        if let Via::Node(node) = step.entry.actor.via {
            self.told.insert(node, step.entry.observed_at);
        }
        let (before, now) = (step.before.log_time, step.after.log_time);
        if now < before {
            return Err(format!("log time went back from {} to {}", before.0, now.0));
        }
        if now == before || step.before.cluster.is_none() {
            return Ok(());
        }
        let nodes = || step.after.nodes.iter().filter(|(_, record)| record.value.role == NodeRole::Voter);
        let told = nodes().filter(|(node, _)| self.told.get(node).is_some_and(|told| *told >= now)).count();
        let voters = nodes().count();
        if told.saturating_mul(2) > voters {
            return Ok(());
        }
        Err(format!("log time moved on to {}; {told} of {voters} voters have told so late a time", now.0))
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::State;
    use only1mcp_domain::model::NodeRecord;
    use only1mcp_domain::state::Versioned;
    use only1mcp_domain::{Applied, Outcome};

    use super::*;
    use crate::invariants::testing::tick;
    use crate::scene;

    fn state(log_time: u64) -> State {
        let mut state = State { log_time: TimestampMs(log_time), ..State::default() };
        let only1mcp_domain::command::Command::FormCluster(form) =
            scene::form(only1mcp_consensus::Timing::default()).unwrap()
        else {
            unreachable!()
        };
        let cluster = only1mcp_domain::state::Cluster {
            id: form.cluster_id,
            settings: Versioned { revision: 1, value: form.settings },
            key_hash_key: form.key_hash_key,
            session_key: form.session_key,
            next_node: NodeId(4),
            epoch: 1,
        };
        state.cluster = Some(cluster);
        for id in 1..=3 {
            let id = NodeId(id);
            let value = NodeRecord {
                id,
                name: String::new(),
                peer_address: String::new(),
                admin_address: String::new(),
                http_address: String::new(),
                region: String::new(),
                zone: String::new(),
                version: String::new(),
                role: NodeRole::Voter,
                joined_at: TimestampMs(0),
                signing_key: None,
            };
            state.nodes.insert(id, Versioned { revision: 1, value });
        }
        state
    }

    fn tell(log_time: &mut LogTime, node: u64, at: u64, before: u64, after: u64) -> Result<(), String> {
        let mut entry = tick();
        entry.actor.via = Via::Node(NodeId(node));
        entry.observed_at = TimestampMs(at);
        let outcome = Outcome::Done { log_index: 0 };
        let applied =
            Applied { outcome: Ok(outcome), effects: Vec::new(), rows: Vec::new(), audit: Vec::new() };
        let (before, after) = (state(before), state(after));
        log_time.check(&Step { index: 1, entry: &entry, applied: &applied, before: &before, after: &after })
    }

    #[test]
    fn one_clock_that_runs_away_is_found_where_log_time_follows_it() {
        let mut log_time = LogTime::default();
        assert!(tell(&mut log_time, 1, 10, 5, 5).is_ok());
        assert!(tell(&mut log_time, 2, 1_000, 5, 10).is_ok());
        assert!(tell(&mut log_time, 3, 11, 10, 11).is_ok());
        assert!(tell(&mut log_time, 2, 1_001, 11, 1_001).is_err());
        assert!(tell(&mut log_time, 2, 1_001, 11, 10).is_err());
    }
}
