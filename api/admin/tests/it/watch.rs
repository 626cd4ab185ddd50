//! Streams: what changes is told as it is applied, and no longer than the right to see it lasts.

use std::time::Duration;

use only1mcp_proto::admin as pb;
use pb::watch_configuration_response::Kind;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::world::{World, key_id, principal_request};

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let told = timeout(Duration::from_secs(5), stream.message()).await.expect("something is told in time");
    told.map(|message| message.expect("the stream goes on"))
}

#[tokio::test]
async fn configuration_is_told_in_full_then_change_by_change() {
    let world = World::new().await;
    let admin = world.key("acme/admin").to_owned();
    let request = pb::WatchConfigurationRequest { from_revision: 0, tenant: "acme".into() };
    let mut changes = world.cluster(&admin).watch_configuration(request).await.unwrap().into_inner();
    let mut told = Vec::new();
    loop {
        let change = next(&mut changes).await.unwrap();
        if change.kind() == Kind::Synced {
            break;
        }
        told.push(change);
    }
    assert_eq!(told[0].kind(), Kind::Reset);
    assert!(told[1..].iter().all(|change| change.tenant == "acme" && !change.deleted));
    let keys = told.iter().filter(|change| change.kind() == Kind::ApiKey).count();
    assert_eq!(keys, 3);
    world.principals(&admin).create_principal(principal_request(None, "ann")).await.unwrap();
    let change = next(&mut changes).await.unwrap();
    assert_eq!((change.kind(), change.id.as_str(), change.deleted), (Kind::Principal, "ann", false));
    let synced = next(&mut changes).await.unwrap();
    // From where it stopped, a new watch tells the difference alone.
    let delete = pb::DeletePrincipalRequest { principal: "ann".into(), ..Default::default() };
    world.principals(&admin).delete_principal(delete).await.unwrap();
    let request = pb::WatchConfigurationRequest { from_revision: synced.log_index, tenant: "acme".into() };
    let mut resumed = world.cluster(&admin).watch_configuration(request).await.unwrap().into_inner();
    let change = next(&mut resumed).await.unwrap();
    assert_eq!((change.kind(), change.id.as_str(), change.deleted), (Kind::Principal, "ann", true));
}

#[tokio::test]
async fn a_watched_trail_ends_with_the_right_to_see_it() {
    let world = World::new().await;
    let watcher = world.make_key("acme", "admin").await;
    let request = pb::WatchAuditRequest::default();
    let mut records = world.audit(&watcher).watch_audit(request).await.unwrap().into_inner();
    let admin = world.key("acme/admin").to_owned();
    world.principals(&admin).create_principal(principal_request(None, "ann")).await.unwrap();
    let told = next(&mut records).await.unwrap().record.unwrap().event.unwrap();
    assert_eq!((told.tenant.as_str(), told.actor.unwrap().id.as_str()), ("acme", "admin"));
    let revoke = pb::RevokeKeyRequest { key_id: key_id(&watcher).to_string(), ..Default::default() };
    world.principals(&admin).revoke_key(revoke).await.unwrap();
    let mut ended = next(&mut records).await;
    while ended.is_ok() {
        ended = next(&mut records).await;
    }
    assert_eq!(ended.unwrap_err().code(), Code::PermissionDenied);
}
