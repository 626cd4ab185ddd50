//! Exports of everybody's events from which payloads went: sound ones, and forgeries that pass a payload off as expired.

use crate::{ExportSigner, ExportStatement};
use only1mcp_domain::audit::merkle::{Frontier, leaf};
use only1mcp_domain::audit::{
    self, AuditEvent, ChainHead, EventActor, EventKind, EventResource, SealedEvent, Statement,
};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, TenantId};
use only1mcp_domain::time::TimestampMs;
use sha3::{Digest as _, Sha3_256};

use super::forged_tests::{Case, ORIGIN, key, lines};
use super::format::{Expired, ExportSigned, FORMAT, Head, Header, Line, Trailer, readable};
use super::tests::event;
use crate::text::hex;

/// The segment that payloads go from, those that go, and the event that records it.
const FIRST: u64 = 2;
const LAST: u64 = 6;
const GONE: [u64; 2] = [3, 5];
const RECORD: u64 = 8;
const EVENTS: u64 = 9;

/// What the record says otherwise than it should.
type Lie = fn(&mut AuditEvent);

fn record(gone: &[&SealedEvent], lie: Lie) -> AuditEvent {
    let mut hasher = Sha3_256::new();
    for event in gone {
        hasher.update(event.index.0.to_be_bytes());
        hasher.update(event.digest.0);
    }
    let statement = Statement {
        node: NodeId(1),
        actor: EventActor { tenant: "system".into(), id: "node-1".into(), via: "node:1".into() },
        action: "audit.drop_payloads".into(),
        resource: EventResource { kind: "audit".into(), id: format!("{FIRST}-{LAST}") },
        observed_at: TimestampMs(RECORD),
        content: Digest([4; 32]),
    };
    let details = [
        ("first", FIRST.to_string()),
        ("last", LAST.to_string()),
        ("number", "1".to_owned()),
        ("dropped", gone.len().to_string()),
        ("digest", Digest(hasher.finalize().into()).to_string()),
        ("content", statement.content.to_string()),
    ];
    let signature = [1_u64.to_be_bytes().as_slice(), &key(1).sign(&statement.bytes())].concat();
    let mut told = AuditEvent {
        kind: EventKind::DataDeletion,
        tenant: TenantId::system(),
        actor: statement.actor,
        action: statement.action,
        resource: statement.resource,
        details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        signature: Some(signature),
        ..event(RECORD)
    };
    lie(&mut told);
    told
}

fn chain(lie: Lie) -> Vec<SealedEvent> {
    let mut head = ChainHead::default();
    let mut events: Vec<SealedEvent> = Vec::new();
    for number in 1..=EVENTS {
        let plain = AuditEvent { observed_at: TimestampMs(number), ..event(number) };
        let gone: Vec<&SealedEvent> = events.iter().filter(|event| GONE.contains(&event.index.0)).collect();
        let told = if number == RECORD { record(&gone, lie) } else { plain };
        events.push(head.append(audit::encode(&told)));
    }
    events
}

/// The export of the events after `start` up to `end`; `mark` says of which the payload is gone, and what is named.
fn export(
    events: &[SealedEvent],
    (start, end): (u64, u64),
    tenant: &str,
    mark: impl Fn(u64) -> Option<Option<u64>>,
) -> Vec<String> {
    let before = events.iter().find(|event| event.index.0 == start);
    let start = before.map(|event| ChainHead { index: event.index, hash: event.hash }).unwrap_or_default();
    let mut frontier = Frontier::default();
    let earlier = events.iter().filter(|event| event.index <= start.index);
    earlier.for_each(|event| frontier.append(leaf(event.index, event.digest)));
    let header = Header {
        format: FORMAT.into(),
        cluster_id: ORIGIN.cluster.to_string(),
        tenant: tenant.into(),
        start: Head::of(start),
        end_index: end,
        log_time_ms: 99,
        epoch: ORIGIN.epoch,
        frontier: frontier.peaks().iter().map(ToString::to_string).collect(),
    };
    let mut out = vec![serde_json::to_string(&header).unwrap()];
    let mut signer = ExportSigner::default();
    for sealed in events.iter().filter(|event| event.index > start.index && event.index.0 <= end) {
        let gone = mark(sealed.index.0);
        let whole = gone.is_none();
        signer.add(sealed.index, sealed.digest, sealed.hash, whole);
        let line = Line {
            index: sealed.index.0,
            digest: sealed.digest.to_string(),
            hash: sealed.hash.to_string(),
            bytes: whole.then(|| hex(&sealed.bytes)),
            expired: gone.flatten().map(|record| Expired { record, class: "authentication".into() }),
            event: whole.then(|| readable(&audit::decode(&sealed.bytes).unwrap())),
            personal: None,
        };
        out.push(serde_json::to_string(&line).unwrap());
    }
    let statement = ExportStatement {
        origin: ORIGIN,
        tenant: tenant.into(),
        start,
        end: AuditIndex(end),
        log_time_ms: 99,
    };
    let signature = hex(&key(2).sign(&signer.message(&statement)));
    let signed = ExportSigned { node: 2, key: key(2).public().to_string(), signature };
    out.push(serde_json::to_string(&Trailer { signed, checkpoint: None }).unwrap());
    out
}

fn lie(event: &mut AuditEvent, name: &str, value: &str) {
    let detail = event.details.iter_mut().find(|(known, _)| known == name).unwrap();
    value.clone_into(&mut detail.1);
}

pub(super) fn cases() -> Vec<Case> {
    let events = chain(|_| {});
    let gone = |index: u64| GONE.contains(&index).then_some(Some(RECORD));
    let all = (0, EVENTS);
    let of = |name: &str, code, file: &[String]| {
        Case::of("export", &format!("payloads gone: {name}"), code, lines(file))
    };
    let lied = |name: &str, code, lie: Lie| of(name, code, &export(&chain(lie), all, "*", gone));
    let good = export(&events, all, "*", gone);
    let unsigned = |name: &str, code, change: &dyn Fn(&mut Vec<String>)| {
        let mut file = good.clone();
        change(&mut file);
        of(name, code, &file).without_keys()
    };
    let named = |record| move |index: u64| GONE.contains(&index).then_some(Some(record));
    vec![
        of("sound", "", &good),
        of("sound, nothing held against it", "", &good).without_keys(),
        of("sound, from the segment on", "", &export(&events, (1, EVENTS), "*", gone)),
        of("sound, before any went", "", &export(&events, all, "*", |_| None)),
        of(
            "sound, a tenant's places",
            "",
            &export(&events, all, "acme", |index| (index == 4).then_some(None)),
        ),
        of(
            "no record named",
            "PAYLOAD_MISSING",
            &export(&events, all, "*", |index| GONE.contains(&index).then_some(None)),
        ),
        of("no record at all", "PAYLOAD_MISSING", &export(&events, (0, 7), "*", gone)),
        of("another event as the record", "PAYLOAD_MISSING", &export(&events, all, "*", named(9))),
        of("a record before it", "PAYLOAD_MISSING", &export(&events, all, "*", named(1))),
        of(
            "itself as the record",
            "PAYLOAD_MISSING",
            &export(&events, all, "*", |index| (index == 3).then_some(Some(3))),
        ),
        of(
            "a record that was dropped",
            "PAYLOAD_MISSING",
            &export(&events, all, "*", |index| if index == RECORD { Some(Some(9)) } else { gone(index) }),
        ),
        of(
            "one more than recorded",
            "RETENTION_MISMATCH",
            &export(&events, all, "*", |index| (GONE.contains(&index) || index == 4).then_some(Some(RECORD))),
        ),
        of(
            "one fewer than recorded",
            "RETENTION_MISMATCH",
            &export(&events, all, "*", |index| (index == 3).then_some(Some(RECORD))),
        ),
        of(
            "another than recorded",
            "RETENTION_MISMATCH",
            &export(&events, all, "*", |index| [3, 4].contains(&index).then_some(Some(RECORD))),
        ),
        of(
            "outside of what is recorded",
            "PAYLOAD_MISSING",
            &export(&events, all, "*", |index| (GONE.contains(&index) || index == 7).then_some(Some(RECORD))),
        ),
        of("from within the segment", "PAYLOAD_MISSING", &export(&events, (2, EVENTS), "*", gone)),
        lied("a record that refuses", "PAYLOAD_MISSING", |event| {
            event.outcome = audit::EventOutcome::Denied;
        }),
        lied("a tenant's record", "PAYLOAD_MISSING", |event| {
            event.tenant = TenantId::new("acme").unwrap();
        }),
        lied("an unsigned record", "PAYLOAD_MISSING", |event| event.signature = None),
        lied("a record of another range", "PAYLOAD_MISSING", |event| lie(event, "first", "4")),
        lied("a record of nothing", "PAYLOAD_MISSING", |event| lie(event, "last", "none")),
        lied("a record of another number", "RETENTION_MISMATCH", |event| lie(event, "dropped", "3")),
        lied("a record of another digest", "RETENTION_MISMATCH", |event| {
            lie(event, "digest", &"ab".repeat(32));
        }),
        lied("a record that its node did not sign", "EVENT_SIGNATURE_INVALID", |event| {
            event.resource.id = "1-9".to_owned();
        }),
        unsigned("the record's bytes edited", "EDITED", &|file| {
            let line = usize::try_from(RECORD).unwrap();
            file[line] = file[line].replacen("\"bytes\":\"01", "\"bytes\":\"02", 1);
        }),
        unsigned("an event with bytes that is said to be expired", "MALFORMED", &|file| {
            file[1] = file[1].replacen(
                "\"bytes\":",
                "\"expired\":{\"record\":8,\"class\":\"default\"},\"bytes\":",
                1,
            );
        }),
        unsigned("taken away afterwards", "RETENTION_MISMATCH", &|file| {
            let mut line: Line = serde_json::from_str(&file[4]).unwrap();
            (line.bytes, line.event) = (None, None);
            line.expired = Some(Expired { record: RECORD, class: "default".into() });
            file[4] = serde_json::to_string(&line).unwrap();
        }),
    ]
}
