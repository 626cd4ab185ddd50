//! A start: what the journal still holds of earlier lives is renumbered under a new incarnation and journaled in one
//! record, before anything is sent. Calls found open are closed as `Unknown`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use only1mcp_domain::activity::{Admission, CallOutcome, Completion, Hold, NoticeKind, Record};
use only1mcp_domain::command::Command;
use only1mcp_domain::cost::{Cost, CostSource};
use only1mcp_domain::ids::{CallId, CommandId, Digest, Incarnation};
use only1mcp_domain::ledger::Charge;
use only1mcp_domain::model::PeriodKind;
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::price::{Amounts, PriceBook};
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{State, limits};
use only1mcp_proto::codec::{decode_records, encode_records};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::batcher::{approximate_bytes, node_entry};
use crate::journal_record::{JournalRecord, Numbered};
use crate::ports::{Parts, ProposeFailure};
use crate::priced::UTC;

const PROPOSE_DEADLINE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(100);

/// What a start hands to the batcher: journaled, numbered from 1, not yet sent.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) incarnation: Incarnation,
    /// Journal position of the recovery record.
    pub(crate) position: u64,
    pub(crate) batches: Vec<(Bytes, Vec<Record>)>,
}

/// Opens this life's incarnation and carries over what earlier ones left. Waits for the cluster as long as it takes.
/// Errors: the journal is unreadable or unwritable, or the cluster refuses the node; each ends the node.
pub(crate) async fn recover(parts: &Parts) -> Result<Carried, String> {
    let found = Found::read(&parts.journal.read_all()?)?;
    let incarnation = open_incarnation(parts).await?;
    // This node's rows may be as old as its journal: only from here on the state is sure to know what was posted.
    let state = parts.cluster.state();
    let complete = found.is_complete(&state, parts);
    #[cfg(feature = "mutants")]
    let complete = complete || crate::mutants::refunds();
    let mut batches = found.unposted(&state, parts)?;
    let mut last = found.notices(&state, parts);
    // After everything that was spent is told. INVARIANT: P1
    last.push(Record::Restarted { complete });
    batches.push((encode_records(&last).into(), last));
    let record = JournalRecord::Recovery {
        incarnation,
        batches: batches.iter().map(|(bytes, _)| bytes.clone()).collect(),
    };
    let (sender, receiver) = oneshot::channel();
    let position = parts
        .journal
        .append(
            record.encode(),
            Box::new(move |ok| {
                let _ = sender.send(ok);
            }),
        )
        .ok_or("the journal takes no records")?;
    match receiver.await {
        Ok(true) => Ok(Carried { incarnation, position, batches }),
        _ => Err("the journal could not be written".to_owned()),
    }
}

/// Retried under one command id: an attempt whose end is unknown must not open two incarnations.
async fn open_incarnation(parts: &Parts) -> Result<Incarnation, String> {
    let node = parts.cluster.node();
    let mut id = [0; 16];
    parts.entropy.fill(&mut id);
    let mut applied = parts.cluster.applied();
    loop {
        let mut entry = node_entry(parts, Command::OpenIncarnation { node });
        entry.command_id = Some(CommandId(id));
        entry.request_digest = Digest([1; 32]);
        match parts.cluster.propose(entry, Instant::now() + PROPOSE_DEADLINE).await {
            Ok(Ok(Outcome::IncarnationOpened { incarnation, .. })) => {
                // Decide what was posted from this node's own state, once it stands past the opening.
                loop {
                    let state = parts.cluster.state();
                    if state.activity.get(&node).is_some_and(|a| a.incarnation >= incarnation) {
                        return Ok(incarnation);
                    }
                    if applied.changed().await.is_err() {
                        return Err("the state machine ended".to_owned());
                    }
                }
            }
            Ok(Ok(other)) => return Err(format!("opening an incarnation gave {other:?}")),
            Ok(Err(rejection)) => return Err(format!("the cluster refuses this node: {rejection}")),
            Err(ProposeFailure::Stopped(why)) => return Err(why),
            Err(ProposeFailure::NotReady | ProposeFailure::Unknown) => sleep(RETRY).await,
        }
    }
}

/// Everything that was held, as charged, and as much where the call only counts.
pub(crate) fn charges_of(holds: &[Hold], counts: &[Hold]) -> Vec<Charge> {
    let charge = |(hold, held): (&Hold, bool)| Charge {
        account: hold.account.clone(),
        end: hold.end,
        amount: hold.amount,
        held,
    };
    let held = holds.iter().map(|hold| (hold, true));
    held.chain(counts.iter().map(|hold| (hold, false))).map(charge).collect()
}

/// As many records together as a batch may have, and bytes.
fn in_batches(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut batches: Vec<Vec<Record>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let more = approximate_bytes(&record);
        let room = |batch: &&mut Vec<Record>| {
            batch.len() < limits::BATCH_RECORDS_MAX && bytes + more <= limits::BATCH_BYTES_MAX
        };
        match batches.last_mut().filter(room) {
            Some(batch) => {
                bytes += more;
                batch.push(record);
            }
            None => {
                bytes = more;
                batches.push(vec![record]);
            }
        }
    }
    batches
}

/// The record of a call that is charged its hold.
fn cost_of_unknown(state: &State, parts: &Parts, admission: &Admission) -> Option<Box<Cost>> {
    let quote = admission.quote.as_deref()?;
    let cost_center = state.tenants.get(&admission.tenant).map_or("", |tenant| &tenant.value.cost_center);
    let month = parts.zones.period(UTC, PeriodKind::Month, admission.observed_at)?.start;
    // The admission does not name it: as it is now.
    let book = PriceBook::of(state);
    let metering = book.metering(&admission.tenant, &admission.item).map(Arc::as_ref);
    let source = CostSource { admission, quote, metering, cost_center, model_answered: "", month };
    Cost::of(source, &Amounts::default()).ok().map(Box::new)
}

/// What the journal holds since the last recovery.
#[derive(Debug, Default)]
struct Found {
    incarnation: Option<Incarnation>,
    batches: BTreeMap<u64, Bytes>,
}

impl Found {
    fn read(records: &[(u64, Bytes)]) -> Result<Self, String> {
        let mut found = Self::default();
        for (position, bytes) in records {
            match JournalRecord::decode(bytes.clone()) {
                Some(JournalRecord::Recovery { incarnation, batches }) => {
                    let batches = (1..).zip(batches).collect();
                    found = Self { incarnation: Some(incarnation), batches };
                }
                Some(JournalRecord::Batch(Numbered { incarnation, sequence, records })) => {
                    if found.incarnation.is_none_or(|known| known != incarnation) {
                        // Only a journal whose older part was discarded begins with batches.
                        found = Self { incarnation: Some(incarnation), batches: BTreeMap::new() };
                    }
                    found.batches.insert(sequence, records);
                }
                None => return Err(format!("journal record {position} is not readable")),
            }
        }
        Ok(found)
    }

    /// Batches that the state has not seen, and completions for calls left open, ready to be numbered anew.
    fn unposted(&self, state: &State, parts: &Parts) -> Result<Vec<(Bytes, Vec<Record>)>, String> {
        if self.is_superseded(state, parts) {
            return Ok(Vec::new());
        }
        let posted = self.posted(state, parts);
        let mut open: BTreeMap<CallId, Box<Admission>> = BTreeMap::new();
        let mut closed = BTreeSet::new();
        let mut unposted = Vec::new();
        for (sequence, bytes) in &self.batches {
            let records = decode_records(bytes).map_err(|e| format!("journal batch {sequence}: {e}"))?;
            for record in &records {
                match record {
                    Record::Admission(a) => drop(open.insert(a.call, a.clone())),
                    Record::Completion(c) => drop(closed.insert(c.call)),
                    _ => {}
                }
            }
            if *sequence > posted {
                unposted.push((bytes.clone(), records));
            }
        }
        let now = TimestampMs(parts.clock.now_ms());
        let unknown: Vec<Record> = open
            .into_iter()
            .filter(|(call, _)| !closed.contains(call))
            .map(|(call, admission)| {
                Record::Completion(Completion {
                    call,
                    tenant: admission.tenant.clone(),
                    outcome: CallOutcome::Unknown,
                    result_digest: Digest::default(),
                    result_bytes: 0,
                    duration_ms: 0,
                    observed_at: now,
                    // Nobody knows what it cost: the most it could.
                    charges: charges_of(&admission.holds, &admission.counts),
                    cost: cost_of_unknown(state, parts, &admission),
                })
            })
            .collect();
        #[cfg(feature = "mutants")]
        let (unknown, unposted) = crate::mutants::refunded(unknown, unposted);
        #[cfg(feature = "mutants")]
        let mut unposted = unposted;
        for chunk in in_batches(unknown) {
            unposted.push((encode_records(&chunk).into(), chunk));
        }
        Ok(unposted)
    }

    /// Whether the journal surely holds all that this node did and has not posted: it was not cut, and is not a copy of
    /// an earlier one. `state`: once this life's incarnation is opened.
    fn is_complete(&self, state: &State, parts: &Parts) -> bool {
        let node = parts.cluster.node();
        let Some(activity) = state.activity.get(&node) else { return true };
        let newest = activity.window.iter().map(|seen| (seen.incarnation, seen.sequence)).max();
        let told = match (self.incarnation, newest) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(incarnation), Some((posted_in, sequence))) => {
                let highest = self.batches.keys().next_back().copied().unwrap_or(0);
                // Nothing is sent between a start and its recovery record, so no newer incarnation has posted.
                incarnation > posted_in || (incarnation == posted_in && highest >= sequence)
            }
        };
        told && parts.journal.is_whole()
    }

    /// Whether a later life than the journal's has posted: then this is a copy of an earlier journal, put back. That
    /// later life carried over all of it, so nothing of it may be sent, or closed, a second time; what the copy does not
    /// know is posted in full by its restart. INVARIANT: P1, P3
    fn is_superseded(&self, state: &State, parts: &Parts) -> bool {
        let activity = state.activity.get(&parts.cluster.node());
        let newest = activity.and_then(|activity| activity.window.iter().map(|seen| seen.incarnation).max());
        self.incarnation.zip(newest).is_some_and(|(own, newest)| own < newest)
    }

    /// The last sequence of the journal's incarnation that the state has applied. The window remembers it: between an
    /// incarnation's batches and its successor's recovery record nothing is sent.
    fn posted(&self, state: &State, parts: &Parts) -> u64 {
        let Some(activity) = state.activity.get(&parts.cluster.node()) else { return 0 };
        let in_window = activity
            .window
            .iter()
            .filter(|seen| Some(seen.incarnation) == self.incarnation)
            .map(|seen| seen.sequence)
            .max();
        in_window.unwrap_or(0)
    }

    fn notices(&self, state: &State, parts: &Parts) -> Vec<Record> {
        let mut notices = vec![Record::NodeNotice {
            kind: NoticeKind::Startup,
            detail: format!("version {}", env!("CARGO_PKG_VERSION")),
        }];
        let posted_before =
            state.activity.get(&parts.cluster.node()).is_some_and(|activity| !activity.window.is_empty());
        if self.is_superseded(state, parts) {
            notices.push(Record::NodeNotice {
                kind: NoticeKind::Alarm,
                detail:
                    "the journal is a copy of an earlier one: what it does not remember is posted in full"
                        .to_owned(),
            });
        }
        if posted_before && self.incarnation.is_none() {
            notices.push(Record::NodeNotice {
                kind: NoticeKind::Alarm,
                detail: "the journal is empty although this node was active before: it was lost or replaced"
                    .to_owned(),
            });
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::{PrincipalId, TenantId, UpstreamId};
    use only1mcp_domain::ledger::{AccountKey, LimitId};

    use super::*;

    fn completion(n: u128) -> Record {
        let tenant = TenantId::new("acme").unwrap();
        let account = AccountKey {
            tenant: tenant.clone(),
            limit: LimitId::TenantCost,
            subject: "s".repeat(limits::SUBJECT_BYTES_MAX).into(),
            start: TimestampMs(u64::MAX),
        };
        let charge = Charge { account, end: TimestampMs(u64::MAX), amount: i128::MAX, held: true };
        let cost = Cost {
            caller_tenant: tenant.clone(),
            principal: PrincipalId::new("p").unwrap(),
            project: None,
            cost_center: "c".repeat(limits::LABEL_BYTES_MAX),
            kind: only1mcp_domain::activity::ItemKind::Tool,
            item: "t".repeat(crate::bound::ITEM_BYTES_MAX),
            upstream: UpstreamId::new("up").unwrap(),
            provider: "m".repeat(limits::NAME_BYTES_MAX),
            model: "m".repeat(limits::NAME_BYTES_MAX),
            model_answered: "m".repeat(limits::NAME_BYTES_MAX),
            metering: None,
            lines: Vec::new(),
            discounts: Vec::new(),
            tags: only1mcp_domain::model::Tags::new(),
            held: only1mcp_domain::money::PicoUsd(i128::MAX),
            at_hold: true,
            month: TimestampMs(u64::MAX),
        };
        Record::Completion(Completion {
            call: CallId(n.to_be_bytes()),
            tenant,
            outcome: CallOutcome::Unknown,
            result_digest: Digest([9; 32]),
            result_bytes: u64::MAX,
            duration_ms: u64::MAX,
            observed_at: TimestampMs(u64::MAX),
            charges: vec![charge; 8],
            cost: Some(Box::new(cost)),
        })
    }

    /// More than a batch may have of either would be refused where it is applied, and the node with it.
    #[test]
    fn what_was_open_fits_into_batches() {
        let open = 2_000;
        let batches = in_batches((0..open).map(completion).collect());
        let mut seen = 0;
        for batch in &batches {
            assert!(batch.len() <= limits::BATCH_RECORDS_MAX);
            let bytes = encode_records(batch);
            assert!(bytes.len() <= limits::BATCH_BYTES_MAX, "{} bytes", bytes.len());
            assert_eq!(decode_records(&bytes).unwrap().len(), batch.len());
            seen += batch.len();
        }
        assert_eq!(seen, 2_000);
    }
}
