//! The journal's bytes. Persisted: a change is a new version.
//!
//! File: header of 32 bytes: magic (8), version u32, zero u32, position of the first record u64, CRC-32 of these 24
//! bytes, closing mark. Then frames, each one group commit: header of 32 bytes: magic (4), body length u32, records
//! u32, CRC-32 of the body, position of the first record u64, CRC-32 of these 24 bytes, closing mark; body: for each
//! record its length u32 and its bytes; closing mark. All little-endian; after the last frame zeros or the end. A
//! closing mark is 4 bytes, none of them zero: where one is zero the write did not get so far.
//!
//! The frame, not the record, carries the checksum, because a frame is what a crash may tear: frames before it are
//! on disk, or it would not have been begun. So damage in any frame but the last is rot.

use bytes::Bytes;

use crate::torn::{has_unwritten_sector, is_zero};

const FILE_MAGIC: [u8; 8] = *b"O1MCPJNL";
pub(crate) const VERSION: u32 = 1;
pub(crate) const FILE_HEADER_BYTES: usize = 32;
const FRAME_MAGIC: [u8; 4] = *b"O1JF";
const FRAME_HEADER_BYTES: usize = 32;
const CLOSING_MARK: [u8; 4] = *b"JEND";

pub(crate) fn encode_file_header(first: u64) -> Vec<u8> {
    let mut out = FILE_MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend([0; 4]);
    out.extend(first.to_le_bytes());
    close_header(&mut out);
    out
}

fn close_header(header: &mut Vec<u8>) {
    header.extend(crc32fast::hash(header).to_le_bytes());
    header.extend(CLOSING_MARK);
}

fn is_header_sound(bytes: &[u8]) -> bool {
    bytes.get(..24).map(crc32fast::hash) == read_u32(bytes, 24)
        && bytes.get(28..32) == Some(&CLOSING_MARK[..])
}

/// Whether a header's end was never written.
pub(crate) fn is_header_unfinished(bytes: &[u8]) -> bool {
    bytes.get(28..32).is_none_or(|mark| mark.contains(&0))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileHeader {
    First(u64),
    Version(u32),
    Damaged,
}

pub(crate) fn decode_file_header(bytes: &[u8]) -> FileHeader {
    let sound = bytes.get(..8) == Some(&FILE_MAGIC[..]) && is_header_sound(bytes);
    match (read_u32(bytes, 8), read_u64(bytes, 16)) {
        (Some(VERSION), Some(first)) if sound => FileHeader::First(first),
        (Some(version), Some(_)) if sound => FileHeader::Version(version),
        _ => FileHeader::Damaged,
    }
}

/// One frame holding `records`, whose first has position `first`.
/// Errors: `None` when it would be too large to describe; the bounds on records and groups are far below that.
pub(crate) fn encode_frame(first: u64, records: &[Bytes]) -> Option<Vec<u8>> {
    let body_len: usize = records.iter().map(|r| 4 + r.len()).sum();
    let mut body = Vec::with_capacity(body_len);
    for record in records {
        body.extend(u32::try_from(record.len()).ok()?.to_le_bytes());
        body.extend_from_slice(record);
    }
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + body_len + CLOSING_MARK.len());
    out.extend(FRAME_MAGIC);
    out.extend(u32::try_from(body_len).ok()?.to_le_bytes());
    out.extend(u32::try_from(records.len()).ok()?.to_le_bytes());
    out.extend(crc32fast::hash(&body).to_le_bytes());
    out.extend(first.to_le_bytes());
    close_header(&mut out);
    out.extend(body);
    out.extend(CLOSING_MARK);
    Some(out)
}

/// What stands at some place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing was written from here on.
    End,
    Frame {
        first: u64,
        records: Vec<Bytes>,
        end: usize,
    },
    /// What a crash leaves of an unfinished write.
    Torn,
    Rotten(&'static str),
}

/// Reads what stands at `at`. Whether a torn frame may be there is the caller's to judge: see [`frame_after`].
pub(crate) fn read_next(file: &Bytes, at: usize) -> Next {
    let rest = file.get(at..).unwrap_or_default();
    if is_zero(rest) {
        return Next::End;
    }
    let Some(header) = rest.get(..FRAME_HEADER_BYTES) else { return Next::Torn };
    let Some((body_len, count, body_crc, first)) = decode_frame_header(header) else {
        let unwritten = has_unwritten_sector(header, at) || is_header_unfinished(header);
        return if unwritten { Next::Torn } else { Next::Rotten("frame header") };
    };
    let body_at = at.saturating_add(FRAME_HEADER_BYTES);
    let mark_at = body_at.saturating_add(body_len);
    let end = mark_at.saturating_add(CLOSING_MARK.len());
    let (Some(body), Some(mark)) = (file.get(body_at..mark_at), file.get(mark_at..end)) else {
        return Next::Torn;
    };
    if mark == CLOSING_MARK && crc32fast::hash(body) == body_crc {
        return match split_records(file, body_at, mark_at, count) {
            Some(records) => Next::Frame { first, records, end },
            None => Next::Rotten("record lengths"),
        };
    }
    let extent = file.get(at..end).unwrap_or_default();
    let unwritten = mark.contains(&0) || has_unwritten_sector(extent, at);
    if unwritten { Next::Torn } else { Next::Rotten("frame checksum") }
}

/// Whether a whole frame with a position of at least `position_min` starts after `at`: then what stands at `at` was
/// finished once.
pub(crate) fn frame_after(file: &Bytes, at: usize, position_min: u64) -> bool {
    let rest = file.get(at.saturating_add(1)..).unwrap_or_default();
    let mut starts = rest.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, w)| **w == FRAME_MAGIC);
    starts.any(|(i, _)| {
        let there = at.saturating_add(1).saturating_add(i);
        matches!(read_next(file, there), Next::Frame { first, .. } if first >= position_min)
    })
}

fn decode_frame_header(header: &[u8]) -> Option<(usize, usize, u32, u64)> {
    if header.get(..4) != Some(&FRAME_MAGIC[..]) || !is_header_sound(header) {
        return None;
    }
    let body_len = usize::try_from(read_u32(header, 4)?).ok()?;
    let count = usize::try_from(read_u32(header, 8)?).ok()?;
    Some((body_len, count, read_u32(header, 12)?, read_u64(header, 16)?))
}

fn split_records(file: &Bytes, from: usize, to: usize, count: usize) -> Option<Vec<Bytes>> {
    let mut out = Vec::new();
    let mut at = from;
    while at < to {
        let len = usize::try_from(read_u32(file, at)?).ok()?;
        let start = at.checked_add(4)?;
        at = start.checked_add(len).filter(|end| *end <= to)?;
        out.push(file.slice(start..at));
    }
    (out.len() == count).then_some(out)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        encode_frame(7, &[Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")]).unwrap()
    }

    /// Persisted: these bytes never change.
    #[test]
    fn golden_bytes() {
        let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(&encode_file_header(5)),
            "4f314d43504a4e4c010000000000000005000000000000009f6ac2214a454e44"
        );
        let frame = encode_frame(5, &[Bytes::from_static(b"hi")]).unwrap();
        assert_eq!(
            hex(&frame),
            "4f314a460600000001000000fb384065050000000000000004fe3eec4a454e440200000068694a454e44"
        );
    }

    #[test]
    fn a_frame_reads_back() {
        let bytes = Bytes::from(frame());
        let Next::Frame { first, records, end } = read_next(&bytes, 0) else { panic!("no frame") };
        assert_eq!((first, records.len(), end), (7, 3, bytes.len()));
        assert_eq!(read_next(&bytes, end), Next::End);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = frame();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read_next(&Bytes::from(bad), 0), Next::Rotten(_)), "bit {bit}");
        }
        let good = encode_file_header(9);
        assert_eq!(decode_file_header(&good), FileHeader::First(9));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_file_header(&bad), FileHeader::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_torn() {
        let good = frame();
        for len in 1..good.len() {
            let cut = Bytes::copy_from_slice(&good[..len]);
            assert_eq!(read_next(&cut, 0), Next::Torn, "cut at {len}");
            let mut zeroed = good.clone();
            zeroed[len..].fill(0);
            zeroed.extend([0; 600]);
            assert_eq!(read_next(&Bytes::from(zeroed), 0), Next::Torn, "zeros from {len}");
        }
    }

    #[test]
    fn a_later_frame_is_found_behind_a_damaged_one() {
        let mut file = frame();
        file[40] ^= 1;
        let at = file.len();
        assert!(!frame_after(&Bytes::from(file.clone()), 0, 8));
        file.extend(encode_frame(10, &[Bytes::from_static(b"x")]).unwrap());
        let file = Bytes::from(file);
        assert!(frame_after(&file, 0, 8));
        assert!(!frame_after(&file, at, 8), "only after, not at");
        assert!(!frame_after(&file, 0, 11));
    }
}
