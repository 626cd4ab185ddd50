//! The audit chain from outside: canonical bytes, golden vectors, and a verifier that finds every kind of tampering.

use only1mcp_domain::audit::*;
use only1mcp_domain::ids::*;
use only1mcp_domain::time::TimestampMs;
use proptest::prelude::*;

/// Persisted: the file is never edited, only added to.
const VECTORS: &str = include_str!("chain-v1.txt");

fn plain(kind: EventKind) -> AuditEvent {
    AuditEvent {
        kind,
        severity: Severity::Notice,
        tenant: TenantId::system(),
        actor: EventActor::default(),
        impersonator: None,
        action: String::new(),
        resource: EventResource::default(),
        outcome: EventOutcome::Success,
        reason: String::new(),
        call: None,
        decision: None,
        revision: None,
        node: NodeId(0),
        observed_at: TimestampMs(0),
        log_time: TimestampMs(0),
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

fn actor(id: &str) -> EventActor {
    EventActor { tenant: "acme".to_owned(), id: id.to_owned(), via: "key:k0123".to_owned() }
}

/// Empty but for what must be there; a usual one; one with everything.
fn golden_events() -> [AuditEvent; 3] {
    let usual = AuditEvent {
        tenant: TenantId::new("acme").unwrap(),
        actor: actor("dev@example.com"),
        action: "tools/call".to_owned(),
        resource: EventResource { kind: "tool".to_owned(), id: "files__read".to_owned() },
        call: Some(CallId([1; 16])),
        decision: Some(DecisionId([2; 16])),
        revision: Some(Revision(12)),
        node: NodeId(3),
        observed_at: TimestampMs(1_800_000_000_123),
        log_time: TimestampMs(1_800_000_000_100),
        ip_address: "192.0.2.7".parse().ok(),
        details: vec![("grant".to_owned(), "g".to_owned()), ("role_path".to_owned(), "a > b".to_owned())],
        ..plain(EventKind::AccessGranted)
    };
    let full = AuditEvent {
        severity: Severity::Critical,
        impersonator: Some(actor("root")),
        outcome: EventOutcome::Unknown,
        reason: "grün".to_owned(),
        request_id: "r".to_owned(),
        session_id: "s".to_owned(),
        ip_address: "2001:db8::7".parse().ok(),
        user_agent: "agent/1".to_owned(),
        geo_location: Some("AT".to_owned()),
        before_state: Some("{}".to_owned()),
        after_state: Some("{\"a\":1}".to_owned()),
        diff: Some(String::new()),
        details: Vec::new(),
        personal: Vec::new(),
        signature: Some(vec![0xff; 3]),
        kind: EventKind::BackupRestored,
        ..usual.clone()
    };
    [plain(EventKind::LoginSuccess), usual, full]
}

fn chain(events: &[AuditEvent]) -> Vec<SealedEvent> {
    let mut head = ChainHead::default();
    events.iter().map(|event| head.append(encode(event))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn golden_vectors() {
    let mut told = String::new();
    for sealed in chain(&golden_events()) {
        let bytes = hex(&sealed.bytes);
        told += &format!(
            "index {}\nbytes {bytes}\ndigest {}\nhash {}\n",
            sealed.index, sealed.digest, sealed.hash
        );
    }
    let known: String = VECTORS.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    assert_eq!(told, known);
    for event in golden_events() {
        assert_eq!(decode(&encode(&event)).unwrap(), event);
    }
}

#[test]
fn bytes_that_are_no_event_are_refused() {
    for event in golden_events() {
        let bytes = encode(&event);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer), Err(CanonicalError::Trailing(1)));
        let version = [&[3], &bytes[1..]].concat();
        assert_eq!(decode(&version), Err(CanonicalError::Version(3)));
        let unknown = [&bytes[..], &[0x1a, 0, 0, 0, 0]].concat();
        assert_eq!(decode(&unknown), Err(CanonicalError::Trailing(5)));
        let doubled = [&bytes[..1], &[1, 0, 0, 0, 4, 0, 0, 0, 1], &bytes[1..]].concat();
        assert!(decode(&doubled).is_err());
        // Kind and severity, 9 and 6 bytes, in the other order.
        let swapped = [&bytes[..1], &bytes[10..16], &bytes[1..10], &bytes[16..]].concat();
        assert!(matches!(decode(&swapped), Err(CanonicalError::Field { field: "kind", .. })));
    }
}

#[test]
fn details_have_one_order() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sorted = vec![pair("a", "1"), pair("a", "2"), pair("b", "")];
    let event = AuditEvent { details: sorted.clone(), ..plain(EventKind::DataAccess) };
    let shuffled = [2, 1, 0, 1].map(|at| sorted[at].clone()).to_vec();
    assert_eq!(encode(&AuditEvent { details: shuffled, ..event.clone() }), encode(&event));
    // By hand: two equal pairs.
    let bytes = encode(&AuditEvent { details: vec![pair("a", "1"), pair("a", "2")], ..event });
    let doubled = hex(&bytes)
        .replace("0000000161000000013100000001610000000132", "0000000161000000013100000001610000000131");
    let doubled: Vec<u8> =
        (0..doubled.len()).step_by(2).map(|i| u8::from_str_radix(&doubled[i..i + 2], 16).unwrap()).collect();
    assert_eq!(doubled.len(), bytes.len());
    assert_ne!(doubled, bytes);
    assert!(decode(&doubled).is_err());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z/_]{1,12}", "\\PC{0,8}"]
}

fn an_actor() -> impl Strategy<Value = EventActor> {
    (text(), text(), text()).prop_map(|(tenant, id, via)| EventActor { tenant, id, via })
}

prop_compose! {
    fn an_event()(
        (kind, severity, outcome) in (0..EventKind::ALL.len(), 0..4usize, 0..4usize),
        tenant in "[a-z][a-z0-9-]{0,8}",
        (actor, impersonator) in (an_actor(), proptest::option::of(an_actor())),
        texts in proptest::array::uniform7(text()),
        optional in proptest::array::uniform4(proptest::option::of(text())),
        (call, decision) in (proptest::option::of(any::<[u8; 16]>()), proptest::option::of(any::<[u8; 16]>())),
        revision in proptest::option::of(any::<u64>()),
        numbers in proptest::array::uniform3(any::<u64>()),
        ip in proptest::option::of(any::<std::net::IpAddr>()),
        details in proptest::collection::btree_set((text(), text()), 0..4),
        signature in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..5)),
    ) -> AuditEvent {
        let [action, resource_kind, resource_id, reason, request_id, session_id, user_agent] = texts;
        let [geo_location, before_state, after_state, diff] = optional;
        AuditEvent {
            kind: EventKind::ALL[kind],
            severity: Severity::ALL[severity],
            tenant: TenantId::new(tenant).unwrap(),
            actor,
            impersonator,
            action,
            resource: EventResource { kind: resource_kind, id: resource_id },
            outcome: EventOutcome::ALL[outcome],
            reason,
            call: call.map(CallId),
            decision: decision.map(DecisionId),
            revision: revision.map(Revision),
            node: NodeId(numbers[0]),
            observed_at: TimestampMs(numbers[1]),
            log_time: TimestampMs(numbers[2]),
            request_id,
            session_id,
            ip_address: ip,
            user_agent,
            geo_location,
            before_state,
            after_state,
            diff,
            details: details.into_iter().collect(),
            personal: Vec::new(),
            signature,
        }
    }
}

fn verify(events: &[SealedEvent], promised: ChainHead) -> Result<ChainHead, ChainFault> {
    let mut verifier = Verifier::default().promising(promised);
    events.iter().try_for_each(|event| verifier.push(event))?;
    verifier.finish()
}

fn head(events: &[SealedEvent]) -> ChainHead {
    events.last().map_or(ChainHead::default(), |last| ChainHead { index: last.index, hash: last.hash })
}

proptest! {
    #[test]
    fn what_is_encoded_reads_back(event in an_event()) {
        prop_assert_eq!(decode(&encode(&event)).unwrap(), event);
    }

    #[test]
    fn what_decodes_has_one_form(bytes in proptest::collection::vec(any::<u8>(), 0..64), event in an_event(), at in any::<prop::sample::Index>(), edit in 1u8..) {
        let mut edited = encode(&event);
        let at = at.index(edited.len());
        edited[at] ^= edit;
        for input in [bytes, edited] {
            if let Ok(event) = decode(&input) {
                prop_assert_eq!(encode(&event), input);
            }
        }
    }

    #[test]
    fn a_single_byte_edit_is_found(events in proptest::collection::vec(an_event(), 1..5), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), edit in 1u8..) {
        let mut sealed = chain(&events);
        let promised = head(&sealed);
        prop_assert_eq!(verify(&sealed, promised), Ok(promised));
        let event = &mut sealed[which.index(events.len())];
        let (bytes, digest) = (event.bytes.len(), 32);
        match at.index(bytes + 2 * digest + 8) {
            at if at < bytes => event.bytes[at] ^= edit,
            at if at < bytes + digest => event.digest.0[at - bytes] ^= edit,
            at if at < bytes + 2 * digest => event.hash.0[at - bytes - digest] ^= edit,
            at => event.index.0 ^= u64::from(edit) << (8 * (at - bytes - 2 * digest)),
        }
        prop_assert!(verify(&sealed, promised).is_err());
    }

    /// The forger links anew whatever follows; only the promised head gives it away.
    #[test]
    fn a_rewritten_history_is_found(events in proptest::collection::vec(an_event(), 2..6), other in an_event(), at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let promised = head(&chain(&events));
        let (at, to) = (at.index(events.len()), to.index(events.len()));
        let mut deleted = events.clone();
        deleted.remove(at);
        let mut inserted = events.clone();
        inserted.insert(at, other.clone());
        let mut swapped = events.clone();
        swapped.swap(at, to);
        let mut edited = events.clone();
        edited[at] = other;
        let cut = events[..at].to_vec();
        for forged in [deleted, inserted, swapped, edited, cut] {
            let result = verify(&chain(&forged), promised);
            if forged[..events.len().min(forged.len())] == events {
                prop_assert!(result.is_ok(), "nothing that was promised changed");
            } else {
                prop_assert!(result.is_err());
            }
        }
    }

    /// Without linking anew: moved, missing, doubled or foreign events.
    #[test]
    fn a_rearranged_chain_is_found(events in proptest::collection::vec(an_event(), 2..6), at in any::<prop::sample::Index>()) {
        let sealed = chain(&events);
        let promised = head(&sealed);
        let at = at.index(sealed.len() - 1);
        let mut deleted = sealed.clone();
        deleted.remove(at);
        let mut swapped = sealed.clone();
        swapped.swap(at, at + 1);
        let mut doubled = sealed.clone();
        doubled.insert(at, sealed[at].clone());
        let cut = sealed[..=at].to_vec();
        for forged in [deleted, swapped, doubled] {
            let out_of_order = matches!(verify(&forged, promised), Err(ChainFault::OutOfOrder { .. }));
            prop_assert!(out_of_order);
        }
        let found = at as u64 + 1;
        prop_assert_eq!(verify(&cut, promised), Err(ChainFault::Truncated { expected: promised.index.0, found }));
    }
}

#[test]
fn a_verifier_may_start_from_a_trusted_head() {
    let sealed = chain(&golden_events());
    let middle = head(&sealed[..1]);
    let mut verifier = Verifier::after(middle).promising(head(&sealed)).promising(ChainHead::default());
    assert_eq!(verifier.finish(), Err(ChainFault::Truncated { expected: 3, found: 1 }));
    assert!(sealed[1..].iter().all(|event| verifier.push(event).is_ok()));
    assert_eq!(verifier.finish(), Ok(head(&sealed)));
    let forked = Verifier::after(middle).promising(ChainHead { hash: Digest([1; 32]), ..middle });
    assert_eq!(forked.finish(), Err(ChainFault::Forked { index: 1 }));
}
