//! Sealed segments: on files and in memory alike, damaged in every place, cut off anywhere, and taken up again.

use only1mcp_domain::audit::{ChainHead, Expired, RetentionClass, SealedEvent};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::limits::{ROW_BYTES_MAX, SEGMENT_EVENTS_MAX};
use only1mcp_storage::{
    FileSegments, MemDisk, MemOptions, SegmentCheck, SegmentCopy, SegmentDraft, SegmentName, SegmentWriter,
    Segments, StorageError, read_segment, segment_is_here,
};

/// `count` events after `head`, of differing lengths.
pub fn events(head: &mut ChainHead, count: usize) -> Vec<SealedEvent> {
    (0..count).map(|n| head.append(vec![u8::try_from(n % 251).unwrap(); 1 + n % 97])).collect()
}

pub fn seal(files: &dyn Segments, before: ChainHead, events: &[SealedEvent]) -> SegmentName {
    let mut draft = SegmentDraft::after(before, events.len()).unwrap();
    events.iter().for_each(|event| draft.add(event).unwrap());
    let plan = draft.finish().unwrap();
    let planned = plan.name;
    let mut writer = SegmentWriter::begin(files, plan).unwrap();
    events.iter().for_each(|event| writer.add(event).unwrap());
    assert_eq!(writer.finish().unwrap(), planned);
    assert_eq!(files.size(&planned.address, SegmentCopy::Whole).unwrap(), Some(planned.bytes));
    planned
}

fn both(test: impl Fn(&dyn Segments)) {
    let folder = tempfile::tempdir().unwrap();
    test(&FileSegments::open(folder.path().join("segments")).unwrap());
    test(&MemDisk::new(MemOptions::default()).segments());
}

/// A chain's first 30 events, then the 200 that are sealed.
pub fn sample(files: &dyn Segments) -> (ChainHead, Vec<SealedEvent>, SegmentName) {
    let mut head = ChainHead::default();
    events(&mut head, 30);
    let before = head;
    let sealed = events(&mut head, 200);
    let name = seal(files, before, &sealed);
    assert_eq!((name.first, name.last, name.head()), (AuditIndex(31), AuditIndex(230), head));
    (before, sealed, name)
}

pub fn check(
    files: &dyn Segments,
    name: SegmentName,
    before: ChainHead,
) -> Result<SegmentName, StorageError> {
    SegmentCheck::of(name, before.hash, SegmentCopy::Whole).run(files)
}

#[test]
fn what_was_sealed_is_read_from_any_place() {
    both(|files| {
        let (before, sealed, name) = sample(files);
        assert_eq!(check(files, name, before).unwrap(), name);
        assert_eq!(SegmentCheck::of_file(name.address).run(files).unwrap(), name);
        assert_eq!(read_segment(files, &name, name.first, usize::MAX).unwrap(), sealed);
        for (from, limit, expected) in [(31, 1, 0..1), (31, 0, 0..0), (100, 7, 69..76), (230, 9, 199..200)] {
            let read = read_segment(files, &name, AuditIndex(from), limit);
            if limit > 0 {
                assert_eq!(read.unwrap(), sealed[expected], "{from}");
            }
        }
        for from in [30, 231] {
            let refused = read_segment(files, &name, AuditIndex(from), 1);
            assert!(matches!(refused, Err(StorageError::Refused { .. })), "{refused:?}");
        }
        assert_eq!(files.addresses().unwrap(), [name.address]);
        assert!(check(files, name, ChainHead::default()).is_err(), "it follows another chain");
        files.remove(&name.address, SegmentCopy::Whole).unwrap();
        assert!(!segment_is_here(files, &name));
        assert!(matches!(check(files, name, before), Err(StorageError::Refused { .. })));
    });
}

#[test]
fn every_node_makes_the_same_bytes() {
    let (one, other) = (MemDisk::new(MemOptions::default()), tempfile::tempdir().unwrap());
    let (one, other) = (one.segments(), FileSegments::open(other.path()).unwrap());
    let (_, _, name) = sample(&one);
    assert_eq!(sample(&other).2, name);
    let all = |files: &dyn Segments| files.read(&name.address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    assert_eq!(all(&one), all(&other));
}

/// One flipped bit in each byte: the check finds it, and no reader is ever given anything but what was sealed.
#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let files = FileSegments::open(folder.path()).unwrap();
    let mut head = ChainHead::default();
    let sealed = events(&mut head, 12);
    let name = seal(&files, ChainHead::default(), &sealed);
    let path = folder.path().join(name.address.to_string());
    let good = std::fs::read(&path).unwrap();
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        std::fs::write(&path, &bad).unwrap();
        let found = check(&files, name, ChainHead::default());
        assert!(
            matches!(found, Err(StorageError::Corrupt { .. } | StorageError::Version { .. })),
            "byte {byte}: {found:?}"
        );
        for index in 1..=12_usize {
            if let Ok(read) = read_segment(&files, &name, AuditIndex(index as u64), 3) {
                assert_eq!(read, sealed[index - 1..sealed.len().min(index + 2)], "byte {byte}");
            }
        }
    }
    for length in 0..good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(check(&files, name, ChainHead::default()).is_err(), "cut at {length}");
        assert!(!segment_is_here(&files, &name));
    }
    std::fs::write(&path, [good.as_slice(), b"x"].concat()).unwrap();
    assert!(check(&files, name, ChainHead::default()).is_err(), "a byte too many");
    std::fs::write(&path, &good).unwrap();
    check(&files, name, ChainHead::default()).unwrap();
}

#[test]
fn a_later_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let files = FileSegments::open(folder.path()).unwrap();
    let mut head = ChainHead::default();
    let name = seal(&files, head, &events(&mut head, 3));
    let path = folder.path().join(name.address.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 3;
    let crc = crc32(&bytes[..64]);
    bytes[64..68].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let refused = check(&files, name, ChainHead::default());
    assert!(matches!(refused, Err(StorageError::Version { found: 3, known: 2, .. })), "{refused:?}");
}

/// The checksum of the header, computed here once more (polynomial 0xedb88320).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn a_copy_goes_on_where_it_was_cut() {
    let source = MemDisk::new(MemOptions::default()).segments();
    let (before, sealed, name) = sample(&source);
    let whole = source.read(&name.address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    both(|files| {
        files.append(&name.address, 0, &whole[..1_000]).unwrap();
        assert_eq!(files.size(&name.address, SegmentCopy::Part).unwrap(), Some(1_000));
        assert!(matches!(files.append(&name.address, 999, b"x"), Err(StorageError::Refused { .. })));
        assert!(matches!(files.append(&name.address, 0, b"x"), Err(StorageError::Refused { .. })));
        let part = SegmentCheck::of(name, before.hash, SegmentCopy::Part);
        assert!(part.run(files).is_err(), "half a segment is none");
        files.append(&name.address, 1_000, &whole[1_000..]).unwrap();
        SegmentCheck::of(name, before.hash, SegmentCopy::Part).run(files).unwrap();
        assert!(!segment_is_here(files, &name));
        files.finish(&name.address).unwrap();
        assert!(segment_is_here(files, &name));
        assert_eq!(files.size(&name.address, SegmentCopy::Part).unwrap(), None);
        assert_eq!(read_segment(files, &name, name.first, usize::MAX).unwrap(), sealed);
    });
}

#[test]
fn a_crash_keeps_whole_segments_and_a_beginning_of_parts() {
    let disk = MemDisk::new(MemOptions::default());
    let (before, _, name) = sample(&disk.segments());
    let part = Digest([9; 32]);
    disk.segments().append(&part, 0, &[1; 500]).unwrap();
    disk.crash(7);
    let files = disk.segments();
    check(&files, name, before).unwrap();
    assert!(files.size(&part, SegmentCopy::Part).unwrap().unwrap() <= 500);
    // And in what it keeps a sector may be missing.
    let holes = (0..40).filter(|seed| {
        let disk = MemDisk::new(MemOptions::default());
        disk.segments().append(&part, 0, &[1; 2_000]).unwrap();
        disk.crash(*seed);
        let kept = disk.segments().read(&part, SegmentCopy::Part, 0, usize::MAX).unwrap();
        kept.contains(&0)
    });
    assert!((1..40).contains(&holes.count()));
    disk.rot_segment(&name.address, 300);
    assert!(check(&files, name, before).is_err());
}

#[test]
fn only_the_chain_itself_is_sealed() {
    let mut head = ChainHead::default();
    let sealed = events(&mut head, 3);
    let refused = |result: Result<(), StorageError>| {
        assert!(matches!(result, Err(StorageError::Refused { .. })), "{result:?}");
    };
    let mut draft = SegmentDraft::after(ChainHead::default(), 3).unwrap();
    refused(draft.add(&sealed[1]));
    refused(draft.add(&SealedEvent { bytes: b"edited".to_vec(), ..sealed[0].clone() }));
    draft.add(&sealed[0]).unwrap();
    refused(draft.finish().map(drop));
}

#[test]
fn segment_events_max() {
    assert!(SegmentDraft::after(ChainHead::default(), SEGMENT_EVENTS_MAX).is_ok());
    for past in [0, SEGMENT_EVENTS_MAX + 1] {
        let refused = SegmentDraft::after(ChainHead::default(), past);
        assert!(matches!(refused, Err(StorageError::TooLarge { what: "segment", .. })));
    }
    // The largest event there can be, and one past it.
    let mut head = ChainHead::default();
    let disk = MemDisk::new(MemOptions::default());
    let largest = [head.append(vec![1; ROW_BYTES_MAX])];
    let name = seal(&disk.segments(), ChainHead::default(), &largest);
    assert_eq!(read_segment(&disk.segments(), &name, AuditIndex(1), 1).unwrap(), largest);
    let mut draft = SegmentDraft::after(head, 1).unwrap();
    let refused = draft.add(&head.append(vec![1; ROW_BYTES_MAX + 1]));
    assert!(matches!(refused, Err(StorageError::TooLarge { what: "segment record", .. })), "{refused:?}");
}

/// Some payloads of a segment are dropped: the chain across it is the same, and its file another, of another version.
#[test]
fn a_segment_without_some_payloads_is_sound_and_equal_on_every_node() {
    let mark = Expired { class: RetentionClass::Authentication, number: 1 }.bytes();
    both(|files| {
        let (before, sealed, name) = sample(files);
        let rewritten: Vec<SealedEvent> = sealed
            .iter()
            .map(|event| match event.index.0 % 3 {
                0 => SealedEvent { bytes: mark.clone(), ..event.clone() },
                _ => event.clone(),
            })
            .collect();
        let mut draft = SegmentDraft::after(before, sealed.len()).unwrap();
        assert!(
            matches!(draft.add(&rewritten[2]), Err(StorageError::Refused { .. })),
            "not where it is sealed first"
        );
        let mut draft = SegmentDraft::after(before, sealed.len()).unwrap().rewritten();
        rewritten.iter().for_each(|event| draft.add(event).unwrap());
        let plan = draft.finish().unwrap();
        let without = plan.name;
        let mut writer = SegmentWriter::begin(files, plan).unwrap();
        rewritten.iter().for_each(|event| writer.add(event).unwrap());
        writer.finish().unwrap();
        assert_eq!((without.first, without.last, without.hash), (name.first, name.last, name.hash));
        assert!(without.address != name.address && without.bytes < name.bytes);
        assert_eq!(check(files, without, before).unwrap(), without);
        assert_eq!(SegmentCheck::of_file(without.address).run(files).unwrap(), without);
        assert_eq!(read_segment(files, &without, name.first, usize::MAX).unwrap(), rewritten);
        // A second time, with nothing more to drop: the same file.
        let mut again = SegmentDraft::after(before, sealed.len()).unwrap().rewritten();
        rewritten.iter().for_each(|event| again.add(event).unwrap());
        assert_eq!(again.finish().unwrap().name, without);
        // And with nothing to drop at all: the one that was sealed.
        let mut same = SegmentDraft::after(before, sealed.len()).unwrap().rewritten();
        sealed.iter().for_each(|event| same.add(event).unwrap());
        assert_eq!(same.finish().unwrap().name, name);
        // Every byte of it counts, the version in its header too.
        let bytes = files.read(&without.address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
        for at in (0..bytes.len()).step_by(11).chain([8]) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            files.append(&without.address, 0, &bad).unwrap();
            files.finish(&without.address).unwrap();
            assert!(check(files, without, before).is_err(), "byte {at}");
        }
    });
}
