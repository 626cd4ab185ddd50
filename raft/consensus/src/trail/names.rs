//! The names of segments: as rows of this node (an encoded `snapshot.v1.Segment` each) and in snapshots.

use bytes::Bytes;
use only1mcp_domain::audit::ChainHead;
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_proto::snapshot as wire;
use only1mcp_storage::{Engine, SegmentName};
use prost::Message as _;

use crate::convert::{Malformed, malformed};
use crate::store::rows::{self, LoadError};

/// Then the index of the segment's first event, 8 bytes, big-endian. Table 0 is this crate's.
const KEY: [u8; 2] = [0, b's'];
const KEY_END: [u8; 2] = [0, b't'];

pub fn segment_to_wire(name: &SegmentName) -> wire::Segment {
    wire::Segment {
        first: name.first.0,
        last: name.last.0,
        address: Bytes::copy_from_slice(&name.address.0),
        bytes: name.bytes,
        hash: Bytes::copy_from_slice(&name.hash.0),
    }
}

pub fn segment_from_wire(segment: &wire::Segment) -> Result<SegmentName, Malformed> {
    let digest = |bytes: &Bytes| {
        let bytes: Result<[u8; 32], _> = bytes.as_ref().try_into();
        bytes.map(Digest).map_err(|_| malformed("segment name", "a hash is not 32 bytes long"))
    };
    if segment.first == 0 || segment.last < segment.first {
        return Err(malformed("segment name", "it holds no events"));
    }
    Ok(SegmentName {
        first: AuditIndex(segment.first),
        last: AuditIndex(segment.last),
        address: digest(&segment.address)?,
        bytes: segment.bytes,
        hash: digest(&segment.hash)?,
    })
}

pub fn segment_row(name: &SegmentName) -> (Vec<u8>, Vec<u8>) {
    let mut key = KEY.to_vec();
    key.extend_from_slice(&name.first.0.to_be_bytes());
    (key, segment_to_wire(name).encode_to_vec())
}

/// Whether `next` begins where the chain before it ends.
fn contiguous(before: ChainHead, next: &SegmentName) -> bool {
    next.first.0 == before.index.0.saturating_add(1) && next.last >= next.first
}

/// The names that the rows hold, in order and without a gap.
pub fn segments(engine: &dyn Engine) -> Result<Vec<SegmentName>, LoadError> {
    let mut out: Vec<SegmentName> = Vec::new();
    rows::each_row(engine, KEY.to_vec(), &KEY_END, |key, value| {
        let segment =
            wire::Segment::decode(Bytes::from(value)).map_err(|error| rows::bad_row(&key, error))?;
        let name = segment_from_wire(&segment).map_err(|error| rows::bad_row(&key, error))?;
        if segment_row(&name).0 != key {
            return Err(rows::bad_row(&key, "not the segment its key names"));
        }
        if !contiguous(out.last().map(SegmentName::head).unwrap_or_default(), &name) {
            return Err(rows::bad_row(&key, "the segments before it end elsewhere"));
        }
        out.push(name);
        Ok(())
    })?;
    Ok(out)
}
