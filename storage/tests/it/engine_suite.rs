//! Random operations against a map, for sled and for memory: what is read is what was written, also after a reopen.

use std::collections::BTreeMap;

use only1mcp_storage::{Engine, MemDisk, MemOptions, SledEngine, WriteBehind};
use proptest::prelude::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
pub enum Op {
    Write(Vec<(Vec<u8>, Option<Vec<u8>>)>, bool),
    Sync,
    Replace(Vec<(Vec<u8>, Vec<u8>)>),
    Reopen,
}

pub fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..3)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

pub fn op() -> impl Strategy<Value = Op> {
    let rows = prop::collection::vec((key(), prop::option::weighted(0.7, value())), 0..6);
    prop_oneof![
        6 => (rows, any::<bool>()).prop_map(|(rows, durable)| Op::Write(rows, durable)),
        1 => Just(Op::Sync),
        1 => prop::collection::vec((key(), value()), 0..8).prop_map(Op::Replace),
        1 => Just(Op::Reopen),
    ]
}

pub fn check(ops: &[Op], mut open: impl FnMut() -> Box<dyn Engine>) {
    let mut model = Model::new();
    let mut engine = open();
    for op in ops {
        match op {
            Op::Write(rows, durable) => {
                engine.write(rows.clone(), *durable).unwrap();
                for (key, value) in rows {
                    match value {
                        Some(value) => model.insert(key.clone(), value.clone()),
                        None => model.remove(key),
                    };
                }
            }
            Op::Sync => engine.sync().unwrap(),
            Op::Replace(rows) => {
                engine.replace_all(Box::new(rows.clone().into_iter())).unwrap();
                model = rows.iter().cloned().collect();
            }
            Op::Reopen => {
                engine.sync().unwrap();
                drop(engine);
                engine = open();
            }
        }
        compare(&*engine, &model);
    }
}

fn compare(engine: &dyn Engine, model: &Model) {
    assert!(engine.is_complete().unwrap());
    for key in model.keys() {
        assert_eq!(engine.get(key).unwrap().as_ref(), model.get(key));
    }
    let all: Vec<_> = model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    assert_eq!(engine.scan(b"", &[255; 4], usize::MAX).unwrap(), all);
    let (from, to) = (vec![1], vec![1, 255]);
    let part: Vec<_> = all.iter().filter(|(k, _)| *k >= from && *k < to).cloned().collect();
    let head: Vec<_> = part.iter().take(2).cloned().collect();
    let tail: Vec<_> = part.iter().rev().take(2).cloned().collect();
    assert_eq!(engine.scan(&from, &to, 2).unwrap(), head);
    assert_eq!(engine.scan_back(&from, &to, 2).unwrap(), tail);
    assert_eq!(engine.scan(&to, &from, 9).unwrap(), vec![]);
    assert_eq!(engine.get(b"never written").unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sled_is_a_map(ops in prop::collection::vec(op(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        check(&ops, || Box::new(SledEngine::open(folder.path()).unwrap()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A reopen drops the old one first: what was gathered is handed on.
    #[test]
    fn sled_behind_a_gathering_is_a_map(ops in prop::collection::vec(op(), 1..25)) {
        let folder = tempfile::tempdir().unwrap();
        check(&ops, || Box::new(WriteBehind::new(SledEngine::open(folder.path()).unwrap()).unwrap()));
    }
}

proptest! {
    #[test]
    fn memory_is_a_map(ops in prop::collection::vec(op(), 1..40)) {
        let disk = MemDisk::new(MemOptions::default());
        check(&ops, || Box::new(disk.engine()));
    }

    /// After a crash the content is that after some batch no earlier than the last synced one: never half a batch.
    #[test]
    fn memory_keeps_whole_batches_from_the_synced_one_on(
        ops in prop::collection::vec(op(), 1..40),
        seed in any::<u64>(),
    ) {
        let disk = MemDisk::new(MemOptions::default());
        let engine = disk.engine();
        let mut possible = vec![Model::new()];
        for op in &ops {
            match op {
                Op::Write(rows, durable) => {
                    engine.write(rows.clone(), *durable).unwrap();
                    let mut next = possible.last().unwrap().clone();
                    for (key, value) in rows {
                        match value {
                            Some(value) => next.insert(key.clone(), value.clone()),
                            None => next.remove(key),
                        };
                    }
                    if *durable {
                        possible.clear();
                    }
                    possible.push(next);
                }
                Op::Replace(rows) => {
                    engine.replace_all(Box::new(rows.clone().into_iter())).unwrap();
                    possible = vec![rows.iter().cloned().collect()];
                }
                Op::Sync | Op::Reopen => {
                    engine.sync().unwrap();
                    possible = vec![possible.pop().unwrap()];
                }
            }
        }
        disk.crash(seed);
        prop_assert!(engine.get(b"").is_err(), "the old handle is dead");
        let found: Model = disk.engine().scan(b"", &[255; 4], usize::MAX).unwrap().into_iter().collect();
        prop_assert!(possible.contains(&found));
    }
}

/// Seen under load: dropped and opened again at once, sled's own threads still held the lock.
#[test]
fn a_database_that_is_still_held_is_waited_for_and_refused_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let first = SledEngine::open(folder.path()).unwrap();
    first.write(vec![(b"k".to_vec(), Some(b"v".to_vec()))], true).unwrap();
    std::thread::scope(|threads| {
        let second = threads.spawn(|| SledEngine::open(folder.path()).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(first);
        let second = second.join().unwrap();
        assert_eq!(second.get(b"k").unwrap(), Some(b"v".to_vec()));
        assert!(SledEngine::open(folder.path()).is_err(), "one that is not let go");
    });
}
