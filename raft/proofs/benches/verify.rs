//! How many events a second are verified: `cargo bench -p only1mcp-proofs --bench verify`. In memory: digest, link, reading
//! and tree of each event, on one thread, and on two where one takes the digests. From a file: what
//! `only1mcp audit verify` does with an export.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail loudly")]
#![allow(clippy::disallowed_types, reason = "this measures real time")]

use std::io::Cursor;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use only1mcp_domain::audit::merkle::{Frontier, leaf};
use only1mcp_domain::audit::{
    self, AuditEvent, ChainHead, EventActor, EventKind, EventOutcome, EventResource, SealedEvent, Severity,
    Verifier, event_digest,
};
use only1mcp_domain::ids::{AuditIndex, CallId, DecisionId, NodeId, Revision, TenantId};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proofs::exported::{Asked, FORMAT, Head, Header, Line, readable, verify};

const EVENTS: u64 = 200_000;
const PART: usize = 1_024;

/// An admission as the gateway records it, of ordinary size.
fn event(number: u64) -> AuditEvent {
    AuditEvent {
        kind: EventKind::AccessGranted,
        severity: Severity::Info,
        tenant: TenantId::new("acme").unwrap(),
        actor: EventActor {
            tenant: "acme".into(),
            id: format!("user-{}", number % 500),
            via: "key:k4b1f0c9d2e7a".into(),
        },
        impersonator: None,
        action: "tools/call".into(),
        resource: EventResource { kind: "tool".into(), id: "github__create_issue".into() },
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: Some(CallId([7; 16])),
        decision: Some(DecisionId([8; 16])),
        revision: Some(Revision(number / 1_000)),
        node: NodeId(1),
        observed_at: TimestampMs(1_800_000_000_000 + number),
        log_time: TimestampMs(1_800_000_000_000 + number),
        request_id: "1".into(),
        session_id: "6f1d2c3b4a59687766554433".into(),
        ip_address: "192.0.2.7".parse().ok(),
        user_agent: "agent/1.0".into(),
        geo_location: None,
        before_state: None,
        after_state: None,
        diff: None,
        details: vec![
            ("arguments_sha3".into(), "ab".repeat(32)),
            ("grant".into(), "g5a1b2c3d".into()),
            ("mode".into(), "sealed".into()),
        ],
        personal: Vec::new(),
        signature: None,
    }
}

fn told(name: &str, begun: Instant) {
    let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
    println!("{name}: {:.0} events a second", rate);
}

fn main() {
    let mut head = ChainHead::default();
    let events: Vec<SealedEvent> =
        (1..=EVENTS).map(|number| head.append(audit::encode(&event(number)))).collect();
    println!(
        "{EVENTS} events of {} bytes",
        events.iter().map(|event| event.bytes.len()).sum::<usize>() / events.len()
    );
    let text = export(&events);
    // In turns, so that what else the machine does falls on all.
    for _ in 0..3 {
        one_thread(&events);
        two_threads(&events);
        let begun = Instant::now();
        verify(Cursor::new(&text), &Asked::default()).unwrap();
        told("an exported file, one thread", begun);
    }
}

fn one_thread(events: &[SealedEvent]) {
    let begun = Instant::now();
    let (mut verifier, mut tree) = (Verifier::default(), Frontier::default());
    for event in events {
        verifier.push(event).unwrap();
        tree.append(leaf(event.index, event.digest));
    }
    assert_eq!(tree.size(), EVENTS);
    told("in memory, one thread", begun);
}

/// Digests and reading on one, links and the tree on the other.
fn two_threads(events: &[SealedEvent]) {
    let begun = Instant::now();
    let (sender, parts) = sync_channel::<&[SealedEvent]>(8);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for part in events.chunks(PART) {
                assert!(part.iter().all(|event| event_digest(&event.bytes) == event.digest));
                assert!(part.iter().all(|event| audit::decode(&event.bytes).is_ok()));
                sender.send(part).unwrap();
            }
        });
        let (mut verifier, mut tree) = (Verifier::default(), Frontier::default());
        for event in parts.into_iter().flatten() {
            verifier.push_place(event.index, event.digest, event.hash).unwrap();
            tree.append(leaf(event.index, event.digest));
        }
        assert_eq!(tree.size(), EVENTS);
    });
    told("in memory, two threads", begun);
}

fn export(events: &[SealedEvent]) -> String {
    let header = Header {
        format: FORMAT.into(),
        cluster_id: "07".repeat(32),
        tenant: "*".into(),
        start: Head::of(ChainHead { index: AuditIndex(0), ..ChainHead::default() }),
        end_index: EVENTS,
        log_time_ms: 1,
        epoch: 1,
        frontier: Vec::new(),
    };
    let mut out = serde_json::to_string(&header).unwrap() + "\n";
    for sealed in events {
        let line = Line {
            index: sealed.index.0,
            digest: sealed.digest.to_string(),
            hash: sealed.hash.to_string(),
            bytes: Some(only1mcp_proofs::hex(&sealed.bytes)),
            expired: None,
            event: Some(readable(&audit::decode(&sealed.bytes).unwrap())),
            personal: None,
        };
        out.push_str(&serde_json::to_string(&line).unwrap());
        out.push('\n');
    }
    out
}
