//! A snapshot from another node: checked frame by frame as it comes, kept on disk, and only then given to Raft.

use std::sync::Arc;

use bytes::Bytes;
use only1mcp_domain::State;
use only1mcp_domain::ids::Digest;
use only1mcp_domain::limits;
use only1mcp_domain::row::Table;
use only1mcp_proto::image::{ImageCheck, decode_frame};
use only1mcp_proto::snapshot as wire;
use only1mcp_storage::{Row, SegmentName, Segments, StorageError};
use sha3::{Digest as _, Sha3_256};

use crate::convert;
use crate::snapshot::SnapshotError;
use crate::spool::Spool;
use crate::trail::segment_from_wire;
use crate::types::SnapshotMeta;

/// Frames on their way in.
pub struct Receiving {
    check: ImageCheck,
    spool: Spool,
    bytes_max: u64,
}

impl Receiving {
    /// `files`: where the frames are kept meanwhile.
    pub fn begin(files: Arc<dyn Segments>) -> Result<Self, SnapshotError> {
        Ok(Self {
            check: ImageCheck::new(Table::is_beside),
            spool: Spool::begin(files)?,
            bytes_max: limits::SNAPSHOT_BYTES_MAX,
        })
    }

    /// Errors: `SnapshotError`: nothing of the snapshot may be used.
    pub fn take(&mut self, frame: &Bytes) -> Result<(), SnapshotError> {
        let bytes = self.spool.bytes().saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        if bytes > self.bytes_max {
            return Err(SnapshotError::TooLarge { max: self.bytes_max });
        }
        self.check.take(frame)?;
        self.spool.push(frame)?;
        Ok(())
    }

    /// Checks what can be checked only once all is there, and builds the state.
    pub fn finish(self) -> Result<Verified, SnapshotError> {
        let image = self.check.finish()?;
        let problem = |problem: String| SnapshotError::Frame { frame: 0, problem };
        let meta = image.header.meta.ok_or_else(|| problem("no position".into()))?;
        let meta = convert::meta_from_wire(meta).map_err(|error| problem(error.to_string()))?;
        let segments: Result<Vec<SegmentName>, _> = image.segments.iter().map(segment_from_wire).collect();
        let segments = segments.map_err(|error| problem(error.to_string()))?;
        Ok(Verified { state: image.state, meta, segments, content: image.content, spool: self.spool })
    }
}

/// A snapshot whose every frame has been checked.
pub struct Verified {
    pub state: State,
    pub meta: SnapshotMeta,
    /// Those that the snapshot names, in order; it holds the events after them.
    pub segments: Vec<SegmentName>,
    /// What the trailer says of all frames before it.
    content: Digest,
    spool: Spool,
}

impl Verified {
    pub fn at(self, expected: &SnapshotMeta) -> Result<Self, SnapshotError> {
        if self.meta == *expected { Ok(self) } else { Err(SnapshotError::Mismatch { what: "position" }) }
    }

    pub fn into_frames(self) -> impl Iterator<Item = Result<Bytes, SnapshotError>> + Send {
        (0..self.spool.len()).map(move |number| Ok(self.spool.frame(number)?))
    }

    /// Every row, ascending by key. The last item is an error where the disk did not give back what it was given.
    pub fn rows(&self) -> impl Iterator<Item = Result<Row, StorageError>> + Send + '_ {
        let mut digest = Sha3_256::new();
        (0..self.spool.len()).flat_map(move |number| match self.read(number, &mut digest) {
            Ok(rows) => rows.into_iter().map(|row| Ok((row.key.to_vec(), row.value.to_vec()))).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    fn read(&self, number: usize, digest: &mut Sha3_256) -> Result<Vec<wire::Row>, StorageError> {
        let rot = |detail: String| StorageError::Corrupt { what: "received snapshot".into(), detail };
        let frame = self.spool.frame(number)?;
        match decode_frame(number, &frame).map_err(|error| rot(error.to_string()))? {
            wire::frame::Part::Trailer(_) => {
                let found = Digest(digest.clone().finalize().into());
                if found == self.content { Ok(Vec::new()) } else { Err(rot("not what was received".into())) }
            }
            part => {
                digest.update(&frame);
                match part {
                    wire::frame::Part::Rows(rows) => Ok(rows.rows),
                    _ => Ok(Vec::new()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::ids::NodeId;
    use only1mcp_domain::row::RowValue;
    use only1mcp_domain::time::TimestampMs;
    use only1mcp_storage::{FileSegments, MemDisk, MemOptions};

    use super::*;
    use crate::snapshot::{Frozen, frames};
    use crate::trail::Trail;

    fn sample() -> (State, Vec<Bytes>) {
        let clock = |node| RowValue::Clock { node: NodeId(node), at: TimestampMs(node) };
        let state = State::from_rows((1..=9).map(clock)).unwrap();
        let disk = MemDisk::new(MemOptions::default());
        let trail = Trail::new(Arc::new(disk.engine()), Arc::new(disk.segments()), 100, Vec::new());
        let (meta, names) = (SnapshotMeta::default(), Vec::new());
        let frozen = Frozen { state: state.clone(), meta, trail: Arc::new(trail), names };
        let frames: Result<Vec<_>, _> = frames(&frozen).collect();
        (state, frames.unwrap())
    }

    fn receive(files: &Arc<FileSegments>, frames: &[Bytes]) -> Result<Verified, SnapshotError> {
        let mut receiving = Receiving::begin(Arc::clone(files) as Arc<dyn Segments>)?;
        frames.iter().try_for_each(|frame| receiving.take(frame))?;
        receiving.finish()
    }

    #[test]
    fn a_snapshot_is_taken_whole_or_not_at_all_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(FileSegments::open(folder.path()).unwrap());
        let (state, frames) = sample();
        let verified = receive(&files, &frames).unwrap();
        assert_eq!(verified.state, state);
        assert_eq!(verified.rows().collect::<Result<Vec<_>, _>>().unwrap().len(), state.rows().len());
        drop(verified);
        for cut in 0..frames.len() {
            assert!(receive(&files, &frames[..cut]).is_err(), "cut after {cut}");
        }
        for number in 0..frames.len() {
            for byte in 0..frames[number].len() {
                let mut bad = frames.clone();
                let mut bytes = bad[number].to_vec();
                bytes[byte] ^= 1;
                bad[number] = bytes.into();
                assert!(receive(&files, &bad).is_err(), "frame {number}, byte {byte}");
            }
        }
        let twice: Vec<Bytes> = frames.iter().chain(frames.last()).cloned().collect();
        assert!(receive(&files, &twice).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_that_gives_back_something_else_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(FileSegments::open(folder.path()).unwrap());
        let verified = receive(&files, &sample().1).unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(verified.rows().any(|row| row.is_err()));
    }

    #[test]
    fn snapshot_bytes_max() {
        let folder = tempfile::tempdir().unwrap();
        let files = Arc::new(FileSegments::open(folder.path()).unwrap());
        let (_, frames) = sample();
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        for (less, fits) in [(0, true), (1, false)] {
            let mut receiving = Receiving::begin(Arc::clone(&files) as Arc<dyn Segments>).unwrap();
            assert_eq!(receiving.bytes_max, limits::SNAPSHOT_BYTES_MAX);
            receiving.bytes_max = u64::try_from(bytes).unwrap() - less;
            let taken = frames.iter().try_for_each(|frame| receiving.take(frame));
            assert_eq!(taken.is_ok(), fits);
            assert_eq!(matches!(taken, Err(SnapshotError::TooLarge { .. })), !fits);
        }
    }
}
