//! The power fails while many records are written at once, or what was synced rots: which of the two it was, as far as the
//! Raft log can tell.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use only1mcp_storage::{FileRaftLog, LogPosition, LogRecord, RaftLog, RaftLogOptions, SavedVote};

use crate::support::{copy_folder, durably, files, is_corrupt};

const SECTOR: usize = 512;
const OPTIONS: RaftLogOptions = RaftLogOptions { chunk_bytes: 1 << 20, cache_bytes_max: 0 };
const VOTE: SavedVote = SavedVote { term: 1, node: 1, committed: true };

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Its length is decided by its index and the seed.
fn record(seed: u64, index: u64) -> LogRecord {
    let position = LogPosition { term: 1, node: 1, index };
    let length = Random(seed * 1_000 + index).below(if index.is_multiple_of(5) { 2_000 } else { 150 });
    LogRecord { position, payload: Bytes::from(vec![index as u8 | 1; length as usize]) }
}

fn group(seed: u64, from: u64, to: u64) -> Vec<LogRecord> {
    (from..to).map(|index| record(seed, index)).collect()
}

fn newest(folder: &Path) -> PathBuf {
    files(&folder.join("wal"), ".wal").pop().unwrap()
}

/// A log that was written group by group: where each ends in its file, and how many entries there are up to there.
struct Written {
    folder: tempfile::TempDir,
    groups: Vec<(usize, u64)>,
}

/// The last group is large.
fn write(seed: u64) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let log = FileRaftLog::open(folder.path(), OPTIONS).unwrap();
    log.save_vote(VOTE).unwrap();
    let mut random = Random(seed);
    let mut groups = Vec::new();
    let mut next = 0;
    for last in [false, false, false, false, true] {
        let entries = if last { 20 + random.below(30) } else { 1 + random.below(6) };
        durably(|flushed| log.append(group(seed, next, next + entries), flushed));
        next += entries;
        groups.push((std::fs::metadata(newest(folder.path())).unwrap().len() as usize, next));
    }
    drop(log);
    Written { folder, groups }
}

/// All that was synced is there, and of the rest a beginning; and the log goes on.
fn holds(folder: &Path, seed: u64, synced: u64, what: &str) {
    let log = FileRaftLog::open(folder, OPTIONS).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(log.cut_at_open().is_some(), "{what}");
    assert_eq!(log.state().unwrap().vote, Some(VOTE));
    let found = log.read(0, 999).unwrap();
    let count = found.len() as u64;
    assert!(count >= synced, "{what}: {count} of {synced}");
    assert_eq!(found, group(seed, 0, count), "{what}");
    durably(|flushed| log.append(vec![record(seed, count)], flushed));
    drop(log);
    let log = FileRaftLog::open(folder, OPTIONS).unwrap();
    assert_eq!(log.cut_at_open(), None, "{what}");
    assert_eq!(log.read(0, 999).unwrap().len() as u64, count + 1);
}

/// Whatever sectors of what was not synced are missing, and wherever the file ends.
#[test]
fn power_that_fails_amid_many_records_costs_none_that_was_synced() {
    for seed in 1..=20 {
        let Written { folder, groups } = write(seed);
        let [.., (before, synced), (after, _)] = groups[..] else { panic!("{groups:?}") };
        let path = newest(folder.path());
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), after);
        let mut random = Random(seed);
        for round in 0..6 {
            let mut torn = whole.clone();
            let mut missing = 0;
            for sector in before / SECTOR..after.div_ceil(SECTOR) {
                if random.below(4) == 0 {
                    torn[before.max(sector * SECTOR)..after.min((sector + 1) * SECTOR)].fill(0);
                    missing += 1;
                }
            }
            if round % 3 == 2 {
                torn.truncate(before + 1 + random.below((after - before - 1) as u64) as usize);
            }
            if missing == 0 || torn == whole {
                continue;
            }
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            std::fs::write(newest(copy.path()), &torn).unwrap();
            holds(copy.path(), seed, synced, &format!("seed {seed}, round {round}"));
        }
    }
}

/// Each sector in turn, with all that is in it.
#[test]
fn a_sector_that_rots_to_zeros_is_noticed_but_in_what_was_synced_last() {
    for seed in 1..=4 {
        let Written { folder, groups } = write(seed);
        let [.., (before, synced), (after, _)] = groups[..] else { panic!("{groups:?}") };
        let whole = std::fs::read(newest(folder.path())).unwrap();
        for sector in 0..after.div_ceil(SECTOR) {
            let (from, to) = (sector * SECTOR, after.min((sector + 1) * SECTOR));
            let mut rotten = whole.clone();
            rotten[from..to].fill(0);
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            std::fs::write(newest(copy.path()), &rotten).unwrap();
            if from < before {
                let opened = FileRaftLog::open(copy.path(), OPTIONS);
                assert!(is_corrupt(&opened), "seed {seed}, sector {sector}");
            } else {
                // As if it never had been written; it is told as cut.
                holds(copy.path(), seed, synced, &format!("seed {seed}, sector {sector}"));
            }
        }
    }
}

/// The same, where a later start wrote on: what it found it synced.
#[test]
fn what_a_start_has_kept_of_a_torn_group_is_synced_from_then_on() {
    let Written { folder, groups } = write(7);
    let [.., (before, _), (after, _)] = groups[..] else { panic!("{groups:?}") };
    let path = newest(folder.path());
    let mut torn = std::fs::read(&path).unwrap();
    let hole = (before + (after - before) / 2) / SECTOR * SECTOR;
    torn[hole..hole + SECTOR].fill(0);
    std::fs::write(&path, &torn).unwrap();
    let log = FileRaftLog::open(folder.path(), OPTIONS).unwrap();
    let kept = log.state().unwrap().last.unwrap().index + 1;
    durably(|flushed| log.append(group(7, kept, kept + 30), flushed));
    drop(log);
    let mut rotten = std::fs::read(&path).unwrap();
    let inside = (before / SECTOR + 1) * SECTOR;
    assert!(inside + SECTOR <= hole);
    rotten[inside..inside + SECTOR].fill(0);
    std::fs::write(&path, &rotten).unwrap();
    assert!(is_corrupt(&FileRaftLog::open(folder.path(), OPTIONS)));
}

/// A file that the torn group begun has lost its own beginning, though not what follows.
#[test]
fn a_file_whose_beginning_was_never_written_is_dropped_with_what_follows() {
    let options = RaftLogOptions { chunk_bytes: 6_000, cache_bytes_max: 0 };
    let folder = tempfile::tempdir().unwrap();
    let log = FileRaftLog::open(folder.path(), options).unwrap();
    log.save_vote(VOTE).unwrap();
    durably(|flushed| log.append(group(3, 0, 3), flushed));
    durably(|flushed| log.append(group(3, 3, 40), flushed));
    drop(log);
    let paths = files(&folder.path().join("wal"), ".wal");
    let last = paths.last().unwrap();
    let mut torn = std::fs::read(last).unwrap();
    assert!(paths.len() >= 2 && torn.len() > 2 * SECTOR);
    torn[..SECTOR].fill(0);
    std::fs::write(last, &torn).unwrap();
    let log = FileRaftLog::open(folder.path(), options).unwrap();
    assert!(log.cut_at_open().is_some() && !last.exists());
    let found = log.read(0, 99).unwrap();
    assert!(found.len() > 3 && found.len() < 40);
    assert_eq!(found, group(3, 0, found.len() as u64));
    durably(|flushed| log.append(group(3, found.len() as u64, 60), flushed));
    drop(log);
    // Once more is written, the same damage is rot.
    let log = FileRaftLog::open(folder.path(), options).unwrap();
    durably(|flushed| log.append(group(3, 60, 61), flushed));
    drop(log);
    let newest = newest(folder.path());
    let mut rotten = std::fs::read(&newest).unwrap();
    assert!(rotten.len() > 2 * SECTOR && files(&folder.path().join("wal"), ".wal").len() >= 2);
    rotten[..SECTOR].fill(0);
    std::fs::write(&newest, &rotten).unwrap();
    assert!(is_corrupt(&FileRaftLog::open(folder.path(), options)));
}

/// A log that an earlier version wrote says nothing of what was synced together: no hole in it is taken for a torn write.
/// Once it was opened it has marks.
#[test]
fn a_log_without_marks_gets_one_and_is_doubted_until_then() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../raft/consensus/tests/fixtures/version-1/log");
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture, folder.path());
    let path = newest(folder.path());
    let whole = std::fs::read(&path).unwrap();
    let mut rotten = whole.clone();
    let at = whole.len() / 2 / SECTOR * SECTOR;
    rotten[at..at + SECTOR].fill(0);
    std::fs::write(&path, &rotten).unwrap();
    assert!(is_corrupt(&FileRaftLog::open(folder.path(), OPTIONS)));
    std::fs::write(&path, &whole).unwrap();
    let log = FileRaftLog::open(folder.path(), OPTIONS).unwrap();
    let last = log.state().unwrap().last.unwrap();
    let marked = std::fs::metadata(&path).unwrap().len() as usize;
    assert!(marked > whole.len());
    let entry = |index: u64| LogRecord {
        position: LogPosition { index, ..last },
        payload: Bytes::from(vec![7; 300]),
    };
    let entries = (1..20).map(|more| entry(last.index + more)).collect();
    durably(|flushed| log.append(entries, flushed));
    drop(log);
    let mut torn = std::fs::read(&path).unwrap();
    let at = (marked / SECTOR + 3) * SECTOR;
    torn[at..at + SECTOR].fill(0);
    std::fs::write(&path, &torn).unwrap();
    let log = FileRaftLog::open(folder.path(), OPTIONS).unwrap();
    assert!(log.cut_at_open().is_some() && log.state().unwrap().last > Some(last));
}

/// Entries that are known to be committed are noted without a sync: the log's own end syncs and marks them.
#[test]
fn a_log_that_is_closed_ends_with_a_mark() {
    let folder = tempfile::tempdir().unwrap();
    let log = FileRaftLog::open(folder.path(), OPTIONS).unwrap();
    durably(|flushed| log.append(group(1, 0, 30), flushed));
    let path = newest(folder.path());
    let synced = std::fs::metadata(&path).unwrap().len() as usize;
    log.save_committed(record(1, 29).position).unwrap();
    drop(log);
    let mut rotten = std::fs::read(&path).unwrap();
    assert!(rotten.len() > synced);
    // All before the note: with no mark behind the note this would look torn.
    let at = (synced - SECTOR) / SECTOR * SECTOR;
    rotten[at..synced].fill(0);
    std::fs::write(&path, &rotten).unwrap();
    assert!(is_corrupt(&FileRaftLog::open(folder.path(), OPTIONS)));
}
