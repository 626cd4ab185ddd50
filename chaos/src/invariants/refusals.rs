//! P3: each refusal stands in the chain once, by itself or, beyond the bound a second, counted in one that stands for
//! many. One given by a life that crashed afterwards may be missing: it is written after it is given. One that a crash
//! kept from being given may be there.
//!
//! Source: DESIGN, "The promises", P3, and "Refusals must not become an attack".

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_domain::audit::{AuditEvent, EventKind};
use only1mcp_domain::ids::{DecisionId, NodeId};

use super::Final;
use crate::oracle::{Life, Oracle};

/// What one refusal may stand for: the same node, caller and reason.
type Kind = (NodeId, String, String, String);

#[derive(Default)]
struct Count {
    /// In the chain, by events of one each and of many together.
    told: u64,
    /// How many refusals are in the chain without their own decision.
    folded: u64,
    /// Refused by any life, and by lives that nothing has ended.
    given: u64,
    surely: u64,
    /// Refused by such a life, and the decision stands nowhere.
    missing: u64,
}

/// `living`: the lives that nothing has ended. Gives how many refusals crashed lives lost.
pub fn check(end: &Final, oracle: &Oracle, living: &BTreeSet<Life>) -> Result<u64, String> {
    let mut standing: BTreeMap<DecisionId, u64> = BTreeMap::new();
    let mut counts: BTreeMap<Kind, Count> = BTreeMap::new();
    for event in end.events.iter().filter(|event| event.kind == EventKind::AccessDenied) {
        let Some(decision) = event.decision else { continue };
        let stands = standing.entry(decision).or_default();
        *stands = stands.saturating_add(1);
        let told = count_of(event)?;
        let kind = (event.node, event.actor.tenant.clone(), event.actor.id.clone(), event.reason.clone());
        let count = counts.entry(kind).or_default();
        count.told = count.told.saturating_add(told);
        count.folded = count.folded.saturating_add(told.saturating_sub(1));
    }
    for refused in &oracle.refused {
        let kind =
            (refused.life.node, refused.tenant.clone(), refused.principal.clone(), refused.reason.to_owned());
        let count = counts.entry(kind).or_default();
        count.given = count.given.saturating_add(1);
        let alive = living.contains(&refused.life);
        count.surely = count.surely.saturating_add(u64::from(alive));
        match standing.get(&refused.decision).copied().unwrap_or(0) {
            1 => {}
            0 => count.missing = count.missing.saturating_add(u64::from(alive)),
            stands => {
                return Err(format!(
                    "the refusal {} by {} stands {stands} times",
                    refused.decision, refused.life
                ));
            }
        }
    }
    let mut lost: u64 = 0;
    for ((node, tenant, principal, reason), count) in &counts {
        let Count { told, folded, given, surely, missing } = count;
        let invented = told > given && living.contains(&Life { node: *node, number: 1 });
        if told < surely || invented || missing > folded {
            return Err(format!(
                "n{} refused {tenant}/{principal} {given} times ({surely} of them in lives that go on) for {reason}; \
                 the chain tells {told}, {folded} of them folded, and {missing} stand nowhere by themselves",
                node.0
            ));
        }
        lost = lost.saturating_add(given.saturating_sub(*told));
    }
    Ok(lost)
}

fn count_of(event: &AuditEvent) -> Result<u64, String> {
    let told = event.details.iter().find(|(name, _)| name == "count");
    let told = told.and_then(|(_, count)| count.parse().ok());
    told.ok_or_else(|| format!("the refusal {:?} does not tell its count", event.decision))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NODE, event};
    use super::*;
    use crate::oracle::RefusedCall;

    const LIFE: Life = Life { node: NODE, number: 1 };

    fn told(decision: u8, count: &str) -> AuditEvent {
        let mut event = event("tools/call", "x", &[("count", count)]);
        event.kind = EventKind::AccessDenied;
        event.reason = "budget_exceeded".to_owned();
        event.decision = Some(DecisionId([decision; 16]));
        event
    }

    fn verdict(events: Vec<AuditEvent>, given: &[u8], alive: bool) -> Result<u64, String> {
        let refused = |decision: &u8| RefusedCall {
            life: LIFE,
            decision: DecisionId([*decision; 16]),
            tenant: "acme".to_owned(),
            principal: "c0".to_owned(),
            reason: "budget_exceeded",
        };
        let oracle = Oracle { refused: given.iter().map(refused).collect(), ..Oracle::default() };
        let end = Final { chains: BTreeMap::new(), events, states: BTreeMap::new() };
        check(&end, &oracle, &if alive { BTreeSet::from([LIFE]) } else { BTreeSet::new() })
    }

    #[test]
    fn each_by_itself_or_counted_together() {
        assert_eq!(verdict(vec![told(1, "1"), told(2, "3")], &[1, 2, 3, 4], true), Ok(0));
        assert_eq!(verdict(vec![told(1, "1")], &[1, 2], false), Ok(1), "lost with a life that crashed");
    }

    #[test]
    fn missing_doubled_or_invented_ones_are_found() {
        verdict(vec![told(1, "1")], &[1, 2], true).unwrap_err();
        verdict(vec![told(1, "1"), told(2, "2")], &[1, 2, 3, 4], true).unwrap_err();
        verdict(vec![told(1, "1"), told(1, "1")], &[1, 2], true).unwrap_err();
        verdict(vec![told(1, "5")], &[1, 2], true).unwrap_err();
        assert_eq!(verdict(vec![told(1, "1"), told(2, "1")], &[1], false), Ok(0), "the crash kept it");
        verdict(vec![told(1, "1"), told(9, "1")], &[1, 2], true).unwrap_err();
        verdict(vec![told(1, "nine")], &[1], true).unwrap_err();
    }
}
