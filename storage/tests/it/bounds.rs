//! Both sides of every bound that storage enforces.

use bytes::Bytes;
use only1mcp_domain::limits::{
    JOURNAL_QUEUE_BYTES_MAX, JOURNAL_QUEUE_RECORDS_MAX, JOURNAL_RECORD_BYTES_MAX, LOG_RECORD_BYTES_MAX,
    ROW_KEY_BYTES_MAX,
};
use only1mcp_storage::{
    Engine, FileJournal, FileRaftLog, Journal, JournalOptions, LogPosition, LogRecord, MemDisk, MemOptions,
    RaftLog, RaftLogOptions, SEALED_BYTES, STORED_ROW_BYTES_MAX, SledEngine, StorageError,
};

use crate::support::{durably, files, ignore};

fn too_large<T: std::fmt::Debug>(result: Result<T, StorageError>, name: &str) {
    match result {
        Err(StorageError::TooLarge { what, .. }) => assert_eq!(what, name),
        other => panic!("{other:?}"),
    }
}

fn rows(engine: &dyn Engine) {
    let key = vec![1; ROW_KEY_BYTES_MAX];
    engine.write(vec![(key.clone(), Some(vec![2; STORED_ROW_BYTES_MAX]))], true).unwrap();
    too_large(engine.write(vec![(vec![1; ROW_KEY_BYTES_MAX + 1], None)], true), "row key");
    let both = vec![(vec![9], Some(vec![])), (vec![1], Some(vec![2; STORED_ROW_BYTES_MAX + 1]))];
    too_large(engine.write(both, true), "row");
    assert_eq!(engine.get(&[9]).unwrap(), None, "nothing of a refused batch is written");
    assert_eq!(engine.get(&key).unwrap().unwrap().len(), STORED_ROW_BYTES_MAX);
    let replaced = engine.replace_all(Box::new([(vec![1], vec![2; STORED_ROW_BYTES_MAX + 1])].into_iter()));
    too_large(replaced, "row");
    assert!(engine.get(&key).unwrap().is_some(), "nothing is replaced then");
}

#[test]
fn row_bytes_max_and_row_key_bytes_max() {
    let folder = tempfile::tempdir().unwrap();
    rows(&SledEngine::open(folder.path()).unwrap());
    rows(&MemDisk::new(MemOptions::default()).engine());
}

fn log_record(log: &dyn RaftLog) {
    let record = |index, len| {
        let position = LogPosition { term: 1, node: 1, index };
        vec![LogRecord { position, payload: Bytes::from(vec![1; len]) }]
    };
    durably(|flushed| log.append(record(0, LOG_RECORD_BYTES_MAX + SEALED_BYTES), flushed));
    too_large(log.append(record(1, LOG_RECORD_BYTES_MAX + SEALED_BYTES + 1), ignore()), "log record");
    durably(|flushed| log.append(record(1, 1), flushed));
    assert_eq!(log.read(0, 9).unwrap().len(), 2);
}

#[test]
fn log_record_bytes_max() {
    let folder = tempfile::tempdir().unwrap();
    let log = FileRaftLog::open(folder.path(), RaftLogOptions::default()).unwrap();
    log_record(&log);
    drop(log);
    let log = FileRaftLog::open(folder.path(), RaftLogOptions::default()).unwrap();
    assert_eq!(log.read(0, 1).unwrap()[0].payload.len(), LOG_RECORD_BYTES_MAX + SEALED_BYTES);
    log_record(&MemDisk::new(MemOptions::default()).log());
}

/// A file of the log is left for the next one when it has reached this size.
#[test]
fn log_chunk_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let log =
        FileRaftLog::open(folder.path(), RaftLogOptions { chunk_bytes: 1_000, cache_bytes_max: 0 }).unwrap();
    for index in 0..40 {
        let position = LogPosition { term: 1, node: 1, index };
        durably(|flushed| {
            log.append(vec![LogRecord { position, payload: Bytes::from(vec![1; 60]) }], flushed)
        });
    }
    drop(log);
    for chunk in files(&folder.path().join("wal"), ".wal") {
        assert!(std::fs::metadata(chunk).unwrap().len() < 1_000 + 100);
    }
}

fn journal_record(journal: &dyn Journal) {
    durably(|flushed| journal.append(Bytes::from(vec![1; JOURNAL_RECORD_BYTES_MAX + SEALED_BYTES]), flushed));
    too_large(
        journal.append(Bytes::from(vec![1; JOURNAL_RECORD_BYTES_MAX + SEALED_BYTES + 1]), ignore()),
        "journal record",
    );
    durably(|flushed| journal.append(Bytes::new(), flushed));
}

#[test]
fn journal_record_bytes_max() {
    let folder = tempfile::tempdir().unwrap();
    journal_record(&FileJournal::open(folder.path(), JournalOptions::default()).unwrap());
    journal_record(&MemDisk::new(MemOptions::default()).journal());
}

#[test]
fn journal_queue_bytes_max_and_journal_queue_records_max() {
    let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
    let journal = disk.journal();
    for _ in 0..JOURNAL_QUEUE_BYTES_MAX / JOURNAL_RECORD_BYTES_MAX {
        journal.append(Bytes::from(vec![1; JOURNAL_RECORD_BYTES_MAX]), ignore()).unwrap();
    }
    too_large(journal.append(Bytes::from(vec![1; JOURNAL_RECORD_BYTES_MAX]), ignore()), "journal queue");
    disk.pump();
    for _ in 0..JOURNAL_QUEUE_RECORDS_MAX {
        journal.append(Bytes::new(), ignore()).unwrap();
    }
    too_large(journal.append(Bytes::new(), ignore()), "journal queue");
    disk.pump();
    journal.append(Bytes::new(), ignore()).unwrap();
}

/// The writer is held in a callback, so that the queue can fill behind it.
#[test]
fn a_full_journal_queue_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { queue_records_max: 3, queue_bytes_max: 10, ..JournalOptions::default() };
    let journal = FileJournal::open(folder.path(), options).unwrap();
    let (entered, writer_in) = std::sync::mpsc::channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let hold = Box::new(move |_| {
        entered.send(()).unwrap();
        held.recv().unwrap();
    });
    journal.append(Bytes::new(), hold).unwrap();
    writer_in.recv().unwrap();
    journal.append(Bytes::from(vec![1; 10]), ignore()).unwrap();
    too_large(journal.append(Bytes::from(vec![1; 1]), ignore()), "journal queue");
    journal.append(Bytes::new(), ignore()).unwrap();
    journal.append(Bytes::new(), ignore()).unwrap();
    too_large(journal.append(Bytes::new(), ignore()), "journal queue");
    release.send(()).unwrap();
    while journal.append(Bytes::new(), ignore()).is_err() {
        std::thread::yield_now();
    }
    durably(|flushed| journal.append(Bytes::new(), flushed));
}

#[test]
fn journal_segment_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { segment_bytes: 1_000, ..JournalOptions::default() };
    let journal = FileJournal::open(folder.path(), options).unwrap();
    // 32 bytes of header, 40 around each record: two of 444 fill a file to the byte, the third begins the next.
    for len in [444, 444, 444, 2_000] {
        durably(|flushed| journal.append(Bytes::from(vec![1; len]), flushed));
    }
    drop(journal);
    let sizes: Vec<u64> =
        files(folder.path(), ".log").iter().map(|p| std::fs::metadata(p).unwrap().len()).collect();
    assert_eq!(sizes, [1_000, 516, 2_072]);
}
