//! What crashes and rot do to the journal's files.

use std::path::Path;

use bytes::Bytes;
use only1mcp_storage::{FileJournal, Journal, JournalOptions, JournalPosition, StorageError};

use crate::support::{copy_folder, durably, files, is_corrupt};

const OPTIONS: JournalOptions =
    JournalOptions { segment_bytes: 400, queue_bytes_max: 1 << 20, queue_records_max: 1_000 };

/// Seven records, each in a frame of its own, in three files.
fn write(folder: &Path) -> Vec<Bytes> {
    let journal = FileJournal::open(folder, OPTIONS).unwrap();
    let records: Vec<Bytes> = (0..7u8).map(|i| Bytes::from(vec![i + 1; 70 + usize::from(i)])).collect();
    for record in &records {
        durably(|flushed| journal.append(record.clone(), flushed));
    }
    records
}

fn open(folder: &Path) -> Result<FileJournal, StorageError> {
    FileJournal::open(folder, OPTIONS)
}

fn read(journal: &FileJournal) -> Vec<Bytes> {
    journal.read_after(JournalPosition(0)).unwrap().into_iter().map(|(_, record)| record).collect()
}

/// Cuts off what was reserved in the newest file, and gives the lengths with and without its last frame.
fn last_frame(folder: &Path, records: &[Bytes]) -> (std::path::PathBuf, usize, usize) {
    drop(open(folder).unwrap());
    let path = files(folder, ".log").pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
    let frame = 32 + 4 + records.last().unwrap().len() + 4;
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(used as u64).unwrap();
    (path, used - frame, used)
}

#[test]
fn a_frame_torn_at_any_byte_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let records = write(folder.path());
    assert_eq!(files(folder.path(), ".log").len(), 3);
    let (path, start, end) = last_frame(folder.path(), &records);
    let whole = std::fs::read(&path).unwrap();
    // Cut short, and cut short where the space was reserved: zeros follow.
    for zeros in [0, 3_000] {
        for len in start..end {
            let mut torn = whole[..len].to_vec();
            torn.resize(len + zeros, 0);
            std::fs::write(&path, &torn).unwrap();
            let journal = open(folder.path()).unwrap();
            assert_eq!(journal.cut_at_open().is_some(), len > start, "byte {len}, then {zeros} zeros");
            assert_eq!(read(&journal), records[..6], "byte {len}");
            // The position of the lost record is free again, and writing goes on.
            assert_eq!(durably(|f| journal.append(Bytes::from_static(b"next"), f)), JournalPosition(7));
            drop(journal);
            let journal = open(folder.path()).unwrap();
            assert_eq!(journal.cut_at_open(), None);
            assert_eq!(read(&journal).len(), 7);
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let records = write(folder.path());
    last_frame(folder.path(), &records);
    let scratch = tempfile::tempdir().unwrap();
    for path in files(folder.path(), ".log") {
        let good = std::fs::read(&path).unwrap();
        for bit in (0..good.len() * 8).step_by(7) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let copy = scratch.path().join("copy");
            copy_folder(folder.path(), &copy);
            std::fs::write(copy.join(path.file_name().unwrap()), bad).unwrap();
            let opened = open(&copy);
            let corrupt = is_corrupt(&opened) || matches!(opened, Err(StorageError::Version { .. }));
            let unused = opened.is_ok_and(|journal| read(&journal) == records);
            assert!(corrupt || unused, "bit {bit} of {}", path.display());
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
}

#[test]
fn damage_before_a_whole_frame_is_no_torn_end() {
    let folder = tempfile::tempdir().unwrap();
    let records = write(folder.path());
    let (path, start, end) = last_frame(folder.path(), &records);
    let mut bytes = std::fs::read(&path).unwrap();
    // Zeros in the frame before the last one look like an unwritten sector, but the next frame is whole.
    bytes.extend_from_within(start..end);
    bytes[start..end].fill(0);
    std::fs::write(&path, bytes).unwrap();
    assert!(is_corrupt(&open(folder.path())));
}

#[test]
fn missing_files_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    for gone in [1, 0, 2] {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        let segments = files(copy.path(), ".log");
        std::fs::remove_file(&segments[gone]).unwrap();
        match gone {
            1 => assert!(is_corrupt(&open(copy.path())), "a gap"),
            // The oldest looks discarded, the newest never written: the node's applied state tells the former.
            _ => assert!(open(copy.path()).is_ok()),
        }
        segments.iter().for_each(|s| drop(std::fs::remove_file(s)));
        assert!(is_corrupt(&open(copy.path())), "all");
    }
    std::fs::remove_file(folder.path().join("format")).unwrap();
    assert!(is_corrupt(&open(folder.path())));
}

#[test]
fn a_file_begun_and_not_finished_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let records = write(folder.path());
    let path = folder.path().join("journal-00000000000000000008.log");
    for header in [vec![], vec![b'O'], vec![0; 4_096]] {
        std::fs::write(&path, header).unwrap();
        let journal = open(folder.path()).unwrap();
        assert!(journal.cut_at_open().is_some());
        assert_eq!(read(&journal), records);
        drop(journal);
    }
    let journal = open(folder.path()).unwrap();
    assert_eq!(durably(|f| journal.append(Bytes::new(), f)), JournalPosition(8));
}
