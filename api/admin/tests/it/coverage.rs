//! Every RPC of the descriptors is called without credentials, with too little authority, and across tenants.

use std::collections::BTreeSet;

use only1mcp_admin::authority;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;

use crate::raw::call;
use crate::samples::sample;
use crate::world::{World, code};

/// What valid credentials alone open: one's own identity and rights, and what holds for every tenant.
const OPEN: [&str; 4] =
    ["Tenants/ListTemplates", "Principals/WhoAmI", "Decisions/Check", "Decisions/Explain"];
/// What a viewer may besides: it has ServerView.
const VIEWER: [&str; 2] = ["Upstreams/GetUpstream", "Upstreams/ListUpstreams"];
/// What a tenant's administrator may that names no tenant: the chain's head and soundness, and the worth of currencies,
/// concern everybody.
const ANY_TENANTS: [&str; 7] = [
    "Audit/VerifyAudit",
    "Audit/GetAuditHead",
    "Audit/GetCheckpoint",
    "Audit/ProveAudit",
    "Audit/GetSigners",
    "Audit/GetRetention",
    "Prices/ListExchangeRates",
];

/// `Service/Method` of every RPC of the administrative package.
fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(only1mcp_proto::DESCRIPTORS).unwrap();
    let files = set.file.iter().filter(|file| file.package() == "only1mcp.admin.v1");
    let services = files.flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            service.method.iter().map(|method| format!("{}/{}", service.name(), method.name()))
        })
        .collect()
}

fn path(method: &str) -> String {
    format!("/only1mcp.admin.v1.{method}")
}

#[test]
fn the_authority_table_has_a_line_for_every_rpc_and_no_other() {
    let described: BTreeSet<String> = methods().into_iter().collect();
    let mut table: BTreeSet<String> = authority::methods().map(|(name, _)| name.to_owned()).collect();
    assert!(table.remove("Reflection/ServerReflectionInfo"));
    assert_eq!(described, table);
    assert_eq!(described.len(), 95);
}

#[tokio::test]
async fn nothing_is_open_without_credentials() {
    let world = World::new().await;
    for key in
        [None, Some("o1_k0000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Some("nonsense")]
    {
        for method in methods() {
            let refused = call(&world, key, &path(&method), sample(&method, "acme")).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{method} with {key:?}: {refused}");
        }
    }
    assert!(world.memory.unauthenticated.load(std::sync::atomic::Ordering::SeqCst) >= 150);
}

#[tokio::test]
async fn a_viewer_reaches_what_is_listed_here_and_nothing_else() {
    let world = World::new().await;
    let put = sample("Upstreams/PutUpstream", "acme");
    call(&world, Some(world.key("acme/admin")), &path("Upstreams/PutUpstream"), put).await.unwrap();
    for method in methods() {
        let answer =
            call(&world, Some(world.key("acme/viewer")), &path(&method), sample(&method, "acme")).await;
        if OPEN.contains(&method.as_str()) || VIEWER.contains(&method.as_str()) {
            assert!(answer.is_ok(), "{method}: {answer:?}");
            continue;
        }
        let refused = answer.expect_err(&method);
        assert_eq!(refused.code(), Code::PermissionDenied, "{method}: {refused}");
        assert!(["NO_PERMISSION", "CROSS_TENANT"].contains(&code(&refused).as_str()), "{method}: {refused}");
        let recorded = world.memory.refusals.lock().unwrap().pop().expect("every refusal is recorded");
        assert_eq!(recorded.method, method);
        assert!(refused.message().contains(&recorded.decision.to_string()), "{method} names its decision");
    }
}

#[tokio::test]
async fn a_tenants_administrator_reaches_nothing_of_another_tenant() {
    let world = World::new().await;
    let put = sample("Upstreams/PutUpstream", "other");
    call(&world, Some(world.key("other/admin")), &path("Upstreams/PutUpstream"), put).await.unwrap();
    let before = world.memory.state();
    for method in methods() {
        let answer =
            call(&world, Some(world.key("acme/admin")), &path(&method), sample(&method, "other")).await;
        if OPEN.contains(&method.as_str()) || ANY_TENANTS.contains(&method.as_str()) {
            assert!(answer.is_ok(), "{method}: {answer:?}");
            continue;
        }
        let refused = answer.expect_err(&method);
        assert_eq!(refused.code(), Code::PermissionDenied, "{method}: {refused}");
    }
    assert_eq!(before, world.memory.state(), "nothing came even as far as the log");
}

#[tokio::test]
async fn the_operator_is_refused_nothing_for_want_of_authority() {
    let world = World::new().await;
    for method in methods() {
        let answer = call(&world, Some(&world.root_key), &path(&method), sample(&method, "acme")).await;
        let status = answer.err().map(|status| status.code());
        assert!(
            !matches!(status, Some(Code::PermissionDenied | Code::Unauthenticated)),
            "{method}: {status:?}"
        );
    }
}

#[tokio::test]
async fn reflection_wants_credentials_and_health_does_not() {
    let world = World::new().await;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let refused = call(&world, None, reflection, Vec::new()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    // An empty question is answered, if only with an error of reflection's own.
    let answer = call(&world, Some(world.key("acme/viewer")), reflection, Vec::new()).await;
    assert_ne!(answer.err().map(|status| status.code()), Some(Code::Unauthenticated));
    // Field 1, a varint: SERVING is 1, NOT_SERVING is 2.
    let health = "/grpc.health.v1.Health/Check";
    assert_eq!(call(&world, None, health, Vec::new()).await.unwrap(), [8, 1]);
    world.memory.cut_off.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(call(&world, None, health, Vec::new()).await.unwrap(), [8, 2]);
}
