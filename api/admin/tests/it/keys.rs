//! API keys from making to revoking, and what they open meanwhile.

use only1mcp_proto::admin as pb;
use tonic::Code;

use crate::world::{World, code, key_id};

#[tokio::test]
async fn a_key_works_until_it_is_revoked() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let key = world.make_key("acme", "developer").await;
    let me = world.principals(&key).who_am_i(pb::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (me.tenant.as_str(), me.principal.as_str(), me.via.as_str()),
        ("acme", "developer", "api_key")
    );
    assert_eq!(me.roles, ["developer"]);
    assert!(me.permissions.contains(&"ServerView".to_owned()), "{:?}", me.permissions);
    let revoke = pb::RevokeKeyRequest { key_id: key_id(&key).to_string(), ..Default::default() };
    world.principals(&admin).revoke_key(revoke).await.unwrap();
    let refused = world.principals(&key).who_am_i(pb::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::Unauthenticated, "KEY_REVOKED"));
}

#[tokio::test]
async fn a_rotated_key_works_on_for_the_overlap_alone() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    for (overlap_ms, still) in [(60_000, true), (0, false)] {
        let old = world.make_key("acme", "developer").await;
        let request =
            pb::RotateKeyRequest { key_id: key_id(&old).to_string(), overlap_ms, ..Default::default() };
        let new = world.principals(&admin).rotate_key(request).await.unwrap().into_inner();
        world.principals(&new.key).who_am_i(pb::WhoAmIRequest {}).await.unwrap();
        let answer = world.principals(&old).who_am_i(pb::WhoAmIRequest {}).await;
        assert_eq!(answer.is_ok(), still, "overlap {overlap_ms}");
    }
}

#[tokio::test]
async fn ones_own_key_may_be_rotated_without_further_rights_and_no_other() {
    let world = World::new().await;
    let viewer = world.key("acme/viewer").to_owned();
    let request = |key: &str| pb::RotateKeyRequest { key_id: key_id(key).to_string(), ..Default::default() };
    world.principals(&viewer).rotate_key(request(&viewer)).await.unwrap();
    let viewer = world.make_key("acme", "viewer").await;
    let others = world.key("acme/developer").to_owned();
    let refused = world.principals(&viewer).rotate_key(request(&others)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // A key that exists elsewhere and one that exists nowhere are refused alike.
    let elsewhere =
        world.principals(&viewer).rotate_key(request(world.key("other/admin"))).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn lists_show_keys_without_what_proves_them() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let secret = admin.rsplit_once('_').map(|(_, secret)| secret.to_owned()).unwrap();
    let request = pb::ListKeysRequest::default();
    let answer = world.principals(&admin).list_keys(request).await.unwrap().into_inner();
    assert_eq!(answer.records.len(), 3);
    assert!(answer.records.iter().all(|record| record.status == "active"));
    assert!(!format!("{answer:?}").contains(&secret));
}

#[tokio::test]
async fn a_suspended_tenants_keys_open_nothing() {
    let world = World::new().await;
    let request = pb::SetTenantStatusRequest {
        tenant: "acme".into(),
        status: only1mcp_proto::model::TenantStatus::Suspended.into(),
        ..Default::default()
    };
    world.tenants(&world.root_key).set_tenant_status(request).await.unwrap();
    let admin = world.key("acme/admin").to_owned();
    let refused = world.principals(&admin).who_am_i(pb::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(code(&refused), "TENANT_SUSPENDED");
    let refused =
        world.principals(&admin).list_principals(pb::ListPrincipalsRequest::default()).await.unwrap_err();
    assert_eq!(code(&refused), "TENANT_SUSPENDED");
}
