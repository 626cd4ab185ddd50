//! What a snapshot and a join cost by how long the past is: goal flat. Told, not judged; the segments, which a joiner
//! fetches behind its back while it already takes part, are told apart.
//!
//! Pasts of up to a million events are made by the cluster, in batches as nodes make them; a longer one is written by
//! the code that seals segments, into the folder of a node that does not run. Behind the last segment there are always as many events, so that what is compared
//! differs by the sealed past alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use only1mcp_consensus::Handle;
use only1mcp_domain::activity::{Batch, NoticeKind, Record};
use only1mcp_domain::audit::{ChainHead, SealedEvent};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::{AuditIndex, Digest, Incarnation, NodeId};
use only1mcp_domain::limits::SEGMENT_EVENTS;
use only1mcp_domain::outcome::Outcome;
use only1mcp_domain::row::{RowKey, RowValue, Table};
use only1mcp_proto::codec::{decode_row, encode_row};
use only1mcp_proto::snapshot as wire;
use only1mcp_storage::{
    Engine as _, FileSegments, Rows, SegmentCheck, SegmentCopy, SegmentDraft, SegmentName, SegmentWriter,
    SledEngine,
};
use prost::Message as _;
use tokio::time::{Instant, sleep};

use crate::world::World;

/// Numbers of events, separated by commas; those marked `w` are written by the sealing code.
const PASTS: &str = "ONLY1MCP_JOIN_EVENTS";
const PASTS_SHORT: &str = "40000,40000w";
/// Events behind the last segment.
const OPEN: u64 = 10_000;
const BATCH: u64 = 500;
/// As long as what is told of a call.
const DETAIL_BYTES: usize = 160;
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Entries that the sampling of commits makes one after the other, before anybody joins.
const QUIET: usize = 50;

fn segment() -> u64 {
    u64::try_from(SEGMENT_EVENTS).unwrap()
}

/// The next number of events that leaves just so many behind the last segment.
fn rounded(events: u64) -> u64 {
    events.saturating_sub(OPEN).next_multiple_of(segment()) + OPEN
}

/// Debug builds on busy machines are slow; what is measured is not judged.
fn patient() -> Instant {
    Instant::now() + PATIENCE
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = patient();
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn world(folder: &Path) -> World {
    let mut world = World::new(2).await;
    world.segment_events = SEGMENT_EVENTS;
    (world.snapshot_every, world.keep) = (100, 20);
    world.folders = [1, 2].map(|id| (id, folder.join(format!("n{id}")))).into();
    world.form().await;
    world
}

/// One of a node's batches after the other, until the chain has so many events.
async fn through_the_cluster(world: &mut World, events: u64) {
    let node = NodeId(1);
    let opened = world.command(1, Command::OpenIncarnation { node }, Via::Node(node)).await;
    let Outcome::IncarnationOpened { incarnation: Incarnation(life), .. } = opened else {
        panic!("{opened:?}")
    };
    let mut sequence = 0;
    loop {
        let left = events - world.handle(1).state().chain.index.0;
        if left == 0 {
            return;
        }
        sequence += 1;
        let notice = |number| Record::NodeNotice {
            kind: NoticeKind::Alarm,
            detail: format!("{number:0width$}", width = DETAIL_BYTES),
        };
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&u64::to_be_bytes(sequence));
        let records = (0..left.min(BATCH)).map(notice).collect();
        let batch = Batch { node, incarnation: Incarnation(life), sequence, digest: Digest(digest), records };
        world.command(1, Command::Activity(batch), Via::Node(node)).await;
    }
}

/// The next events of a chain: those that are rows already, then more like the last of them.
struct Events {
    head: ChainHead,
    rows: std::collections::VecDeque<SealedEvent>,
    like: Vec<u8>,
}

impl Events {
    fn next(&mut self) -> SealedEvent {
        match self.rows.pop_front() {
            Some(event) => {
                self.head = ChainHead { index: event.index, hash: event.hash };
                event
            }
            None => self.head.append(self.like.clone()),
        }
    }
}

/// A segment and its row, in the two passes of the code that seals.
fn seal(files: &FileSegments, events: &mut Events) -> SegmentName {
    let (after, like, rows) = (events.head, events.like.clone(), events.rows.clone());
    let mut draft = SegmentDraft::after(after, SEGMENT_EVENTS).unwrap();
    (0..SEGMENT_EVENTS).for_each(|_| draft.add(&events.next()).unwrap());
    let mut writer = SegmentWriter::begin(files, draft.finish().unwrap()).unwrap();
    let mut again = Events { head: after, rows, like };
    (0..SEGMENT_EVENTS).for_each(|_| writer.add(&again.next()).unwrap());
    let name = writer.finish().unwrap();
    let mut check = SegmentCheck::of(name, after.hash, SegmentCopy::Whole);
    while check.step(files).unwrap().is_none() {}
    name
}

/// As `only1mcp-consensus` keeps it in table 0.
fn segment_row(name: &SegmentName) -> (Vec<u8>, Option<Vec<u8>>) {
    let key = [&[0, b's'][..], &name.first.0.to_be_bytes()].concat();
    let row = wire::Segment {
        first: name.first.0,
        last: name.last.0,
        address: bytes::Bytes::copy_from_slice(&name.address.0),
        bytes: name.bytes,
        hash: bytes::Bytes::copy_from_slice(&name.hash.0),
    };
    (key, Some(row.encode_to_vec()))
}

/// Into the folder of a node that does not run: whole segments, then rows, and the head of the chain.
fn write_past(folder: &Path, events: u64) {
    let engine = loop {
        // Whoever still held it lets go.
        match SledEngine::open(folder.join("state")) {
            Ok(engine) => break engine,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let files = FileSegments::open(folder.join("segments")).unwrap();
    let audit = |(key, value): (Vec<u8>, Vec<u8>)| match decode_row(Table::Audit, &value).unwrap() {
        RowValue::Audit(event) => (key, event),
        _ => panic!("no event"),
    };
    let last = RowKey::audit(AuditIndex(u64::MAX)).0;
    let found = engine.scan(&RowKey::audit(AuditIndex(1)).0, &last, SEGMENT_EVENTS).unwrap();
    let (mut changes, mut rows) = (Rows::new(), std::collections::VecDeque::new());
    for (key, event) in found.into_iter().map(audit) {
        changes.push((key, None));
        rows.push_back(event);
    }
    let like = rows.back().unwrap().bytes.clone();
    let mut next = Events { head: ChainHead::default(), rows, like };
    for _ in 0..events / segment() {
        changes.push(segment_row(&seal(&files, &mut next)));
    }
    engine.write(changes, true).unwrap();
    while next.head.index.0 < events {
        let mut page = Rows::new();
        for _ in 0..(events - next.head.index.0).min(BATCH) {
            let event = next.next();
            page.push((RowKey::audit(event.index).0, Some(encode_row(&RowValue::Audit(event)))));
        }
        engine.write(page, false).unwrap();
    }
    let key = RowKey::head();
    let value = engine.get(&key.0).unwrap().unwrap();
    let RowValue::Head(mut head) = decode_row(Table::Meta, &value).unwrap() else { panic!("no head") };
    (head.chain_index, head.chain_hash) = (next.head.index.0, next.head.hash);
    engine.write(vec![(key.0, Some(encode_row(&RowValue::Head(head))))], true).unwrap();
}

/// Commits one after the other on a node until told to end: how long each took.
struct Commits {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Commits {
    fn start(handle: Handle, entry: only1mcp_domain::command::Entry, count: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                let mut times = Vec::new();
                while times.len() < count && !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    handle.propose(entry.clone(), patient()).await.unwrap();
                    times.push(began.elapsed());
                    sleep(Duration::from_millis(20)).await;
                }
                times.sort();
                times
            }
        });
        Self { stop, task }
    }

    /// The median and the slowest. Units: milliseconds.
    async fn end(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        told(self.task.await.unwrap())
    }
}

fn told(times: Vec<Duration>) -> String {
    format!("{:.1} / {:.0}", ms(times[times.len() / 2]), ms(times[times.len() - 1]))
}

/// Processor time of this process, so of all nodes in it. Units: milliseconds.
fn processor_ms() -> u64 {
    // Ticks of a hundredth of a second, after the name in parentheses: of the process, of the kernel for it.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    ticks.sum::<u64>() * 10
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

async fn follows_its_trail(world: &World, id: u64) {
    let handle = world.handle(id);
    let events = handle.state().chain.index.0;
    let full = usize::try_from(events / segment()).unwrap();
    until("all sealed and here", || handle.audit_segments() == (full, 0)).await;
}

async fn has_its_tree(world: &World, id: u64) {
    let handle = world.handle(id);
    until("its tree is up to its chain", || *handle.tree().size().borrow() == handle.state().chain.index.0)
        .await;
}

/// A row of the table.
async fn join(world: &mut World, events: u64, how: &str) -> String {
    let handle = world.handle(1);
    // What was there before the snapshot point is purged: whoever joins gets a snapshot.
    while handle.status().purged == 0 || handle.status().purged + 200 < handle.status().last_log {
        world.tick(1).await;
    }
    follows_its_trail(world, 1).await;
    has_its_tree(world, 1).await;
    assert_eq!(handle.state().chain.index.0, events);

    let applied = *handle.applied().borrow();
    let began = Instant::now();
    let mut image = handle.state_image(applied, patient()).await.unwrap();
    let point = began.elapsed();
    let (mut bytes, mut frames) = (0, 0);
    while let Some(frame) = image.frames.next().await {
        (bytes, frames) = (bytes + frame.unwrap().len(), frames + 1);
    }
    let streamed = began.elapsed() - point;

    // Such as leave no event.
    let node = NodeId(1);
    let tick = world.entry(Command::Tick { node }, Via::Node(node));
    let quiet = Commits::start(handle.clone(), tick.clone(), QUIET).task.await.unwrap();
    world.register(2).await;
    let commits = Commits::start(handle.clone(), tick, usize::MAX);
    let (began, worked) = (Instant::now(), processor_ms());
    world.start(2).await;
    handle.add_learner(NodeId(2), patient()).await.unwrap();
    let index = handle.read_index(patient()).await.unwrap();
    world.handle(2).wait_applied(index, patient()).await.unwrap();
    let (joined, worked) = (began.elapsed(), processor_ms() - worked);
    let busy = commits.end().await;
    follows_its_trail(world, 2).await;
    let whole = began.elapsed();
    has_its_tree(world, 2).await;
    let tree = began.elapsed();
    world.agree(&[1, 2]).await;
    let fetched: u64 = std::fs::read_dir(world.folders[&2].join("segments"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    format!(
        "| {events} {how} | {:.1} | {} KiB in {frames} frames | {:.0} | **{:.0}** | {worked} | {} | {busy} | {} in {} MiB, {:.1} s | {:.1} s |",
        ms(point),
        bytes >> 10,
        ms(streamed),
        ms(joined),
        told(quiet),
        events / segment(),
        fetched >> 20,
        whole.as_secs_f64(),
        tree.as_secs_f64()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: cargo xtask soak --join"]
async fn what_a_join_costs_by_how_long_the_past_is() {
    let pasts = std::env::var(PASTS).unwrap_or_else(|_| PASTS_SHORT.to_owned());
    for past in pasts.split(',') {
        let (number, written) = past.strip_suffix('w').map_or((past, false), |number| (number, true));
        let events = rounded(number.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut world = world(folder.path()).await;
        let began = Instant::now();
        if written {
            // One that is of the kind that the cluster makes.
            through_the_cluster(&mut world, 100).await;
            world.kill(1).await;
            let path = world.folders[&1].clone();
            tokio::task::spawn_blocking(move || write_past(&path, events)).await.unwrap();
            world.start(1).await;
            world.wait_leader(&[1]).await;
        } else {
            // Registering the joiner leaves two events.
            through_the_cluster(&mut world, events).await;
        }
        eprintln!("{events} events were made in {:?}", began.elapsed());
        let row = join(&mut world, events, if written { "(written)" } else { "" }).await;
        println!("join: {row}");
        for id in [1, 2] {
            world.kill(id).await;
        }
    }
}
