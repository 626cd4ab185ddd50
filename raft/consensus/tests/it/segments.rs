//! History outside the snapshot: what is sealed, fetched by those who lack it, damaged, and made whole again.

use std::time::Duration;

use futures_util::future::join_all;
use only1mcp_consensus::TrailError;
use only1mcp_domain::audit::{ChainHead, SealedEvent, Verifier};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId};
use only1mcp_domain::limits::SEGMENT_CHUNK_BYTES_MAX;
use only1mcp_domain::model::NodeRole;
use only1mcp_proto::peer;
use only1mcp_storage::{
    Engine as _, MemDisk, MemOptions, RaftLog as _, SegmentCheck, SegmentCopy, Segments as _,
};
use tokio::time::Instant;
use tonic::Code;

use crate::peers::channel;
use crate::world::{World, name, soon};

const SEGMENT: usize = 5;

async fn world(nodes: u64) -> World {
    let mut world = World::new(nodes).await;
    world.segment_events = SEGMENT;
    world.snapshot_every = 30;
    world.keep = 5;
    world.form().await;
    world
}

/// Writes that leave one event each.
async fn events(world: &mut World, count: usize) {
    for _ in 0..count {
        let role = Command::SetNodeRole { node: NodeId(1), role: NodeRole::Voter };
        world.command(1, role, Via::Node(NodeId(1))).await;
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = soon();
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `id` has sealed or fetched all that its chain allows.
async fn whole(world: &World, id: u64) {
    let handle = world.handle(id);
    until("all sealed and here", || {
        let full = usize::try_from(handle.state().chain.index.0).unwrap() / SEGMENT;
        handle.audit_segments() == (full, 0)
    })
    .await;
}

fn chain(world: &World, id: u64) -> Vec<SealedEvent> {
    let events = world.handle(id).audit_events(AuditIndex(1), 10_000).unwrap();
    let mut verifier = Verifier::default();
    events.iter().for_each(|event| verifier.push(event).unwrap());
    assert_eq!(verifier.head(), world.handle(id).state().chain);
    events
}

fn files(world: &World, id: u64) -> Vec<(Digest, Vec<u8>)> {
    let files = world.disks[&id].segments();
    let read = |address| files.read(&address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    files.addresses().unwrap().into_iter().map(|address| (address, read(address))).collect()
}

/// In the order of the chain, found by what they hold.
fn in_order(world: &World, id: u64) -> Vec<Digest> {
    let disk = world.disks[&id].segments();
    let name = |address| SegmentCheck::of_file(address).run(&disk).unwrap();
    let mut names: Vec<_> = disk.addresses().unwrap().into_iter().map(name).collect();
    names.sort_by_key(|name| name.first);
    names.into_iter().map(|name| name.address).collect()
}

async fn purged(world: &World, id: u64) {
    let handle = world.handle(id);
    until("a purge", || handle.status().purged > 0).await;
}

/// Node `id` as a learner, behind the purge.
async fn learner(world: &mut World, id: u64) {
    world.register(id).await;
    world.start(id).await;
    world.handle(1).add_learner(NodeId(id), soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_make_the_same_segments_and_read_one_chain_across_them() {
    let mut world = world(3).await;
    world.join(2).await;
    world.join(3).await;
    events(&mut world, 33).await;
    world.agree(&[1, 2, 3]).await;
    for id in 1..=3 {
        whole(&world, id).await;
    }
    assert!(files(&world, 1).len() > 6);
    assert_eq!(files(&world, 1), files(&world, 2));
    assert_eq!(files(&world, 1), files(&world, 3));
    let all = chain(&world, 1);
    assert_eq!(chain(&world, 2), all);
    // What is sealed is no row any more, on disk either.
    let engine = world.disks[&1].engine();
    until("rows gone", || engine.scan(&[17], &[18], 99).unwrap().len() < SEGMENT).await;
    // From anywhere, over any boundary, as many as asked for.
    for (from, limit) in [(1, 1), (4, 3), (5, 1), (5, 2), (6, 13), (all.len(), 9), (all.len() + 1, 9)] {
        let read = world.handle(2).audit_events(AuditIndex(from as u64), limit).unwrap();
        assert_eq!(read, all[from - 1..all.len().min(from - 1 + limit)], "{limit} from {from}");
    }
    // And after a power loss of all, in whatever moment of sealing.
    events(&mut world, 4).await;
    for (id, seed) in [(1, 5), (2, 6), (3, 7)] {
        world.power_loss(id, seed).await;
    }
    for id in 1..=3 {
        world.start(id).await;
    }
    world.wait_leader(&[1, 2, 3]).await;
    world.agree(&[1, 2, 3]).await;
    for id in 1..=3 {
        whole(&world, id).await;
    }
    assert_eq!(chain(&world, 1)[..all.len()], all);
    assert_eq!(chain(&world, 2), chain(&world, 3));
}

/// Node 1's copies of what node 2 has are destroyed: whoever asked for them would never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_the_purge_fetches_only_what_it_lacks() {
    let mut world = world(2).await;
    world.join(2).await;
    events(&mut world, 40).await;
    world.agree(&[1, 2]).await;
    whole(&world, 2).await;
    purged(&world, 2).await;
    let all = chain(&world, 2);
    world.kill(2).await;
    world.row_disks.insert(2, MemDisk::new(MemOptions::default()));
    let [lost, ref kept @ ..] = in_order(&world, 2)[..] else { panic!("no segments") };
    world.disks[&2].segments().remove(&lost, SegmentCopy::Whole).unwrap();
    for address in kept {
        world.disks[&1].segments().remove(address, SegmentCopy::Whole).unwrap();
    }
    world.start(2).await;
    world.tick(1).await;
    world.agree(&[1, 2]).await;
    whole(&world, 2).await;
    assert_eq!(chain(&world, 2), all);
    let missing = world.handle(1).audit_events(AuditIndex(1), 1_000).unwrap_err();
    assert_eq!(missing.code(), "AUDIT_SEGMENT_DAMAGED");
    // And node 1 gets them back from it, as it finds out.
    let handle = world.handle(1);
    until("all read", || handle.audit_events(AuditIndex(1), 1_000).is_ok()).await;
    whole(&world, 1).await;
    assert_eq!(chain(&world, 1), all);
}

/// The first half came before the cut; the sender's first half is worth nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_was_cut_goes_on_where_it_was() {
    let mut world = world(2).await;
    events(&mut world, 60).await;
    whole(&world, 1).await;
    purged(&world, 1).await;
    let (all, address) = (chain(&world, 1), in_order(&world, 1)[0]);
    let sender = world.disks[&1].segments();
    let file = sender.read(&address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    let half = file.len() / 2;
    world.disks[&2].segments().append(&address, 0, &file[..half]).unwrap();
    world.disks[&1].rot_segment(&address, half - 1);
    learner(&mut world, 2).await;
    world.agree(&[1, 2]).await;
    whole(&world, 2).await;
    assert_eq!(chain(&world, 2)[..all.len()], all);
    // The other way round too: node 1 finds its damage when it reads, and is given the copy it once sent.
    let error = world.handle(1).audit_events(AuditIndex(1), 3).unwrap_err();
    assert!(matches!(&error, TrailError::Damaged { first: AuditIndex(1), .. }), "{error}");
    whole(&world, 1).await;
    assert_eq!(files(&world, 1), files(&world, 2));
}

/// On the way or on the receiver's disk: in the header and in a record of what came before a cut, and in all that came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_in_which_a_bit_flipped_is_refused_and_fetched_again() {
    let mut world = world(2).await;
    events(&mut world, 60).await;
    whole(&world, 1).await;
    purged(&world, 1).await;
    let (all, sent) = (chain(&world, 1), files(&world, 1));
    let receiver = world.disks[&2].segments();
    for (address, (of, byte)) in in_order(&world, 1).into_iter().zip([(2, 20), (2, 150), (1, 151)]) {
        let (_, file) = sent.iter().find(|(found, _)| *found == address).unwrap();
        let mut part = file[..file.len() / of].to_vec();
        part[byte] ^= 0x10;
        receiver.append(&address, 0, &part).unwrap();
    }
    learner(&mut world, 2).await;
    world.agree(&[1, 2]).await;
    whole(&world, 2).await;
    assert_eq!(chain(&world, 2)[..all.len()], all);
    let came = files(&world, 2);
    assert!(sent.iter().all(|file| came.contains(file)), "byte for byte");
    assert_eq!(receiver.parts().unwrap(), vec![]);
    // The sender was asked to look, and has found nothing wrong.
    whole(&world, 1).await;
    assert_eq!(files(&world, 1), files(&world, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_damaged_at_the_sender_counts_nowhere_and_is_found_there() {
    let mut world = world(3).await;
    world.join(2).await;
    events(&mut world, 40).await;
    world.agree(&[1, 2]).await;
    whole(&world, 1).await;
    whole(&world, 2).await;
    purged(&world, 1).await;
    let good = files(&world, 1);
    // In a record, in the header, in the table.
    let last = |n: usize| good.iter().find(|(a, _)| *a == in_order(&world, 2)[n]).unwrap().1.len() - 1;
    for (place, byte) in [(0, 150), (1, 20), (2, last(2))] {
        let address = in_order(&world, 2)[place];
        world.disks[&1].rot_segment(&address, byte);
    }
    learner(&mut world, 3).await;
    world.agree(&[1, 2, 3]).await;
    whole(&world, 3).await;
    // Asked again, node 1 looked at its copies, and has sound ones now.
    whole(&world, 1).await;
    let now = files(&world, 1);
    assert!(good.iter().all(|file| now.contains(file)));
    assert_eq!(files(&world, 3), now);
    assert_eq!(chain(&world, 3), chain(&world, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_kept_and_nothing_wrong_is_told_until_every_segment_is_here() {
    let mut world = world(2).await;
    events(&mut world, 60).await;
    whole(&world, 1).await;
    purged(&world, 1).await;
    let address = in_order(&world, 1)[1];
    let sender = world.disks[&1].segments();
    let file = sender.read(&address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    sender.remove(&address, SegmentCopy::Whole).unwrap();
    learner(&mut world, 2).await;
    world.agree(&[1, 2]).await;
    let here = world.handle(2);
    until("all but one", || here.audit_segments().1 == 1).await;
    let error = here.audit_events(AuditIndex(1), 1_000).unwrap_err();
    assert!(matches!(error, TrailError::Lacking { first: AuditIndex(6), last: AuditIndex(10) }), "{error}");
    assert_eq!(error.code(), "AUDIT_SEGMENT_LACKING");
    assert_eq!(here.audit_events(AuditIndex(1), 5).unwrap().len(), 5);
    assert!(here.audit_events(AuditIndex(11), 1_000).unwrap().len() > 40);

    // It takes part meanwhile, and takes snapshot points, but keeps its log.
    let disk = world.disks[&2].clone();
    let purged = || disk.log().state().unwrap().purged.map(|purged| purged.index);
    let (before, snapshot) = (purged(), here.status().snapshot);
    for _ in 0..70 {
        world.tick(1).await;
    }
    world.agree(&[1, 2]).await;
    until("a later snapshot point", || here.status().snapshot > snapshot + 30).await;
    assert_eq!(purged(), before);

    // An operator puts the file back; a restart in between changes nothing.
    world.kill(2).await;
    world.start(2).await;
    sender.append(&address, 0, &file).unwrap();
    sender.finish(&address).unwrap();
    whole(&world, 2).await;
    for _ in 0..70 {
        world.tick(1).await;
    }
    until("a purge", || purged() > before).await;
    assert_eq!(chain(&world, 2), chain(&world, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_given_to_members_in_bounded_chunks() {
    let mut world = world(2).await;
    world.join(2).await;
    events(&mut world, 20).await;
    whole(&world, 1).await;
    let address = in_order(&world, 1)[0];
    let file = world.disks[&1].segments().read(&address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
    let ask = |first, offset| peer::FetchSegmentRequest {
        from: 2,
        first,
        address: bytes::Bytes::copy_from_slice(&address.0),
        offset,
        look_first: false,
    };
    let mut member = channel(&world, 1, &name(2));
    let chunk = member.fetch_segment(ask(1, 100)).await.unwrap().into_inner().chunk;
    assert_eq!(chunk, file[100..]);
    assert!(chunk.len() <= SEGMENT_CHUNK_BYTES_MAX);
    let end = member.fetch_segment(ask(1, file.len() as u64)).await.unwrap().into_inner().chunk;
    assert!(end.is_empty());
    for wrong in [2, 6, 9_999] {
        let refused = member.fetch_segment(ask(wrong, 0)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
    let stranger = channel(&world, 1, "stranger").fetch_segment(ask(1, 0)).await.unwrap_err();
    assert_eq!(stranger.code(), Code::PermissionDenied);
    assert_eq!(chain(&world, 1)[0].index, AuditIndex(ChainHead::default().index.0 + 1));
}

/// On real files: what is there after a join is the same byte for byte, and what rots is made whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_of_segments_are_equal_on_every_node() {
    let root = tempfile::tempdir().unwrap();
    let folder = |id: u64| root.path().join(name(id));
    let mut world = World::new(2).await;
    world.segment_events = SEGMENT;
    world.snapshot_every = 30;
    world.keep = 5;
    world.folders = [(1, folder(1)), (2, folder(2))].into();
    world.form().await;
    events(&mut world, 60).await;
    whole(&world, 1).await;
    purged(&world, 1).await;
    learner(&mut world, 2).await;
    world.agree(&[1, 2]).await;
    whole(&world, 2).await;
    let all = chain(&world, 1);
    assert_eq!(chain(&world, 2), all);
    let content = |id: u64| {
        let files = std::fs::read_dir(folder(id).join("segments")).unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap())
            .map(|file| (file.file_name(), std::fs::read(file.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    let good = content(1);
    assert!(good.len() > 10);
    assert_eq!(content(2), good);

    for (place, (file, bytes)) in good.iter().enumerate() {
        let mut bad = bytes.clone();
        bad[(place * 37 + 120) % bytes.len()] ^= 0x10;
        std::fs::write(folder(2).join("segments").join(file), bad).unwrap();
    }
    let handle = world.handle(2);
    until("all read", || handle.audit_events(AuditIndex(1), 1_000).is_ok_and(|read| read == all)).await;
    let files = only1mcp_storage::FileSegments::open(folder(2).join("segments")).unwrap();
    for (file, bytes) in &good {
        let address = Digest::parse_hex(file.to_str().unwrap()).unwrap();
        SegmentCheck::of_file(address).run(&files).unwrap();
        assert!(std::fs::read(folder(2).join("segments").join(file)).unwrap() == *bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_shut_down_writes_no_more() {
    let mut world = World::new(1).await;
    world.segment_events = 1;
    world.form().await;
    let role = Command::SetNodeRole { node: NodeId(1), role: NodeRole::Voter };
    let entries: Vec<_> = (0..200).map(|_| world.entry(role.clone(), Via::Node(NodeId(1)))).collect();
    let handle = world.handle(1);
    // Applied together, they are much to seal.
    join_all(entries.into_iter().map(|entry| handle.propose(entry, soon()))).await;
    let files = world.disks[&1].segments();
    while files.addresses().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    world.kill(1).await;
    let then = files.addresses().unwrap();
    assert!(then.len() < 200, "all was sealed before the node was shut down: the test needs more events");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(files.addresses().unwrap().len(), then.len());
}
