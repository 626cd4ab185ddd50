//! What crashes and rot do to sled's files.

use std::path::{Path, PathBuf};

use only1mcp_storage::{Engine, SledEngine, StorageError};

use crate::support::{copy_folder, is_corrupt};

/// Batches of rows that carry the batch's number, so that half a batch shows.
fn batch(number: u32) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    (0..10u32)
        .map(|i| (format!("row-{i}").into_bytes(), Some(number.to_be_bytes().repeat(20))))
        .chain([(format!("event-{number:04}").into_bytes(), Some(vec![7; 300]))])
        .collect()
}

/// The number of the batch that the rows show; panics on a mixture.
fn shown(engine: &SledEngine) -> Option<u32> {
    let rows = engine.scan(b"row-", b"row-~", 99).unwrap();
    let numbers: Vec<u32> =
        rows.iter().map(|(_, v)| u32::from_be_bytes(v[..4].try_into().unwrap())).collect();
    assert!(numbers.windows(2).all(|w| w[0] == w[1]), "half a batch: {numbers:?}");
    let events = engine.scan(b"event-", b"event-~", usize::MAX).unwrap().len();
    assert_eq!(events, numbers.first().map_or(0, |n| *n as usize + 1));
    numbers.first().copied()
}

fn database(folder: &Path) -> PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    found.retain(|p| p.join("db").exists());
    assert_eq!(found.len(), 1);
    found[0].join("db")
}

#[test]
fn what_was_synced_is_there_whatever_came_after() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    for number in 0..60 {
        engine.write(batch(number), number % 20 == 0).unwrap();
        if number % 7 == 0 {
            // As a crash right now would leave the folder, had the rest reached the disk too.
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            let found = shown(&SledEngine::open(copy.path()).unwrap());
            assert!(found >= Some(number / 20 * 20) && found <= Some(number), "{found:?} at {number}");
        }
    }
}

/// sled goes back to whole batches or the tally tells that it did not; never behind the last sync.
#[test]
fn a_torn_database_is_a_whole_state_no_older_than_the_last_sync() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    (0..40).for_each(|number| engine.write(batch(number), number == 9).unwrap());
    // Dropping writes the rest out, and marks nothing.
    drop(engine);
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    let whole = std::fs::read(database(copy.path())).unwrap();
    let used = whole.len() - whole.iter().rev().take_while(|b| **b == 0).count();
    let (mut opened, mut corrupt) = (0, 0);
    for i in 0..30 {
        let torn = tempfile::tempdir().unwrap();
        copy_folder(copy.path(), torn.path());
        std::fs::write(database(torn.path()), &whole[..used * i / 30]).unwrap();
        match SledEngine::open(torn.path()) {
            Ok(engine) => {
                assert!(shown(&engine) >= Some(9));
                opened += 1;
            }
            Err(e) => {
                assert!(matches!(e, StorageError::Corrupt { .. } | StorageError::Io { .. }), "{e}");
                corrupt += 1;
            }
        }
    }
    println!("opened {opened}, corrupt {corrupt}");
    assert!(opened > 0 && corrupt > 0);
}

#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    (0..40).for_each(|number| engine.write(batch(number), false).unwrap());
    engine.sync().unwrap();
    drop(engine);
    let whole = std::fs::read(database(folder.path())).unwrap();
    let used = whole.len() - whole.iter().rev().take_while(|b| **b == 0).count();
    let (mut harmless, mut corrupt) = (0, 0);
    for i in 0..60 {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        let mut bad = whole.clone();
        bad[used * i / 60 + i % 7] ^= 1 << (i % 8);
        std::fs::write(database(copy.path()), &bad).unwrap();
        match SledEngine::open(copy.path()) {
            Err(e) => {
                assert!(matches!(e, StorageError::Corrupt { .. } | StorageError::Io { .. }), "{e}");
                corrupt += 1;
            }
            Ok(engine) => {
                assert_eq!(shown(&engine), Some(39), "sled went back and nobody noticed");
                harmless += 1;
            }
        }
    }
    println!("harmless {harmless}, corrupt {corrupt}");
    assert!(corrupt > 30);
}

#[test]
fn the_mark_of_the_last_sync_is_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    SledEngine::open(folder.path()).unwrap().write(batch(0), true).unwrap();
    let mark = database(folder.path()).with_file_name("synced");
    let good = std::fs::read(&mark).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&mark, bad).unwrap();
        assert!(is_corrupt(&SledEngine::open(folder.path())), "bit {bit}");
    }
    std::fs::remove_file(&mark).unwrap();
    assert!(is_corrupt(&SledEngine::open(folder.path())));
    std::fs::write(&mark, good).unwrap();
    SledEngine::open(folder.path()).unwrap();
}

#[test]
fn a_lost_database_is_damage_and_not_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    drop(SledEngine::open(folder.path()).unwrap());
    let database = database(folder.path());
    std::fs::remove_file(&database).unwrap();
    assert!(is_corrupt(&SledEngine::open(folder.path())));
    std::fs::write(&database, b"").unwrap();
    assert!(is_corrupt(&SledEngine::open(folder.path())));

    let folder = tempfile::tempdir().unwrap();
    SledEngine::open(folder.path()).unwrap().write(batch(0), true).unwrap();
    std::fs::remove_file(folder.path().join("current")).unwrap();
    assert!(is_corrupt(&SledEngine::open(folder.path())));
}

#[test]
fn discarded_rows_stay_away_until_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    engine.write(batch(3), true).unwrap();
    drop(engine);
    SledEngine::discard(folder.path()).unwrap();
    for _ in 0..2 {
        let engine = SledEngine::open(folder.path()).unwrap();
        assert!(!engine.is_complete().unwrap());
        assert_eq!(engine.scan(b"", b"~", 9).unwrap(), vec![]);
        assert!(matches!(engine.write(batch(1), true), Err(StorageError::Refused { .. })));
    }
    let engine = SledEngine::open(folder.path()).unwrap();
    engine.replace_all(Box::new([(b"a".to_vec(), b"b".to_vec())].into_iter())).unwrap();
    assert!(engine.is_complete().unwrap());
    drop(engine);
    let engine = SledEngine::open(folder.path()).unwrap();
    assert_eq!(engine.get(b"a").unwrap(), Some(b"b".to_vec()));
}

#[test]
fn a_crash_while_replacing_leaves_the_old_rows() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    engine.write(batch(0), true).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let rows = (0..2_000u32).map(|i| {
        if i == 1_500 {
            copy_folder(folder.path(), copy.path());
        }
        (i.to_be_bytes().to_vec(), vec![1; 100])
    });
    engine.replace_all(Box::new(rows)).unwrap();
    assert_eq!(engine.scan(b"", &[255], usize::MAX).unwrap().len(), 2_000);
    let crashed = SledEngine::open(copy.path()).unwrap();
    assert!(crashed.is_complete().unwrap());
    assert_eq!(shown(&crashed), Some(0));
}

#[test]
fn rows_may_replace_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    engine.write(batch(0), true).unwrap();
    let rows = engine.scan(b"row-", b"row-~", 99).unwrap();
    engine.replace_all(Box::new(rows.into_iter().rev())).unwrap();
    drop(engine);
    let engine = SledEngine::open(folder.path()).unwrap();
    assert_eq!(engine.scan(b"", b"~", 99).unwrap().len(), 10);
}

/// Values past a quarter of sled's segment would go to files it never syncs.
#[test]
fn the_largest_rows_stay_in_the_synced_file() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    let max = only1mcp_storage::STORED_ROW_BYTES_MAX;
    for round in 0..3u8 {
        for start in (0..120u16).step_by(30) {
            let rows =
                (start..start + 30).map(|i| (i.to_be_bytes().to_vec(), Some(vec![round; max]))).collect();
            engine.write(rows, true).unwrap();
        }
    }
    let blobs = database(folder.path()).with_file_name("blobs");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
    drop(engine);
    let engine = SledEngine::open(folder.path()).unwrap();
    assert_eq!(engine.scan(b"", &[255], usize::MAX).unwrap().len(), 120);
}

#[test]
fn rows_that_cannot_be_read_replace_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(folder.path()).unwrap();
    engine.write(batch(0), true).unwrap();
    let unreadable = || Err(StorageError::Refused { operation: "read", detail: "gone".to_owned() });
    let rows =
        (0..2_000u32).map(|i| if i < 1_999 { Ok((i.to_be_bytes().to_vec(), vec![1])) } else { unreadable() });
    assert!(matches!(engine.replace_with(Box::new(rows)), Err(StorageError::Refused { .. })));
    assert_eq!(shown(&engine), Some(0));
    drop(engine);
    let engine = SledEngine::open(folder.path()).unwrap();
    assert_eq!(shown(&engine), Some(0));
    let memory = only1mcp_storage::MemDisk::new(only1mcp_storage::MemOptions::default()).engine();
    memory.write(batch(0), true).unwrap();
    let rows = [Ok((b"a".to_vec(), b"b".to_vec())), unreadable()];
    assert!(memory.replace_with(Box::new(rows.into_iter())).is_err());
    assert_eq!(memory.scan(b"", b"~", 99).unwrap(), engine.scan(b"", b"~", 99).unwrap());
}
