//! Payloads that were dropped: which event of the file records it, and whether that is what it recorded.
//!
//! A record names a segment, how many payloads went and one digest over all of their places. So it is held against every
//! event that names it, and an event named besides, or one left out, shows.

use std::collections::BTreeMap;

use crate::Fault as ProofFault;
use only1mcp_domain::audit::{
    AuditEvent, DROP_ACTION, DROP_COUNT, DROP_DIGEST, DROP_FIRST, DROP_LAST, EventOutcome,
};
use only1mcp_domain::ids::{AuditIndex, Digest};
use sha3::{Digest as _, Sha3_256};

/// Events that name one record.
struct Named {
    first: u64,
    last: u64,
    count: u64,
    hasher: Sha3_256,
}

pub struct Expiries {
    /// Before the first event of the file.
    start: u64,
    /// The file tells of everybody's events: a payload is missing in it for one reason alone.
    everyone: bool,
    named: BTreeMap<u64, Named>,
    checked: u64,
}

fn missing(index: u64, why: &str) -> ProofFault {
    ProofFault::new("PAYLOAD_MISSING", format!("the payload of event {index} is missing: {why}"))
}

impl Expiries {
    pub fn new(start: u64, tenant: &str) -> Self {
        Self { start, everyone: tenant == "*", named: BTreeMap::new(), checked: 0 }
    }

    /// An event without bytes.
    /// Errors: `PAYLOAD_MISSING`.
    pub fn place(
        &mut self,
        index: AuditIndex,
        digest: Digest,
        record: Option<u64>,
    ) -> Result<(), ProofFault> {
        let index = index.0;
        let Some(record) = record else {
            return match self.everyone {
                true => Err(missing(index, "no record of retention is named")),
                // Another tenant's.
                false => Ok(()),
            };
        };
        if record <= index {
            return Err(missing(index, "what is named does not stand behind it"));
        }
        let new = || Named { first: index, last: index, count: 0, hasher: Sha3_256::new() };
        let named = self.named.entry(record).or_insert_with(new);
        named.last = index;
        named.count = named.count.saturating_add(1);
        named.hasher.update(index.to_be_bytes());
        named.hasher.update(digest.0);
        Ok(())
    }

    /// An event with bytes.
    /// Errors: `PAYLOAD_MISSING`, `RETENTION_MISMATCH`.
    pub fn event(&mut self, index: u64, event: &AuditEvent) -> Result<(), ProofFault> {
        let Some(named) = self.named.remove(&index) else { return Ok(()) };
        let records = event.tenant.is_system()
            && event.action == DROP_ACTION
            && event.outcome == EventOutcome::Success
            && event.signature.is_some();
        if !records {
            return Err(missing(named.first, &format!("event {index} is no signed record of retention")));
        }
        let detail = |name: &str| {
            event.details.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        let numbers = [DROP_FIRST, DROP_LAST, DROP_COUNT].map(|name| detail(name)?.parse::<u64>().ok());
        let [Some(first), Some(last), Some(count)] = numbers else {
            return Err(missing(
                named.first,
                &format!("event {index} does not say which payloads it records"),
            ));
        };
        if named.first < first || named.last > last {
            return Err(missing(named.first, &format!("event {index} records those of {first} to {last}")));
        }
        if first <= self.start {
            let why = format!("what event {index} records begins before this file; export from {first} on");
            return Err(missing(named.first, &why));
        }
        let digest = Digest(named.hasher.finalize().into());
        if named.count != count || detail(DROP_DIGEST) != Some(digest.to_string().as_str()) {
            let detail =
                format!("not the payloads that event {index} records are missing in {first} to {last}");
            return Err(ProofFault::new("RETENTION_MISMATCH", detail));
        }
        self.checked = self.checked.saturating_add(named.count);
        Ok(())
    }

    /// How many payloads were found to be dropped as recorded.
    /// Errors: `PAYLOAD_MISSING`.
    pub fn finish(self) -> Result<u64, ProofFault> {
        match self.named.first_key_value() {
            None => Ok(self.checked),
            Some((record, named)) => Err(missing(named.first, &format!("event {record} is not in the file"))),
        }
    }
}
