//! Calling back from a writer thread, and taking locks, without letting one caller's panic stop all others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

use crate::error::StorageError;
use crate::raft_log::Flushed;

/// Calls `flushed`; a panic in it is logged and stays there.
pub(crate) fn call(flushed: Flushed, result: Result<(), StorageError>) {
    if catch_unwind(AssertUnwindSafe(|| flushed(result))).is_err() {
        tracing::error!("a callback of the storage writer panicked");
    }
}

/// Errors: `Closed` when a holder panicked: what it left behind is not to be trusted.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, StorageError> {
    mutex.lock().map_err(|_| StorageError::Closed)
}
