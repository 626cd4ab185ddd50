//! Random operations against a plain list, for the journal on files and in memory.

use bytes::Bytes;
use only1mcp_storage::{FileJournal, Journal, JournalOptions, JournalPosition, MemDisk, MemOptions};
use proptest::prelude::*;

use crate::support::{durably, files, ignore, waiter};

#[derive(Clone, Debug)]
pub enum Op {
    Append(Vec<u8>, bool),
    Discard(u64),
    Reopen,
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (prop::collection::vec(any::<u8>(), 0..120), any::<bool>()).prop_map(|(b, wait)| Op::Append(b, wait)),
        1 => (0..20u64).prop_map(Op::Discard),
        1 => Just(Op::Reopen),
    ]
}

pub fn check(ops: &[Op], mut open: impl FnMut() -> Box<dyn Journal>) {
    let mut written: Vec<Bytes> = Vec::new();
    let mut discarded = 0;
    let mut journal = open();
    for op in ops {
        match op {
            Op::Append(bytes, wait) => {
                let record = Bytes::from(bytes.clone());
                let position = if *wait {
                    durably(|flushed| journal.append(record.clone(), flushed))
                } else {
                    journal.append(record.clone(), ignore()).unwrap()
                };
                written.push(record);
                assert_eq!(position.0, written.len() as u64, "positions count up from 1");
            }
            Op::Discard(back) => {
                discarded = discarded.max((written.len() as u64).saturating_sub(*back));
                journal.discard(JournalPosition(discarded)).unwrap();
            }
            Op::Reopen => {
                durably(|flushed| journal.append(Bytes::from_static(b"last"), flushed));
                written.push(Bytes::from_static(b"last"));
                // One writer at a time: the old one goes first.
                journal = Box::new(MemDisk::new(MemOptions::default()).journal());
                let _gone = &journal;
                journal = open();
                assert_eq!(journal.cut_at_open(), None);
            }
        }
    }
    durably(|flushed| journal.append(Bytes::from_static(b"end"), flushed));
    written.push(Bytes::from_static(b"end"));
    let found = journal.read_after(JournalPosition(0)).unwrap();
    let first = found.first().unwrap().0.0;
    assert!(first <= discarded + 1, "nothing is lost");
    let expected = written.iter().cloned().enumerate().skip(first as usize - 1);
    let expected: Vec<_> = expected.map(|(i, record)| (JournalPosition(i as u64 + 1), record)).collect();
    assert_eq!(found, expected);
    let later = journal.read_after(JournalPosition(written.len() as u64 - 1)).unwrap();
    assert_eq!(later.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn files_are_a_journal(ops in prop::collection::vec(op(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let options = JournalOptions { segment_bytes: 700, ..JournalOptions::default() };
        check(&ops, || Box::new(FileJournal::open(folder.path(), options).unwrap()));
    }
}

proptest! {
    #[test]
    fn memory_is_a_journal(ops in prop::collection::vec(op(), 1..60)) {
        let disk = MemDisk::new(MemOptions::default());
        check(&ops, || Box::new(disk.journal()));
    }

    #[test]
    fn memory_keeps_a_beginning(pumps in prop::collection::vec(any::<bool>(), 1..30), seed in any::<u64>()) {
        let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
        let journal = disk.journal();
        let mut durable = 0;
        for (i, pump) in pumps.iter().enumerate() {
            let (flushed, wait) = waiter();
            journal.append(Bytes::from(vec![i as u8]), flushed).unwrap();
            if *pump {
                disk.pump();
                wait.try_recv().unwrap().unwrap();
                durable = i + 1;
            }
        }
        disk.crash(seed);
        let found = disk.journal().read_after(JournalPosition(0)).unwrap();
        prop_assert!((durable..=pumps.len()).contains(&found.len()));
        for (i, (position, record)) in found.iter().enumerate() {
            prop_assert_eq!((position.0, record.as_ref()), (i as u64 + 1, &[i as u8][..]));
        }
    }
}

#[test]
fn discarded_files_are_removed_and_positions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { segment_bytes: 1_000, ..JournalOptions::default() };
    let journal = FileJournal::open(folder.path(), options).unwrap();
    for _ in 0..50 {
        durably(|flushed| journal.append(Bytes::from(vec![1; 200]), flushed));
    }
    let before = files(folder.path(), ".log").len();
    assert!(before > 8, "{before}");
    journal.discard(JournalPosition(50)).unwrap();
    drop(journal);
    assert_eq!(files(folder.path(), ".log").len(), 1);
    let journal = FileJournal::open(folder.path(), options).unwrap();
    assert_eq!(durably(|flushed| journal.append(Bytes::new(), flushed)), JournalPosition(51));
}

#[test]
fn many_callers_share_one_sync() {
    let folder = tempfile::tempdir().unwrap();
    let journal = FileJournal::open(folder.path(), JournalOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..8u8 {
            let journal = &journal;
            scope.spawn(move || {
                for _ in 0..50 {
                    durably(|flushed| journal.append(Bytes::from(vec![caller; 10]), flushed));
                }
            });
        }
    });
    assert_eq!(journal.read_after(JournalPosition(0)).unwrap().len(), 400);
}
