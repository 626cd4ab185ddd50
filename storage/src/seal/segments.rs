//! [`SealedSegments`]: files of sealed frames. What is asked of it counts the bytes inside, never those of the file.
//!
//! A frame: length of what is inside, u32, its CRC-32 with the address and offset, u32, then the sealed piece. Each file
//! that a process writes has a salt of its own. A part whose end a crash tore is removed: it is written or fetched anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use only1mcp_domain::ids::Digest;

use super::sealer::{Kind, SEALED_BYTES, SealedHead, Sealer, Stream, named_by};
use crate::error::StorageError;
use crate::flushed::lock;
use crate::segments::{SegmentCopy, Segments, elsewhere, not_here};

/// Bytes inside of a frame, at most: as many are opened to read one of them.
const FRAME_BYTES: usize = 32 << 10;
const FRAME_HEAD_BYTES: usize = 8;
/// Whole files whose frames are remembered.
const KNOWN_MAX: usize = 64;

pub struct SealedSegments<S> {
    inner: S,
    sealer: Arc<Sealer>,
    /// Parts that this process writes.
    parts: Mutex<BTreeMap<Digest, Part>>,
    /// Where the frames of whole files are.
    known: Mutex<BTreeMap<Digest, Arc<Frames>>>,
    /// Held while a file is sealed again, and while one goes: it does not come back.
    replacing: Mutex<()>,
}

struct Part {
    stream: Arc<Stream>,
    frames: Frames,
}

/// Where frames begin: in what is inside, and in the file.
#[derive(Clone, Default, Debug)]
struct Frames {
    starts: Vec<(u64, u64)>,
    inside: u64,
    file: u64,
    /// Something that is no whole frame follows.
    torn: bool,
}

impl Frames {
    fn add(&mut self, inside: usize) {
        self.starts.push((self.inside, self.file));
        self.inside = self.inside.saturating_add(len64(inside));
        self.file = self.file.saturating_add(len64(FRAME_HEAD_BYTES + SEALED_BYTES + inside));
    }

    /// The frame that `offset` lies in: where it begins, and how much is inside.
    fn at(&self, offset: u64) -> Option<(u64, u64, usize)> {
        if offset >= self.inside {
            return None;
        }
        let next = self.starts.partition_point(|(inside, _)| *inside <= offset);
        let (inside, file) = self.starts.get(next.checked_sub(1)?).copied()?;
        let end = self.starts.get(next).map_or(self.inside, |(inside, _)| *inside);
        Some((inside, file, usize::try_from(end.saturating_sub(inside)).ok()?))
    }
}

fn len64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn place(address: &Digest, offset: u64) -> [u8; 40] {
    let mut out = [0; 40];
    let (name, at) = out.split_at_mut(32);
    name.copy_from_slice(&address.0);
    at.copy_from_slice(&offset.to_be_bytes());
    out
}

/// The CRC finds where a crash cut; that nobody changed anything the seal says.
fn frame_head(address: &Digest, offset: u64, inside: u32) -> [u8; FRAME_HEAD_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place(address, offset));
    hasher.update(&inside.to_le_bytes());
    let mut out = [0; FRAME_HEAD_BYTES];
    let (length, crc) = out.split_at_mut(4);
    length.copy_from_slice(&inside.to_le_bytes());
    crc.copy_from_slice(&hasher.finalize().to_le_bytes());
    out
}

impl<S: Segments> SealedSegments<S> {
    pub fn new(inner: S, sealer: Arc<Sealer>) -> Self {
        Self { inner, sealer, parts: Mutex::default(), known: Mutex::default(), replacing: Mutex::default() }
    }

    /// The frames that are there whole.
    fn walk(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<Frames>, StorageError> {
        let Some(end) = self.inner.size(address, copy)? else { return Ok(None) };
        let mut frames = Frames::default();
        while frames.file < end {
            let head = self.inner.read(address, copy, frames.file, FRAME_HEAD_BYTES)?;
            let Some(length) = head.first_chunk::<4>().map(|length| u32::from_le_bytes(*length)) else {
                break;
            };
            let Ok(inside) = usize::try_from(length) else { break };
            let sound =
                head == frame_head(address, frames.inside, length) && (1..=FRAME_BYTES).contains(&inside);
            let whole = len64(FRAME_HEAD_BYTES + SEALED_BYTES + inside) <= end.saturating_sub(frames.file);
            if !sound || !whole {
                break;
            }
            frames.add(inside);
        }
        frames.torn = frames.file != end;
        Ok(Some(frames))
    }

    fn whole(&self, address: &Digest) -> Result<Option<Arc<Frames>>, StorageError> {
        if let Some(frames) = lock(&self.known)?.get(address) {
            // A file put in its place by hand is another.
            if self.inner.size(address, SegmentCopy::Whole)? == Some(frames.file) {
                return Ok(Some(Arc::clone(frames)));
            }
        }
        let Some(frames) = self.walk(address, SegmentCopy::Whole)? else { return Ok(None) };
        let frames = Arc::new(frames);
        if frames.torn {
            return Ok(Some(frames));
        }
        let mut known = lock(&self.known)?;
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(*address, Arc::clone(&frames));
        Ok(Some(frames))
    }

    /// The part as it may be continued.
    fn part(&self, address: &Digest) -> Result<Option<Frames>, StorageError> {
        match self.walk(address, SegmentCopy::Part)? {
            Some(frames) if !frames.torn => Ok(Some(frames)),
            Some(_) => {
                self.inner.remove(address, SegmentCopy::Part)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn forget(&self, address: &Digest) -> Result<(), StorageError> {
        lock(&self.known)?.remove(address);
        Ok(())
    }

    fn read_frames(
        &self,
        (address, copy): (&Digest, SegmentCopy),
        frames: &Frames,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        if frames.torn {
            let detail = "it ends within a frame".to_owned();
            return Err(StorageError::Corrupt { what: format!("segment {address}"), detail });
        }
        let mut out = Vec::new();
        while out.len() < length {
            let at = offset.saturating_add(len64(out.len()));
            let Some((inside, file, bytes)) = frames.at(at) else { break };
            let frame = self.inner.read(address, copy, file, FRAME_HEAD_BYTES + bytes + SEALED_BYTES)?;
            let head = frame_head(address, inside, u32::try_from(bytes).unwrap_or(u32::MAX));
            let sealed = frame.strip_prefix(&head).ok_or_else(|| StorageError::Corrupt {
                what: format!("segment {address}"),
                detail: format!("the frame at {file} is not where it was"),
            })?;
            let plain = self.sealer.open(Kind::Frame, &place(address, inside), sealed)?;
            let skip = usize::try_from(at.saturating_sub(inside)).unwrap_or(usize::MAX);
            let rest = plain.get(skip..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            out.extend_from_slice(rest.get(..length - out.len()).unwrap_or(rest));
        }
        Ok(out)
    }

    /// Returns the bytes written.
    fn add(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<usize, StorageError> {
        let mut parts = lock(&self.parts)?;
        if !parts.contains_key(address) {
            let frames = self.part(address)?.unwrap_or_default();
            parts.insert(*address, Part { stream: self.sealer.stream()?, frames });
        }
        let Some(part) = parts.get_mut(address) else { return Err(not_here(address)) };
        if part.frames.inside != offset {
            return Err(elsewhere(address, part.frames.inside, offset));
        }
        let mut at = offset;
        let mut file = Vec::with_capacity(bytes.len() + FRAME_HEAD_BYTES + SEALED_BYTES);
        for piece in bytes.chunks(FRAME_BYTES) {
            let inside = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            file.extend_from_slice(&frame_head(address, at, inside));
            file.extend(part.stream.seal(Kind::Frame, &place(address, at), piece)?);
            at = at.saturating_add(len64(piece.len()));
        }
        match self.inner.append(address, part.frames.file, &file) {
            Ok(()) => {
                bytes.chunks(FRAME_BYTES).for_each(|piece| part.frames.add(piece.len()));
                Ok(file.len())
            }
            Err(error) => {
                // How much of it is there is not known.
                parts.remove(address);
                Err(error)
            }
        }
    }
}

impl<S: Segments> Segments for SealedSegments<S> {
    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError> {
        match copy {
            SegmentCopy::Whole => Ok(self.whole(address)?.map(|frames| frames.inside)),
            SegmentCopy::Part => {
                let parts = lock(&self.parts)?;
                if let Some(part) = parts.get(address) {
                    return Ok(Some(part.frames.inside));
                }
                Ok(self.part(address)?.map(|frames| frames.inside))
            }
        }
    }

    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        match copy {
            SegmentCopy::Whole => {
                let frames = self.whole(address)?.ok_or_else(|| not_here(address))?;
                self.read_frames((address, copy), &frames, offset, length)
            }
            SegmentCopy::Part => {
                let parts = lock(&self.parts)?;
                if let Some(part) = parts.get(address) {
                    return self.read_frames((address, copy), &part.frames, offset, length);
                }
                let frames = self.part(address)?.ok_or_else(|| not_here(address))?;
                self.read_frames((address, copy), &frames, offset, length)
            }
        }
    }

    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.sealer.count(self.add(address, offset, bytes)?);
        Ok(())
    }

    fn finish(&self, address: &Digest) -> Result<(), StorageError> {
        lock(&self.parts)?.remove(address);
        self.forget(address)?;
        self.inner.finish(address)
    }

    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError> {
        let _alone = lock(&self.replacing)?;
        match copy {
            SegmentCopy::Whole => self.forget(address)?,
            SegmentCopy::Part => drop(lock(&self.parts)?.remove(address)),
        }
        self.inner.remove(address, copy)
    }

    fn addresses(&self) -> Result<Vec<Digest>, StorageError> {
        self.inner.addresses()
    }

    fn parts(&self) -> Result<Vec<Digest>, StorageError> {
        self.inner.parts()
    }

    /// Of every frame: a part may have been begun under another key than it was ended. What is behind the last whole frame
    /// of a part is read by nobody.
    fn sealed_under(&self, address: &Digest, copy: SegmentCopy) -> Result<BTreeSet<u32>, StorageError> {
        let Some(frames) = self.walk(address, copy)? else { return Ok(BTreeSet::new()) };
        if frames.torn && copy == SegmentCopy::Whole {
            let detail = "it ends within a frame".to_owned();
            return Err(StorageError::Corrupt { what: format!("segment {address}"), detail });
        }
        let named = |(_, file): &(u64, u64)| {
            let at = file.saturating_add(len64(FRAME_HEAD_BYTES));
            named_by(&self.inner.read(address, copy, at, SEALED_BYTES)?, "segment")
        };
        frames.starts.iter().map(named).collect()
    }

    /// Frame by frame, so that the new file has the places of the old one, for whoever reads at this moment.
    fn reseal(&self, address: &Digest) -> Result<u64, StorageError> {
        let _alone = lock(&self.replacing)?;
        let Some(frames) = self.whole(address)? else { return Ok(0) };
        if frames.torn || frames.starts.is_empty() || lock(&self.parts)?.contains_key(address) {
            // To be fetched anew, or being written anew already.
            return Ok(0);
        }
        let head = self.inner.read(address, SegmentCopy::Whole, 0, FRAME_HEAD_BYTES + SEALED_BYTES)?;
        let head = head.get(FRAME_HEAD_BYTES..).and_then(SealedHead::of);
        if head.is_some_and(|head| head.data_key == self.sealer.current()) {
            return Ok(0);
        }
        self.inner.remove(address, SegmentCopy::Part)?;
        for (inside, _) in &frames.starts {
            let (_, _, bytes) = frames.at(*inside).ok_or_else(|| not_here(address))?;
            let piece = self.read_frames((address, SegmentCopy::Whole), &frames, *inside, bytes)?;
            self.add(address, *inside, &piece)?;
        }
        self.finish(address)?;
        Ok(frames.file)
    }
}
