//! Readings of the audit trail are recorded, and paging through it must not fill it: queries and verifications of one
//! principal leave one record a minute and trail. The first is recorded at once; those that follow are summed up at
//! the end of the minute, and lost with the node if it dies before. An export or a watch is recorded each time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::activity::{AuditRead, AuditReadKind, Record};
use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::limits;
use tokio::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
/// Readers told apart within a minute; past it, readings are recorded each time.
const READERS_MAX: usize = 10_000;

/// Whose trail (and whether everyone's), the reader, and how it was read.
type Reader = (TenantId, bool, TenantId, PrincipalId, AuditReadKind);

#[derive(Debug)]
struct Window {
    opened: Instant,
    folded: Option<AuditRead>,
}

#[derive(Debug, Default)]
pub(crate) struct AuditReads {
    windows: Mutex<BTreeMap<Reader, Window>>,
}

impl AuditReads {
    /// The record to write at once, or `None` when the reading is summed up later.
    pub(crate) fn read(&self, read: AuditRead, now: Instant) -> Option<Record> {
        match read.kind {
            AuditReadKind::Export | AuditReadKind::Watch | AuditReadKind::CostExport => {
                return Some(record(read));
            }
            AuditReadKind::Query | AuditReadKind::Verify | AuditReadKind::CostReport => {}
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = (
            read.tenant.clone(),
            read.everyone,
            read.caller.tenant.clone(),
            read.caller.principal.clone(),
            read.kind,
        );
        let full = windows.len() >= READERS_MAX;
        match windows.get_mut(&reader) {
            Some(Window { folded: Some(folded), .. }) => {
                add(folded, read);
                None
            }
            Some(window) => {
                window.folded = Some(read);
                None
            }
            None if full => Some(record(read)),
            None => {
                windows.insert(reader, Window { opened: now, folded: None });
                Some(record(read))
            }
        }
    }

    /// Sums of the minutes that have ended by `now`. Each opens the next minute, so that no two come closer than that.
    pub(crate) fn flush(&self, now: Instant) -> Vec<Record> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = Vec::new();
        windows.retain(|_, window| {
            if now.saturating_duration_since(window.opened) < MINUTE {
                return true;
            }
            let sum = window.folded.take();
            let goes_on = sum.is_some();
            sums.extend(sum.map(record));
            window.opened = now;
            goes_on
        });
        sums
    }

    /// Everything summed up so far, for a node that stops.
    pub(crate) fn end(&self) -> Vec<Record> {
        let windows = std::mem::take(&mut *self.windows.lock().unwrap_or_else(PoisonError::into_inner));
        windows.into_values().filter_map(|window| window.folded.map(record)).collect()
    }
}

fn record(read: AuditRead) -> Record {
    Record::AuditRead(Box::new(read))
}

/// What was asked is told once each, as far as there is room.
fn add(sum: &mut AuditRead, read: AuditRead) {
    sum.count = sum.count.saturating_add(read.count);
    sum.events = sum.events.saturating_add(read.events);
    sum.last_at = read.last_at;
    if sum.asked.len() < limits::EVENT_TEXT_BYTES_MAX
        && !sum.asked.split(" | ").any(|asked| asked == read.asked)
    {
        sum.asked.push_str(" | ");
        sum.asked.push_str(&read.asked);
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::activity::Caller;
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    fn reading(principal: &str, kind: AuditReadKind, asked: &str) -> AuditRead {
        let acme = TenantId::new("acme").unwrap();
        AuditRead {
            kind,
            caller: Caller {
                tenant: acme.clone(),
                principal: PrincipalId::new(principal).unwrap(),
                key: None,
                session: None,
                project: None,
                ip: None,
                user_agent: String::new(),
                personal: None,
                request_id: String::new(),
            },
            tenant: acme,
            everyone: false,
            asked: asked.to_owned(),
            events: 10,
            count: 1,
            first_at: TimestampMs(1),
            last_at: TimestampMs(1),
        }
    }

    #[test]
    fn queries_leave_one_record_a_minute_and_none_is_left_out() {
        let reads = AuditReads::default();
        let start = Instant::now();
        assert!(reads.read(reading("ann", AuditReadKind::Query, "all"), start).is_some());
        for asked in ["all", "item=a", "all", "item=b"] {
            assert!(reads.read(reading("ann", AuditReadKind::Query, asked), start).is_none());
        }
        assert!(reads.read(reading("bob", AuditReadKind::Query, "all"), start).is_some(), "another reader");
        assert!(reads.read(reading("ann", AuditReadKind::Verify, "all"), start).is_some(), "another way");
        assert!(reads.flush(start + MINUTE - Duration::from_millis(1)).is_empty());
        let sums = reads.flush(start + MINUTE);
        let [Record::AuditRead(sum)] = &sums[..] else { panic!("{sums:?}") };
        assert_eq!((sum.count, sum.events, sum.asked.as_str()), (4, 40, "all | item=a | item=b"));
        // The sum was a record of its own: the next waits for another minute, and then the reader is forgotten.
        assert!(reads.read(reading("ann", AuditReadKind::Query, "all"), start + MINUTE).is_none());
        assert_eq!(reads.flush(start + MINUTE * 2).len(), 1);
        assert!(reads.flush(start + MINUTE * 3).is_empty());
        assert!(reads.read(reading("ann", AuditReadKind::Query, "all"), start + MINUTE * 3).is_some());
        assert!(reads.read(reading("ann", AuditReadKind::Query, "all"), start + MINUTE * 3).is_none());
        assert_eq!(reads.end().len(), 1, "a node that stops tells what it has summed up");
    }

    #[test]
    fn exports_and_watches_leave_one_each() {
        let reads = AuditReads::default();
        for kind in [AuditReadKind::Export, AuditReadKind::Watch, AuditReadKind::CostExport] {
            for _ in 0..3 {
                assert!(reads.read(reading("ann", kind, "all"), Instant::now()).is_some());
            }
        }
        assert!(reads.end().is_empty());
    }

    #[test]
    fn readers_max() {
        let reads = AuditReads::default();
        let now = Instant::now();
        for n in 0..READERS_MAX {
            assert!(reads.read(reading(&format!("p{n}"), AuditReadKind::Query, "all"), now).is_some());
        }
        assert!(reads.read(reading("p0", AuditReadKind::Query, "all"), now).is_none(), "known");
        for _ in 0..2 {
            let more = reads.read(reading("one-more", AuditReadKind::Query, "all"), now);
            assert!(more.is_some(), "told each time rather than not at all");
        }
    }

    #[test]
    fn what_was_asked_does_not_grow_without_bound() {
        let reads = AuditReads::default();
        let now = Instant::now();
        for n in 0..10_000 {
            let _ = reads.read(reading("ann", AuditReadKind::Query, &format!("item={n}")), now);
        }
        let [Record::AuditRead(sum)] = &reads.end()[..] else { panic!("one sum") };
        assert_eq!(sum.count, 9_999);
        assert!(sum.asked.len() < limits::EVENT_TEXT_BYTES_MAX + 20, "{}", sum.asked.len());
    }
}
