//! Which node is to have which duty: the one with the fewest among those that live, and whoever has one keeps it while
//! it lives, so that a node that comes back moves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use only1mcp_domain::State;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_domain::model::{Duty, DutyId};

use crate::attempt::WITHIN;

/// Assignments of one round; the rest come with the next.
const ROUND_MAX: usize = 64;

/// One duty to be given to `node`, if its fence is still `after`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub duty: DutyId,
    pub node: NodeId,
    pub after: u64,
}

/// How long a holder must not have been heard before its duties are another's: a node that is cut off begins no request
/// once its state is stale, and a request ends within its own bound.
pub fn silence(staleness_ms_max: u64) -> Duration {
    const MARGIN: Duration = Duration::from_secs(1);
    WITHIN + Duration::from_millis(staleness_ms_max.saturating_mul(11) / 10) + MARGIN
}

/// What the leader is to propose, given the nodes that it hears.
pub fn plan(state: &State, alive: &BTreeSet<NodeId>) -> Vec<Assignment> {
    let mut load: BTreeMap<NodeId, usize> = alive.iter().map(|node| (*node, 0)).collect();
    let mut without = Vec::new();
    let (retention, nobody) = (DutyId::Retention, Duty::unassigned());
    let level = state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
    // Nobody asked for this one: it is there as soon as every node understands it.
    if level >= limits::FEATURE_LEVEL_RETENTION && !state.duties.contains_key(&retention) {
        without.push((&retention, &nobody));
    }
    for (id, duty) in &state.duties {
        match duty.node.and_then(|node| load.get_mut(&node)) {
            Some(count) => *count += 1,
            None => without.push((id, duty)),
        }
    }
    let mut assignments = Vec::new();
    for (id, duty) in without.into_iter().take(ROUND_MAX) {
        let Some((node, count)) = load.iter_mut().min_by_key(|(_, count)| **count) else { break };
        *count += 1;
        assignments.push(Assignment { duty: id.clone(), node: *node, after: duty.assigned_at });
    }
    assignments
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::{AuditIndex, TenantId, WebhookId};
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    fn state(holders: &[Option<u64>]) -> State {
        let mut state = State::default();
        for (at, holder) in holders.iter().enumerate() {
            let webhook = WebhookId::new(format!("w{at:04}")).unwrap();
            let duty = Duty {
                node: holder.map(NodeId),
                assigned_at: 10 + at as u64,
                cursor: AuditIndex(0),
                attempts: 0,
                last_error: String::new(),
                told_at: TimestampMs(0),
            };
            state.duties.insert(DutyId::Webhook { tenant: TenantId::new("acme").unwrap(), webhook }, duty);
        }
        state
    }

    fn planned(holders: &[Option<u64>], alive: &[u64]) -> Vec<(u64, u64)> {
        let alive = alive.iter().map(|node| NodeId(*node)).collect();
        plan(&state(holders), &alive).into_iter().map(|a| (a.node.0, a.after)).collect()
    }

    #[test]
    fn the_one_with_the_fewest_gets_it_and_nobody_who_lives_loses_one() {
        assert_eq!(planned(&[None], &[1, 2, 3]), [(1, 10)]);
        assert_eq!(planned(&[Some(1), None, None], &[1, 2, 3]), [(2, 11), (3, 12)]);
        assert!(planned(&[Some(2), Some(2)], &[1, 2, 3]).is_empty());
        assert_eq!(planned(&[Some(2), Some(2), Some(1)], &[1, 3]), [(3, 10), (1, 11)]);
        assert!(planned(&[None, Some(9)], &[]).is_empty());
    }

    #[test]
    fn round_max() {
        let many = vec![None; ROUND_MAX + 1];
        assert_eq!(planned(&many[1..], &[1]).len(), ROUND_MAX);
        assert_eq!(planned(&many, &[1]).len(), ROUND_MAX);
    }

    #[test]
    fn silence_outlasts_whatever_a_holder_that_was_cut_off_still_does() {
        assert!(silence(2_000) > WITHIN + Duration::from_millis(2_000));
        assert!(silence(u64::MAX) > WITHIN);
    }
}
