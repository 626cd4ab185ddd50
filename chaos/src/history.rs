//! What nodes wrote to their logs, and from it every entry's effect once more: the invariants of the ledger are judged
//! entry by entry, on states that no node had to show at the right moment.

use std::collections::BTreeMap;

use bytes::Bytes;
use only1mcp_domain::activity::{Batch, Record};
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::ledger::{Account, AccountKey};
use only1mcp_domain::{Applied, Outcome, State};
use only1mcp_proto::codec::decode_entry;
use only1mcp_proto::log::{Payload, payload};
use only1mcp_storage::LogRecord;
use prost::Message as _;

/// Every node's log, also what it has purged since.
#[derive(Debug, Default)]
pub struct History {
    logs: BTreeMap<NodeId, BTreeMap<u64, (u64, Bytes)>>,
}

impl History {
    pub fn appended(&mut self, node: NodeId, records: &[LogRecord]) {
        let log = self.logs.entry(node).or_default();
        for record in records {
            log.insert(record.position.index, (record.position.term, record.payload.clone()));
        }
    }

    /// The log ends at `last`.
    pub fn ends_at(&mut self, node: NodeId, last: u64) {
        drop(self.logs.entry(node).or_default().split_off(&last.saturating_add(1)));
    }

    /// The entries up to `last`, all of them committed. A node that took a snapshot may keep an entry that never was:
    /// the others outvote it, and what comes of a wrong choice is not the state that the nodes hold.
    pub fn committed(&self, last: u64) -> Result<Vec<(u64, Entry)>, String> {
        let mut entries = Vec::new();
        for index in 1..=last {
            let mut votes: BTreeMap<&(u64, Bytes), u64> = BTreeMap::new();
            for seen in self.logs.values().filter_map(|log| log.get(&index)) {
                let count = votes.entry(seen).or_default();
                *count = count.saturating_add(1);
            }
            let chosen = votes.into_iter().max_by_key(|((term, _), count)| (*count, *term));
            let Some(((_, bytes), _)) = chosen else { continue };
            let payload =
                Payload::decode(bytes.clone()).map_err(|error| format!("entry {index}: {error}"))?;
            if let Some(payload::Kind::Entry(bytes)) = payload.kind {
                entries
                    .push((index, decode_entry(&bytes).map_err(|error| format!("entry {index}: {error}"))?));
            }
        }
        Ok(entries)
    }
}

/// One entry and what it did.
pub struct Step<'a> {
    pub index: u64,
    pub entry: &'a Entry,
    pub applied: &'a Applied,
    pub before: &'a State,
    pub after: &'a State,
}

impl Step<'_> {
    /// The batch that the entry posted.
    pub fn batch(&self) -> Option<&Batch> {
        match (&self.entry.command, &self.applied.outcome) {
            (Command::Activity(batch), Ok(Outcome::BatchApplied { .. })) => Some(batch),
            _ => None,
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.batch().into_iter().flat_map(|batch| &batch.records)
    }

    /// Accounts that the entry changed, before and after it.
    pub fn changed(&self) -> impl Iterator<Item = (&AccountKey, Account, &Account)> {
        let before = &self.before.ledger.accounts;
        self.after.ledger.accounts.iter().filter_map(move |(key, after)| match before.get(key) {
            Some(before) if before == after => None,
            Some(before) => Some((key, before.clone(), after)),
            None => Some((key, Account::new(after.end), after)),
        })
    }

    /// What the batch charges `key`, and what it returns to it.
    pub fn charged_and_returned(&self, key: &AccountKey) -> (i128, i128) {
        let (mut charged, mut returned): (i128, i128) = (0, 0);
        for record in self.records() {
            match record {
                Record::Completion(completion) => {
                    let charges = completion.charges.iter().filter(|charge| charge.account == *key);
                    charged = charges.fold(charged, |sum, charge| sum.saturating_add(charge.amount));
                }
                Record::Return(parts) => {
                    let parts = parts.iter().filter(|part| part.account == *key);
                    returned = parts.fold(returned, |sum, part| sum.saturating_add(part.amount));
                }
                _ => {}
            }
        }
        (charged, returned)
    }
}

/// Applies `entries` one after the other to an empty state and shows each step.
pub fn replay(entries: &[(u64, Entry)], mut show: impl FnMut(&Step<'_>)) -> State {
    let mut state = State::default();
    for (index, entry) in entries {
        let before = state.clone();
        let applied = state.apply(*index, entry);
        show(&Step { index: *index, entry, applied: &applied, before: &before, after: &state });
    }
    state
}
