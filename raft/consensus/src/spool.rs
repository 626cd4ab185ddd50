//! Frames on disk: of a snapshot on its way in, memory holds one frame at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use only1mcp_domain::ids::Digest;
use only1mcp_storage::{SegmentCopy, Segments, StorageError};

/// Several leaders may send at one time.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Lies beside the segments, as a part under a name that is no hash. Gone when dropped; what a crash leaves is written
/// over by the next.
pub struct Spool {
    files: Arc<dyn Segments>,
    name: Digest,
    /// Offset and length of each frame.
    frames: Vec<(u64, usize)>,
    end: u64,
}

impl Spool {
    pub fn begin(files: Arc<dyn Segments>) -> Result<Self, StorageError> {
        let mut name = [0xff; 32];
        if let Some(number) = name.last_chunk_mut::<8>() {
            *number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        }
        let name = Digest(name);
        files.remove(&name, SegmentCopy::Part)?;
        Ok(Self { files, name, frames: Vec::new(), end: 0 })
    }

    pub fn push(&mut self, frame: &Bytes) -> Result<(), StorageError> {
        self.files.append(&self.name, self.end, frame)?;
        self.frames.push((self.end, frame.len()));
        self.end = self.end.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Frames taken.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Errors: `Corrupt` where it is not there whole.
    pub fn frame(&self, number: usize) -> Result<Bytes, StorageError> {
        let cut = || StorageError::Corrupt { what: "received snapshot".into(), detail: "cut off".into() };
        let (offset, length) = self.frames.get(number).copied().ok_or_else(cut)?;
        let bytes = self.files.read(&self.name, SegmentCopy::Part, offset, length)?;
        if bytes.len() == length { Ok(bytes.into()) } else { Err(cut()) }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = self.files.remove(&self.name, SegmentCopy::Part) {
            tracing::debug!(%error, "a received snapshot could not be removed");
        }
    }
}
