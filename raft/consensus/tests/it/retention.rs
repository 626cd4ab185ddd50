//! Payloads that are past their days go on every node alike; the chain across them stays, whatever happens meanwhile.

use std::time::Duration;

use futures_util::StreamExt as _;
use only1mcp_consensus::Due;
use only1mcp_domain::audit::merkle::TreeHead;
use only1mcp_domain::audit::{
    DROP_ACTION, Expired, RetentionClass, SealedEvent, Verifier, decode, event_digest, stays,
};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::limits::FEATURE_LEVEL_RETENTION;
use only1mcp_domain::model::{ClusterSettings, DutyId, NodeRole, PayloadDrop, RetentionDays};
use only1mcp_domain::row::Table;
use only1mcp_proto::image::ImageCheck;
use only1mcp_storage::{Engine as _, LogPosition, RaftLog as _, SegmentCheck, SegmentCopy, Segments as _};
use tokio::time::Instant;

use crate::fixture::principal;
use crate::world::{World, name, soon};

const SEGMENT: usize = 5;
const DAYS: u64 = 1_096;

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = soon();
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// With a trail of several segments, in which most events are of configuration, and a clock that then is three years on.
async fn aged(nodes: u64) -> World {
    let mut world = grown(nodes, 30).await;
    age(&mut world, nodes.min(3)).await;
    world
}

async fn grown(nodes: u64, snapshot_every: u64) -> World {
    let mut world = World::new(nodes).await;
    world.segment_events = SEGMENT;
    world.snapshot_every = snapshot_every;
    world.keep = 5;
    world.level = FEATURE_LEVEL_RETENTION;
    world.form().await;
    for id in 2..=nodes.min(3) {
        world.join(id).await;
    }
    for _ in 0..12 {
        world.set(1, |settings: &mut ClusterSettings| settings.cluster_name.push('x')).await;
        let role = Command::SetNodeRole { node: NodeId(1), role: NodeRole::Voter };
        world.command(1, role, Via::Node(NodeId(1))).await;
        mark(&mut world).await;
    }
    world
}

async fn age(world: &mut World, nodes: u64) {
    world.days_on(DAYS);
    for id in 1..=nodes {
        world.tick_of(1, id).await;
    }
    sealed(world, nodes).await;
}

/// An event of configuration that may go.
async fn mark(world: &mut World) {
    let duty = DutyId::Retention;
    let after = world.handle(1).state().duties.get(&duty).map_or(0, |duty| duty.assigned_at);
    world.command(1, Command::AssignDuty { duty, node: NodeId(1), after }, Via::Node(NodeId(1))).await;
}

async fn sealed(world: &World, nodes: u64) {
    for id in 1..=nodes {
        let handle = world.handle(id);
        until("all sealed and here", || {
            let full = usize::try_from(handle.state().chain.index.0).unwrap() / SEGMENT;
            handle.audit_segments() == (full, 0)
        })
        .await;
    }
}

/// Drops all that is due, as the duty's holder; what it dropped.
async fn run(world: &mut World) -> Vec<Due> {
    let (mut done, mut from) = (Vec::new(), AuditIndex(1));
    while let Some(due) = world.handle(1).retention_due(from).await.unwrap() {
        from = AuditIndex(due.drop.last.0 + 1);
        propose(world, due.drop.clone()).await;
        done.push(due);
    }
    done
}

async fn propose(world: &mut World, drop: PayloadDrop) {
    let fence = world.handle(1).state().duties[&DutyId::Retention].assigned_at;
    let command = Command::DropPayloads { fence, drop: Box::new(drop) };
    world.command(1, command, Via::Node(NodeId(1))).await;
}

/// The node's files are those that the log says.
async fn followed(world: &World, id: u64) {
    let handle = world.handle(id);
    let files = world.disks[&id].segments();
    until("dropped here too", || {
        handle.state().dropped.values().map(|dropped| &dropped.drop).all(|drop| {
            let there = |address: &Digest| files.size(address, SegmentCopy::Whole).unwrap().is_some();
            let last = handle.state().drops_of(drop.first).next_back().unwrap().drop.number;
            there(&drop.address) == (drop.number == last) && (drop.from == drop.address || !there(&drop.from))
        })
    })
    .await;
}

fn events(world: &World, id: u64) -> Vec<SealedEvent> {
    world.handle(id).audit_events(AuditIndex(1), 10_000).unwrap()
}

fn files(world: &World, id: u64) -> Vec<(Digest, Vec<u8>)> {
    let files = world.disks[&id].segments();
    let read = |address| files.read(&address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    let sound = |address: &Digest| {
        let _ = SegmentCheck::of_file(*address).run(&files).unwrap();
    };
    files.addresses().unwrap().into_iter().inspect(sound).map(|address| (address, read(address))).collect()
}

async fn tree(world: &World, id: u64, size: u64) -> TreeHead {
    let tree = world.handle(id).tree();
    let mut have = tree.size();
    have.wait_for(|have| *have >= size).await.unwrap();
    tree.at(size).unwrap().0
}

/// The same events, but for payloads that went.
fn assert_kept(before: &[SealedEvent], after: &[SealedEvent]) -> usize {
    let mut gone = 0;
    for (was, is) in before.iter().zip(after) {
        assert_eq!((was.index, was.digest, was.hash), (is.index, is.digest, is.hash));
        match Expired::parse(&is.bytes) {
            None => assert_eq!(was.bytes, is.bytes),
            Some(mark) => {
                gone += 1;
                assert_eq!(mark.class, RetentionClass::Configuration);
                let event = decode(&was.bytes).unwrap();
                assert!(RetentionClass::of(event.kind) == mark.class && !stays(&event), "{}", event.action);
            }
        }
    }
    gone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_past_their_days_go_on_every_node_alike_and_the_chain_stays() {
    let mut world = aged(4).await;
    world.agree(&[1, 2, 3]).await;
    let before = events(&world, 1);
    let head = world.handle(1).state().chain;
    let root = tree(&world, 1, head.index.0).await;
    let files_before = files(&world, 1);

    let done = run(&mut world).await;
    assert!(done.len() > 3, "{done:?}");
    world.agree(&[1, 2, 3]).await;
    for id in 1..=3 {
        followed(&world, id).await;
    }
    sealed(&world, 3).await;
    assert_ne!(files(&world, 1), files_before);
    assert_eq!(files(&world, 1), files(&world, 2));
    assert_eq!(files(&world, 1), files(&world, 3));
    let after = events(&world, 1);
    assert_eq!(after, events(&world, 2));
    let gone = assert_kept(&before, &after);
    let told: u32 = done.iter().map(|due| due.drop.dropped).sum();
    assert_eq!(gone, usize::try_from(told).unwrap());
    assert!(gone >= 10, "{gone}");
    assert_eq!(world.handle(1).payloads_dropped(), u64::from(told));
    // What is left of the due ones has no payload that may go; another run drops nothing.
    assert!(world.handle(1).retention_due(AuditIndex(1)).await.unwrap().is_none());

    // The tree over it, from scratch: a node that joins now fetches the same bytes, and finds nothing wrong.
    assert_eq!(tree(&world, 2, head.index.0).await, root);
    world.scrub = 1 << 30;
    world.register(4).await;
    world.start(4).await;
    world.handle(1).add_learner(NodeId(4), soon()).await.unwrap();
    world.agree(&[1, 4]).await;
    let handle = world.handle(4);
    until("all here", || {
        let full = usize::try_from(handle.state().chain.index.0).unwrap() / SEGMENT;
        handle.audit_segments() == (full, 0)
    })
    .await;
    followed(&world, 4).await;
    sealed(&world, 3).await;
    assert_eq!(files(&world, 4), files(&world, 1), "{}", name(4));
    assert_eq!(events(&world, 4), events(&world, 1));
    assert_eq!(tree(&world, 4, head.index.0).await, root);
    until("a round of the scrubber", || handle.scrubbed().rounds > 0).await;
    assert_eq!(handle.scrubbed().faults, 0);
}

/// A power failure of every node, one after the other, wherever it stands; then a node whose old file was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_interrupts_is_begun_anew() {
    let mut world = aged(2).await;
    let before = events(&world, 1);
    let first = world.handle(1).retention_due(AuditIndex(1)).await.unwrap().unwrap();
    // Node 2 is away, and has lost a segment that is dropped from meanwhile.
    world.agree(&[1, 2]).await;
    for seed in 0..4 {
        let done = world.handle(1).retention_due(AuditIndex(1)).await.unwrap();
        if let Some(due) = done {
            propose(&mut world, due.drop).await;
        }
        world.power_loss(2, seed).await;
        if seed == 1 {
            // Where it stands: both files, one, or the other; and of one of them only a part.
            let disk = world.disks[&2].segments();
            for address in [first.drop.from, first.drop.address] {
                disk.remove(&address, SegmentCopy::Whole).unwrap();
            }
            disk.append(&first.drop.address, 0, &[7; 40]).unwrap();
        }
        world.start(2).await;
        world.wait_leader(&[1, 2]).await;
        world.power_loss(1, 100 + seed).await;
        world.start(1).await;
        world.wait_leader(&[1, 2]).await;
        world.agree(&[1, 2]).await;
    }
    run(&mut world).await;
    world.agree(&[1, 2]).await;
    sealed(&world, 2).await;
    for id in 1..=2 {
        followed(&world, id).await;
    }
    assert_eq!(files(&world, 1), files(&world, 2));
    assert!(assert_kept(&before, &events(&world, 2)) >= 10);
    assert_eq!(events(&world, 1), events(&world, 2));
}

/// The log may say what it likes: what does not fit the events is not done by anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drop_that_does_not_fit_the_events_changes_nothing() {
    let mut world = aged(2).await;
    world.agree(&[1, 2]).await;
    let (before, old) = (events(&world, 1), files(&world, 1));
    let mut from = AuditIndex(1);
    let mut wrong: Vec<fn(&mut PayloadDrop)> = vec![
        |drop| drop.address = Digest([9; 32]),
        |drop| drop.digest = Digest([9; 32]),
        |drop| drop.dropped -= 1,
        |drop| drop.bytes += 1,
    ];
    while let Some(lie) = wrong.pop() {
        let Some(due) = world.handle(1).retention_due(from).await.unwrap() else { break };
        from = AuditIndex(due.drop.last.0 + 1);
        if due.drop.dropped < 2 {
            wrong.push(lie);
            continue;
        }
        let mut drop = due.drop;
        lie(&mut drop);
        propose(&mut world, drop).await;
    }
    assert!(wrong.is_empty(), "too few segments");
    world.agree(&[1, 2]).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for id in 1..=2 {
        assert_eq!(events(&world, id)[..before.len()], before);
        assert!(old.iter().all(|file| files(&world, id).contains(file)));
        assert_eq!(world.handle(id).payloads_dropped(), 0);
    }
    assert!(before.iter().all(|event| event_digest(&event.bytes) == event.digest));
}

/// All that a node has stored and tells when it is asked: rows, log, segments and parts of such.
fn stored(world: &World, id: u64) -> Vec<Vec<u8>> {
    let disk = &world.disks[&id];
    let (engine, log, segments) = (disk.engine(), disk.log(), disk.segments());
    let rows = engine.scan(&[], &[0xff; 64], usize::MAX).unwrap();
    let mut all: Vec<Vec<u8>> = rows.into_iter().flat_map(|(key, value)| [key, value]).collect();
    let state = log.state().unwrap();
    let index = |position: Option<LogPosition>| position.map_or(0, |position| position.index);
    let records = log.read(index(state.purged) + 1, index(state.last) + 1).unwrap();
    all.extend(records.into_iter().map(|record| record.payload.to_vec()));
    let read = |copy| move |address| (address, copy);
    let whole = segments.addresses().unwrap().into_iter().map(read(SegmentCopy::Whole));
    let parts = segments.parts().unwrap().into_iter().map(read(SegmentCopy::Part));
    let files = whole.chain(parts);
    all.extend(files.map(|(address, copy)| segments.read(&address, copy, 0, usize::MAX).unwrap()));
    all
}

fn tells(world: &World, id: u64, words: &str) -> bool {
    stored(world, id).iter().any(|bytes| bytes.windows(words.len()).any(|part| part == words.as_bytes()))
}

/// The chain as a node has it, with what each mark stands for held against its record.
fn assert_recorded(world: &World, id: u64) -> usize {
    let (all, state) = (events(world, id), world.handle(id).state());
    let mut verifier = Verifier::default();
    let mut gone = 0;
    for event in &all {
        verifier.push_place(event.index, event.digest, event.hash).unwrap();
        match Expired::parse(&event.bytes) {
            None => assert_eq!(event_digest(&event.bytes), event.digest),
            Some(_) => {
                gone += 1;
                let (_, record) = state.expired(event).unwrap();
                let place = usize::try_from(record.0).unwrap() - 1;
                let record = decode(&all[place].bytes).unwrap();
                assert!(record.action == DROP_ACTION && stays(&record), "{record:?}");
            }
        }
    }
    assert_eq!(verifier.head(), state.chain);
    gone
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_node_keeps_the_words_of_what_was_dropped_but_of_a_held_person() {
    const GONE: &str = "words-that-go";
    const HELD: &str = "words-of-a-held-person";
    let mut world = grown(3, 30).await;
    let mut days = RetentionDays::default();
    days.set(RetentionClass::DataAccess, 365);
    world.command(1, Command::SetRetention { days, if_revision: None }, Via::ApiKey).await;
    for id in [GONE, HELD] {
        world.command(1, principal(id), Via::ApiKey).await;
    }
    let tenant = TenantId::system();
    let one = |id: &str| PrincipalId::new(id).unwrap();
    let (principal, hold) = (one(HELD), "a case".to_owned());
    let held = Command::HoldSubject { tenant: tenant.clone(), principal, hold };
    world.command(1, held, Via::ApiKey).await;
    let delete = Command::DeletePrincipal { tenant, principal: one(GONE), if_revision: None };
    world.command(1, delete, Via::ApiKey).await;
    for _ in 0..SEGMENT {
        mark(&mut world).await;
    }
    age(&mut world, 3).await;
    for id in 1..=3 {
        assert!(tells(&world, id, GONE) && tells(&world, id, HELD), "node {id}");
    }
    let told: u32 = run(&mut world).await.iter().map(|due| due.drop.dropped).sum();
    // The log keeps entries up to a snapshot, and some more.
    for _ in 0..40 {
        world.tick(1).await;
    }
    world.agree(&[1, 2, 3]).await;
    for id in 1..=3 {
        followed(&world, id).await;
        until("the words are gone", || !tells(&world, id, GONE)).await;
        assert!(tells(&world, id, HELD), "node {id}");
        let kept = |event: &SealedEvent| event.bytes.windows(HELD.len()).any(|part| part == HELD.as_bytes());
        assert!(events(&world, id).iter().filter(|event| kept(event)).count() >= 2);
        assert_eq!(assert_recorded(&world, id), usize::try_from(told).unwrap());
    }
}

/// A state that knows of no drop beside files from which payloads went would be a chain with holes, once it is restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_names_segments_as_its_state_knows_them() {
    let mut world = grown(4, 20_000).await;
    age(&mut world, 3).await;
    let handle = world.handle(1);
    let applied = *handle.applied().borrow();
    let point = handle.state_image(applied, soon()).await.unwrap().log_index;
    let done = run(&mut world).await;
    assert!(done.len() > 3, "{done:?}");
    followed(&world, 1).await;
    let mut image = handle.state_image(point, soon()).await.unwrap();
    assert_eq!(image.log_index, point, "no newer one");
    let mut check = ImageCheck::new(Table::is_beside);
    while let Some(frame) = image.frames.next().await {
        check.take(&frame.unwrap()).unwrap();
    }
    let image = check.finish().unwrap();
    assert!(image.state.dropped.is_empty());
    for due in done.iter().filter(|due| due.drop.dropped > 0) {
        let named = image.segments.iter().find(|segment| segment.first == due.drop.first.0).unwrap();
        assert_eq!(named.address.as_ref(), due.drop.from.0);
        // Which is gone: whoever makes a backup takes another image.
        assert_eq!(handle.segment_chunk(due.drop.first, due.drop.from, 0).await.unwrap(), None);
    }
    // Whoever joins by this snapshot lacks those until it has heard of the drops.
    world.register(4).await;
    world.start(4).await;
    handle.add_learner(NodeId(4), soon()).await.unwrap();
    world.agree(&[1, 4]).await;
    sealed(&world, 1).await;
    let joiner = world.handle(4);
    until("all here", || joiner.audit_segments() == handle.audit_segments()).await;
    followed(&world, 4).await;
    assert_eq!(files(&world, 4), files(&world, 1));
    assert_recorded(&world, 4);
}
