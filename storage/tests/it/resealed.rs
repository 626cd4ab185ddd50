//! What lies under an older data key is sealed again under the one in use, while the store is used.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use only1mcp_domain::ids::Digest;
use only1mcp_domain::row::Table;
use only1mcp_storage::{
    Engine, FileSegments, Key32, MemDisk, MemOptions, SealedEngine, SealedHead, SealedSegments, Sealer,
    SegmentCopy, Segments, StorageError, WriteBehind,
};

use crate::support::{keys, sealer};

fn rotated(sealer: &Sealer) {
    sealer.use_key(9, Key32::take(&mut [0x99; 32])).unwrap();
}

/// Keys of a hidden table and of one that is not.
fn key(number: u16) -> Vec<u8> {
    let table = if number.is_multiple_of(2) { Table::Principals } else { Table::Roles };
    [[table.number()].as_slice(), &number.to_be_bytes(), &[1]].concat()
}

fn under(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<u32> {
    let mut keys: Vec<u32> =
        rows.iter().map(|(_, sealed)| SealedHead::of(sealed).unwrap().data_key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[test]
fn rows_of_an_older_key_are_sealed_again_step_by_step() {
    let disk = MemDisk::new(MemOptions::default());
    let raw = disk.engine();
    let sealer = sealer(7);
    let engine = WriteBehind::new(SealedEngine::new(disk.engine(), sealer.clone())).unwrap();
    engine.replace_all(Box::new(std::iter::empty())).unwrap();
    let row = |number: u16| (key(number), Some(number.to_be_bytes().to_vec()));
    engine.write((0..100).map(row).collect(), true).unwrap();
    let all = || raw.scan(&[], &[0xff], 1_000).unwrap();
    assert_eq!(under(&all()), [2]);
    let done = engine.reseal(&[], 10).unwrap();
    assert_eq!((done.rows, done.bytes), (10, 0), "all lies under the key in use");
    rotated(&sealer);
    // Or a store larger than the bound by which keys change would have them change again and again.
    assert!(engine.reseal(&[], 5).unwrap().bytes > 0);
    assert_eq!(sealer.sealed_bytes(), 0, "what is sealed again does not count");
    let (mut after, mut steps, mut looked, mut bytes) = (Vec::new(), 0, 0, 0);
    loop {
        let step = engine.reseal(&after, 7).unwrap();
        // Somebody writes meanwhile, and what it wrote stays.
        engine.write(vec![(key(50), Some(vec![7, 7]))], false).unwrap();
        (steps, looked, bytes) = (steps + 1, looked + step.rows, bytes + step.bytes);
        match step.next {
            Some(next) => after = next,
            None => break,
        }
    }
    engine.sync().unwrap();
    assert!(steps > 14 && looked >= 100 && bytes > 0, "{steps} steps, {looked} rows, {bytes} bytes");
    assert_eq!(under(&all()), [9]);
    assert_eq!(engine.get(&key(50)).unwrap(), Some(vec![7, 7]));
    for number in (0..100).filter(|number| *number != 50) {
        assert_eq!(engine.get(&key(number)).unwrap(), Some(number.to_be_bytes().to_vec()), "{number}");
    }
    // Begun again, by the next process for one, it finds nothing left to do.
    assert_eq!(engine.reseal(&[], 1_000).unwrap().bytes, 0);
    drop(engine);
    let mut alone = keys(7);
    alone.data = [(9, Key32::take(&mut [0x99; 32]))].into();
    alone.current = 9;
    let alone = Arc::new(Sealer::with_system_randomness(alone).unwrap());
    let reopened = SealedEngine::new(disk.engine(), alone);
    assert_eq!(
        reopened.get(&key(3)).unwrap(),
        Some(3_u16.to_be_bytes().to_vec()),
        "the old key is not needed"
    );
}

#[test]
fn a_segment_of_an_older_key_is_sealed_again_with_the_places_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = sealer(7);
    // As a node has them: behind what passes calls on.
    let segments = SealedSegments::new(FileSegments::open(folder.path()).unwrap(), sealer.clone());
    let segments: Arc<dyn Segments> = Arc::new(segments);
    let raw = FileSegments::open(folder.path()).unwrap();
    let (address, absent) = (Digest([3; 32]), Digest([4; 32]));
    let inside: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let (first, second) = inside.split_at(70_001);
    segments.append(&address, 0, first).unwrap();
    segments.append(&address, 70_001, second).unwrap();
    segments.finish(&address).unwrap();
    let file = |()| raw.read(&address, SegmentCopy::Whole, 0, 1 << 20).unwrap();
    let before = file(());
    assert_eq!(segments.reseal(&address).unwrap(), 0, "it lies under the key in use");
    assert_eq!(segments.reseal(&absent).unwrap(), 0);
    rotated(&sealer);
    assert_eq!(segments.reseal(&address).unwrap(), before.len() as u64);
    assert_eq!(sealer.sealed_bytes(), 0, "what is sealed again does not count");
    let after = file(());
    assert_eq!(after.len(), before.len());
    assert_eq!(SealedHead::of(&after[8..]).unwrap().data_key, 9);
    assert_eq!(segments.read(&address, SegmentCopy::Whole, 0, 1 << 20).unwrap(), inside);
    assert_eq!(segments.reseal(&address).unwrap(), 0);
    assert!(matches!(raw.read(&address, SegmentCopy::Part, 0, 1), Err(StorageError::Refused { .. })));
}

/// In whose midst of being sealed again the file is removed, by another thread.
struct Midway {
    inner: FileSegments,
    midway: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Segments for Midway {
    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError> {
        self.inner.size(address, copy)
    }

    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        self.inner.read(address, copy, offset, length)
    }

    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.inner.append(address, offset, bytes)
    }

    fn finish(&self, address: &Digest) -> Result<(), StorageError> {
        let then = self.midway.lock().unwrap().take();
        then.into_iter().for_each(|then| then());
        self.inner.finish(address)
    }

    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError> {
        self.inner.remove(address, copy)
    }

    fn addresses(&self) -> Result<Vec<Digest>, StorageError> {
        self.inner.addresses()
    }

    fn parts(&self) -> Result<Vec<Digest>, StorageError> {
        self.inner.parts()
    }
}

/// Retention takes a segment's file away while it is sealed again: it was back afterwards.
#[test]
fn a_segment_that_goes_while_it_is_sealed_again_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = sealer(7);
    let inner = FileSegments::open(folder.path()).unwrap();
    let midway = Arc::new(Midway { inner, midway: Mutex::default() });
    let segments = Arc::new(SealedSegments::new(midway.clone(), sealer.clone()));
    let address = Digest([3; 32]);
    segments.append(&address, 0, &[5; 1_000]).unwrap();
    segments.finish(&address).unwrap();
    rotated(&sealer);
    let (gone, goes) = mpsc::channel();
    let by_another = segments.clone();
    *midway.midway.lock().unwrap() = Some(Box::new(move || {
        let (begun, begins) = mpsc::channel();
        std::thread::spawn(move || {
            begun.send(()).unwrap();
            by_another.remove(&address, SegmentCopy::Whole).unwrap();
            gone.send(()).unwrap();
        });
        begins.recv().unwrap();
        // Whoever could remove it now has the time to.
        std::thread::sleep(Duration::from_millis(100));
    }));
    assert!(segments.reseal(&address).unwrap() > 0);
    goes.recv().unwrap();
    assert_eq!(segments.size(&address, SegmentCopy::Whole).unwrap(), None);
    assert!(segments.addresses().unwrap().is_empty() && segments.parts().unwrap().is_empty());
}
