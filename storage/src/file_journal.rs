//! [`Journal`] in files of our own (see `journal_format.rs`), with one thread for all writes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use only1mcp_domain::limits::{
    JOURNAL_QUEUE_BYTES_MAX, JOURNAL_QUEUE_RECORDS_MAX, JOURNAL_RECORD_BYTES_MAX, JOURNAL_SEGMENT_BYTES,
};

use crate::error::StorageError;
use crate::files::Sealed;
use crate::flushed::lock;
use crate::journal::{Journal, JournalPosition};
use crate::journal_files::{create, open, read_segment, recover, reserve};
use crate::journal_writer::{Queue, Shared, Writer};
use crate::raft_log::Flushed;
use crate::seal::SEALED_BYTES;

/// Written when the first file is durable: from then on an empty folder is damage, not a new journal.
const FORMAT: Sealed = Sealed { kind: "journal", version: 1 };

/// Sizes of the journal's files and of its queue.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    pub segment_bytes: u64,
    pub queue_bytes_max: usize,
    pub queue_records_max: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            segment_bytes: JOURNAL_SEGMENT_BYTES,
            queue_bytes_max: JOURNAL_QUEUE_BYTES_MAX,
            queue_records_max: JOURNAL_QUEUE_RECORDS_MAX,
        }
    }
}

pub struct FileJournal {
    shared: Arc<Shared>,
    options: JournalOptions,
    writer: Option<JoinHandle<()>>,
    cut: Option<String>,
}

impl FileJournal {
    /// Opens the journal in `folder`, or begins one. A torn end is cut and told by [`Journal::cut_at_open`].
    /// Errors: `Corrupt` on any other damage.
    pub fn open(folder: impl AsRef<Path>, options: JournalOptions) -> Result<Self, StorageError> {
        let folder = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&folder).map_err(|e| StorageError::io("create folder", &folder, e))?;
        let format = folder.join("format");
        let begun = FORMAT.read(&format)?.is_some();
        let mut recovered = recover(&folder)?;
        let file = match recovered.segments.last() {
            Some(active) if begun || active.end == 1 => {
                let file = open(&active.path)?;
                reserve(&file, &active.path, options.segment_bytes)?;
                file
            }
            Some(_) => return Err(StorageError::corrupt(&format, "missing, but there is a journal")),
            None if begun => return Err(StorageError::corrupt(&folder, "no journal where one was begun")),
            None => {
                let (file, segment) = create(&folder, 1, options.segment_bytes)?;
                recovered.segments.push(segment);
                file
            }
        };
        if !begun {
            FORMAT.write(&format, b"")?;
        }
        let next = recovered.segments.last().map_or(1, |s| s.end);
        let shared = Arc::new(Shared {
            folder,
            queue: Mutex::new(Queue { next, ..Queue::default() }),
            wake: Condvar::new(),
            segments: Mutex::new(recovered.segments),
            closed: AtomicBool::new(false),
        });
        let writer = Writer { shared: Arc::clone(&shared), file, segment_bytes: options.segment_bytes };
        let writer = std::thread::Builder::new()
            .name("journal-write".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| StorageError::io("start thread for", &shared.folder, e))?;
        Ok(Self { shared, options, writer: Some(writer), cut: recovered.cut })
    }
}

impl Journal for FileJournal {
    fn append(&self, record: Bytes, flushed: Flushed) -> Result<JournalPosition, StorageError> {
        if record.len() > JOURNAL_RECORD_BYTES_MAX + SEALED_BYTES {
            return Err(StorageError::TooLarge { what: "journal record", max: JOURNAL_RECORD_BYTES_MAX });
        }
        let mut queue = lock(&self.shared.queue)?;
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        let bytes = queue.bytes.saturating_add(record.len());
        if bytes > self.options.queue_bytes_max || queue.records.len() >= self.options.queue_records_max {
            return Err(StorageError::TooLarge { what: "journal queue", max: self.options.queue_bytes_max });
        }
        let position = JournalPosition(queue.next);
        queue.next = queue.next.saturating_add(1);
        queue.bytes = bytes;
        queue.records.push_back((record, flushed));
        self.shared.wake.notify_one();
        Ok(position)
    }

    fn next(&self) -> Result<JournalPosition, StorageError> {
        Ok(JournalPosition(lock(&self.shared.queue)?.next))
    }

    fn read_after(&self, after: JournalPosition) -> Result<Vec<(JournalPosition, Bytes)>, StorageError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        // Held while reading, so that no file is removed meanwhile.
        let segments = lock(&self.shared.segments)?;
        let mut out = Vec::new();
        for segment in segments.iter().filter(|s| s.end > after.0.saturating_add(1)) {
            if let Err(e) = read_segment(segment, after, &mut out) {
                self.shared.closed.store(true, Ordering::Release);
                return Err(e);
            }
        }
        Ok(out)
    }

    fn discard(&self, upto: JournalPosition) -> Result<(), StorageError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed);
        }
        let mut queue = lock(&self.shared.queue)?;
        queue.discard = queue.discard.max(Some(upto.0));
        self.shared.wake.notify_one();
        Ok(())
    }

    fn cut_at_open(&self) -> Option<String> {
        self.cut.clone()
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        if let Ok(mut queue) = self.shared.queue.lock() {
            queue.stop = true;
        }
        self.shared.wake.notify_one();
        // The last handle may go in a callback, on the thread itself.
        if let Some(writer) = self.writer.take().filter(|w| w.thread().id() != std::thread::current().id()) {
            drop(writer.join());
        }
    }
}
