//! Log matching: two entries with the same index and term are the same entry and follow the same entry.
//!
//! Source: Ongaro, Ousterhout (2014), figure 3, "Log Matching". Watched where entries are written to a node's log.

use std::collections::BTreeMap;

use only1mcp_domain::ids::NodeId;
use only1mcp_storage::{LogPosition, LogRecord};
use sha3::{Digest as _, Sha3_256};

#[derive(Debug, Default)]
pub struct LogMatching {
    entries: BTreeMap<LogPosition, Seen>,
}

#[derive(Debug)]
struct Seen {
    by: NodeId,
    after: Option<LogPosition>,
    payload: [u8; 32],
}

impl LogMatching {
    /// `node` appends `records` after its last entry `after`.
    pub fn appended(
        &mut self,
        node: NodeId,
        mut after: Option<LogPosition>,
        records: &[LogRecord],
    ) -> Result<(), String> {
        for record in records {
            let payload = Sha3_256::digest(&record.payload).into();
            let new = Seen { by: node, after, payload };
            let seen = self.entries.entry(record.position).or_insert(new);
            if seen.payload != payload {
                return Err(format!(
                    "nodes {} and {node} hold different entries at {:?}",
                    seen.by, record.position
                ));
            }
            if seen.after != after {
                return Err(format!(
                    "{:?} follows {:?} on node {} and {after:?} on node {node}",
                    record.position, seen.after, seen.by
                ));
            }
            after = Some(record.position);
        }
        Ok(())
    }
}
