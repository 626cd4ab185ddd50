//! Drops as one node does them: what was cleared and is back goes again, and what comes too late does not stay.

use std::sync::Arc;

use only1mcp_domain::audit::{
    self, AuditEvent, ChainHead, DropRule, EventActor, EventKind, EventOutcome, EventResource,
    RetentionClass, SealedEvent, Severity,
};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, TenantId};
use only1mcp_domain::model::{Dropped, PayloadDrop};
use only1mcp_domain::time::TimestampMs;
use only1mcp_storage::{
    MemDisk, MemOptions, SegmentCopy, SegmentDraft, SegmentName, SegmentWriter, Segments as _,
};

use super::expire::{Keeper, rewrite};
use super::fetch::unwanted;
use super::whole::{Lacking, Trail};

const EVENTS: u64 = 4;

fn event(number: u64) -> AuditEvent {
    AuditEvent {
        kind: EventKind::AccessGranted,
        severity: Severity::Info,
        tenant: TenantId::new("acme").unwrap(),
        actor: EventActor { tenant: "acme".into(), id: "ann".into(), via: "api_key".into() },
        impersonator: None,
        action: "tools/call".into(),
        resource: EventResource { kind: "tool".into(), id: format!("planted-{number}") },
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: None,
        decision: None,
        revision: None,
        node: NodeId(1),
        observed_at: TimestampMs(number),
        log_time: TimestampMs(number),
        request_id: String::new(),
        session_id: String::new(),
        ip_address: None,
        user_agent: String::new(),
        geo_location: None,
        before_state: None,
        after_state: None,
        diff: None,
        details: Vec::new(),
        personal: Vec::new(),
        signature: None,
    }
}

/// Writes the segment as it was sealed.
fn seal(disk: &MemDisk) -> SegmentName {
    let mut head = ChainHead::default();
    let events: Vec<SealedEvent> = (1..=EVENTS).map(|n| head.append(audit::encode(&event(n)))).collect();
    let mut draft = SegmentDraft::after(ChainHead::default(), 4).unwrap();
    events.iter().for_each(|event| draft.add(event).unwrap());
    let plan = draft.finish().unwrap();
    let (name, files) = (plan.name, disk.segments());
    let mut writer = SegmentWriter::begin(&files, plan).unwrap();
    events.iter().for_each(|event| writer.add(event).unwrap());
    writer.finish().unwrap();
    name
}

struct World {
    disk: MemDisk,
    trail: Trail,
    old: Lacking,
    new: SegmentName,
    drops: [Arc<Dropped>; 1],
}

/// One segment, and the drop of all that it holds.
async fn world() -> World {
    let disk = MemDisk::new(MemOptions::default());
    let name = seal(&disk);
    let trail = Trail::new(Arc::new(disk.engine()), Arc::new(disk.segments()), 4, vec![name]);
    let old = Lacking { name, before: Digest::default() };
    let rule = DropRule { classes: vec![RetentionClass::Default], held: Vec::new() };
    let made = rewrite(&trail, old, &rule, 1).await.unwrap();
    let new = made.name;
    let drop = PayloadDrop {
        first: name.first,
        last: name.last,
        number: 1,
        from: name.address,
        address: new.address,
        bytes: new.bytes,
        rule,
        newest: TimestampMs(EVENTS),
        dropped: made.dropped(),
        digest: made.digest,
    };
    assert_eq!((u64::from(drop.dropped), drop.address == drop.from), (EVENTS, false));
    World { disk, trail, old, new, drops: [Arc::new(Dropped { drop, record: AuditIndex(9) })] }
}

impl World {
    /// The file without payloads, and nothing besides.
    fn assert_gone(&self) {
        let files = self.disk.segments();
        assert_eq!(files.addresses().unwrap(), [self.new.address]);
        assert!(files.parts().unwrap().is_empty());
        assert!(self.trail.has(&self.new));
        let read = files.read(&self.new.address, SegmentCopy::Whole, 0, usize::MAX).unwrap();
        assert!(!read.windows(7).any(|bytes| bytes == b"planted"));
    }
}

#[tokio::test]
async fn a_segment_that_a_snapshot_brought_back_goes_again() {
    let world = world().await;
    let mut keeper = Keeper::default();
    for _ in 0..2 {
        assert!(keeper.follow(&world.trail, world.drops.iter()).await.unwrap());
        world.assert_gone();
        // Of a member that had yet to do it.
        seal(&world.disk);
        world.trail.replace(&world.new, world.old.name).unwrap();
    }
}

#[tokio::test]
async fn what_was_being_fetched_of_the_old_file_goes_with_it() {
    let world = world().await;
    let files = world.disk.segments();
    files.append(&world.old.name.address, 0, b"planted words of a part").unwrap();
    assert!(Keeper::default().follow(&world.trail, world.drops.iter()).await.unwrap());
    world.assert_gone();
    // A fetch of it that comes to its end only now.
    seal(&world.disk);
    unwanted(&world.trail, &world.old);
    world.assert_gone();
    // What is called so is not taken away.
    unwanted(&world.trail, &Lacking { name: world.new, ..world.old });
    world.assert_gone();
}
