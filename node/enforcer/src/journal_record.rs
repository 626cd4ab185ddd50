//! What the journal holds: batches as they were first sent, and what each start carried over.
//!
//! `1 | incarnation u64 | sequence u64 | records` is a batch; `2 | incarnation u64 | (length u32 | records)*` is a
//! recovery, its batches numbered from 1. Numbers are big-endian; records are `only1mcp_proto::codec` bytes. Framing
//! and checksums are the storage's.

use bytes::{BufMut, Bytes, BytesMut};
use only1mcp_domain::ids::{Digest, Incarnation};
use sha3::{Digest as _, Sha3_256};

/// Records in the bytes that are journaled, sent and compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Numbered {
    pub(crate) incarnation: Incarnation,
    pub(crate) sequence: u64,
    pub(crate) records: Bytes,
}

impl Numbered {
    pub(crate) fn digest(&self) -> Digest {
        Digest(Sha3_256::digest(&self.records).into())
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum JournalRecord {
    Batch(Numbered),
    /// Replaces everything before it: written by a start, before it sends anything.
    Recovery {
        incarnation: Incarnation,
        batches: Vec<Bytes>,
    },
}

const BATCH: u8 = 1;
const RECOVERY: u8 = 2;

impl JournalRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Batch(batch) => {
                out.put_u8(BATCH);
                out.put_u64(batch.incarnation.0);
                out.put_u64(batch.sequence);
                out.put_slice(&batch.records);
            }
            Self::Recovery { incarnation, batches } => {
                out.put_u8(RECOVERY);
                out.put_u64(incarnation.0);
                for batch in batches {
                    // Batches are bounded far below 4 GiB; a longer one could not have been formed.
                    out.put_u32(u32::try_from(batch.len()).unwrap_or(u32::MAX));
                    out.put_slice(batch);
                }
            }
        }
        out.freeze()
    }

    /// `None` for bytes that are neither.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        let kind = take_u8(&mut bytes)?;
        let incarnation = Incarnation(take_u64(&mut bytes)?);
        match kind {
            BATCH => {
                let sequence = take_u64(&mut bytes)?;
                Some(Self::Batch(Numbered { incarnation, sequence, records: bytes }))
            }
            RECOVERY => {
                let mut batches = Vec::new();
                while !bytes.is_empty() {
                    let length = usize::try_from(take_u32(&mut bytes)?).ok()?;
                    if bytes.len() < length {
                        return None;
                    }
                    batches.push(bytes.split_to(length));
                }
                Some(Self::Recovery { incarnation, batches })
            }
            _ => None,
        }
    }
}

fn take<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    let head = *bytes.first_chunk::<N>()?;
    let _ = bytes.split_to(N);
    Some(head)
}

fn take_u8(bytes: &mut Bytes) -> Option<u8> {
    take::<1>(bytes).map(|[byte]| byte)
}

fn take_u32(bytes: &mut Bytes) -> Option<u32> {
    take(bytes).map(u32::from_be_bytes)
}

fn take_u64(bytes: &mut Bytes) -> Option<u64> {
    take(bytes).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_short_ones_are_refused() {
        let batch = JournalRecord::Batch(Numbered {
            incarnation: Incarnation(7),
            sequence: 9,
            records: Bytes::from_static(b"abc"),
        });
        let recovery = JournalRecord::Recovery {
            incarnation: Incarnation(8),
            batches: vec![Bytes::from_static(b"x"), Bytes::new()],
        };
        for record in [batch, recovery] {
            let bytes = record.encode();
            assert_eq!(JournalRecord::decode(bytes.clone()), Some(record));
            assert_eq!(JournalRecord::decode(bytes.slice(..8)), None);
        }
        assert_eq!(JournalRecord::decode(Bytes::from_static(b"\x03........")), None);
        // A length that runs past the end.
        assert_eq!(JournalRecord::decode(Bytes::from_static(b"\x02\0\0\0\0\0\0\0\x01\0\0\0\x05ab")), None);
    }
}
