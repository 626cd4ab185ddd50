//! What whoever holds the disk may try: reading, moving, cutting, putting back. Nothing of it opens.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use only1mcp_domain::audit::ChainHead;
use only1mcp_domain::row::Table;
use only1mcp_storage::{
    Engine, FileJournal, FileRaftLog, FileSegments, Journal, JournalOptions, JournalPosition, LogPosition,
    LogRecord, MemDisk, MemOptions, RaftLog, RaftLogOptions, RowGuard, SealedEngine, SealedHead,
    SealedJournal, SealedLog, SealedSegments, SegmentCopy, Segments, SledEngine, StorageError,
};

use crate::segments::{check, events, seal};
use crate::support::{copy_folder, durably, is_corrupt, sealer};

const WORDS: &[&[u8]] = &[b"mary.shelley@example.org", b"sk-live-0123456789", b"o1k_thesecretofakey"];

fn place(index: u64) -> LogPosition {
    LogPosition { term: 1, node: 1, index }
}

fn text() -> Vec<u8> {
    WORDS.concat()
}

fn log(folder: &Path, ring: u8) -> SealedLog<FileRaftLog> {
    let options = RaftLogOptions { chunk_bytes: 2_000, cache_bytes_max: 0 };
    SealedLog::new(FileRaftLog::open(folder.join("log"), options).unwrap(), sealer(ring))
}

fn journal(folder: &Path, ring: u8) -> SealedJournal<FileJournal> {
    let journal = FileJournal::open(folder.join("journal"), JournalOptions::default()).unwrap();
    SealedJournal::new(journal, sealer(ring))
}

fn rows(folder: &Path, ring: u8) -> Result<SealedEngine<SledEngine>, StorageError> {
    let sealer = sealer(ring);
    let rows = SledEngine::open_guarded(folder.join("state"), RowGuard::keyed(sealer.clone()))?;
    Ok(SealedEngine::new(rows, sealer))
}

fn segments(folder: &Path, ring: u8) -> SealedSegments<FileSegments> {
    SealedSegments::new(FileSegments::open(folder.join("segments")).unwrap(), sealer(ring))
}

/// One of each kind, with the words in it: keys of rows that name persons too.
fn write_all(folder: &Path, index: u64) {
    let log = log(folder, 7);
    durably(|flushed| {
        log.append(vec![LogRecord { position: place(index), payload: text().into() }], flushed)
    });
    durably(|flushed| journal(folder, 7).append(text().into(), flushed));
    let engine = rows(folder, 7).unwrap();
    let key = |table: Table| [&[table.number()], WORDS[0], &index.to_be_bytes()].concat();
    let tables = [Table::Principals, Table::Accounts];
    let mut named: Vec<_> = tables.into_iter().map(|table| (key(table), Some(text()))).collect();
    named.push((vec![Table::Webhooks.number()], Some(text())));
    engine.write(named, true).unwrap();
    let files = segments(folder, 7);
    let mut head = ChainHead::default();
    let event = [text(), index.to_be_bytes().to_vec()].concat();
    let sealed: Vec<_> = (0..9).map(|_| head.append(event.clone())).collect();
    seal(&files, ChainHead::default(), &sealed);
    let part = u8::try_from(index).unwrap();
    files.append(&only1mcp_domain::ids::Digest([part; 32]), 0, &text()).unwrap();
}

fn every_file(folder: &Path, each: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { every_file(&path, each) } else { each(&path, &std::fs::read(&path).unwrap()) }
    }
}

#[test]
fn no_file_shows_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path(), 0);
    write_all(folder.path(), 1);
    let mut bytes = 0;
    every_file(folder.path(), &mut |path, content| {
        bytes += content.len();
        for word in WORDS {
            let shown = content.windows(word.len()).any(|window| window == *word);
            assert!(!shown, "{} shows {}", path.display(), String::from_utf8_lossy(word));
        }
    });
    assert!(bytes > 4_000, "the files were looked at");
    // The same search finds them where nothing is sealed.
    let plain = tempfile::tempdir().unwrap();
    let journal = FileJournal::open(plain.path(), JournalOptions::default()).unwrap();
    durably(|flushed| journal.append(text().into(), flushed));
    let mut found = false;
    every_file(plain.path(), &mut |_, content| {
        found |= content.windows(WORDS[0].len()).any(|w| w == WORDS[0])
    });
    assert!(found);
}

/// The keys of another node, and no key at all.
#[test]
fn what_was_sealed_elsewhere_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path(), 0);
    assert!(is_corrupt(&log(folder.path(), 8).read(0, 9)));
    assert!(is_corrupt(&journal(folder.path(), 8).read_after(JournalPosition(0))));
    assert!(is_corrupt(&rows(folder.path(), 8)), "already the tally");
    let files = segments(folder.path(), 8);
    let address = files.addresses().unwrap()[0];
    assert!(is_corrupt(&files.read(&address, SegmentCopy::Whole, 0, 9)));
    let plain = FileJournal::open(folder.path().join("journal"), JournalOptions::default()).unwrap();
    durably(|flushed| plain.append(Bytes::from_static(b"in the clear"), flushed));
    drop(plain);
    let sealed = journal(folder.path(), 7);
    assert!(is_corrupt(&sealed.read_after(JournalPosition(0))), "nothing that was not sealed counts");
    assert!(matches!(sealed.read_after(JournalPosition(0)), Err(StorageError::Closed)));
}

#[test]
fn records_of_the_log_open_in_their_place_alone() {
    let disk = MemDisk::new(MemOptions::default());
    let sealed = SealedLog::new(disk.log(), sealer(7));
    let record = |index, payload: &[u8]| LogRecord {
        position: place(index),
        payload: Bytes::copy_from_slice(payload),
    };
    durably(|flushed| sealed.append(vec![record(1, b"one"), record(2, b"two")], flushed));
    let stored = disk.log().read(1, 3).unwrap();
    let opens = |position, payload: &[u8]| {
        let disk = MemDisk::new(MemOptions::default());
        let stored = LogRecord { position, payload: Bytes::copy_from_slice(payload) };
        durably(|flushed| disk.log().append(vec![stored], flushed));
        SealedLog::new(disk.log(), sealer(7)).read(0, 9)
    };
    let first = &stored[0].payload;
    assert_eq!(opens(place(1), first).unwrap()[0].payload, b"one"[..]);
    assert!(is_corrupt(&opens(place(2), first)), "moved to another index");
    assert!(is_corrupt(&opens(LogPosition { term: 2, ..place(1) }, first)), "moved to another term");
    assert!(is_corrupt(&opens(LogPosition { node: 2, ..place(1) }, first)), "moved to another leader");
    for length in 0..first.len() {
        assert!(is_corrupt(&opens(place(1), &first[..length])), "cut at {length}");
    }
    for bit in 0..first.len() * 8 {
        let mut bad = first.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(is_corrupt(&opens(place(1), &bad)), "bit {bit}");
    }
}

#[test]
fn records_of_the_journal_open_in_their_place_alone() {
    let disk = MemDisk::new(MemOptions::default());
    let sealed = SealedJournal::new(disk.journal(), sealer(7));
    durably(|flushed| sealed.append(Bytes::from_static(b"one"), flushed));
    durably(|flushed| sealed.append(Bytes::from_static(b"two"), flushed));
    let stored = disk.journal().read_after(JournalPosition(0)).unwrap();
    let swapped = MemDisk::new(MemOptions::default());
    for (_, record) in stored.iter().rev() {
        durably(|flushed| swapped.journal().append(record.clone(), flushed));
    }
    assert!(is_corrupt(&SealedJournal::new(swapped.journal(), sealer(7)).read_after(JournalPosition(0))));
    // A record of the journal in the log.
    let other = MemDisk::new(MemOptions::default());
    let record = LogRecord { position: place(1), payload: stored[0].1.clone() };
    durably(|flushed| other.log().append(vec![record], flushed));
    assert!(is_corrupt(&SealedLog::new(other.log(), sealer(7)).read(0, 9)));
}

#[test]
fn a_row_opens_under_its_key_alone_and_an_older_one_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other) = (vec![Table::Roles.number(), 1], vec![Table::Roles.number(), 2]);
    let engine = rows(folder.path(), 7).unwrap();
    engine
        .write(vec![(key.clone(), Some(b"old".to_vec())), (other.clone(), Some(b"2".to_vec()))], true)
        .unwrap();
    drop(engine);
    let state = folder.path().join("state");
    // As they lie, the checksum of sled's own value left out.
    let stored = |key: &[u8]| {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(&state, copy.path());
        let db = sled::Config::new().path(copy.path().join("rows-1")).segment_size(8 << 20).open().unwrap();
        db.get([b"r", key].concat()).unwrap().unwrap()[4..].to_vec()
    };
    let (old, moved) = (stored(&key), stored(&other));
    rows(folder.path(), 7).unwrap().write(vec![(key.clone(), Some(b"new".to_vec()))], true).unwrap();
    let db = || MemDisk::new(MemOptions::default());
    let opens = |value: &[u8]| {
        let disk = db();
        disk.engine().write(vec![(key.clone(), Some(value.to_vec()))], true).unwrap();
        SealedEngine::new(disk.engine(), sealer(7)).get(&key)
    };
    assert_eq!(opens(&old).unwrap().unwrap(), b"old");
    assert!(is_corrupt(&opens(&moved)), "moved to another key");
    assert!(is_corrupt(&opens(&old[..old.len() - 1])), "cut off");
    // The old value put back in sled, with the checksum and the plain tally that go with it.
    let plain = SledEngine::open(&state);
    assert!(is_corrupt(&plain), "the tally cannot be read without the key");
    put_back(&state.join("rows-1"), &key, &old);
    let found = rows(folder.path(), 7);
    assert!(is_corrupt(&found), "an older row was put back");
}

/// Writes `value` with the checksum that sled's rows carry.
fn put_back(db: &Path, key: &[u8], value: &[u8]) {
    let db = sled::Config::new().path(db).segment_size(8 << 20).open().unwrap();
    let stored_key = [b"r", key].concat();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(stored_key.len() as u64).to_le_bytes());
    hasher.update(&stored_key);
    hasher.update(value);
    let stored = [hasher.finalize().to_le_bytes().as_slice(), value].concat();
    db.insert(stored_key, stored).unwrap();
    db.flush().unwrap();
}

#[test]
fn a_segment_opens_under_its_address_alone() {
    let folder = tempfile::tempdir().unwrap();
    let files = segments(folder.path(), 7);
    let mut head = ChainHead::default();
    let first = events(&mut head, 900);
    let middle = head;
    let second = events(&mut head, 900);
    let one = seal(&files, ChainHead::default(), &first);
    let other = seal(&files, middle, &second);
    let path =
        |name: &only1mcp_storage::SegmentName| folder.path().join("segments").join(name.address.to_string());
    let (good, second) = (std::fs::read(path(&one)).unwrap(), std::fs::read(path(&other)).unwrap());
    std::fs::write(path(&one), &second).unwrap();
    assert!(check(&files, one, ChainHead::default()).is_err(), "another segment in its place");
    for length in [0, 7, 8, 69, 70, good.len() - 17, good.len() - 1] {
        std::fs::write(path(&one), &good[..length]).unwrap();
        assert!(check(&files, one, ChainHead::default()).is_err(), "cut at {length}");
    }
    for byte in (0..good.len()).step_by(97).chain(0..140) {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        std::fs::write(path(&one), &bad).unwrap();
        assert!(check(&files, one, ChainHead::default()).is_err(), "byte {byte}");
    }
    std::fs::write(path(&one), [good.as_slice(), b"x"].concat()).unwrap();
    assert!(check(&files, one, ChainHead::default()).is_err(), "a byte too many");
    // Two frames change places, with the lengths that go with them.
    let frame = 8 + 61 + (32 << 10);
    let mut swapped = good.clone();
    swapped[..frame].copy_from_slice(&good[frame..2 * frame]);
    swapped[frame..2 * frame].copy_from_slice(&good[..frame]);
    std::fs::write(path(&one), &swapped).unwrap();
    assert!(check(&files, one, ChainHead::default()).is_err(), "frames in another order");
    std::fs::write(path(&one), &good).unwrap();
    check(&files, one, ChainHead::default()).unwrap();
}

/// Every pair of salt and counter in all that five processes wrote, crashes and all, stands there once.
#[test]
fn no_key_and_nonce_come_twice() {
    let disk = MemDisk::new(MemOptions { unsynced_until_pump: true });
    let mut seen = BTreeSet::new();
    let mut take = |sealed: &[u8]| {
        let head = SealedHead::of(sealed).expect("it is sealed");
        assert!(seen.insert(head), "{head:?} comes twice");
    };
    let files = tempfile::tempdir().unwrap();
    for life in 0..5u64 {
        let sealer = sealer(7);
        let log = SealedLog::new(disk.log(), sealer.clone());
        let journal = SealedJournal::new(disk.journal(), sealer.clone());
        let engine = SealedEngine::new(disk.engine(), sealer.clone());
        let segments = SealedSegments::new(FileSegments::open(files.path()).unwrap(), sealer.clone());
        let (begin, plain) = (log.state().unwrap().last.map_or(0, |last| last.index + 1), vec![1; 40]);
        for index in begin..begin + 20 {
            let record = LogRecord { position: place(index), payload: plain.clone().into() };
            log.append(vec![record], Box::new(|_| ())).unwrap();
            journal.append(plain.clone().into(), Box::new(|_| ())).unwrap();
            engine.write(vec![(index.to_be_bytes().to_vec(), Some(plain.clone()))], false).unwrap();
        }
        let address = only1mcp_domain::ids::Digest([u8::try_from(life).unwrap(); 32]);
        segments.append(&address, 0, &vec![2; 100_000]).unwrap();
        segments.finish(&address).unwrap();
        disk.pump();
        // All that this life wrote, before the crash undoes some: the next one writes in its place.
        for record in disk.log().read(begin, u64::MAX).unwrap() {
            take(&record.payload);
        }
        let after = JournalPosition(life * 20);
        disk.journal().read_after(after).unwrap().iter().for_each(|(_, record)| take(record));
        for index in begin..begin + 20 {
            take(&disk.engine().get(&index.to_be_bytes()).unwrap().unwrap());
        }
        let file = std::fs::read(files.path().join(address.to_string())).unwrap();
        let mut at = 0;
        while at < file.len() {
            let inside = u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
            take(&file[at + 8..at + 8 + 61 + inside]);
            at += 8 + 61 + inside;
        }
        disk.lose_log_end(3, false);
        disk.crash(life);
    }
    assert!(seen.len() > 5 * 60);
}

/// Found by the simulator: the engine stayed closed at the row that did not open, and a node whose rows had rotted could
/// not make them again.
#[test]
fn rows_that_rotted_can_be_replaced() {
    let disk = MemDisk::new(MemOptions::default());
    let engine = SealedEngine::new(disk.engine(), sealer(7));
    let key = vec![Table::Webhooks.number()];
    engine.write(vec![(key.clone(), Some(text()))], true).unwrap();
    disk.rot_row(1);
    assert!(is_corrupt(&engine.get(&key)));
    assert!(matches!(engine.get(&key), Err(StorageError::Closed)));
    engine.replace_all(Box::new(std::iter::once((key.clone(), b"again".to_vec())))).unwrap();
    assert_eq!(engine.get(&key).unwrap(), Some(b"again".to_vec()));
}

/// The simulator rots what it likes: nothing of it may pass for what was written.
#[test]
fn whatever_rots_below_the_seals_is_noticed() {
    for seed in 0..20 {
        let disk = MemDisk::new(MemOptions::default());
        assert!(!disk.rot_log(seed) && !disk.rot_journal(seed) && disk.rot_some_segment(seed).is_none());
        let log = SealedLog::new(disk.log(), sealer(7));
        let journal = SealedJournal::new(disk.journal(), sealer(7));
        for index in 1..9 {
            durably(|flushed| {
                log.append(vec![LogRecord { position: place(index), payload: text().into() }], flushed)
            });
            durably(|flushed| journal.append(text().into(), flushed));
        }
        let (before, _, name) = crate::segments::sample(&SealedSegments::new(disk.segments(), sealer(7)));
        assert!(disk.rot_log(seed) && disk.rot_journal(seed) && disk.rot_some_segment(seed).is_some());
        assert!(is_corrupt(&log.read(0, u64::MAX)), "{seed}");
        assert!(is_corrupt(&journal.read_after(JournalPosition(0))), "{seed}");
        assert!(check(&SealedSegments::new(disk.segments(), sealer(7)), name, before).is_err(), "{seed}");
        assert!(log.state().is_ok());
        disk.rot_vote();
        assert!(is_corrupt(&log.state()));
    }
}
