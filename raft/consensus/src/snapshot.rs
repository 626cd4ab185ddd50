//! A snapshot: all rows of the state at one index, the names of the sealed segments, and the audit events after them.
//!
//! A snapshot of this node's own is a clone of shared maps; its frames are made while they are sent, one at a time. One received from
//! another node is kept on disk, within `limits::SNAPSHOT_BYTES_MAX`, checked, and only then replaces the rows:
//! `received.rs`. History does not make it larger: the segments themselves are fetched afterwards, and only those that
//! are lacking.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use only1mcp_domain::State;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::limits;
use only1mcp_domain::row::RowValue;
use only1mcp_proto::image::{FORMAT, ImageFault, encode_frame as encode};
use only1mcp_proto::{codec, snapshot as wire};
use only1mcp_storage::{SegmentName, StorageError};
use sha3::{Digest as _, Sha3_256};
use tokio::sync::mpsc;

use crate::convert;
use crate::received::{Receiving, Verified};
use crate::store::{BESIDE, BesideRows, rows};
use crate::trail::{Trail, TrailError, segment_to_wire};
use crate::types::SnapshotMeta;

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

impl From<ImageFault> for SnapshotError {
    fn from(fault: ImageFault) -> Self {
        match fault {
            ImageFault::Cut { frames } => Self::Cut { frames },
            ImageFault::Frame { frame, problem } => Self::Frame { frame, problem },
            ImageFault::Mismatch { what } => Self::Mismatch { what },
            ImageFault::Chain(fault) => Self::Chain(fault),
        }
    }
}

/// The state at one index, and where its audit events are.
pub struct Frozen {
    pub state: State,
    pub meta: SnapshotMeta,
    pub trail: Arc<Trail>,
    /// Of the segments that were sealed then, as they were called then: payloads dropped from one since are none that this
    /// state knows to be gone.
    pub names: Vec<SegmentName>,
}

/// What openraft passes around as a snapshot.
pub enum SnapshotData {
    Live(Arc<Frozen>),
    /// Received from another node, and checked.
    Received(Box<Verified>),
}

/// Frames on their way out, made as they are taken.
pub type FrameStream = BoxStream<'static, Result<Bytes, SnapshotError>>;

/// Frames made before they are taken.
const AHEAD: usize = 1;

impl SnapshotData {
    pub fn into_frames(self) -> FrameStream {
        match self {
            SnapshotData::Live(frozen) => streamed(frozen),
            SnapshotData::Received(verified) => stream::iter(verified.into_frames()).boxed(),
        }
    }

    /// Everything checked against `expected`, whatever is checked already.
    pub fn verify(self, expected: &SnapshotMeta) -> Result<Verified, SnapshotError> {
        match self {
            SnapshotData::Live(frozen) => {
                let mut receiving = Receiving::begin(frozen.trail.shared_files())?;
                for frame in frames(&frozen) {
                    receiving.take(&frame?)?;
                }
                receiving.finish()?.at(expected)
            }
            SnapshotData::Received(verified) => verified.at(expected),
        }
    }
}

/// By a task of its own, which borrows from the state that it holds: memory has one frame and no copy of the rows.
fn streamed(frozen: Arc<Frozen>) -> FrameStream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        for frame in frames(&frozen) {
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    });
    let next = |mut receiver: mpsc::Receiver<_>| async move { Some((receiver.recv().await?, receiver)) };
    stream::unfold(receiver, next).boxed()
}

/// The frames of a snapshot point, made one at a time.
pub fn frames(frozen: &Frozen) -> Frames<'_> {
    // In key order already.
    let state = frozen.state.each_row().filter_map(|change| Some((change.key.0, change.value?)));
    // Whatever is sealed from here on is still read, and sent, as rows.
    let segments = frozen.trail.sealed_until(frozen.state.chain.index);
    let last = segments.checked_sub(1).and_then(|place| frozen.trail.names(place, 1).pop());
    let sealed = last.map_or(AuditIndex(0), |name| name.last);
    let state: Box<dyn Iterator<Item = (Vec<u8>, RowValue)> + Send + '_> = Box::new(state);
    Frames {
        stage: Stage::Header,
        segments: 0..segments,
        state: state.peekable(),
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

pub struct Frames<'a> {
    frozen: &'a Frozen,
    stage: Stage,
    /// Places of the names still to be sent.
    segments: std::ops::Range<usize>,
    state: std::iter::Peekable<Box<dyn Iterator<Item = (Vec<u8>, RowValue)> + Send + 'a>>,
    beside: BesideRows,
    digest: Sha3_256,
    rows: u64,
}

impl Frames<'_> {
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
        let (place, known) = (self.segments.start, &self.frozen.names);
        let limit = self.segments.len().min(NAMES_STEP);
        let names = match known.get(place..) {
            Some(names) if !names.is_empty() => names.iter().take(limit).copied().collect(),
            // Sealed since.
            _ => self.frozen.trail.names(place, limit),
        };
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

impl Iterator for Frames<'_> {
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
