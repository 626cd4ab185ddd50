//! Where things stand in the row store: the state's tables, the audit events, and consensus' own two rows.
//!
//! The first byte of a key is its table. Table 0 is this crate's; the others are the domain's.

use bytes::Bytes;
use only1mcp_domain::State;
use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::cost::CostRecord;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::row::{RowKey, RowValue, Table};
use only1mcp_proto::{codec, log};
use only1mcp_storage::{Engine, SegmentName, StorageError};
use prost::Message as _;

use super::beside::state_ranges;
use crate::convert;
use crate::types::{LogId, SnapshotMeta};

/// How far the rows are, and the membership at that point: an encoded `log.v1.SnapshotMeta`.
pub const APPLIED_KEY: &[u8] = &[0, b'a'];
/// Position of the last snapshot installed from another node: an encoded `log.v1.LogId`.
pub const INSTALLED_KEY: &[u8] = &[0, b'i'];

/// Rows read at one time.
const SCAN_STEP: usize = 1_024;

/// Why the rows on disk do not make a state.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("row {key}: {problem}")]
    Row { key: String, problem: String },
    #[error("the rows do not fit together: {problem}")]
    State { problem: String },
}

pub fn bad_row(key: &[u8], problem: impl ToString) -> LoadError {
    let key = key.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    LoadError::Row { key, problem: problem.to_string() }
}

/// What the row store holds.
#[derive(Clone)]
pub struct Loaded {
    pub state: State,
    pub meta: SnapshotMeta,
    pub installed: Option<LogId>,
    /// Names of the sealed segments, in order.
    pub segments: Vec<SegmentName>,
}

pub fn applied_row(meta: &SnapshotMeta) -> (Vec<u8>, Vec<u8>) {
    (APPLIED_KEY.to_vec(), convert::meta_to_wire(meta).encode_to_vec())
}

pub fn installed_row(id: &LogId) -> (Vec<u8>, Vec<u8>) {
    (INSTALLED_KEY.to_vec(), convert::log_id_to_wire(id).encode_to_vec())
}

fn read_meta(engine: &dyn Engine) -> Result<SnapshotMeta, LoadError> {
    let Some(bytes) = engine.get(APPLIED_KEY)? else {
        return Ok(SnapshotMeta::default());
    };
    let meta = log::SnapshotMeta::decode(Bytes::from(bytes)).map_err(|error| bad_row(APPLIED_KEY, error))?;
    convert::meta_from_wire(meta).map_err(|error| bad_row(APPLIED_KEY, error))
}

/// Index up to which the rows have been applied.
pub fn applied_index(engine: &dyn Engine) -> Result<Option<u64>, LoadError> {
    Ok(read_meta(engine)?.last_log_id.map(|id| id.index))
}

/// Position of the last snapshot installed from another node.
pub fn installed(engine: &dyn Engine) -> Result<Option<LogId>, LoadError> {
    let found = engine.get(INSTALLED_KEY)?.map(|bytes| log::LogId::decode(Bytes::from(bytes)));
    let found = found.transpose().map_err(|error| bad_row(INSTALLED_KEY, error))?;
    Ok(found.map(convert::log_id_from_wire))
}

/// Calls `each` with every row in `from..to`.
pub fn each_row(
    engine: &dyn Engine,
    from: Vec<u8>,
    to: &[u8],
    mut each: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut from = from;
    loop {
        let page = engine.scan(&from, to, SCAN_STEP)?;
        let full = page.len() == SCAN_STEP;
        for (key, value) in page {
            if full {
                from.clone_from(&key);
            }
            each(key, value)?;
        }
        if !full {
            return Ok(());
        }
        // The smallest key after the last one seen.
        from.push(0);
    }
}

/// Builds the state from its rows.
pub fn load(engine: &dyn Engine) -> Result<Loaded, LoadError> {
    let mut values: Vec<RowValue> = Vec::new();
    for (from, to) in state_ranges() {
        each_row(engine, vec![from], &[to], |key, value| {
            let table = key
                .first()
                .copied()
                .and_then(Table::from_number)
                .ok_or_else(|| bad_row(&key, "unknown table"))?;
            values.push(codec::decode_row(table, &value).map_err(|error| bad_row(&key, error))?);
            Ok(())
        })?;
    }
    let state = State::from_rows(values).map_err(|fault| LoadError::State { problem: fault.to_string() })?;
    let installed = installed(engine)?;
    let meta = read_meta(engine)?;
    let applied = meta.last_log_id.as_ref().map_or(0, |id| id.index);
    if state.last_applied > applied {
        return Err(LoadError::State {
            problem: format!("the state stands at {}, its log position at {applied}", state.last_applied),
        });
    }
    let segments = crate::trail::segments(engine)?;
    if let Some(last) = segments.last()
        && last.last > state.chain.index
    {
        return Err(LoadError::State {
            problem: format!("segments reach {}, the chain {}", last.last, state.chain.index),
        });
    }
    Ok(Loaded { state, meta, installed, segments })
}

/// At most `limit` audit events from `from` on, of those that are rows.
pub fn audit_events(
    engine: &dyn Engine,
    from: AuditIndex,
    limit: usize,
) -> Result<Vec<SealedEvent>, LoadError> {
    let end = [Table::Audit.number().saturating_add(1)];
    let page = engine.scan(&RowKey::audit(from).0, &end, limit)?;
    page.into_iter().map(|(key, value)| audit_event(&key, &value)).collect()
}

/// At most `limit` cost records of `tenant` with keys in `from..to`.
pub fn cost_records(
    engine: &dyn Engine,
    from: &RowKey,
    to: &RowKey,
    limit: usize,
) -> Result<Vec<CostRecord>, LoadError> {
    let page = engine.scan(&from.0, &to.0, limit)?;
    page.into_iter()
        .map(|(key, value)| match codec::decode_row(Table::Costs, &value) {
            Ok(RowValue::Cost(record)) if key == cost_key(&record).0 => Ok(*record),
            Ok(_) => Err(bad_row(&key, "not the cost record its key names")),
            Err(error) => Err(bad_row(&key, error)),
        })
        .collect()
}

fn cost_key(record: &CostRecord) -> RowKey {
    RowKey::cost(&record.tenant, record.log_time, record.audit_index, record.part)
}

pub fn audit_event(key: &[u8], value: &[u8]) -> Result<SealedEvent, LoadError> {
    match codec::decode_row(Table::Audit, value).map_err(|error| bad_row(key, error))? {
        RowValue::Audit(event) if key == RowKey::audit(event.index).0 => Ok(event),
        _ => Err(bad_row(key, "not the audit event its key names")),
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::{NodeId, TenantId};
    use only1mcp_domain::ledger::{AccountKey, LimitId};
    use only1mcp_domain::time::TimestampMs;
    use only1mcp_storage::{MemDisk, MemOptions};

    use super::*;

    /// Rows before and behind the audit events alike: accounts were once forgotten at every start.
    #[test]
    fn a_state_is_read_back_from_all_its_tables() {
        let account = RowValue::Account {
            key: AccountKey {
                tenant: TenantId::system(),
                limit: LimitId::QuotaRequests,
                subject: "".into(),
                start: TimestampMs(0),
            },
            account: only1mcp_domain::ledger::Account::new(TimestampMs(60_000)),
        };
        let clock = RowValue::Clock { node: NodeId(1), at: TimestampMs(5) };
        let settled = RowValue::Settled { node: NodeId(1), at: TimestampMs(7) };
        let state = State::from_rows([account, clock, settled]).unwrap();
        let engine = MemDisk::new(MemOptions::default()).engine();
        let rows = state.rows().into_iter().map(|row| (row.key.0, row.value.as_ref().map(codec::encode_row)));
        engine.write(rows.collect(), true).unwrap();
        assert_eq!(load(&engine).unwrap().state, state);
    }
}
