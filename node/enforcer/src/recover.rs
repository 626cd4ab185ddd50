//! A start: what the journal still holds of earlier lives is renumbered under a new incarnation and journaled in one
//! record, before anything is sent. Calls found open are closed as `Unknown`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use only1mcp_domain::activity::{CallOutcome, Completion, Hold, NoticeKind, Record};
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{CallId, CommandId, Digest, Incarnation, TenantId};
use only1mcp_domain::ledger::Charge;
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::time::TimestampMs;
use only1mcp_domain::{State, limits};
use only1mcp_proto::codec::{decode_records, encode_records};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::batcher::node_entry;
use crate::journal_record::{JournalRecord, Numbered};
use crate::ports::{Parts, ProposeFailure};

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

/// Everything that was held, as charged.
pub(crate) fn charges_of(holds: &[Hold]) -> Vec<Charge> {
    let charge = |hold: &Hold| Charge {
        account: hold.account.clone(),
        end: hold.end,
        amount: hold.amount,
        held: true,
    };
    holds.iter().map(charge).collect()
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
        let mut open: BTreeMap<CallId, (TenantId, Vec<Charge>)> = BTreeMap::new();
        let mut closed = BTreeSet::new();
        let mut unposted = Vec::new();
        for (sequence, bytes) in &self.batches {
            let records = decode_records(bytes).map_err(|e| format!("journal batch {sequence}: {e}"))?;
            for record in &records {
                match record {
                    // Nobody knows what it cost: the most it could.
                    Record::Admission(a) => {
                        drop(open.insert(a.call, (a.tenant.clone(), charges_of(&a.holds))));
                    }
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
            .map(|(call, (tenant, charges))| {
                Record::Completion(Completion {
                    call,
                    tenant,
                    outcome: CallOutcome::Unknown,
                    result_digest: Digest::default(),
                    result_bytes: 0,
                    duration_ms: 0,
                    observed_at: now,
                    charges,
                })
            })
            .collect();
        #[cfg(feature = "mutants")]
        let (unknown, unposted) = crate::mutants::refunded(unknown, unposted);
        #[cfg(feature = "mutants")]
        let mut unposted = unposted;
        for chunk in unknown.chunks(limits::BATCH_RECORDS_MAX) {
            unposted.push((encode_records(chunk).into(), chunk.to_vec()));
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
