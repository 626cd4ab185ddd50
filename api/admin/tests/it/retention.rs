//! Retention over the interface: days within bounds, who may run it, and events whose payload went.

use only1mcp_domain::audit::{DropRule, RetentionClass, stays};
use only1mcp_domain::command::{Actor, Command, Entry, Via};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, PrincipalId};
use only1mcp_domain::limits::{FEATURE_LEVEL_RETENTION, RETENTION_DAYS_MIN};
use only1mcp_domain::model::{ClusterSettings, DutyId, PayloadDrop};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::backups_client::BackupsClient;
use pb::export_audit_response::Part;
use tonic::Code;

use crate::budgets::by_node;
use crate::world::{World, code};

fn apply(world: &World, command: Command) {
    world.memory.apply(&by_node(command)).outcome.unwrap();
}

/// At the feature level of retention, as its operator has set it.
async fn world() -> World {
    let world = World::new().await;
    let settings = world.memory.state().cluster.as_ref().unwrap().settings.value.clone();
    let settings = ClusterSettings { feature_level: FEATURE_LEVEL_RETENTION, ..settings };
    let entry = by_node(Command::SetSettings { settings, if_revision: None });
    let principal = PrincipalId::new("root").unwrap();
    let actor = Actor { principal, via: Via::ClientCertificate, ..entry.actor };
    world.memory.apply(&Entry { actor, ..entry }).outcome.unwrap();
    world
}

fn days(name: &str, days: u32) -> pb::SetRetentionRequest {
    pb::SetRetentionRequest { options: None, days: [(name.to_owned(), days)].into() }
}

#[tokio::test]
async fn days_are_set_by_name_and_shown() {
    let world = world().await;
    let (root, admin) = (world.root_key.clone(), world.key("acme/admin").to_owned());
    let show = pb::GetRetentionRequest::default();
    let shown = world.audit(&admin).get_retention(show).await.unwrap().into_inner();
    let told: Vec<(&str, u32)> = shown.classes.iter().map(|c| (c.name.as_str(), c.days)).collect();
    let listed = [
        ("default", 2_555),
        ("authentication", 365),
        ("data_access", 2_555),
        ("configuration", 1_095),
        ("security", 2_555),
        ("compliance", 3_650),
    ];
    assert_eq!((told, shown.revision), (listed.to_vec(), 0));
    world.audit(&root).set_retention(days("security", RETENTION_DAYS_MIN)).await.unwrap();
    let shown = world.audit(&root).get_retention(show).await.unwrap().into_inner();
    assert_eq!((shown.classes[4].days, shown.classes[3].days), (RETENTION_DAYS_MIN, 1_095));
    assert!(shown.revision > 0 && !shown.wanted);
    for bad in [days("security", RETENTION_DAYS_MIN - 1), days("nothing", 400)] {
        let refused = world.audit(&root).set_retention(bad).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "INVALID"));
    }
    let mut stale = days("security", 400);
    stale.options = Some(pb::WriteOptions { if_revision: Some(1), ..Default::default() });
    assert_eq!(code(&world.audit(&root).set_retention(stale).await.unwrap_err()), "REVISION_MISMATCH");
    let refused = world.audit(&admin).set_retention(days("security", 400)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = world.audit(&admin).run_retention(pb::RunRetentionRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.audit(&root).run_retention(pb::RunRetentionRequest::default()).await.unwrap();
    assert!(world.audit(&root).get_retention(show).await.unwrap().into_inner().wanted);
    let plan = pb::PlanRetentionRequest::default();
    let plan = world.audit(&root).plan_retention(plan).await.unwrap().into_inner();
    assert_eq!((plan.segments.len(), plan.next_index), (0, 0), "nothing is sealed here");
}

/// The records of an export.
async fn exported(world: &World, key: &str, tenant: &str) -> Vec<pb::AuditRecord> {
    exported_range(world, key, tenant, (0, 0)).await.unwrap()
}

async fn exported_range(
    world: &World,
    key: &str,
    tenant: &str,
    (from_index, to_index): (u64, u64),
) -> Result<Vec<pb::AuditRecord>, tonic::Status> {
    let request = pb::ExportAuditRequest { tenant: tenant.into(), from_index, to_index };
    let mut parts = world.audit(key).export_audit(request).await?.into_inner();
    let mut records = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        records.extend(match part.part.unwrap() {
            Part::Record(record) => Some(record),
            Part::Header(_) | Part::Signature(_) => None,
        });
    }
    Ok(records)
}

async fn first_exported(world: &World, key: &str, tenant: &str, from_index: u64) -> u64 {
    let records = exported_range(world, key, tenant, (from_index, 0)).await.unwrap();
    records[0].sealed.as_ref().unwrap().index
}

#[tokio::test]
async fn what_is_to_be_gone_is_shown_no_more_and_the_chain_is_valid() {
    let world = world().await;
    let (root, admin) = (world.root_key.clone(), world.key("acme/admin").to_owned());
    apply(&world, Command::AssignDuty { duty: DutyId::Retention, node: NodeId(1), after: 0 });
    let before = world.memory.events();
    let last = world.memory.state().chain.index;
    let fence = world.memory.state().duties[&DutyId::Retention].assigned_at;
    let drop = PayloadDrop {
        first: AuditIndex(1),
        last,
        number: 1,
        from: Digest([1; 32]),
        address: Digest([2; 32]),
        bytes: 1,
        rule: DropRule { classes: vec![RetentionClass::Default], held: Vec::new() },
        // Told by the proposer: what it is worth the nodes find out, each from its events.
        newest: TimestampMs(0),
        dropped: 1,
        digest: Digest([3; 32]),
    };
    apply(&world, Command::DropPayloads { fence, drop: Box::new(drop) });
    let record = world.memory.state().chain.index.0;
    let read =
        |event: &only1mcp_domain::audit::SealedEvent| only1mcp_domain::audit::decode(&event.bytes).unwrap();
    let gone: Vec<u64> = before
        .iter()
        .filter(|event| {
            RetentionClass::of(read(event).kind) == RetentionClass::Default && !stays(&read(event))
        })
        .map(|event| event.index.0)
        .collect();
    assert!(gone.len() > 2);
    let all = exported(&world, &root, "*").await;
    for event in &all {
        let sealed = event.sealed.as_ref().unwrap();
        let is_gone = gone.contains(&sealed.index);
        assert_eq!(sealed.canonical.is_empty(), is_gone, "{}", sealed.index);
        let told = event.expired.as_ref().map(|told| (told.record, told.class.as_str()));
        assert_eq!(told, is_gone.then_some((record, "default")));
    }
    // A tenant is told nothing of it but places, as of others' events.
    let own = exported(&world, &admin, "acme").await;
    assert!(own.iter().all(|event| event.expired.is_none()));
    // Part of a segment, or one without the record, could not be verified.
    assert_eq!(first_exported(&world, &root, "*", 3).await, 1);
    assert_eq!(first_exported(&world, &root, "*", last.0 + 1).await, last.0 + 1);
    assert_eq!(first_exported(&world, &admin, "acme", 3).await, 3);
    for (from, to) in [(1, last.0), (3, 3), (last.0, record - 1)] {
        let refused = exported_range(&world, &root, "*", (from, to)).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::FailedPrecondition, "RECORD_OUTSIDE"));
        assert!(refused.message().contains(&format!("up to {record} ")), "{}", refused.message());
        assert!(exported_range(&world, &admin, "acme", (from, to)).await.is_ok());
    }
    assert!(exported_range(&world, &root, "*", (last.0, record)).await.is_ok());
    // A backup whose image names the segment as it was.
    let before = pb::ReadSegmentRequest { first: 1, address: vec![9; 32].into(), offset: 0 };
    let mut backups = BackupsClient::new(world.api(Some(&root)));
    let mut parts = backups.read_segment(before).await.unwrap().into_inner();
    let replaced = parts.message().await.unwrap_err();
    assert_eq!((replaced.code(), code(&replaced).as_str()), (Code::Aborted, "SEGMENT_REPLACED"));
    let filter = pb::AuditFilter { tenant: "*".into(), ..Default::default() };
    let query = pb::QueryAuditRequest { filter: Some(filter), page_size: 1_000, ..Default::default() };
    let found = world.audit(&root).query_audit(query).await.unwrap().into_inner().records;
    assert!(found.iter().all(|event| !gone.contains(&event.sealed.as_ref().unwrap().index)));
    let verify = pb::VerifyAuditRequest::default();
    let valid = world.audit(&root).verify_audit(verify).await.unwrap().into_inner();
    assert!(valid.valid, "{}", valid.fault);
    let show = pb::GetRetentionRequest::default();
    let shown = world.audit(&root).get_retention(show).await.unwrap().into_inner();
    assert_eq!((shown.dropped, shown.records, shown.node), (1, 1, 1));
}
