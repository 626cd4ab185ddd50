//! Log time: what the entries themselves say the time is, so that every node agrees on it and no single clock moves it
//! far ahead.

use crate::apply::change::Change;
use crate::command::{Command, Via};
use crate::ids::NodeId;
use crate::model::NodeRole;
use crate::state::State;
use crate::time::TimestampMs;

impl Change<'_> {
    /// Notes the clock that the entry carries and moves log time. Only a member's own entries tell its clock; the
    /// entry that forms the cluster, before there is a member, is taken at its word.
    pub(super) fn tell_time(&mut self) {
        let at = self.entry.observed_at;
        match self.actor().via {
            Via::Node(node) if self.state.is_member(node) => self.put_clock(node, at),
            _ if self.state.cluster.is_none() && matches!(self.entry.command, Command::FormCluster(_)) => {
                self.state.log_time = self.state.log_time.max(at);
            }
            _ => {}
        }
        if let Some(median) = voters_time(self.state) {
            self.state.log_time = self.state.log_time.max(median);
        }
        #[cfg(feature = "mutants")]
        if crate::mutants::is(crate::mutants::Mutant::ApplyReadsClock) {
            self.state.log_time = self.state.log_time.plus_ms(crate::mutants::clock_ms() % 7);
        }
    }
}

impl State {
    /// Registered and not removed.
    pub fn is_member(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|record| record.value.role != NodeRole::Removed)
    }
}

/// The lower median of the voters' clocks; a voter that has told none yet counts as the earliest, so that the others
/// alone cannot move time on with fewer than half.
fn voters_time(state: &State) -> Option<TimestampMs> {
    let voters = state.nodes.iter().filter(|(_, record)| record.value.role == NodeRole::Voter);
    let mut clocks: Vec<TimestampMs> =
        voters.map(|(id, _)| state.clocks.get(id).copied().unwrap_or_default()).collect();
    clocks.sort_unstable();
    #[cfg(feature = "mutants")]
    if crate::mutants::is(crate::mutants::Mutant::LogTimeMaximum) {
        return clocks.last().copied();
    }
    let middle = clocks.len().checked_sub(1)? / 2;
    clocks.get(middle).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NodeRecord;
    use crate::state::Versioned;

    fn state(clocks: &[Option<u64>]) -> State {
        let mut state = State::default();
        for (at, clock) in (1..).zip(clocks) {
            let id = NodeId(at);
            let record = NodeRecord {
                id,
                name: format!("n{at}"),
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
            state.nodes.insert(id, Versioned { revision: 1, value: record });
            if let Some(clock) = clock {
                state.clocks.insert(id, TimestampMs(*clock));
            }
        }
        state
    }

    #[test]
    fn time_is_the_lower_median_of_voters() {
        const YEAR_OFF: u64 = 1 << 50;
        let time = |clocks: &[Option<u64>]| voters_time(&state(clocks)).map(|t| t.0);
        assert_eq!(time(&[]), None);
        assert_eq!(time(&[Some(7)]), Some(7));
        assert_eq!(time(&[Some(7), Some(9)]), Some(7));
        assert_eq!(time(&[Some(YEAR_OFF), Some(9), Some(8)]), Some(9));
        assert_eq!(time(&[Some(YEAR_OFF), None, None]), Some(0));
        assert_eq!(time(&[Some(5), Some(6), None]), Some(5));
        assert_eq!(time(&[Some(1), Some(5), Some(6), Some(7)]), Some(5));
    }

    #[test]
    fn learners_do_not_count() {
        let mut state = state(&[Some(3), Some(100), Some(101)]);
        for id in [2, 3] {
            state.nodes.get_mut(&NodeId(id)).unwrap().value.role = NodeRole::Learner;
        }
        assert_eq!(voters_time(&state), Some(TimestampMs(3)));
    }
}
