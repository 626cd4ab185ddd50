//! How a sealed segment's bytes lie in its file.
//!
//! ```text
//! header   magic 8 | version u32 | events u32 | first u64 | inner bytes u64 | address 32 | crc32 of these u32   (LE)
//! inner    first u64 | events u32 | hash before the first 32 | records                                          (BE)
//! record   length of body u32 | crc32 of body u32 | body: index u64 | digest 32 | hash 32 | canonical bytes     (BE)
//! table    offset of each record in the file u64 | crc32 of these u32                                           (LE)
//! ```
//!
//! Version 2 is that of a segment from which payloads were dropped: index, digest and hash of such an event stay, and in
//! place of its canonical bytes stands a mark (`only1mcp_domain::audit::Expired`).
//!
//! The address is SHA3-256 of the inner bytes, which depend on the events alone: equal on every node. The table finds a
//! record without reading those before it, and can be made again from them.

use only1mcp_domain::audit::{ChainHead, SealedEvent};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::limits::{ROW_BYTES_MAX, SEGMENT_EVENTS_MAX};

use crate::error::StorageError;

pub(crate) const VERSION: u32 = 1;
/// Of a segment from which payloads were dropped: in place of at least one event's canonical bytes stands a mark.
pub(crate) const VERSION_EXPIRED: u32 = 2;
const MAGIC: [u8; 8] = *b"o1mcpseg";
pub(crate) const HEADER_BYTES: usize = 68;
pub(crate) const INNER_HEAD_BYTES: usize = 44;
pub(crate) const RECORD_HEAD_BYTES: usize = 8;
const BODY_HEAD_BYTES: usize = 72;
pub(crate) const TABLE_ENTRY_BYTES: u64 = 8;
pub(crate) const TABLE_CRC_BYTES: u64 = 4;
/// Where the first record begins.
pub(crate) const FIRST_RECORD: u64 = (HEADER_BYTES + INNER_HEAD_BYTES) as u64;

/// A segment's name: which events, what they hash to, and where the chain stands behind them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentName {
    pub first: AuditIndex,
    pub last: AuditIndex,
    /// SHA3-256 of the inner bytes.
    pub address: Digest,
    /// Of the whole file.
    pub bytes: u64,
    /// The chain's hash at `last`.
    pub hash: Digest,
}

impl SegmentName {
    pub fn holds(&self, index: AuditIndex) -> bool {
        self.first <= index && index <= self.last
    }

    /// The chain's head behind this segment.
    pub fn head(&self) -> ChainHead {
        ChainHead { index: self.last, hash: self.hash }
    }
}

pub(crate) fn corrupt(address: &Digest, detail: impl Into<String>) -> StorageError {
    StorageError::Corrupt { what: format!("segment {address}"), detail: detail.into() }
}

/// Takes numbers and hashes off the front.
struct Front<'a>(&'a [u8]);

impl Front<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub first: u64,
    pub events: u32,
    pub inner_bytes: u64,
    pub address: Digest,
    /// Whether payloads were dropped from it.
    pub expired: bool,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        let version = if self.expired { VERSION_EXPIRED } else { VERSION };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&self.events.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.inner_bytes.to_le_bytes());
        out.extend_from_slice(&self.address.0);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Errors: `Corrupt`; `Version` when a later program wrote it.
    pub fn decode(address: &Digest, bytes: &[u8]) -> Result<Self, StorageError> {
        let mut front = Front(bytes);
        let mut parse = || {
            let magic: [u8; 8] = front.take()?;
            let [version, events] = [front.take()?, front.take()?].map(u32::from_le_bytes);
            let [first, inner_bytes] = [front.take()?, front.take()?].map(u64::from_le_bytes);
            let own = Digest(front.take()?);
            let crc = u32::from_le_bytes(front.take()?);
            let expired = version == VERSION_EXPIRED;
            Some((magic, version, Self { first, events, inner_bytes, address: own, expired }, crc))
        };
        let (magic, version, header, crc) =
            parse().ok_or_else(|| corrupt(address, "its header is cut off"))?;
        if magic != MAGIC {
            return Err(corrupt(address, "it does not begin as a segment"));
        }
        let covered = bytes.get(..HEADER_BYTES.saturating_sub(4)).unwrap_or_default();
        if crc != crc32fast::hash(covered) {
            return Err(corrupt(address, "its header's checksum does not match"));
        }
        if version != VERSION && version != VERSION_EXPIRED {
            return Err(StorageError::Version {
                path: format!("segment {address}"),
                found: version,
                known: VERSION_EXPIRED,
            });
        }
        let events = usize::try_from(header.events).unwrap_or(usize::MAX);
        if events == 0 || events > SEGMENT_EVENTS_MAX || header.first == 0 {
            return Err(corrupt(address, "it says to hold no events, or too many"));
        }
        Ok(header)
    }

    pub fn last(&self) -> AuditIndex {
        AuditIndex(self.first.saturating_add(u64::from(self.events)).saturating_sub(1))
    }

    /// Where the records end and the table begins.
    pub fn records_end(&self) -> u64 {
        (HEADER_BYTES as u64).saturating_add(self.inner_bytes)
    }

    pub fn table_bytes(&self) -> u64 {
        u64::from(self.events).saturating_mul(TABLE_ENTRY_BYTES).saturating_add(TABLE_CRC_BYTES)
    }

    pub fn file_bytes(&self) -> u64 {
        self.records_end().saturating_add(self.table_bytes())
    }
}

pub(crate) fn inner_head(first: u64, events: u32, before: Digest) -> Vec<u8> {
    let mut out = Vec::with_capacity(INNER_HEAD_BYTES);
    out.extend_from_slice(&first.to_be_bytes());
    out.extend_from_slice(&events.to_be_bytes());
    out.extend_from_slice(&before.0);
    out
}

/// First index, number of events, and the hash before them.
pub(crate) fn parse_inner_head(bytes: &[u8]) -> Option<(u64, u32, Digest)> {
    let mut front = Front(bytes);
    Some((u64::from_be_bytes(front.take()?), u32::from_be_bytes(front.take()?), Digest(front.take()?)))
}

/// Errors: `TooLarge`.
pub(crate) fn encode_record(event: &SealedEvent) -> Result<Vec<u8>, StorageError> {
    let too_large = StorageError::TooLarge { what: "segment record", max: ROW_BYTES_MAX };
    if event.bytes.len() > ROW_BYTES_MAX {
        return Err(too_large);
    }
    let body_bytes = BODY_HEAD_BYTES.saturating_add(event.bytes.len());
    let Ok(length) = u32::try_from(body_bytes) else { return Err(too_large) };
    let mut body = Vec::with_capacity(body_bytes);
    body.extend_from_slice(&event.index.0.to_be_bytes());
    body.extend_from_slice(&event.digest.0);
    body.extend_from_slice(&event.hash.0);
    body.extend_from_slice(&event.bytes);
    let mut out = Vec::with_capacity(RECORD_HEAD_BYTES.saturating_add(body.len()));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// Length of the body that follows a record's head.
pub(crate) fn body_bytes(head: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(*head.first_chunk()?)).ok()?;
    (BODY_HEAD_BYTES..=BODY_HEAD_BYTES.saturating_add(ROW_BYTES_MAX)).contains(&length).then_some(length)
}

/// The event of one whole record; `None` when its checksum does not match.
pub(crate) fn decode_record(record: &[u8]) -> Option<SealedEvent> {
    let mut front = Front(record);
    let length = usize::try_from(u32::from_be_bytes(front.take()?)).ok()?;
    let crc = u32::from_be_bytes(front.take()?);
    if front.0.len() != length || crc32fast::hash(front.0) != crc {
        return None;
    }
    let index = AuditIndex(u64::from_be_bytes(front.take()?));
    let [digest, hash] = [Digest(front.take()?), Digest(front.take()?)];
    Some(SealedEvent { index, bytes: front.0.to_vec(), digest, hash })
}

pub(crate) fn encode_table(offsets: &[u64]) -> Vec<u8> {
    let mut out: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}
