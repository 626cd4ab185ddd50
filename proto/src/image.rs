//! An image of the state at one index, frame by frame: what a snapshot is on its way to another node and in a backup.
//! Everything that can be told from the frames alone is checked here.

use bytes::Bytes;
use only1mcp_domain::State;
use only1mcp_domain::audit::{ChainFault, ChainHead, SealedEvent, Verifier};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::row::{RowKey, RowValue, Table};
use prost::Message as _;
use sha3::{Digest as _, Sha3_256};

use crate::codec;
use crate::snapshot as wire;

/// 2: segments are named; 1 carried every event.
pub const FORMAT: u32 = 2;

/// Why frames are no image.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageFault {
    #[error("the snapshot is cut off after {frames} frames")]
    Cut { frames: usize },
    #[error("frame {frame}: {problem}")]
    Frame { frame: usize, problem: String },
    #[error("the snapshot's {what} is not what its header or trailer says")]
    Mismatch { what: &'static str },
    #[error(transparent)]
    Chain(#[from] ChainFault),
}

/// An image of which every frame has been checked.
pub struct Image {
    pub header: wire::Header,
    pub state: State,
    /// Those that it names, in order and without a gap; its rows hold the events after them.
    pub segments: Vec<wire::Segment>,
    /// What the trailer says of all frames before it.
    pub content: Digest,
}

/// Length before content, as frames follow each other in a file.
pub fn encode_frame(part: wire::frame::Part) -> Bytes {
    wire::Frame { part: Some(part) }.encode_length_delimited_to_vec().into()
}

/// Errors: `Frame`.
pub fn decode_frame(number: usize, frame: &Bytes) -> Result<wire::frame::Part, ImageFault> {
    let problem = |problem: String| ImageFault::Frame { frame: number, problem };
    let mut bytes = frame.clone();
    let decoded =
        wire::Frame::decode_length_delimited(&mut bytes).map_err(|error| problem(error.to_string()))?;
    if !bytes.is_empty() {
        return Err(problem(format!("{} bytes follow it", bytes.len())));
    }
    decoded.part.ok_or_else(|| problem("it is empty".into()))
}

/// Takes frames in order. `beside`: tables whose rows are no part of the state.
pub struct ImageCheck {
    beside: fn(Table) -> bool,
    header: Option<(wire::Header, Digest)>,
    digest: Sha3_256,
    last_key: Vec<u8>,
    frames: usize,
    rows: u64,
    values: Vec<RowValue>,
    segments: Vec<wire::Segment>,
    chain: Verifier,
    /// Set with the trailer.
    content: Option<Digest>,
}

impl ImageCheck {
    pub fn new(beside: fn(Table) -> bool) -> Self {
        Self {
            beside,
            header: None,
            digest: Sha3_256::new(),
            last_key: Vec::new(),
            frames: 0,
            rows: 0,
            values: Vec::new(),
            segments: Vec::new(),
            chain: Verifier::default(),
            content: None,
        }
    }

    /// Errors: nothing of the image may be used.
    pub fn take(&mut self, frame: &Bytes) -> Result<(), ImageFault> {
        let number = self.frames;
        let problem = |problem: &str| ImageFault::Frame { frame: number, problem: problem.into() };
        if self.content.is_some() {
            return Err(problem("it follows the trailer"));
        }
        match decode_frame(number, frame)? {
            wire::frame::Part::Header(header) if number == 0 => self.header = Some(checked(header)?),
            wire::frame::Part::Segments(named) if number > 0 && self.rows == 0 => {
                for segment in named.segments {
                    self.segment(segment)?;
                }
            }
            wire::frame::Part::Rows(rows) if number > 0 => {
                for row in rows.rows {
                    self.row(&row)?;
                }
            }
            wire::frame::Part::Trailer(trailer) if number > 0 => {
                let digest: [u8; 32] = self.digest.clone().finalize().into();
                if trailer.rows != self.rows || trailer.digest.as_ref() != digest.as_slice() {
                    return Err(ImageFault::Mismatch { what: "content" });
                }
                self.content = Some(Digest(digest));
            }
            _ => return Err(problem("it is out of place")),
        }
        self.digest.update(frame);
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    fn problem(&self, problem: impl ToString) -> ImageFault {
        ImageFault::Frame { frame: self.frames, problem: problem.to_string() }
    }

    fn segment(&mut self, segment: wire::Segment) -> Result<(), ImageFault> {
        let hash = segment.hash.as_ref().try_into();
        let hash = hash.map(Digest).map_err(|_| self.problem("a segment's hash is not 32 bytes long"))?;
        if segment.address.len() != 32 {
            return Err(self.problem("a segment's address is not 32 bytes long"));
        }
        let next = self.chain.head().index.0.saturating_add(1);
        if segment.first != next || segment.last < segment.first {
            return Err(self.problem("its segments are not in a row"));
        }
        // What the segment holds is checked once it is here, against this very hash.
        self.chain = Verifier::after(ChainHead { index: AuditIndex(segment.last), hash });
        self.segments.push(segment);
        Ok(())
    }

    fn row(&mut self, row: &wire::Row) -> Result<(), ImageFault> {
        if self.rows > 0 && row.key.as_ref() <= self.last_key.as_slice() {
            return Err(self.problem("its keys do not ascend"));
        }
        let table = row.key.first().copied().and_then(Table::from_number);
        let table = table.ok_or_else(|| self.problem("a row of an unknown table"))?;
        let value = codec::decode_row(table, &row.value).map_err(|error| self.problem(error))?;
        if let RowValue::Audit(event) = &value {
            self.event(row, event)?;
        }
        if !(self.beside)(table) {
            self.values.push(value);
        }
        self.last_key = row.key.to_vec();
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    fn event(&mut self, row: &wire::Row, event: &SealedEvent) -> Result<(), ImageFault> {
        if row.key.as_ref() != RowKey::audit(event.index).0.as_slice() {
            return Err(self.problem("not the audit event its key names"));
        }
        Ok(self.chain.push(event)?)
    }

    /// Checks what can be checked only once all is there, and builds the state.
    // INVARIANT: P3 (the chain that arrives is the chain the state names)
    pub fn finish(self) -> Result<Image, ImageFault> {
        let frames = self.frames;
        let (Some((header, state_digest)), Some(content)) = (self.header, self.content) else {
            return Err(ImageFault::Cut { frames });
        };
        let state = State::from_rows(self.values)
            .map_err(|fault| ImageFault::Frame { frame: frames, problem: fault.to_string() })?;
        if state.digest(codec::encode_row) != state_digest {
            return Err(ImageFault::Mismatch { what: "state" });
        }
        if self.chain.head() != state.chain {
            return Err(ImageFault::Mismatch { what: "audit chain" });
        }
        Ok(Image { header, state, segments: self.segments, content })
    }
}

fn checked(header: wire::Header) -> Result<(wire::Header, Digest), ImageFault> {
    let problem = |problem: String| ImageFault::Frame { frame: 0, problem };
    if header.format != FORMAT {
        return Err(problem(format!("format {} is not known here", header.format)));
    }
    let digest: Result<[u8; 32], _> = header.state_digest.as_ref().try_into();
    let digest = digest.map_err(|_| problem("no state digest".into()))?;
    Ok((header, Digest(digest)))
}
