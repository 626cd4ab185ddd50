//! The storage's journal, as the enforcer's port asks for it.

use std::sync::Arc;

use bytes::Bytes;
use only1mcp_enforcer::{Flushed, JournalPort, JournalRecordAt};
use only1mcp_storage::{Journal, JournalPosition};

pub struct JournalFile(pub Arc<dyn Journal>);

impl JournalPort for JournalFile {
    fn append(&self, record: Bytes, flushed: Flushed) -> Option<u64> {
        let flushed = Box::new(move |result: Result<(), _>| {
            if let Err(error) = &result {
                tracing::error!(%error, "the journal could not be written");
            }
            flushed(result.is_ok());
        });
        match self.0.append(record, flushed) {
            Ok(JournalPosition(position)) => Some(position),
            Err(error) => {
                tracing::error!(%error, "the journal takes no record");
                None
            }
        }
    }

    fn read_all(&self) -> Result<Vec<JournalRecordAt>, String> {
        let records = self.0.read_after(JournalPosition(0)).map_err(|error| error.to_string())?;
        Ok(records.into_iter().map(|(JournalPosition(position), bytes)| (position, bytes)).collect())
    }

    fn is_whole(&self) -> bool {
        self.0.cut_at_open().is_none()
    }

    fn discard(&self, upto: u64) {
        if let Err(error) = self.0.discard(JournalPosition(upto)) {
            tracing::warn!(%error, "the journal could not be shortened");
        }
    }
}
