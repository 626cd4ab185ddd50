//! What a caller is told when something does not fit, and what listings admit is not enforced yet.

use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::{World, code};

#[tokio::test]
async fn a_wrong_field_is_named() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let request = pb::CreateKeyRequest { principal: "no spaces please".into(), ..Default::default() };
    let refused = world.principals(&admin).create_key(request).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "INVALID"));
    let details = refused.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "principal");
}

#[tokio::test]
async fn a_time_zone_nobody_knows_is_refused_before_it_is_stored() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let put = |zone: &str| {
        let window = m::TimeWindow { zone: zone.into(), days: 31, start_minute: 540, end_minute: 1_020 };
        let constraints = m::Constraints { time_window: Some(window), ..Default::default() };
        let role = m::Role {
            tenant: "acme".into(),
            id: "by-day".into(),
            name: "By day".into(),
            permissions: vec!["ServerView".into()],
            constraints: Some(constraints),
            ..Default::default()
        };
        pb::PutRoleRequest { options: None, role: Some(role) }
    };
    let refused = world.roles(&admin).put_role(put("Europe/Atlantis")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    world.roles(&admin).put_role(put("Europe/Berlin")).await.unwrap();
}

#[tokio::test]
async fn listings_say_what_is_not_enforced_yet() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let request = pb::GetTenantRequest::default();
    let tenant = world.tenants(&admin).get_tenant(request).await.unwrap().into_inner().record.unwrap();
    assert!(tenant.not_enforced.is_empty(), "every quota is: {:?}", tenant.not_enforced);
    assert!(tenant.storage_bytes > 0);
    let mut kept_apart = tenant.tenant.unwrap();
    kept_apart.data_region = "eu".into();
    let root = world.root_key.clone();
    let update = pb::UpdateTenantRequest { options: None, tenant: Some(kept_apart) };
    world.tenants(&root).update_tenant(update).await.unwrap();
    let request = pb::GetTenantRequest::default();
    let tenant = world.tenants(&admin).get_tenant(request).await.unwrap().into_inner().record.unwrap();
    assert_eq!(tenant.not_enforced, ["data_region=eu (not enforced yet)"]);
}

#[tokio::test]
async fn others_rights_are_not_everybodys_business() {
    let world = World::new().await;
    let ask = |principal: &str| {
        let action = Some(pb::question::Action::Execute("files__read".into()));
        let question = pb::Question { principal: principal.into(), action, ..Default::default() };
        pb::ExplainRequest { consistency: None, question: Some(question) }
    };
    let viewer = world.key("acme/viewer").to_owned();
    let own = world.decisions(&viewer).explain(ask("")).await.unwrap().into_inner();
    assert!(!own.verdict.unwrap().allowed);
    assert!(!own.summary.is_empty());
    let refused = world.decisions(&viewer).explain(ask("developer")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let admin = world.key("acme/admin").to_owned();
    world.decisions(&admin).explain(ask("developer")).await.unwrap();
}
