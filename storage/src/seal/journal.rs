//! [`SealedJournal`]: a journal whose records are sealed, each to its number.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use only1mcp_domain::limits::JOURNAL_RECORD_BYTES_MAX;

use super::sealer::{Kind, Sealer, named_by};
use crate::error::StorageError;
use crate::flushed::lock;
use crate::journal::{Journal, JournalPosition};
use crate::raft_log::Flushed;

pub struct SealedJournal<J> {
    inner: J,
    sealer: Arc<Sealer>,
    /// Held from asking for the next number to appending under it: nobody else appends.
    appending: Mutex<()>,
    closed: AtomicBool,
}

impl<J: Journal> SealedJournal<J> {
    pub fn new(inner: J, sealer: Arc<Sealer>) -> Self {
        Self { inner, sealer, appending: Mutex::new(()), closed: AtomicBool::new(false) }
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.closed.load(Ordering::Acquire) { Err(StorageError::Closed) } else { Ok(()) }
    }

    fn close(&self, error: StorageError) -> StorageError {
        self.closed.store(true, Ordering::Release);
        error
    }
}

impl<J: Journal> Journal for SealedJournal<J> {
    fn append(&self, record: Bytes, flushed: Flushed) -> Result<JournalPosition, StorageError> {
        self.check()?;
        if record.len() > JOURNAL_RECORD_BYTES_MAX {
            return Err(StorageError::TooLarge { what: "journal record", max: JOURNAL_RECORD_BYTES_MAX });
        }
        let _alone = lock(&self.appending)?;
        let next = self.inner.next()?;
        let hold = self.sealer.hold();
        let sealed = self.sealer.seal(Kind::Journal, &next.0.to_be_bytes(), &record)?;
        let on_disk: Flushed = Box::new(move |result| {
            drop(hold);
            flushed(result);
        });
        let position = self.inner.append(sealed.into(), on_disk)?;
        if position == next {
            return Ok(position);
        }
        let detail = format!("it took number {}, {} was next", position.0, next.0);
        Err(self.close(StorageError::Corrupt { what: "journal".into(), detail }))
    }

    fn next(&self) -> Result<JournalPosition, StorageError> {
        self.inner.next()
    }

    fn read_after(&self, after: JournalPosition) -> Result<Vec<(JournalPosition, Bytes)>, StorageError> {
        self.check()?;
        let open = |(position, record): (JournalPosition, Bytes)| {
            let plain = self.sealer.open(Kind::Journal, &position.0.to_be_bytes(), &record)?;
            Ok((position, plain.into()))
        };
        let opened: Result<Vec<_>, StorageError> =
            self.inner.read_after(after)?.into_iter().map(open).collect();
        opened.map_err(|error| self.close(error))
    }

    fn discard(&self, upto: JournalPosition) -> Result<(), StorageError> {
        self.inner.discard(upto)
    }

    /// Of every record whose file is still there.
    fn sealed_under(&self) -> Result<BTreeSet<u32>, StorageError> {
        self.check()?;
        let records = self.inner.read_after(JournalPosition(0))?;
        records.iter().map(|(_, record)| named_by(record, "journal record")).collect()
    }

    fn cut_at_open(&self) -> Option<String> {
        self.inner.cut_at_open()
    }
}
