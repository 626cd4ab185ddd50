//! The disk that fails on demand, and what a store does after its first failure.

use std::io::ErrorKind;

use bytes::Bytes;
use only1mcp_storage::{
    Engine, Fault, FileJournal, FileRaftLog, Journal, JournalOptions, JournalPosition, LogPosition,
    LogRecord, MemDisk, MemOptions, RaftLog, RaftLogOptions, SavedVote, StorageError, WriteBehind,
};

use crate::support::{durably, ignore, waiter};

fn row(n: u8) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    vec![(vec![n], Some(vec![n]))]
}

fn entry(index: u64) -> Vec<LogRecord> {
    vec![LogRecord { position: LogPosition { term: 1, node: 1, index }, payload: Bytes::new() }]
}

#[test]
fn a_failure_closes_the_store_until_it_is_opened_anew() {
    let disk = MemDisk::new(MemOptions::default());
    let engine = disk.engine();
    engine.write(row(1), true).unwrap();
    disk.fail_after(1, Fault::Io);
    let failed = engine.write(row(2), true);
    assert!(matches!(failed, Err(StorageError::Io { .. })), "written, not synced: {failed:?}");
    disk.heal();
    assert!(matches!(engine.get(&[1]), Err(StorageError::Closed)));
    assert_eq!(disk.engine().get(&[1]).unwrap(), Some(vec![1]));
}

/// What was gathered and could not be handed on is lost: nothing may be written after it.
#[test]
fn a_failure_behind_a_gathering_reaches_the_next_writer_and_all_after() {
    let disk = MemDisk::new(MemOptions::default());
    let engine = WriteBehind::new(disk.engine()).unwrap();
    engine.write(row(1), true).unwrap();
    disk.fail_after(0, Fault::Io);
    engine.write(row(2), false).unwrap();
    assert!(engine.sync().is_err());
    disk.heal();
    assert!(engine.write(row(3), false).is_err() && engine.get(&[1]).is_err() && engine.sync().is_err());
    drop(engine);
    let found = disk.engine().scan(&[0], &[9], 9).unwrap();
    assert_eq!(found, [(vec![1], vec![1])]);
}

#[test]
fn a_gathering_refuses_what_does_not_fit_at_once_and_keeps_the_rest() {
    let disk = MemDisk::new(MemOptions::default());
    let engine = WriteBehind::new(disk.engine()).unwrap();
    engine.write(row(1), false).unwrap();
    let long = vec![(vec![2], Some(vec![0; only1mcp_storage::STORED_ROW_BYTES_MAX + 1]))];
    assert!(matches!(engine.write(long, false), Err(StorageError::TooLarge { .. })));
    assert_eq!(engine.scan(&[0], &[9], 9).unwrap(), [(vec![1], vec![1])]);
}

#[test]
fn a_full_disk_can_be_read() {
    let disk = MemDisk::new(MemOptions::default());
    let (log, journal) = (disk.log(), disk.journal());
    durably(|flushed| log.append(entry(0), flushed));
    durably(|flushed| journal.append(Bytes::from_static(b"x"), flushed));
    disk.fail_after(0, Fault::Full);
    assert_eq!(log.read(0, 9).unwrap().len(), 1);
    assert_eq!(journal.read_after(JournalPosition(0)).unwrap().len(), 1);
    let Err(StorageError::Io { source, .. }) = log.append(entry(1), ignore()) else { panic!("it was full") };
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert!(journal.append(Bytes::new(), ignore()).is_err());
    disk.heal();
    durably(|flushed| disk.log().append(entry(1), flushed));
}

#[test]
fn a_failed_sync_is_told_to_all_who_wait() {
    let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
    let (log, journal) = (disk.log(), disk.journal());
    let (first, first_done) = waiter();
    let (second, second_done) = waiter();
    log.append(entry(0), first).unwrap();
    journal.append(Bytes::new(), second).unwrap();
    disk.fail_after(0, Fault::Io);
    disk.pump();
    assert!(first_done.try_recv().unwrap().is_err());
    assert!(second_done.try_recv().unwrap().is_err());
}

#[test]
fn a_vote_is_durable_at_return_and_takes_what_came_before_with_it() {
    let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
    let log = disk.log();
    let (flushed, done) = waiter();
    log.append(entry(0), flushed).unwrap();
    let vote = SavedVote { term: 2, node: 1, committed: false };
    log.save_vote(vote).unwrap();
    done.try_recv().unwrap().unwrap();
    disk.crash(7);
    let state = disk.log().state().unwrap();
    assert_eq!((state.vote, state.last.map(|l| l.index)), (Some(vote), Some(0)));
}

#[test]
fn an_interrupted_replacement_leaves_the_engine_incomplete() {
    let disk = MemDisk::new(MemOptions::default());
    let engine = disk.engine();
    engine.write(row(1), true).unwrap();
    disk.fail_after(1, Fault::Io);
    assert!(engine.replace_all(Box::new([(vec![2], vec![2])].into_iter())).is_err());
    disk.heal();
    let engine = disk.engine();
    assert!(!engine.is_complete().unwrap());
    assert!(matches!(engine.write(row(1), true), Err(StorageError::Refused { .. })));
    engine.replace_all(Box::new([(vec![2], vec![2])].into_iter())).unwrap();
    assert!(engine.is_complete().unwrap());
}

#[test]
fn a_crash_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
        let (engine, log, journal) = (disk.engine(), disk.log(), disk.journal());
        for i in 0..20u8 {
            engine.write(row(i), false).unwrap();
            log.append(entry(u64::from(i)), ignore()).unwrap();
            journal.append(Bytes::new(), ignore()).unwrap();
        }
        disk.crash(seed);
        let (engine, log, journal) = (disk.engine(), disk.log(), disk.journal());
        let rows = engine.scan(&[], &[255], 99).unwrap().len();
        let records = journal.read_after(JournalPosition(0)).unwrap().len();
        (rows, log.read(0, 99).unwrap().len(), records, log.cut_at_open(), journal.cut_at_open())
    };
    let outcomes: Vec<_> = (0..50).map(run).collect();
    assert_eq!(outcomes, (0..50).map(run).collect::<Vec<_>>());
    assert!(outcomes.iter().any(|o| o.3.is_some()) && outcomes.iter().any(|o| o.3.is_none()));
    assert!(outcomes.iter().any(|o| o.0 != o.1), "each store loses its own part");
}

/// With its folder gone a store cannot begin its next file.
#[test]
fn a_journal_that_cannot_write_tells_all_who_wait_and_closes() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { segment_bytes: 100, ..JournalOptions::default() };
    let journal = FileJournal::open(folder.path(), options).unwrap();
    durably(|flushed| journal.append(Bytes::from(vec![1; 90]), flushed));
    std::fs::remove_dir_all(folder.path()).unwrap();
    let (flushed, wait) = waiter();
    journal.append(Bytes::from(vec![1; 90]), flushed).unwrap();
    assert!(matches!(wait.recv().unwrap(), Err(StorageError::Io { .. })));
    assert!(matches!(journal.append(Bytes::new(), ignore()), Err(StorageError::Closed)));
    assert!(matches!(journal.read_after(JournalPosition(0)), Err(StorageError::Closed)));
}

#[test]
fn a_log_that_cannot_write_closes() {
    let folder = tempfile::tempdir().unwrap();
    let log =
        FileRaftLog::open(folder.path(), RaftLogOptions { chunk_bytes: 200, cache_bytes_max: 0 }).unwrap();
    durably(|flushed| log.append(entry(0), flushed));
    std::fs::remove_dir_all(folder.path()).unwrap();
    let failed = (1..9).find_map(|index| log.append(entry(index), ignore()).err());
    assert!(matches!(failed, Some(StorageError::Io { .. })), "{failed:?}");
    assert!(matches!(log.state(), Err(StorageError::Closed)));
    let vote = SavedVote { term: 9, node: 1, committed: false };
    assert!(matches!(log.save_vote(vote), Err(StorageError::Closed)));
}

#[test]
fn a_panic_in_a_callback_stops_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let journal = FileJournal::open(folder.path().join("journal"), JournalOptions::default()).unwrap();
    let log = FileRaftLog::open(folder.path().join("log"), RaftLogOptions::default()).unwrap();
    journal.append(Bytes::new(), Box::new(|_| panic!("on purpose"))).unwrap();
    log.append(entry(0), Box::new(|_| panic!("on purpose"))).unwrap();
    durably(|flushed| journal.append(Bytes::new(), flushed));
    durably(|flushed| log.append(entry(1), flushed));
}

/// As when somebody restores a folder: everything is as it was copied, and whoever had it open is cut off.
#[test]
fn a_copy_put_back_is_the_disk_as_it_was() {
    let disk = MemDisk::new(MemOptions::default());
    let fill = |n: u8| {
        disk.engine().write(row(n), true).unwrap();
        durably(|flushed| disk.log().append(entry(u64::from(n)), flushed));
        durably(|flushed| disk.journal().append(Bytes::copy_from_slice(&[n]), flushed));
    };
    fill(0);
    let copy = disk.copy().unwrap();
    fill(1);
    let open = disk.engine();
    disk.put_back(copy.clone());
    assert!(matches!(open.get(&[0]), Err(StorageError::Closed)));
    assert_eq!(disk.engine().scan(&[0], &[9], 9).unwrap(), [(vec![0], vec![0])]);
    assert_eq!(disk.log().state().unwrap().last.map(|last| last.index), Some(0));
    assert_eq!(disk.journal().read_after(JournalPosition(0)).unwrap().len(), 1);
    fill(1);
    disk.put_journal_back(copy);
    assert_eq!(disk.journal().read_after(JournalPosition(0)).unwrap().len(), 1);
    assert_eq!(disk.log().state().unwrap().last.map(|last| last.index), Some(1), "the rest stays");
}
