//! The trail: queried by filter, verified, exported so that no tenant sees another's.

use only1mcp_domain::activity::{AuditRead, AuditReadKind};
use only1mcp_domain::audit::{SealedEvent, Verifier};
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_proto::admin as pb;
use pb::export_audit_response::Part;
use tonic::Code;

use crate::world::{World, principal_request};

fn filter(tenant: &str) -> pb::AuditFilter {
    pb::AuditFilter { tenant: tenant.into(), ..Default::default() }
}

async fn query(world: &World, key: &str, request: pb::QueryAuditRequest) -> pb::QueryAuditResponse {
    world.audit(key).query_audit(request).await.unwrap().into_inner()
}

fn indexes(answer: &pb::QueryAuditResponse) -> Vec<u64> {
    answer.records.iter().map(|record| record.sealed.as_ref().unwrap().index).collect()
}

#[tokio::test]
async fn a_tenant_sees_its_own_events_newest_first() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    world.principals(&admin).create_principal(principal_request(None, "ann")).await.unwrap();
    let all = query(&world, &admin, pb::QueryAuditRequest::default()).await;
    assert!(all.records.iter().all(|record| record.event.as_ref().unwrap().tenant == "acme"));
    let newest = all.records[0].event.as_ref().unwrap();
    assert_eq!(newest.actor.as_ref().unwrap().id, "admin");
    let found = indexes(&all);
    assert!(found.windows(2).all(|pair| pair[0] > pair[1]), "{found:?}");
    let by_admin = pb::AuditFilter { principal: "admin".into(), ..filter("") };
    let request = pb::QueryAuditRequest { filter: Some(by_admin), ..Default::default() };
    assert_eq!(query(&world, &admin, request).await.records.len(), 1);
}

#[tokio::test]
async fn pages_hold_every_event_once_in_both_directions() {
    let world = World::new().await;
    let root = world.root_key.clone();
    let total = world.memory.state().chain.index.0;
    for oldest_first in [false, true] {
        let mut seen = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::QueryAuditRequest {
                filter: Some(filter("*")),
                oldest_first,
                page_size: 4,
                page_token,
                ..Default::default()
            };
            let page = query(&world, &root, request).await;
            seen.extend(indexes(&page));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if !oldest_first {
            seen.reverse();
        }
        assert_eq!(seen, (1..=total).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn everyones_trail_is_for_operators() {
    let world = World::new().await;
    let request = pb::QueryAuditRequest { filter: Some(filter("*")), ..Default::default() };
    let refused = world.audit(world.key("acme/admin")).query_audit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let unknown = pb::AuditFilter { kind: "NoSuchKind".into(), ..filter("") };
    let request = pb::QueryAuditRequest { filter: Some(unknown), ..Default::default() };
    let refused = world.audit(world.key("acme/admin")).query_audit(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("AccessDenied"), "the kinds there are: {}", refused.message());
}

#[tokio::test]
async fn verification_names_the_event_that_was_edited() {
    let world = World::new().await;
    let root = world.root_key.clone();
    let sound =
        world.audit(&root).verify_audit(pb::VerifyAuditRequest::default()).await.unwrap().into_inner();
    let head = world.memory.state().chain;
    assert!(sound.valid, "{}", sound.fault);
    assert_eq!((sound.events, sound.hash.as_ref()), (head.index.0, head.hash.0.as_slice()));
    let part = pb::VerifyAuditRequest { from_index: 4, to_index: 6 };
    let part = world.audit(&root).verify_audit(part).await.unwrap().into_inner();
    assert_eq!((part.valid, part.events, part.from_index, part.to_index), (true, 3, 4, 6));
    world.memory.tamper(4);
    let found =
        world.audit(&root).verify_audit(pb::VerifyAuditRequest::default()).await.unwrap().into_inner();
    assert_eq!((found.valid, found.fault_index, found.events), (false, 5, 4));
    assert!(found.fault.contains("edited"), "{}", found.fault);
}

#[tokio::test]
async fn an_export_verifies_without_showing_another_tenants_events() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let request = pb::ExportAuditRequest::default();
    let mut parts = world.audit(&admin).export_audit(request).await.unwrap().into_inner();
    let Some(Part::Header(header)) = parts.message().await.unwrap().unwrap().part else {
        panic!("no header")
    };
    assert_eq!((header.start_index, header.tenant.as_str()), (0, "acme"));
    let mut verifier = Verifier::default();
    let (mut whole, mut places, mut signature) = (0, 0, None);
    while let Some(part) = parts.message().await.unwrap() {
        assert!(signature.is_none(), "the signature comes last");
        let record = match part.part.unwrap() {
            Part::Record(record) => record,
            Part::Signature(signed) => {
                signature = Some(signed);
                continue;
            }
            Part::Header(_) => panic!("a second header"),
        };
        let sealed = record.sealed.unwrap();
        let digest = Digest(sealed.digest.as_ref().try_into().unwrap());
        let hash = Digest(sealed.hash.as_ref().try_into().unwrap());
        let index = AuditIndex(sealed.index);
        match record.event {
            Some(event) => {
                assert_eq!(event.tenant, "acme");
                let bytes = sealed.canonical.to_vec();
                verifier.push(&SealedEvent { index, bytes, digest, hash }).unwrap();
                whole += 1;
            }
            None => {
                assert!(sealed.canonical.is_empty());
                verifier.push_place(index, digest, hash).unwrap();
                places += 1;
            }
        }
    }
    assert_eq!(verifier.head(), world.memory.state().chain);
    assert!(whole > 0 && places > 0, "{whole} whole, {places} places");
    assert_eq!(signature.unwrap().node, 1);
}

#[tokio::test]
async fn every_reading_is_recorded_before_anything_leaves() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let root = world.root_key.clone();
    let by_kind =
        pb::AuditFilter { kind: "RoleAssigned".into(), item: "g*".into(), from_index: 2, ..filter("") };
    let request = pb::QueryAuditRequest { filter: Some(by_kind), ..Default::default() };
    let found = query(&world, &admin, request).await.records.len() as u64;
    assert!(found > 0);
    let part = pb::VerifyAuditRequest { from_index: 4, to_index: 6 };
    world.audit(&admin).verify_audit(part).await.unwrap();
    let part = pb::ExportAuditRequest { tenant: "*".into(), from_index: 3, to_index: 7 };
    world.audit(&root).export_audit(part).await.unwrap();
    let from = pb::WatchAuditRequest { tenant: "acme".into(), from_index: 5 };
    world.audit(&root).watch_audit(from).await.unwrap();
    let told = |read: &AuditRead| {
        let reader = read.caller.principal.to_string();
        (read.kind, reader, read.tenant.to_string(), read.everyone, read.asked.clone(), read.events)
    };
    let text = str::to_owned;
    let expected = [
        (
            AuditReadKind::Query,
            text("admin"),
            text("acme"),
            false,
            text("kind=RoleAssigned item=g* from_index=2"),
            found,
        ),
        (AuditReadKind::Verify, text("admin"), text("acme"), false, text("index 4 to 6"), 3),
        (AuditReadKind::Export, text("root"), text("system"), true, text("index 3 to 7"), 5),
        (AuditReadKind::Watch, text("root"), text("acme"), false, text("from index 5 on"), 0),
    ];
    let reads = std::mem::take(&mut *world.memory.audit_reads.lock().unwrap());
    assert_eq!(reads.iter().map(told).collect::<Vec<_>>(), expected);

    // What cannot be recorded is not read.
    world.memory.records_full.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut api = world.audit(&root);
    let refused = [
        api.query_audit(pb::QueryAuditRequest::default()).await.map(drop),
        api.verify_audit(pb::VerifyAuditRequest::default()).await.map(drop),
        api.export_audit(pb::ExportAuditRequest::default()).await.map(drop),
        api.watch_audit(pb::WatchAuditRequest::default()).await.map(drop),
    ];
    assert_eq!(refused.map(|answer| answer.unwrap_err().code()), [Code::ResourceExhausted; 4]);
    // And a refused reading is a refusal, no reading.
    world.memory.records_full.store(false, std::sync::atomic::Ordering::SeqCst);
    let foreign = pb::ExportAuditRequest { tenant: "other".into(), ..Default::default() };
    assert!(world.audit(&admin).export_audit(foreign).await.is_err());
    assert!(world.memory.audit_reads.lock().unwrap().is_empty());
}
