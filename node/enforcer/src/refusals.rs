//! Refusals must not become an attack: beyond a bound they are folded into one event a second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::activity::{Caller, Record, Refusal, Unauthenticated};
use only1mcp_domain::decide::Reason;
use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::time::TimestampMs;

/// Kinds of refusal told apart within one second; past it, whatever comes is folded with its tenant's last.
const KINDS_MAX: usize = 10_000;
/// Sources told apart within one second; the largest of them are named in the event.
const SOURCES_MAX: usize = 10_000;

/// Trail first: of one tenant's, the callers of others are told apart.
type Kind = (TenantId, TenantId, PrincipalId, Reason);

#[derive(Debug, Default)]
struct Second {
    kinds: BTreeMap<Kind, (u32, Option<Box<Refusal>>)>,
    unauthenticated: u64,
    sources: BTreeMap<IpAddr, u64>,
    first_at: TimestampMs,
    last_at: TimestampMs,
}

/// Counts what happens within a second; [`Fold::flush`] is called at the end of each.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    second: Mutex<Second>,
}

impl Fold {
    /// The record to write at once, or `None` when the refusal is folded. `trail`: the tenant in whose audit trail it
    /// will stand, which the caller cannot choose freely, unlike the tenant it asked for.
    pub(crate) fn refused(&self, refusal: Refusal, trail: TenantId) -> Option<Record> {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let Caller { tenant, principal, .. } = &refusal.caller;
        let kind = (trail, tenant.clone(), principal.clone(), refusal.reason);
        if second.kinds.len() >= KINDS_MAX
            && !second.kinds.contains_key(&kind)
            && let Some((_, (_, Some(folded)))) = second.kinds.iter_mut().next_back()
        {
            folded.count = folded.count.saturating_add(1);
            return None;
        }
        let (seen, folded) = second.kinds.entry(kind).or_insert((0, None));
        *seen = seen.saturating_add(1);
        if *seen <= limits::REFUSALS_PER_SECOND_MAX {
            return Some(Record::Refusal(Box::new(refusal)));
        }
        match folded {
            Some(folded) => {
                folded.count = folded.count.saturating_add(1);
                folded.last_at = refusal.last_at;
            }
            None => *folded = Some(Box::new(refusal)),
        }
        None
    }

    /// Counts a failed authentication; it never becomes an event of its own.
    pub(crate) fn unauthenticated(&self, source: Option<IpAddr>, now: TimestampMs) {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.unauthenticated == 0 {
            second.first_at = now;
        }
        second.last_at = now;
        second.unauthenticated = second.unauthenticated.saturating_add(1);
        if let Some(source) = source
            && (second.sources.len() < SOURCES_MAX || second.sources.contains_key(&source))
        {
            let count = second.sources.entry(source).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    /// Ends the second: the folded records.
    pub(crate) fn flush(&self) -> Vec<Record> {
        let second = std::mem::take(&mut *self.second.lock().unwrap_or_else(PoisonError::into_inner));
        let mut records: Vec<Record> =
            second.kinds.into_values().filter_map(|(_, folded)| folded.map(Record::Refusal)).collect();
        if second.unauthenticated > 0 {
            let mut sources: Vec<(IpAddr, u64)> = second.sources.into_iter().collect();
            sources.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            sources.truncate(Unauthenticated::SOURCES_MAX);
            records.push(Record::Unauthenticated(Unauthenticated {
                count: second.unauthenticated,
                sources,
                first_at: second.first_at,
                last_at: second.last_at,
            }));
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::activity::ItemKind;
    use only1mcp_domain::ids::{DecisionId, Revision};

    use super::*;

    fn acme() -> TenantId {
        TenantId::new("acme").unwrap()
    }

    fn refusal(principal: &str) -> Refusal {
        Refusal {
            decision: DecisionId([1; 16]),
            caller: Caller {
                tenant: acme(),
                principal: PrincipalId::new(principal).unwrap(),
                key: None,
                session: None,
                project: None,
                ip: None,
                user_agent: String::new(),
                personal: None,
                request_id: String::new(),
            },
            tenant: acme(),
            kind: ItemKind::Tool,
            item: "demo__echo".to_owned(),
            reason: Reason::NoPermission,
            revision: Revision(1),
            count: 1,
            first_at: TimestampMs(1),
            last_at: TimestampMs(1),
        }
    }

    #[test]
    fn a_flood_becomes_one_event_and_hides_nobody_else() {
        let fold = Fold::default();
        let single = (0..1_000).filter_map(|_| fold.refused(refusal("mallory"), acme())).count();
        assert_eq!(single, limits::REFUSALS_PER_SECOND_MAX as usize);
        assert!(fold.refused(refusal("alice"), acme()).is_some());
        let elsewhere = fold.refused(refusal("mallory"), TenantId::system());
        assert!(elsewhere.is_some(), "each trail is told");
        let folded = fold.flush();
        assert_eq!(folded.len(), 1);
        let Record::Refusal(folded) = &folded[0] else { panic!("not a refusal") };
        assert_eq!(folded.count, 1_000 - limits::REFUSALS_PER_SECOND_MAX);
        assert!(fold.flush().is_empty());
        assert!(fold.refused(refusal("mallory"), acme()).is_some(), "a new second counts anew");
    }

    #[test]
    fn failed_logins_are_counted_by_source() {
        let fold = Fold::default();
        for i in 0..100u8 {
            fold.unauthenticated(Some(IpAddr::from([10, 0, 0, i % 20])), TimestampMs(u64::from(i)));
        }
        let records = fold.flush();
        let [Record::Unauthenticated(summary)] = &records[..] else { panic!("one summary") };
        assert_eq!((summary.count, summary.sources.len()), (100, Unauthenticated::SOURCES_MAX));
    }
}
