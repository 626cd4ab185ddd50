//! Measures sealing and opening, and durable appends with and without: `cargo bench -p only1mcp-storage --bench seal`.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]
#![allow(clippy::cast_possible_truncation, reason = "numbers below 64")]
#![allow(clippy::disallowed_types, reason = "this measures real disks in real time")]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use bytes::Bytes;
use only1mcp_domain::ids::Digest;
use only1mcp_storage::{
    Engine, FileRaftLog, Key32, LogPosition, LogRecord, MemDisk, MemOptions, RaftLog, RaftLogOptions,
    SealedEngine, SealedLog, SealedSegments, Sealer, SealerKeys, SegmentCopy, Segments,
};

const APPENDS: u64 = 20_000;
const IN_FLIGHT: u64 = 64;

fn sealer() -> Arc<Sealer> {
    let key = |byte| Key32::take(&mut [byte; 32]);
    let keys = SealerKeys {
        ring: [7; 16],
        data: [(1, key(1))].into(),
        current: 1,
        names: key(2),
        generations: Default::default(),
    };
    Arc::new(Sealer::with_system_randomness(keys).unwrap())
}

fn told(name: &str, bytes: usize, begun: Instant, count: u64) {
    let took = begun.elapsed().as_secs_f64();
    let mib = bytes as f64 * count as f64 / took / f64::from(1 << 20);
    println!("{name}: {:.2} us each, {mib:.0} MiB/s", took * 1e6 / count as f64);
}

fn main() {
    rows();
    segments();
    let folder =
        tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| "/var/tmp".into())).unwrap();
    // In turns, so that what else the machine does falls on both.
    for turn in 0..3 {
        let open = |name: &str| {
            FileRaftLog::open(folder.path().join(format!("{name}-{turn}")), RaftLogOptions::default())
                .unwrap()
        };
        appends("log in the clear, 64 in flight", &open("plain"));
        appends("log sealed, 64 in flight", &SealedLog::new(open("sealed"), sealer()));
    }
}

fn rows() {
    let disk = MemDisk::new(MemOptions::default());
    let (plain, sealed) = (disk.engine(), SealedEngine::new(disk.engine(), sealer()));
    for size in [100, 1_000, 16_000] {
        let measure = |name: &str, engine: &dyn Engine| {
            let begun = Instant::now();
            for i in 0..20_000u64 {
                engine.write(vec![(vec![200, (i % 64) as u8], Some(vec![7; size]))], true).unwrap();
            }
            told(&format!("write a row of {size} bytes, {name}"), size, begun, 20_000);
            let begun = Instant::now();
            for i in 0..20_000u64 {
                engine.get(&[200, (i % 64) as u8]).unwrap();
            }
            told(&format!("read a row of {size} bytes, {name}"), size, begun, 20_000);
        };
        measure("in the clear", &plain);
        measure("sealed", &sealed);
    }
}

fn segments() {
    let disk = MemDisk::new(MemOptions::default());
    let files = SealedSegments::new(disk.segments(), sealer());
    let (address, step) = (Digest([1; 32]), vec![7; 256 << 10]);
    let begun = Instant::now();
    for i in 0..256u64 {
        files.append(&address, i * step.len() as u64, &step).unwrap();
    }
    told("append to a segment, sealed", step.len(), begun, 256);
    files.finish(&address).unwrap();
    let begun = Instant::now();
    for i in 0..256u64 {
        files.read(&address, SegmentCopy::Whole, i * step.len() as u64, step.len()).unwrap();
    }
    told("read a segment, sealed", step.len(), begun, 256);
}

fn appends(name: &str, log: &dyn RaftLog) {
    let (done, wait) = channel();
    let begun = Instant::now();
    let mut ended = 0;
    for index in 1..=APPENDS {
        let (done, position) = (done.clone(), LogPosition { term: 1, node: 1, index });
        let record = LogRecord { position, payload: Bytes::from(vec![7; 500]) };
        log.append(vec![record], Box::new(move |result| done.send(result).unwrap())).unwrap();
        if index - ended >= IN_FLIGHT {
            wait.recv().unwrap().unwrap();
            ended += 1;
        }
    }
    (ended..APPENDS).for_each(|_| wait.recv().unwrap().unwrap());
    told(name, 500, begun, APPENDS);
}
