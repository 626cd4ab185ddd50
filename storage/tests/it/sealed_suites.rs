//! The suites again, with everything sealed: what is read is what was written, also by the next process.

use only1mcp_domain::limits::{
    JOURNAL_RECORD_BYTES_MAX, LOG_RECORD_BYTES_MAX, ROW_BYTES_MAX, ROW_KEY_BYTES_MAX,
};
use only1mcp_domain::row::Table;
use only1mcp_storage::{
    Engine, FileJournal, FileRaftLog, FileSegments, Journal as _, JournalOptions, LogPosition, LogRecord,
    MemDisk, MemOptions, RaftLog as _, RaftLogOptions, RowGuard, SealedEngine, SealedJournal, SealedLog,
    SealedSegments, SledEngine, StorageError, WriteBehind,
};
use proptest::prelude::*;

use crate::support::{durably, ignore, sealer};
use crate::{engine_suite, journal_suite, log_suite, segments};

/// Every process has a sealer of its own.
fn sled(folder: &std::path::Path) -> SealedEngine<SledEngine> {
    let sealer = sealer(7);
    SealedEngine::new(SledEngine::open_guarded(folder, RowGuard::keyed(sealer.clone())).unwrap(), sealer)
}

/// Keys of hidden tables are in no order: the suite counts on order, so it stays out of them.
fn out_of_hidden(mut op: engine_suite::Op) -> engine_suite::Op {
    let other = |key: &mut Vec<u8>| {
        if let Some(first) = key.first_mut().filter(|first| matches!(**first, 3 | 19 | 95)) {
            *first = 4;
        }
    };
    match &mut op {
        engine_suite::Op::Write(rows, _) => rows.iter_mut().for_each(|(key, _)| other(key)),
        engine_suite::Op::Replace(rows) => rows.iter_mut().for_each(|(key, _)| other(key)),
        engine_suite::Op::Sync | engine_suite::Op::Reopen => {}
    }
    op
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn sealed_rows_are_a_map(ops in prop::collection::vec(engine_suite::op().prop_map(out_of_hidden), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        engine_suite::check(&ops, || Box::new(sled(folder.path())));
        let disk = MemDisk::new(MemOptions::default());
        engine_suite::check(&ops, || Box::new(SealedEngine::new(disk.engine(), sealer(7))));
        let folder = tempfile::tempdir().unwrap();
        engine_suite::check(&ops, || Box::new(WriteBehind::new(sled(folder.path())).unwrap()));
    }

    #[test]
    fn sealed_files_are_a_log(ops in prop::collection::vec(log_suite::op(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let options = RaftLogOptions { chunk_bytes: 600, cache_bytes_max: 0 };
        log_suite::check(&ops, || {
            Box::new(SealedLog::new(FileRaftLog::open(folder.path(), options).unwrap(), sealer(7)))
        });
        let disk = MemDisk::new(MemOptions::default());
        log_suite::check(&ops, || Box::new(SealedLog::new(disk.log(), sealer(7))));
    }

    #[test]
    fn sealed_files_are_a_journal(ops in prop::collection::vec(journal_suite::op(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let options = JournalOptions { segment_bytes: 900, ..JournalOptions::default() };
        journal_suite::check(&ops, || {
            Box::new(SealedJournal::new(FileJournal::open(folder.path(), options).unwrap(), sealer(7)))
        });
        let disk = MemDisk::new(MemOptions::default());
        journal_suite::check(&ops, || Box::new(SealedJournal::new(disk.journal(), sealer(7))));
    }
}

#[test]
fn a_sealed_log_refuses_what_does_not_fit() {
    log_suite::refusals(&SealedLog::new(MemDisk::new(MemOptions::default()).log(), sealer(7)));
}

#[test]
fn sealed_segments_are_read_from_any_place_and_are_the_same_inside() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |folder: &tempfile::TempDir, ring| {
        SealedSegments::new(FileSegments::open(folder.path()).unwrap(), sealer(ring))
    };
    let (first, second) = (open(&one, 7), open(&other, 8));
    let (before, sealed, name) = segments::sample(&first);
    assert_eq!(segments::sample(&second).2, name, "the address is that of the bytes inside");
    let bytes =
        |folder: &tempfile::TempDir| std::fs::read(folder.path().join(name.address.to_string())).unwrap();
    assert_ne!(bytes(&one), bytes(&other), "the files are not");
    drop(first);
    let again = open(&one, 7);
    assert_eq!(segments::check(&again, name, before).unwrap(), name);
    for from in [31, 32, 100, 229, 230] {
        let read =
            only1mcp_storage::read_segment(&again, &name, only1mcp_domain::ids::AuditIndex(from), 9).unwrap();
        let first = usize::try_from(from).unwrap() - 31;
        assert_eq!(read, sealed[first..sealed.len().min(first + 9)]);
    }
}

/// Frames do not end where appends do, and reads begin and end anywhere.
#[test]
fn a_part_is_read_as_it_was_appended_and_goes_on_after_a_restart() {
    use only1mcp_domain::ids::Digest;
    use only1mcp_storage::{SegmentCopy, Segments};
    let folder = tempfile::tempdir().unwrap();
    let open = || SealedSegments::new(FileSegments::open(folder.path()).unwrap(), sealer(7));
    let address = Digest([9; 32]);
    let content: Vec<u8> = (0..200_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut files = open();
    let mut at = 0;
    for (step, length) in [1, 40_000, 32_768, 70_000, 3, 57_228].into_iter().enumerate() {
        if step == 3 {
            files = open();
            assert_eq!(files.size(&address, SegmentCopy::Part).unwrap(), Some(at as u64));
        }
        assert!(files.append(&address, at as u64 + 1, b"x").is_err(), "elsewhere");
        files.append(&address, at as u64, &content[at..at + length]).unwrap();
        at += length;
    }
    assert_eq!(at, content.len());
    let read = |copy, from: usize, length| files.read(&address, copy, from as u64, length).unwrap();
    let places =
        [(0, 1), (0, 200_000), (1, 40_000), (32_767, 2), (199_999, 9), (200_000, 5), (77_000, 64_000)];
    let compare = |copy| {
        for (from, length) in places {
            assert_eq!(read(copy, from, length), content[from..content.len().min(from + length)], "{from}");
        }
    };
    compare(SegmentCopy::Part);
    files.finish(&address).unwrap();
    assert_eq!(files.size(&address, SegmentCopy::Part).unwrap(), None);
    assert_eq!(files.addresses().unwrap(), [address]);
    compare(SegmentCopy::Whole);
    // A crash tears the end of another part: it is begun anew.
    let torn = Digest([8; 32]);
    files.append(&torn, 0, &content[..1_000]).unwrap();
    drop(files);
    let path = folder.path().join(format!("{torn}.part"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let files = open();
    assert_eq!(files.size(&torn, SegmentCopy::Part).unwrap(), None);
    files.append(&torn, 0, &content[..10]).unwrap();
    assert_eq!(files.read(&torn, SegmentCopy::Part, 0, 99).unwrap(), content[..10]);
}

/// Rows of a hidden table: each under its key, all by pages, none by order.
#[test]
fn rows_of_hidden_tables_are_found_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::Principals.number();
    let key = |i: u16| [[table].as_slice(), format!("acme\0person-{i}@example.org\0").as_bytes()].concat();
    let engine = sled(folder.path());
    let rows = (0..50).map(|i| (key(i), Some(i.to_be_bytes().to_vec()))).collect();
    engine.write(rows, true).unwrap();
    engine.write(vec![(key(7), None), (key(8), Some(b"new".to_vec()))], true).unwrap();
    drop(engine);
    let engine = sled(folder.path());
    assert_eq!(engine.get(&key(7)).unwrap(), None);
    assert_eq!(engine.get(&key(8)).unwrap().unwrap(), b"new");
    let (mut from, mut found) = (vec![table], Vec::new());
    loop {
        let page = engine.scan(&from, &[table + 1], 7).unwrap();
        let Some((last, _)) = page.last() else { break };
        from = [last.as_slice(), &[0]].concat();
        found.extend(page.into_iter().map(|(key, _)| key));
    }
    found.sort();
    let mut expected: Vec<_> = (0..50).filter(|i| *i != 7).map(key).collect();
    expected.sort();
    assert_eq!(found, expected);
    let refused = engine.scan(&[table, b'a'], &[table + 1], 7);
    assert!(matches!(refused, Err(StorageError::Refused { .. })), "{refused:?}");
}

/// Both sides of the bounds, which are those of what is inside.
#[test]
fn bounds_are_those_of_what_is_inside() {
    let too_large = |error| assert!(matches!(error, StorageError::TooLarge { .. }), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let journal = SealedJournal::new(
        FileJournal::open(folder.path().join("j"), JournalOptions::default()).unwrap(),
        sealer(7),
    );
    durably(|flushed| journal.append(vec![1; JOURNAL_RECORD_BYTES_MAX].into(), flushed));
    too_large(journal.append(vec![1; JOURNAL_RECORD_BYTES_MAX + 1].into(), ignore()).unwrap_err());
    let log = FileRaftLog::open(folder.path().join("l"), RaftLogOptions::default()).unwrap();
    let log = SealedLog::new(log, sealer(7));
    let record = |index, length| {
        vec![LogRecord { position: LogPosition { term: 1, node: 1, index }, payload: vec![1; length].into() }]
    };
    durably(|flushed| log.append(record(0, LOG_RECORD_BYTES_MAX), flushed));
    too_large(log.append(record(1, LOG_RECORD_BYTES_MAX + 1), ignore()).unwrap_err());
    let engine = sled(&folder.path().join("r"));
    for table in [Table::Roles.number(), Table::Accounts.number()] {
        let row = |key, value| vec![(vec![table; key], Some(vec![1; value]))];
        engine.write(row(ROW_KEY_BYTES_MAX, ROW_BYTES_MAX), true).unwrap();
        assert_eq!(engine.get(&[table; ROW_KEY_BYTES_MAX]).unwrap().unwrap().len(), ROW_BYTES_MAX);
        too_large(engine.write(row(ROW_KEY_BYTES_MAX + 1, 1), true).unwrap_err());
        too_large(engine.write(row(9, ROW_BYTES_MAX + 1), true).unwrap_err());
    }
}
