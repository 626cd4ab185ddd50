//! Costs: reports by every dimension add up to the records, exports are whole, corrections read what they give back.

use only1mcp_domain::activity::{AuditReadKind, ItemKind};
use only1mcp_domain::cost::{Cost, CostCharge, CostKind, CostPlace, CostRecord, PricedLine};
use only1mcp_domain::ids::{
    AuditIndex, CallId, NodeId, PriceId, PrincipalId, ProjectId, TenantId, UpstreamId,
};
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::model::Measure;
use only1mcp_domain::money::PicoUsd;
use only1mcp_domain::price::Meter;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use pb::CostDimension as By;
use pb::export_costs_response::Part;
use tonic::{Code, Status};

use crate::memory::NOW_MS;
use crate::world::{World, code};

const DAY_MS: u64 = 86_400_000;
/// Midnight.
const START: u64 = NOW_MS - NOW_MS % DAY_MS - 7 * DAY_MS;

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn charge(limit: &str, measure: Measure, amount: i128) -> CostCharge {
    let account = AccountKey {
        tenant: tenant(),
        limit: limit.parse().unwrap(),
        subject: "".into(),
        start: TimestampMs(START),
    };
    CostCharge { account, measure: Some(measure), amount }
}

/// The record at audit index `index`, so many hours after the start.
fn call(index: u64, hours: u64, principal: &str, tool: &str, pico: i128) -> CostRecord {
    let line = PricedLine {
        meter: Meter::Output,
        units: 10 * index,
        price: Some(PriceId::new("p").unwrap()),
        price_version: 4,
        exchange_version: 0,
        pico_usd: PicoUsd(pico),
    };
    let cost = Cost {
        caller_tenant: TenantId::new(if principal == "guest" { "other" } else { "acme" }).unwrap(),
        principal: PrincipalId::new(principal).unwrap(),
        project: (principal == "ann").then(|| ProjectId::new("apollo").unwrap()),
        cost_center: "4711".into(),
        kind: ItemKind::Tool,
        item: tool.into(),
        upstream: UpstreamId::new(tool.split("__").next().unwrap()).unwrap(),
        provider: "maker".into(),
        model: "big".into(),
        model_answered: String::new(),
        metering: None,
        lines: vec![line],
        discounts: Vec::new(),
        tags: (principal != "bob").then(|| ("team".into(), principal[..1].to_owned())).into_iter().collect(),
        held: PicoUsd(pico * 2),
        at_hold: false,
        month: TimestampMs(START),
    };
    CostRecord {
        tenant: tenant(),
        log_time: TimestampMs(START + hours * 3_600_000),
        audit_index: AuditIndex(index),
        part: 0,
        kind: CostKind::Call,
        node: NodeId(1),
        call: Some(CallId([index as u8; 16])),
        observed_at: TimestampMs(START),
        cost: Some(Box::new(cost)),
        charges: vec![charge("budget/b", Measure::Cost, pico), charge("budget/t", Measure::Tokens, 10)],
        corrects: None,
    }
}

/// Four calls, one of them given back, and what a lost node held.
async fn world() -> World {
    let world = World::new().await;
    let calls = [
        call(1, 1, "ann", "files__read", 700),
        call(2, 2, "bob", "files__read", 200),
        call(3, 30, "ann", "web__get", 50),
        call(4, 31, "guest", "web__get", 9),
    ];
    let back = CostRecord {
        audit_index: AuditIndex(5),
        log_time: TimestampMs(START + 40 * 3_600_000),
        kind: CostKind::Correction,
        call: None,
        cost: None,
        charges: vec![charge("budget/b", Measure::Cost, -700)],
        corrects: Some(CostPlace::of(&calls[0])),
        ..calls[0].clone()
    };
    let lost = CostRecord {
        audit_index: AuditIndex(6),
        log_time: TimestampMs(START + 41 * 3_600_000),
        part: 1,
        kind: CostKind::ForceClosed,
        call: None,
        cost: None,
        charges: vec![charge("budget/b", Measure::Cost, 40), charge("budget/c", Measure::Cost, 60)],
        ..calls[0].clone()
    };
    // The state has not got so far yet.
    let newer = call(1_000_000, 42, "ann", "files__read", 1);
    for record in calls.into_iter().chain([back, lost, newer]) {
        world.memory.put_cost(record);
    }
    world
}

fn week(by: By) -> pb::ReportCostsRequest {
    pb::ReportCostsRequest { from_ms: START, to_ms: NOW_MS, by: by.into(), ..Default::default() }
}

async fn report(world: &World, request: pb::ReportCostsRequest) -> Result<pb::ReportCostsResponse, Status> {
    let key = world.key("acme/developer");
    world.costs(key).report_costs(request).await.map(tonic::Response::into_inner)
}

/// Costs in pico-USD by key.
fn costs(report: &pb::ReportCostsResponse) -> Vec<(&str, i128)> {
    let groups = report.groups.iter();
    groups.map(|group| (group.key.as_str(), PicoUsd::parse(&group.cost).unwrap().0)).collect()
}

#[tokio::test]
async fn every_dimension_adds_up_to_the_same() {
    let world = world().await;
    let first = START.to_string();
    let second = (START + DAY_MS).to_string();
    for (by, expected) in [
        (By::Unspecified, &[("", 319)][..]),
        (By::Principal, &[("bob", 200), ("", 60), ("ann", 50), ("other/guest", 9)]),
        (By::Project, &[("", 269), ("apollo", 50)]),
        (By::Tool, &[("files__read", 200), ("", 60), ("web__get", 59)]),
        (By::Upstream, &[("files", 200), ("", 60), ("web", 59)]),
        (By::Model, &[("maker/big", 259), ("", 60)]),
        (By::Provider, &[("maker", 259), ("", 60)]),
        (By::CostCenter, &[("4711", 259), ("", 60)]),
        (By::Kind, &[("call", 959), ("force_closed", 60), ("correction", -700)]),
        (By::Day, &[(first.as_str(), 900), (second.as_str(), -581)]),
    ] {
        let told = report(&world, week(by)).await.unwrap();
        assert_eq!(costs(&told), expected, "{by:?}");
        let total = told.total.unwrap();
        assert_eq!((total.cost.as_str(), total.records), ("0.000000000319", 6), "{by:?}");
        assert_eq!(total.corrected, "-0.0000000007");
        assert_eq!((total.units[0].meter.as_str(), total.units[0].units), ("output", 100));
    }
}

#[tokio::test]
async fn a_tag_is_a_dimension() {
    let world = world().await;
    let by = |tag: &str| pb::ReportCostsRequest { tag: tag.into(), ..week(By::Tag) };
    assert_eq!(costs(&report(&world, by("team")).await.unwrap()), [("", 260), ("a", 50), ("g", 9)]);
    assert_eq!(costs(&report(&world, by("none")).await.unwrap()), [("", 319)]);
    let types = report(&world, week(By::RequestType)).await.unwrap();
    assert_eq!(costs(&types), [("tool", 259), ("", 60)]);
    for bad in [by(""), by("a b"), pb::ReportCostsRequest { tag: "team".into(), ..week(By::Tool) }] {
        assert!(report(&world, bad).await.unwrap_err().message().starts_with("tag"));
    }
}

#[tokio::test]
async fn whoever_reads_costs_is_told_of_first() {
    let world = world().await;
    report(&world, pb::ReportCostsRequest { tag: "team".into(), ..week(By::Tag) }).await.unwrap();
    let export = pb::ExportCostsRequest { from_ms: 5, to_ms: START, ..Default::default() };
    world.costs(world.key("acme/admin")).export_costs(export.clone()).await.unwrap();
    let reads = std::mem::take(&mut *world.memory.audit_reads.lock().unwrap());
    let told = reads.iter().map(|read| {
        let reader = read.caller.principal.to_string();
        (read.kind, reader, read.tenant.to_string(), read.everyone, read.asked.clone(), read.events)
    });
    let text = str::to_owned;
    let reported = format!("from_ms={START} to_ms={NOW_MS} by=tag tag=team");
    let expected = [
        (AuditReadKind::CostReport, text("developer"), text("acme"), false, reported, 6),
        (
            AuditReadKind::CostExport,
            text("admin"),
            text("acme"),
            false,
            format!("from_ms=5 to_ms={START}"),
            0,
        ),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    // What cannot be recorded is not read.
    world.memory.records_full.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(report(&world, week(By::Tool)).await.unwrap_err().code(), Code::ResourceExhausted);
    let refused = world.costs(world.key("acme/admin")).export_costs(export).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_report_can_be_of_one_limit_and_of_few_groups() {
    let world = world().await;
    let of = |limit: &str| pb::ReportCostsRequest { limit: limit.into(), ..week(By::Tool) };
    let told = report(&world, of("budget/b")).await.unwrap();
    assert_eq!(costs(&told), [("files__read", 200), ("web__get", 59), ("", 40)]);
    assert_eq!(told.total.unwrap().cost, "0.000000000299", "as posted on its account");
    // Tokens are no money.
    assert!(report(&world, of("budget/t")).await.unwrap().groups.is_empty());
    let few = pb::ReportCostsRequest { groups_max: 1, ..week(By::Principal) };
    let told = report(&world, few).await.unwrap();
    assert_eq!(costs(&told), [("bob", 200)]);
    assert_eq!((told.rest_groups, told.rest.unwrap().cost.as_str()), (3, "0.000000000119"));
    assert!(!told.too_many_groups);
    // Ends are exclusive.
    let hours = |from: u64, to: u64| pb::ReportCostsRequest {
        from_ms: START + from * 3_600_000,
        to_ms: START + to * 3_600_000,
        ..week(By::Tool)
    };
    assert_eq!(costs(&report(&world, hours(1, 2)).await.unwrap()), [("files__read", 700)]);
    assert!(report(&world, hours(3, 4)).await.unwrap().groups.is_empty());
    // Another tenant's records are its own.
    let admin = world.key("other/admin");
    let others = world.costs(admin).report_costs(week(By::Tool)).await.unwrap().into_inner();
    assert!(others.groups.is_empty());
}

#[tokio::test]
async fn what_cannot_be_reported_is_refused_by_field() {
    let world = world().await;
    for (field, request) in [
        ("to_ms", pb::ReportCostsRequest { to_ms: START, ..week(By::Tool) }),
        ("by", pb::ReportCostsRequest { by: 77, ..week(By::Tool) }),
        ("zone", pb::ReportCostsRequest { zone: "Europe/Atlantis".into(), ..week(By::Day) }),
        ("groups_max", pb::ReportCostsRequest { groups_max: 1_001, ..week(By::Tool) }),
        ("limit", pb::ReportCostsRequest { limit: "salary/x".into(), ..week(By::Tool) }),
    ] {
        let refused = report(&world, request).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "INVALID"), "{field}");
        assert!(refused.message().starts_with(field), "{field}: {refused}");
    }
    report(&world, pb::ReportCostsRequest { groups_max: 1_000, ..week(By::Tool) }).await.unwrap();
    world.memory.cut_off.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(report(&world, week(By::Tool)).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn an_export_is_whole_and_says_so() {
    let world = world().await;
    let request = pb::ExportCostsRequest { from_ms: START, ..Default::default() };
    let mut parts =
        world.costs(world.key("acme/developer")).export_costs(request).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        all.push(part.part.unwrap());
    }
    let Part::Header(header) = &all[0] else { panic!("no header: {all:?}") };
    assert_eq!((header.tenant.as_str(), header.to_ms, header.provisional), ("acme", u64::MAX, true));
    let Some(Part::Footer(footer)) = all.last() else { panic!("no footer: {all:?}") };
    assert_eq!((footer.records, footer.cost.as_str()), (6, "0.000000000319"));
    let records: Vec<_> = all
        .iter()
        .filter_map(|part| if let Part::Record(record) = part { Some(record) } else { None })
        .collect();
    let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    let id = |hours: u64, rest: &str| format!("{}-{rest}", START + hours * 3_600_000);
    let expected = [id(1, "1"), id(2, "2"), id(30, "3"), id(31, "4"), id(40, "5"), id(41, "6-1")];
    assert_eq!(ids, expected);
    let first = records[0];
    assert_eq!(
        (first.tool.as_str(), first.principal.as_str(), first.project.as_str()),
        ("files__read", "ann", "apollo")
    );
    assert_eq!((first.cost.as_str(), first.held.as_str()), ("0.0000000007", "0.0000000014"));
    assert_eq!((first.token_cost.as_str(), first.compute_cost.as_str()), ("0.0000000007", "0"));
    assert_eq!((first.lines[0].price.as_str(), first.lines[0].price_version), ("p", 4));
    let charges: Vec<_> = first.charges.iter().map(|c| (c.measure.as_str(), c.amount.as_str())).collect();
    assert_eq!(charges, [("cost", "0.0000000007"), ("tokens", "10")]);
    assert_eq!((records[4].corrects.as_str(), records[4].cost.as_str()), (ids[0].as_str(), "-0.0000000007"));
}

#[tokio::test]
async fn a_correction_names_a_record_that_is_there() {
    let world = world().await;
    let admin = world.key("acme/admin").to_owned();
    let record = format!("{}-2", START + 2 * 3_600_000);
    let full = |record: &str| pb::CorrectCostRequest {
        record: record.into(),
        refund: Some(pb::correct_cost_request::Refund::Full(true)),
        reason: "refunded".into(),
        ..Default::default()
    };
    for (wrong, expected) in [
        ("nonsense", "INVALID"),
        ("1-1", "NOT_FOUND"),
        (&format!("{}-5", START + 40 * 3_600_000), "INVALID"),
        (&format!("{record}-1"), "NOT_FOUND"),
    ] {
        let refused = world.costs(&admin).correct_cost(full(wrong)).await.unwrap_err();
        assert_eq!(code(&refused), expected, "{wrong}: {refused}");
    }
    let without = pb::CorrectCostRequest { reason: String::new(), ..full(&record) };
    let refused = world.costs(&admin).correct_cost(without).await.unwrap_err();
    assert!(refused.message().starts_with("reason"), "{refused}");
    let refused = world.costs(world.key("acme/developer")).correct_cost(full(&record)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "who may see costs may not give them back");
    world.costs(&admin).correct_cost(full(&record)).await.unwrap();
    let again = world.costs(&admin).correct_cost(full(&record)).await.unwrap_err();
    assert!(again.message().contains("corrected before"), "{again}");
    // Two records of one event are two records.
    let first = format!("{}-6-1", START + 41 * 3_600_000);
    let beside =
        CostRecord { part: 2, kind: CostKind::ForceClosed, cost: None, ..call(6, 41, "ann", "x__y", 5) };
    world.memory.put_cost(beside);
    let second = format!("{}-6-2", START + 41 * 3_600_000);
    for record in [&first, &second] {
        world.costs(&admin).correct_cost(full(record)).await.unwrap();
        let again = world.costs(&admin).correct_cost(full(record)).await.unwrap_err();
        assert!(again.message().contains("corrected before"), "{record}: {again}");
    }
}
