//! Measures append-to-durable latency of the Raft log and the journal: `cargo bench -p only1mcp-storage`.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]
#![allow(clippy::disallowed_types, reason = "this measures real disks in real time")]

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use only1mcp_storage::{
    FileJournal, FileRaftLog, Flushed, Journal, JournalOptions, LogPosition, LogRecord, RaftLog,
    RaftLogOptions,
};

const PAYLOAD_BYTES: usize = 500;

fn main() {
    // On the disk under test, not in a tmpfs.
    let folder =
        tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| "/var/tmp".into())).unwrap();
    let log = FileRaftLog::open(folder.path().join("log"), RaftLogOptions::default()).unwrap();
    let mut index = 0;
    let mut append_log = |flushed: Flushed| {
        index += 1;
        let position = LogPosition { term: 1, node: 1, index };
        let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
        log.append(vec![LogRecord { position, payload }], flushed).unwrap();
    };
    alone("raft log, one at a time", 2_000, &mut append_log);
    together("raft log, 64 in flight", 20_000, 64, &mut append_log);

    let journal = FileJournal::open(folder.path().join("journal"), JournalOptions::default()).unwrap();
    let mut append_journal = |flushed: Flushed| {
        journal.append(Bytes::from(vec![7; PAYLOAD_BYTES]), flushed).unwrap();
    };
    alone("journal, one at a time", 2_000, &mut append_journal);
    together("journal, 64 in flight", 20_000, 64, &mut append_journal);
}

fn alone(name: &str, count: usize, append: &mut dyn FnMut(Flushed)) {
    together(name, count, 1, append);
}

/// Keeps `in_flight` appends waiting for the disk and prints how long each waited.
fn together(name: &str, count: usize, in_flight: usize, append: &mut dyn FnMut(Flushed)) {
    let (done, wait) = channel();
    let mut took: Vec<Duration> = Vec::with_capacity(count);
    let begun = Instant::now();
    let mut sent = 0;
    while took.len() < count {
        while sent < count && sent - took.len() < in_flight {
            let (done, at) = (done.clone(), Instant::now());
            append(Box::new(move |result| {
                result.unwrap();
                done.send(at.elapsed()).unwrap();
            }));
            sent += 1;
        }
        took.push(wait.recv().unwrap());
    }
    let per_second = count as f64 / begun.elapsed().as_secs_f64();
    took.sort();
    let at = |percent: usize| took.get(count * percent / 100).copied().unwrap_or_default().as_micros();
    println!("{name}: p50 {} us, p99 {} us, {per_second:.0}/s", at(50), at(99));
}
