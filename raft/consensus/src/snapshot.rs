//! A snapshot: all rows of the state at one index, the names of the sealed segments, and the audit events after them.
//!
//! A snapshot of this node's own is a clone of shared maps; its frames are made while they are sent. One received from
//! another node is kept on disk, within `limits::SNAPSHOT_BYTES_MAX`, checked, and only then replaces the rows:
//! `received.rs`. History does not make it larger: the segments themselves are fetched afterwards, and only those that
//! are lacking.

use std::sync::Arc;

use bytes::Bytes;
use only1mcp_domain::State;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::limits;
use only1mcp_domain::row::RowValue;
use only1mcp_proto::{codec, snapshot as wire};
use only1mcp_storage::StorageError;
use prost::Message as _;
use sha3::{Digest as _, Sha3_256};

use crate::convert;
use crate::received::{Receiving, Verified};
use crate::store::{BESIDE, BesideRows, rows};
use crate::trail::{Trail, TrailError, segment_to_wire};
use crate::types::SnapshotMeta;

/// 2: segments are named; 1 carried every event.
pub const FORMAT: u32 = 2;

/// Names of segments in one frame.
const NAMES_STEP: usize = 1_024;

/// Why bytes are no snapshot, or none could be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot is cut off after {frames} frames")]
    Cut { frames: usize },
    #[error("frame {frame}: {problem}")]
    Frame { frame: usize, problem: String },
    #[error("the snapshot's {what} is not what its header or trailer says")]
    Mismatch { what: &'static str },
    #[error("the snapshot is larger than {max} bytes")]
    TooLarge { max: u64 },
    #[error("a snapshot could not be kept on disk: {0}")]
    Spool(#[from] StorageError),
    #[error(transparent)]
    Rows(#[from] rows::LoadError),
    #[error(transparent)]
    Trail(#[from] TrailError),
    #[error(transparent)]
    Chain(#[from] only1mcp_domain::audit::ChainFault),
}

/// The state at one index, and where its audit events are.
pub struct Frozen {
    pub state: State,
    pub meta: SnapshotMeta,
    pub trail: Arc<Trail>,
}

/// What openraft passes around as a snapshot.
pub enum SnapshotData {
    Live(Arc<Frozen>),
    /// Received from another node, and checked.
    Received(Box<Verified>),
}

impl SnapshotData {
    pub fn into_frames(self) -> Box<dyn Iterator<Item = Result<Bytes, SnapshotError>> + Send> {
        match self {
            SnapshotData::Live(frozen) => Box::new(frames(frozen)),
            SnapshotData::Received(verified) => Box::new(verified.into_frames()),
        }
    }

    /// Everything checked against `expected`, whatever is checked already.
    pub fn verify(self, expected: &SnapshotMeta) -> Result<Verified, SnapshotError> {
        match self {
            SnapshotData::Live(frozen) => {
                let mut receiving = Receiving::begin(frozen.trail.shared_files())?;
                for frame in frames(frozen) {
                    receiving.take(&frame?)?;
                }
                receiving.finish()?.at(expected)
            }
            SnapshotData::Received(verified) => verified.at(expected),
        }
    }
}

fn encode(part: wire::frame::Part) -> Bytes {
    wire::Frame { part: Some(part) }.encode_length_delimited_to_vec().into()
}

pub fn decode(number: usize, frame: &Bytes) -> Result<wire::frame::Part, SnapshotError> {
    let problem = |problem: String| SnapshotError::Frame { frame: number, problem };
    let mut bytes = frame.clone();
    let decoded =
        wire::Frame::decode_length_delimited(&mut bytes).map_err(|error| problem(error.to_string()))?;
    if !bytes.is_empty() {
        return Err(problem(format!("{} bytes follow it", bytes.len())));
    }
    decoded.part.ok_or_else(|| problem("it is empty".into()))
}

/// The frames of a snapshot point, made one at a time.
pub fn frames(frozen: Arc<Frozen>) -> impl Iterator<Item = Result<Bytes, SnapshotError>> + Send {
    // In key order already.
    let state = frozen.state.rows().into_iter().filter_map(|change| Some((change.key.0, change.value?)));
    // Whatever is sealed from here on is still read, and sent, as rows.
    let segments = frozen.trail.sealed_until(frozen.state.chain.index);
    let last = segments.checked_sub(1).and_then(|place| frozen.trail.names(place, 1).pop());
    let sealed = last.map_or(AuditIndex(0), |name| name.last);
    Frames {
        stage: Stage::Header,
        segments: 0..segments,
        state: state.collect::<Vec<_>>().into_iter().peekable(),
        beside: BesideRows::new(Arc::clone(&frozen.trail), BESIDE, sealed, frozen.state.chain.index),
        digest: Sha3_256::new(),
        rows: 0,
        frozen,
    }
}

enum Stage {
    Header,
    Segments,
    Rows,
    Done,
}

struct Frames {
    frozen: Arc<Frozen>,
    stage: Stage,
    /// Places of the names still to be sent.
    segments: std::ops::Range<usize>,
    state: std::iter::Peekable<std::vec::IntoIter<(Vec<u8>, RowValue)>>,
    beside: BesideRows,
    digest: Sha3_256,
    rows: u64,
}

impl Frames {
    fn header(&self) -> Bytes {
        let state = &self.frozen.state;
        encode(wire::frame::Part::Header(wire::Header {
            format: FORMAT,
            meta: Some(convert::meta_to_wire(&self.frozen.meta)),
            cluster_id: state
                .cluster
                .as_ref()
                .map_or_else(Bytes::new, |cluster| Bytes::copy_from_slice(&cluster.id.0)),
            state_digest: Bytes::copy_from_slice(&state.digest(codec::encode_row).0),
        }))
    }

    /// The next row in key order: the state's tables, with those beside it where theirs stand.
    fn next_row(&mut self) -> Result<Option<wire::Row>, SnapshotError> {
        let table = self.state.peek().map(|(key, _)| key.first().copied().unwrap_or_default());
        if let Some((key, value)) = self.beside.next_before(table)? {
            return Ok(Some(wire::Row { key: key.into(), value: value.into() }));
        }
        Ok(self
            .state
            .next()
            .map(|(key, value)| wire::Row { key: key.into(), value: codec::encode_row(&value).into() }))
    }

    fn segments_frame(&mut self) -> Option<Bytes> {
        let names = self.frozen.trail.names(self.segments.start, self.segments.len().min(NAMES_STEP));
        self.segments.start = self.segments.start.saturating_add(names.len());
        let segments: Vec<_> = names.iter().map(segment_to_wire).collect();
        (!segments.is_empty()).then(|| encode(wire::frame::Part::Segments(wire::Segments { segments })))
    }

    fn rows_frame(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let mut taken = Vec::new();
        let mut bytes: usize = 0;
        while bytes < limits::SNAPSHOT_FRAME_BYTES_MAX {
            let Some(row) = self.next_row()? else { break };
            bytes = bytes.saturating_add(row.key.len()).saturating_add(row.value.len());
            self.rows = self.rows.saturating_add(1);
            taken.push(row);
        }
        Ok((!taken.is_empty()).then(|| encode(wire::frame::Part::Rows(wire::Rows { rows: taken }))))
    }

    fn trailer(&mut self) -> Bytes {
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        encode(wire::frame::Part::Trailer(wire::Trailer {
            rows: self.rows,
            digest: Bytes::copy_from_slice(&digest),
        }))
    }
}

impl Iterator for Frames {
    type Item = Result<Bytes, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.stage, Stage::Segments) {
            if let Some(frame) = self.segments_frame() {
                self.digest.update(&frame);
                return Some(Ok(frame));
            }
            self.stage = Stage::Rows;
        }
        let frame = match self.stage {
            Stage::Done => return None,
            Stage::Header => {
                self.stage = Stage::Segments;
                self.header()
            }
            Stage::Segments | Stage::Rows => match self.rows_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.stage = Stage::Done;
                    return Some(Ok(self.trailer()));
                }
                Err(error) => {
                    self.stage = Stage::Done;
                    return Some(Err(error));
                }
            },
        };
        self.digest.update(&frame);
        Some(Ok(frame))
    }
}
