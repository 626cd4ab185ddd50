//! What crashes and rot do to the Raft log's files.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use only1mcp_storage::{
    FileRaftLog, LogPosition, LogRecord, RaftLog, RaftLogOptions, SavedVote, StorageError,
};

use crate::support::{copy_folder, durably, files, is_corrupt};

const OPTIONS: RaftLogOptions = RaftLogOptions { chunk_bytes: 2_500, cache_bytes_max: 0 };
/// Type, position, length, payload, checksum.
const RECORD_BYTES: usize = 4 + 24 + 4 + 60 + 8;
/// Behind what one sync makes durable: type, version, vote, last, committed, purged, where it began, checksum.
const MARK_BYTES: usize = 4 + 1 + 18 + 25 + 1 + 1 + 9 + 8;
const LAST_GROUP_BYTES: usize = RECORD_BYTES + MARK_BYTES;

fn record(index: u64) -> LogRecord {
    let position = LogPosition { term: 1, node: 1, index };
    LogRecord { position, payload: Bytes::from(vec![index as u8 | 1; 60]) }
}

/// Twenty entries and a vote, in two files.
fn write(folder: &Path) {
    let log = FileRaftLog::open(folder, OPTIONS).unwrap();
    log.save_vote(SavedVote { term: 1, node: 1, committed: true }).unwrap();
    for index in 0..20 {
        durably(|flushed| log.append(vec![record(index)], flushed));
    }
}

fn open(folder: &Path) -> Result<FileRaftLog, StorageError> {
    FileRaftLog::open(folder, OPTIONS)
}

fn chunks(folder: &Path) -> Vec<PathBuf> {
    files(&folder.join("wal"), ".wal")
}

#[test]
fn a_record_torn_at_any_byte_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    assert_eq!(chunks(folder.path()).len(), 2);
    let path = chunks(folder.path()).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let start = whole.len() - LAST_GROUP_BYTES;
    let mark = start + RECORD_BYTES;
    for len in start..whole.len() {
        // Cut short; and whole in length, but the end never written.
        for end in [len, whole.len()] {
            let mut torn = whole[..len].to_vec();
            torn.resize(end, 0);
            std::fs::write(&path, torn).unwrap();
            // The first four bytes of the checksum are zero anyway: so much may be lost and nothing is.
            let log = open(folder.path()).unwrap_or_else(|e| panic!("cut at {len}, filled to {end}: {e}"));
            let kept = if len < mark { 19 } else { 20 };
            let seam = if len < mark { start } else { mark };
            assert_eq!(log.cut_at_open().is_some(), end > seam, "cut at {len}, filled to {end}");
            let state = log.state().unwrap();
            assert_eq!(state.vote, Some(SavedVote { term: 1, node: 1, committed: true }));
            assert_eq!(state.last.unwrap().index, kept - 1);
            assert_eq!(log.read(0, 99).unwrap(), (0..kept).map(record).collect::<Vec<_>>());
            durably(|flushed| log.append(vec![record(kept)], flushed));
            drop(log);
            let log = open(folder.path()).unwrap();
            assert_eq!(log.cut_at_open(), None);
            assert_eq!(log.read(0, 99).unwrap().len() as u64, kept + 1);
        }
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_told_as_cut() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let scratch = tempfile::tempdir().unwrap();
    let newest = chunks(folder.path()).pop().unwrap();
    for path in chunks(folder.path()) {
        let good = std::fs::read(&path).unwrap();
        for bit in (0..good.len() * 8).step_by(29) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let copy = scratch.path().join("copy");
            copy_folder(folder.path(), &copy);
            std::fs::write(copy.join("wal").join(path.file_name().unwrap()), bad).unwrap();
            match open(&copy) {
                Err(e) => assert!(matches!(e, StorageError::Corrupt { .. }), "bit {bit}: {e}"),
                // Rot in the very last group may look like a torn write, never in any other.
                Ok(log) => {
                    let in_last = path == newest && bit / 8 >= good.len() - LAST_GROUP_BYTES;
                    assert!(in_last && log.cut_at_open().is_some(), "bit {bit} of {}", path.display());
                }
            }
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
}

/// A running log serves what it has in memory; its disk is read past that.
#[test]
fn a_bit_that_flips_under_a_running_log_is_found_by_reading_its_files() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let options = RaftLogOptions { cache_bytes_max: 1 << 20, ..OPTIONS };
    let log = FileRaftLog::open(folder.path(), options).unwrap();
    (20..66).for_each(|index| durably(|flushed| log.append(vec![record(index)], flushed)));
    let paths = chunks(folder.path());
    let round = |log: &FileRaftLog| -> Result<u64, StorageError> {
        let (mut after, mut files) = (None, 0);
        while let Some((start, _)) = log.scrub(after)? {
            (after, files) = (Some(start), files + 1);
        }
        Ok(files)
    };
    assert!(paths.len() >= 4 && round(&log).unwrap() == paths.len() as u64);
    let good = std::fs::read(&paths[1]).unwrap();
    std::fs::write(&paths[1], &good[..good.len() - LAST_GROUP_BYTES]).unwrap();
    assert!(is_corrupt(&round(&log)), "a file cut short");
    drop(log);
    std::fs::write(&paths[1], &good).unwrap();
    for path in &paths {
        let log = FileRaftLog::open(folder.path(), options).unwrap();
        let good = std::fs::read(path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 3] ^= 8;
        std::fs::write(path, &bad).unwrap();
        assert_eq!(log.read(65, 66).unwrap().len(), 1, "it goes on");
        assert!(is_corrupt(&round(&log)), "{}", path.display());
        assert!(log.read(65, 66).is_err(), "a damaged log serves nobody");
        drop(log);
        std::fs::write(path, good).unwrap();
    }
}

#[test]
fn missing_files_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let log = open(folder.path()).unwrap();
    (20..40).for_each(|index| durably(|flushed| log.append(vec![record(index)], flushed)));
    drop(log);
    let count = chunks(folder.path()).len();
    assert!(count >= 3);
    for gone in 0..count - 1 {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        std::fs::remove_file(&chunks(copy.path())[gone]).unwrap();
        assert!(is_corrupt(&open(copy.path())), "file {gone}");
    }
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    chunks(copy.path()).iter().for_each(|c| std::fs::remove_file(c).unwrap());
    assert!(is_corrupt(&open(copy.path())), "all files");
    std::fs::remove_file(folder.path().join("format")).unwrap();
    assert!(is_corrupt(&open(folder.path())), "the format file");
}

#[test]
fn an_emptied_only_file_is_damage_and_not_a_new_log() {
    for content in [vec![], vec![0; 100], b"half a rec".to_vec()] {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        std::fs::write(&chunks(folder.path())[0], &content).unwrap();
        assert!(is_corrupt(&open(folder.path())), "{content:?}");
    }
}

#[test]
fn a_next_file_begun_and_not_finished_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let newest = chunks(folder.path()).pop().unwrap();
    let start: u64 = newest.file_stem().unwrap().to_str().unwrap()[2..].replace('_', "").parse().unwrap();
    let next = start + std::fs::metadata(&newest).unwrap().len();
    let path = folder.path().join("wal").join(raft_log_name(next));
    std::fs::write(&path, b"").unwrap();
    let log = open(folder.path()).unwrap();
    assert!(log.cut_at_open().is_some());
    assert!(!path.exists());
    assert_eq!(log.read(0, 99).unwrap().len(), 20);
}

fn raft_log_name(offset: u64) -> String {
    raft_log::chunked_wal::Config::chunk_file_name(raft_log::ChunkId(offset))
}

#[test]
fn a_crash_in_the_first_start_is_a_new_log() {
    for content in [None, Some(vec![]), Some(vec![0, 0, 0, 5, 1])] {
        let folder = tempfile::tempdir().unwrap();
        if let Some(content) = content {
            std::fs::create_dir(folder.path().join("wal")).unwrap();
            std::fs::write(folder.path().join("wal").join(raft_log_name(0)), content).unwrap();
        }
        let log = open(folder.path()).unwrap();
        assert_eq!(log.cut_at_open(), None);
        assert_eq!(log.state().unwrap().last, None);
    }
}
