//! [`RowGuard`]: sled's tally of all rows under a key, so that a row put back from an earlier day is noticed.
//!
//! A sealed row tells its place but not its time. The tally adds up a keyed fingerprint of every row as it lies, and is
//! sealed itself: without the key nobody can make the sum of other rows, nor read what a change did to it. Only all rows
//! together, with their tally, could be put back; that shows beside the log, and in the cluster's records of this node.

use std::fmt;
use std::sync::Arc;

use super::sealer::{Kind, Sealer};
use crate::error::StorageError;

#[derive(Clone, Default)]
pub struct RowGuard(Option<Arc<Sealer>>);

impl fmt::Debug for RowGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowGuard").field(&self.0.is_some()).finish()
    }
}

impl RowGuard {
    /// Without a key: against rot alone.
    pub fn plain() -> Self {
        Self(None)
    }

    pub fn keyed(sealer: Arc<Sealer>) -> Self {
        Self(Some(sealer))
    }

    /// `None`: the plain one is to be taken.
    pub(crate) fn fingerprint(&self, stored_key: &[u8], stored: &[u8]) -> Option<u64> {
        let sealer = self.0.as_ref()?;
        let length = u64::try_from(stored_key.len()).unwrap_or(u64::MAX).to_le_bytes();
        Some(sealer.fingerprint(&[length.as_slice(), stored_key, stored].concat()))
    }

    pub(crate) fn seal(&self, tally: Vec<u8>) -> Result<Vec<u8>, StorageError> {
        self.0.as_ref().map_or(Ok(tally.clone()), |sealer| sealer.seal(Kind::Tally, &[], &tally))
    }

    pub(crate) fn open(&self, stored: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.0.as_ref().map_or_else(|| Ok(stored.to_vec()), |sealer| sealer.open(Kind::Tally, &[], stored))
    }
}
