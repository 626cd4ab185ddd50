//! What consensus does wrong when told to (feature `mutants`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::ids::NodeId;
use only1mcp_domain::mutants::{Mutant, is};

use crate::types::SnapshotMeta;

static GIVEN: Mutex<BTreeMap<NodeId, u64>> = Mutex::new(BTreeMap::new());

/// The read index that a node goes by, where it found one or none.
pub(crate) fn read_index(node: NodeId, found: Option<u64>) -> Option<u64> {
    if !is(Mutant::ReadIndexReused) {
        return found;
    }
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    match found {
        Some(index) => drop(given.insert(node, index)),
        None => return given.get(&node).copied(),
    }
    found
}

/// What a snapshot says of its position.
pub(crate) fn snapshot_meta(mut meta: SnapshotMeta) -> SnapshotMeta {
    if is(Mutant::SnapshotWithoutMembership) {
        meta.last_membership = Default::default();
    }
    meta
}
