//! Random operations against a plain list, for the log on files and in memory, through rotation, purge and reopen.

use bytes::Bytes;
use only1mcp_storage::{
    FileRaftLog, LogPosition, LogRecord, LogState, MemDisk, MemOptions, RaftLog, RaftLogOptions, SavedVote,
};
use proptest::prelude::*;

use crate::support::{durably, ignore, waiter};

#[derive(Clone, Debug)]
pub enum Op {
    Vote(u64, bool),
    Append { count: usize, new_term: bool, bytes: usize, wait: bool },
    Commit(usize),
    Truncate(usize),
    Purge(usize),
    PurgeBeyond(u64),
    Reopen,
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..3u64, any::<bool>()).prop_map(|(node, committed)| Op::Vote(node, committed)),
        8 => (0..6usize, prop::bool::weighted(0.2), 0..60usize, any::<bool>())
            .prop_map(|(count, new_term, bytes, wait)| Op::Append { count, new_term, bytes, wait }),
        2 => (0..8usize).prop_map(Op::Commit),
        2 => (0..8usize).prop_map(Op::Truncate),
        2 => (0..8usize).prop_map(Op::Purge),
        1 => (1..5u64).prop_map(Op::PurgeBeyond),
        2 => Just(Op::Reopen),
    ]
}

/// The plain truth.
#[derive(Clone, Default)]
struct Model {
    state: LogState,
    records: Vec<LogRecord>,
    term: u64,
}

impl Model {
    fn next_index(&self) -> u64 {
        self.state.last.map_or(0, |l| l.index + 1)
    }

    /// The position `back` records before the end, if it is there.
    fn back(&self, back: usize) -> Option<LogPosition> {
        self.records.iter().rev().nth(back).map(|r| r.position)
    }
}

pub fn check(ops: &[Op], mut open: impl FnMut() -> Box<dyn RaftLog>) {
    let mut model = Model { term: 1, ..Model::default() };
    let mut log = open();
    for op in ops {
        step(op, &mut model, &mut log, &mut open);
        compare(&*log, &model);
    }
}

fn step(op: &Op, model: &mut Model, log: &mut Box<dyn RaftLog>, open: &mut impl FnMut() -> Box<dyn RaftLog>) {
    match *op {
        Op::Vote(node, committed) => {
            model.term += 1;
            let vote = SavedVote { term: model.term, node, committed };
            log.save_vote(vote).unwrap();
            model.state.vote = Some(vote);
        }
        Op::Append { count, new_term, bytes, wait } => {
            model.term += u64::from(new_term);
            let first = model.next_index();
            let records: Vec<LogRecord> = (0..count as u64)
                .map(|i| LogRecord {
                    position: LogPosition { term: model.term, node: 1, index: first + i },
                    payload: Bytes::from(vec![i as u8; bytes]),
                })
                .collect();
            if wait {
                durably(|flushed| log.append(records.clone(), flushed));
            } else {
                log.append(records.clone(), ignore()).unwrap();
            }
            model.state.last = records.last().map(|r| r.position).or(model.state.last);
            model.records.extend(records);
        }
        Op::Commit(back) => {
            let Some(at) = model.back(back) else { return };
            log.save_committed(at).unwrap();
            model.state.committed = model.state.committed.max(Some(at));
        }
        Op::Truncate(back) => {
            let keep = model.back(back).or(model.state.purged);
            if keep < model.state.committed {
                assert!(log.truncate_after(keep).is_err(), "what is committed stays");
                return;
            }
            log.truncate_after(keep).unwrap();
            model.records.retain(|r| Some(r.position) <= keep);
            model.state.last = keep.max(model.state.purged);
            model.term += 1;
        }
        Op::Purge(back) => {
            let Some(upto) = model.back(back) else { return };
            purge(log, model, upto);
        }
        Op::PurgeBeyond(by) => {
            model.term += 1;
            let upto = LogPosition { term: model.term, node: 1, index: model.next_index() + by };
            purge(log, model, upto);
        }
        Op::Reopen => {
            durably(|flushed| log.append(Vec::new(), flushed));
            // The files are locked: the old log goes first.
            *log = Box::new(MemDisk::new(MemOptions::default()).log());
            *log = open();
            assert_eq!(log.cut_at_open(), None);
        }
    }
}

fn purge(log: &mut Box<dyn RaftLog>, model: &mut Model, upto: LogPosition) {
    log.purge(upto).unwrap();
    model.records.retain(|r| r.position.index > upto.index);
    model.state.purged = Some(upto);
    model.state.last = model.state.last.max(Some(upto));
}

fn compare(log: &dyn RaftLog, model: &Model) {
    assert_eq!(log.state().unwrap(), model.state);
    assert_eq!(log.read(0, u64::MAX).unwrap(), model.records);
    if let [first, .., last] = model.records.as_slice() {
        let (from, to) = (first.position.index + 1, last.position.index);
        let inner = model.records.len() - 2;
        assert_eq!(log.read(from, to).unwrap(), model.records[1..=inner]);
    }
    assert_eq!(log.read(5, 3).unwrap(), vec![]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn files_are_a_log(ops in prop::collection::vec(op(), 1..50)) {
        let folder = tempfile::tempdir().unwrap();
        // Small files and no cache, so that rotation and reads from disk happen.
        let options = RaftLogOptions { chunk_bytes: 600, cache_bytes_max: 0 };
        check(&ops, || Box::new(FileRaftLog::open(folder.path(), options).unwrap()));
    }
}

proptest! {
    #[test]
    fn memory_is_a_log(ops in prop::collection::vec(op(), 1..60)) {
        let disk = MemDisk::new(MemOptions::default());
        check(&ops, || Box::new(disk.log()));
    }

    /// After a crash the log is a beginning of what was written, with all that was called back.
    #[test]
    fn memory_keeps_a_beginning(counts in prop::collection::vec((1..4u64, any::<bool>()), 1..20), seed in any::<u64>()) {
        let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
        let log = disk.log();
        let mut next = 0;
        let mut durable = 0;
        for (count, pump) in counts {
            let position = |index| LogPosition { term: 1, node: 1, index };
            let records = (next..next + count).map(|i| LogRecord { position: position(i), payload: Bytes::new() });
            let (flushed, wait) = waiter();
            log.append(records.collect(), flushed).unwrap();
            next += count;
            prop_assert!(wait.try_recv().is_err(), "not before it is pumped");
            if pump {
                disk.pump();
                wait.try_recv().unwrap().unwrap();
                durable = next;
            }
        }
        disk.crash(seed);
        prop_assert!(log.state().is_err(), "the old handle is dead");
        let found = disk.log().read(0, u64::MAX).unwrap();
        let indexes: Vec<u64> = found.iter().map(|r| r.position.index).collect();
        prop_assert!(indexes.len() as u64 >= durable);
        prop_assert_eq!(indexes, (0..found.len() as u64).collect::<Vec<_>>());
    }
}

pub fn refusals(log: &dyn RaftLog) {
    let at = |term, index| LogPosition { term, node: 1, index };
    let record = |term, index| LogRecord { position: at(term, index), payload: Bytes::from_static(b"x") };
    durably(|flushed| log.append(vec![record(2, 5), record(2, 6)], flushed));
    log.save_vote(SavedVote { term: 3, node: 1, committed: false }).unwrap();
    assert!(log.append(vec![record(2, 7), record(2, 9)], ignore()).is_err(), "a gap");
    assert!(log.append(vec![record(1, 7)], ignore()).is_err(), "an older term");
    assert!(log.save_vote(SavedVote { term: 2, node: 1, committed: true }).is_err(), "an older term");
    assert!(log.truncate_after(Some(at(1, 5))).is_err(), "a position that is not there");
    assert!(log.purge(at(1, 5)).is_err(), "a position that is not there");
    log.save_committed(at(2, 9)).unwrap();
    assert_eq!(log.state().unwrap().committed, None, "past the end: ignored");
    assert_eq!(log.read(0, 99).unwrap().len(), 2, "refusals change nothing");
    durably(|flushed| log.append(vec![record(3, 7)], flushed));
    log.truncate_after(None).unwrap();
    assert_eq!(log.state().unwrap().last, None);
    durably(|flushed| log.append(vec![record(4, 0)], flushed));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    refusals(&FileRaftLog::open(folder.path(), RaftLogOptions::default()).unwrap());
    refusals(&MemDisk::new(MemOptions::default()).log());
}

#[test]
fn purged_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let log =
        FileRaftLog::open(folder.path(), RaftLogOptions { chunk_bytes: 1_000, cache_bytes_max: 0 }).unwrap();
    for index in 0..100 {
        let position = LogPosition { term: 1, node: 1, index };
        durably(|flushed| {
            log.append(vec![LogRecord { position, payload: Bytes::from(vec![1; 100]) }], flushed)
        });
    }
    let count = || std::fs::read_dir(folder.path().join("wal")).unwrap().count();
    let before = count();
    log.purge(LogPosition { term: 1, node: 1, index: 90 }).unwrap();
    log.save_vote(SavedVote { term: 2, node: 1, committed: false }).unwrap();
    drop(log);
    assert!(count() + 8 < before, "{} of {before} files left", count());
}
