//! Reads every file of the Raft log before raft-log does, cuts a torn tail, and refuses anything else.
//!
//! raft-log at open removes a last file whose first record is incomplete, whatever its settings, and takes any
//! checksum failure as one kind of error. Both may hide rot as if it were a crash. So this decides first:
//! a crash leaves only a record that runs past the end of the last file, or zeros where its sectors were not yet
//! written. That is cut and reported. All other damage is `Corrupt`.
//!
//! Sectors reach a disk in any order, so whole records may follow such a hole, as long as they are of the hole's own
//! group: nothing of the next one was written before that group was synced. Marks tell. The group's own is the very last
//! record, and names a beginning before the hole. Any other mark behind the hole, and anything behind a mark, means that
//! what is missing was synced: rot.
//!
//! Two things look the same: a sector of the last group that was never written, and one that was synced and rotted to
//! zeros. It is cut, as DESIGN's P6 has it. Where the last group's mark is missing too, the hole may also hold the end of
//! the group before, if rot and a failing power met there. A log of an earlier version has no marks: no whole record may
//! follow a hole in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use raft_log::codeq::Decode as _;
use raft_log::{RaftLogAction, WALRecord};

use crate::error::StorageError;
use crate::files::sync_folder;
use crate::raft_log::LogPosition;
use crate::raft_log_codec::{GroupMark, Position, Record};
use crate::torn::{has_unwritten_sector, lacks_sector};

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub files: usize,
    pub records: usize,
    /// Where the log ends. Units: bytes from its beginning.
    pub end: u64,
    /// Groups of records end with marks.
    pub marked: bool,
    /// What was cut, in words.
    pub cut: Option<String>,
}

/// Checks all files in `folder`, cuts a torn tail, and makes what remains durable. `begun`: there was a log before.
pub(crate) fn scan_and_cut(folder: &Path, begun: bool) -> Result<Scanned, StorageError> {
    let mut chunks = chunks(folder)?;
    let mut scanned = Scanned { files: chunks.len(), ..Scanned::default() };
    if let Some((start, path)) = remove_unfinished_file(&mut chunks, begun)? {
        scanned.cut = Some(format!("the file {} begun at {start} and not finished", path.display()));
    }
    let mut shape = Shape::default();
    let mut end = None;
    let last = chunks.len().saturating_sub(1);
    for (i, (start, path)) in chunks.iter().enumerate() {
        if end.is_some_and(|e| e != *start) {
            return Err(StorageError::corrupt(path, "a file before this one is missing or cut"));
        }
        let bytes = read(path)?;
        let (sound, records) = read_records(&bytes, |record| shape.apply(record, path))?;
        scanned.records += records;
        // The last file may have lost its beginning to the same crash as any other part of it.
        let begun_with_nothing = records == 0 && i == last && i > 0 && !bytes.is_empty();
        if records == 0 && !begun_with_nothing {
            return Err(StorageError::corrupt(path, "holds no record"));
        }
        if sound < bytes.len() {
            if i != last {
                return Err(damaged_at(path, sound, "not at the end of the log"));
            }
            check_torn(path, &bytes, Damage { file: *start, sound, marked: shape.marked })?;
            let lost = bytes.len() - sound;
            if begun_with_nothing {
                std::fs::remove_file(path).map_err(|e| StorageError::io("remove", path, e))?;
                scanned.cut = Some(format!("the file {} whose beginning was not written", path.display()));
                break;
            }
            cut(path, sound)?;
            scanned.cut =
                Some(format!("{lost} bytes of an unfinished write at the end of {}", path.display()));
        }
        sync(path)?;
        end = Some(start.saturating_add(sound as u64));
    }
    shape.check(folder)?;
    sync_folder(folder)?;
    scanned.end = end.unwrap_or_default();
    scanned.marked = shape.marked;
    Ok(scanned)
}

/// Checks one file while the log is written, and cuts nothing: the first that begins after `after`. A write may be under
/// way at the end of the last file, and of the one before it until that is finished: what cannot be read there is damage
/// only where whole records follow.
pub(crate) fn scrub_file(
    folder: &Path,
    after: Option<u64>,
    mut each: impl FnMut(&Record),
) -> Result<Option<(u64, u64)>, StorageError> {
    let chunks = chunks(folder)?;
    let mut from = chunks.iter().enumerate().skip_while(|(_, (start, _))| Some(*start) <= after);
    let Some((at, (start, path))) = from.next() else { return Ok(None) };
    let bytes = match std::fs::read(path) {
        // Purged meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some((*start, 0))),
        read => read.map_err(|e| StorageError::io("read", path, e))?,
    };
    let (sound, _) = read_records(&bytes, |record| {
        each(record);
        Ok(())
    })?;
    let tail = bytes.get(sound..).unwrap_or_default();
    let may_be_written = at.saturating_add(2) >= chunks.len();
    if !tail.is_empty() && (!may_be_written || record_from(tail, 1).is_some()) {
        return Err(StorageError::corrupt(path, format!("damaged at byte {sound}")));
    }
    let end = start.saturating_add(bytes.len() as u64);
    if !may_be_written && from.next().is_some_and(|(_, (next, _))| *next != end) {
        return Err(StorageError::corrupt(path, "the end of the file is missing"));
    }
    Ok(Some((*start, bytes.len() as u64)))
}

/// What an entry holds.
pub(crate) fn payload_of(record: &Record) -> Option<&[u8]> {
    match record {
        WALRecord::Action(RaftLogAction::Append(_, payload)) => Some(&payload.0),
        _ => None,
    }
}

/// raft-log names the next file before it finishes the one before, and writes to it only after: an unfinished first
/// record in the last file says that a crash came between. With a log begun before, one file always is finished.
fn remove_unfinished_file(
    chunks: &mut Vec<(u64, PathBuf)>,
    begun: bool,
) -> Result<Option<(u64, PathBuf)>, StorageError> {
    let Some((start, path)) = chunks.last().filter(|_| chunks.len() > 1 || !begun) else { return Ok(None) };
    let bytes = read(path)?;
    let (_, records) = read_records(&bytes, |_| Ok(()))?;
    // Where something whole follows, the file before it was finished.
    if records > 0 || (chunks.len() > 1 && record_from(&bytes, 1).is_some()) {
        return Ok(None);
    }
    check_torn(path, &bytes, Damage { file: *start, sound: 0, marked: false })?;
    std::fs::remove_file(path).map_err(|e| StorageError::io("remove", path, e))?;
    Ok(chunks.pop())
}

fn read(path: &Path) -> Result<Vec<u8>, StorageError> {
    std::fs::read(path).map_err(|e| StorageError::io("read", path, e))
}

/// Files of the log with their offsets, in order.
fn chunks(folder: &Path) -> Result<Vec<(u64, PathBuf)>, StorageError> {
    let failed = |e| StorageError::io("list", folder, e);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(start) =
            name.to_str().and_then(|n| raft_log::chunked_wal::Config::parse_chunk_file_name(n).ok())
        {
            out.push((start, folder.join(&name)));
        }
    }
    out.sort();
    Ok(out)
}

/// Where the sound records end, and how many there are.
fn read_records(
    bytes: &[u8],
    mut each: impl FnMut(&Record) -> Result<(), StorageError>,
) -> Result<(usize, usize), StorageError> {
    let mut rest = bytes;
    let mut count = 0;
    let mut sound = 0;
    while !rest.is_empty() {
        let Ok(record) = Record::decode(&mut rest) else { break };
        each(&record)?;
        count += 1;
        sound = bytes.len() - rest.len();
    }
    Ok((sound, count))
}

/// Where the last file of the log cannot be read any more.
#[derive(Clone, Copy)]
struct Damage {
    /// Where the file begins. Units: bytes from the log's beginning, as a [`GroupMark`]'s.
    file: u64,
    /// How much of the file is sound before it.
    sound: usize,
    /// Groups end with marks.
    marked: bool,
}

fn damaged_at(path: &Path, byte: usize, detail: &str) -> StorageError {
    StorageError::corrupt(path, format!("damaged at byte {byte}: {detail}"))
}

/// Errors: `Corrupt` unless the bytes from `damage` on are what a crash leaves of what was not synced.
// INVARIANT: P6
fn check_torn(path: &Path, bytes: &[u8], damage: Damage) -> Result<(), StorageError> {
    let mut at = damage.sound;
    while let Some(whole) = record_from(bytes, at.saturating_add(1)) {
        if !damage.marked || !lacks_sector(bytes, at, whole) {
            return Err(damaged_at(path, at, "whole records follow"));
        }
        at = unsynced_until(bytes, whole, damage)
            .ok_or_else(|| damaged_at(path, at, "what was written after its sync follows"))?;
        if at == bytes.len() {
            return Ok(());
        }
    }
    let tail = bytes.get(at..).unwrap_or_default();
    let mut rest = tail;
    let short = Record::decode(&mut rest).is_err_and(|e| e.kind() == io::ErrorKind::UnexpectedEof);
    // The last byte is one of the checksum's.
    if short || has_unwritten_sector(tail, at) || tail.last().is_none_or(|b| *b == 0) {
        return Ok(());
    }
    Err(damaged_at(path, at, "the last record is whole, its checksum does not match"))
}

/// Where the whole records that begin at `whole` end; `None`: one of them was written after `damage`'s place was synced.
fn unsynced_until(bytes: &[u8], whole: usize, damage: Damage) -> Option<usize> {
    let place = damage.file.saturating_add(damage.sound as u64);
    let mut end = whole;
    let mut rest = bytes.get(whole..)?;
    while let Ok(record) = Record::decode(&mut rest) {
        end = bytes.len() - rest.len();
        if let Some(GroupMark(began)) = mark_of(&record)
            && (began > place || end < bytes.len())
        {
            return None;
        }
    }
    Some(end)
}

fn mark_of(record: &Record) -> Option<GroupMark> {
    match record {
        WALRecord::Checkpoint(state) => state.user_data,
        WALRecord::Action(_) => None,
    }
}

/// Where a whole record starts, at `from` or behind it.
fn record_from(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|at| {
        let mut rest = bytes.get(*at..).unwrap_or_default();
        // Types are 0 to 5, big-endian: most places fail here, cheaply.
        matches!(rest, [0, 0, 0, 0..=5, ..]) && Record::decode(&mut rest).is_ok()
    })
}

fn cut(path: &Path, sound: usize) -> Result<(), StorageError> {
    let file = OpenOptions::new().write(true).open(path).map_err(|e| StorageError::io("open", path, e))?;
    file.set_len(sound as u64).map_err(|e| StorageError::io("truncate", path, e))
}

/// What a killed process wrote may be in memory only; from here on it counts as stored.
fn sync(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| StorageError::io("fsync", path, e))
}

/// Which entries the records leave: finds a missing first file, which raft-log does not notice.
#[derive(Default)]
struct Shape {
    first: Option<u64>,
    last: Option<LogPosition>,
    purged: Option<LogPosition>,
    /// Last entry before the first file there is: files go only when all their entries are purged.
    before: Option<LogPosition>,
    begun: bool,
    marked: bool,
}

impl Shape {
    fn apply(&mut self, record: &Record, path: &Path) -> Result<(), StorageError> {
        match record {
            WALRecord::Action(RaftLogAction::Append(Position(at), _)) => {
                if self.last.is_some_and(|l| at.index != l.index.saturating_add(1) || *at <= l) {
                    return Err(StorageError::corrupt(path, format!("entry {} out of order", at.index)));
                }
                self.first.get_or_insert(at.index);
                self.last = Some(*at);
            }
            WALRecord::Action(RaftLogAction::TruncateAfter(to)) => {
                let to = to.map(|p| p.0);
                if self.last > to {
                    self.last = to;
                }
                if self.first.is_some_and(|f| to.is_none_or(|t| f > t.index)) {
                    self.first = None;
                }
            }
            WALRecord::Action(RaftLogAction::PurgeUpto(Position(upto))) => {
                self.purged = self.purged.max(Some(*upto));
                self.last = self.last.max(Some(*upto));
                let kept = self.last.is_some_and(|l| l.index > upto.index);
                self.first = self.first.filter(|_| kept).map(|f| f.max(upto.index.saturating_add(1)));
            }
            WALRecord::Checkpoint(state) => {
                let last = state.last().map(|p| p.0);
                if self.begun && last != self.last {
                    return Err(StorageError::corrupt(path, "does not continue the file before it"));
                }
                if !self.begun {
                    self.before = last;
                }
                self.last = last;
                self.purged = state.purged().map(|p| p.0);
                self.marked |= state.user_data.is_some();
            }
            WALRecord::Action(RaftLogAction::SaveVote(_) | RaftLogAction::Commit(_)) => {}
        }
        self.begun = true;
        Ok(())
    }

    fn check(&self, folder: &Path) -> Result<(), StorageError> {
        if self.before > self.purged {
            return Err(StorageError::corrupt(folder, "the oldest file is missing"));
        }
        let Some(last) = self.last.filter(|l| self.purged.is_none_or(|p| p.index < l.index)) else {
            return Ok(());
        };
        let reaches_back = match (self.first, self.purged) {
            (Some(first), Some(purged)) => first <= purged.index.saturating_add(1),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if reaches_back {
            return Ok(());
        }
        let detail =
            format!("entries after {:?} up to {} are missing", self.purged.map(|p| p.index), last.index);
        Err(StorageError::corrupt(folder, detail))
    }
}
