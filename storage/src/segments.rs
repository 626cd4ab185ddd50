//! The interface to a node's sealed segments: immutable files named by the hash of what they hold, and copies of such
//! files that are not whole yet. A snapshot on its way in lies here as such a part as well.

use std::collections::BTreeSet;

use only1mcp_domain::ids::Digest;

use crate::error::{StorageError, untold};

/// Which of the two files an address may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentCopy {
    /// Finished: never changes again.
    Whole,
    /// Being written or fetched.
    Part,
}

/// Files of segments. Unlike the other stores it does not close itself: a segment that cannot be read is made again
/// or fetched again.
pub trait Segments: Send + Sync + 'static {
    /// Bytes of a copy; `None` when it is not here.
    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError>;

    /// At most `length` bytes from `offset`; fewer at the end only.
    /// Errors: `Refused` when there is no such copy.
    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError>;

    /// Adds to the end of the part, which must be at `offset`; 0 begins one. Durable only with
    /// [`Segments::finish`]: after a crash less of it may be there.
    /// Errors: `Refused` when the part ends elsewhere.
    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes the part the whole copy, in place of any there was; durable at return.
    fn finish(&self, address: &Digest) -> Result<(), StorageError>;

    /// Removes a copy; nothing to do when there is none.
    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError>;

    /// All whole copies, ascending.
    fn addresses(&self) -> Result<Vec<Digest>, StorageError>;

    /// Seals a whole copy again, if it lies under another key than the one in use; durable at return. Returns the bytes
    /// written: none where there is nothing to do.
    fn reseal(&self, address: &Digest) -> Result<u64, StorageError> {
        let _ = address;
        Ok(0)
    }

    /// All parts, ascending. A part may become whole, or go, at any time: who looks for both looks for parts first.
    fn parts(&self) -> Result<Vec<Digest>, StorageError>;

    /// The data keys that a copy names, as it lies on the disk; none where there is no such copy.
    fn sealed_under(&self, address: &Digest, copy: SegmentCopy) -> Result<BTreeSet<u32>, StorageError> {
        let _ = (address, copy);
        Err(untold("segment"))
    }
}

impl<S: Segments + ?Sized> Segments for std::sync::Arc<S> {
    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError> {
        (**self).size(address, copy)
    }

    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        (**self).read(address, copy, offset, length)
    }

    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        (**self).append(address, offset, bytes)
    }

    fn finish(&self, address: &Digest) -> Result<(), StorageError> {
        (**self).finish(address)
    }

    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError> {
        (**self).remove(address, copy)
    }

    fn addresses(&self) -> Result<Vec<Digest>, StorageError> {
        (**self).addresses()
    }

    fn reseal(&self, address: &Digest) -> Result<u64, StorageError> {
        (**self).reseal(address)
    }

    fn parts(&self) -> Result<Vec<Digest>, StorageError> {
        (**self).parts()
    }

    fn sealed_under(&self, address: &Digest, copy: SegmentCopy) -> Result<BTreeSet<u32>, StorageError> {
        (**self).sealed_under(address, copy)
    }
}

pub(crate) fn not_here(address: &Digest) -> StorageError {
    StorageError::Refused { operation: "read segment", detail: format!("{address} is not here") }
}

pub(crate) fn elsewhere(address: &Digest, end: u64, offset: u64) -> StorageError {
    let detail = format!("the part of {address} ends at {end}, not at {offset}");
    StorageError::Refused { operation: "append to segment", detail }
}
