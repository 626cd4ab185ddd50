//! The one way the state changes.

use crate::command::Entry;
use crate::outcome::Applied;
use crate::state::State;

impl State {
    /// Applies the entry at `log_index`. Total: every input gives a value; nothing here reads a clock, draws a random
    /// number or iterates an unordered map.
    pub fn apply(&mut self, log_index: u64, entry: &Entry) -> Applied {
        let _ = (log_index, entry);
        unimplemented!()
    }

    /// Every row of the state (audit events are not in it: they live in the engine only).
    pub fn rows(&self) -> Vec<crate::row::RowChange> {
        unimplemented!()
    }

    /// Rebuilds the state from its rows, in any order.
    pub fn from_rows(rows: impl IntoIterator<Item = crate::row::RowValue>) -> Result<Self, crate::row::RowFault> {
        let _ = rows.into_iter();
        unimplemented!()
    }

    /// SHA3-256 over all rows in key order: equal on all nodes at equal indexes.
    pub fn digest(&self) -> crate::ids::Digest {
        unimplemented!()
    }
}
