//! Lists: pages of one state, tokens that fit one list, reads as new as asked for.

use only1mcp_admin::ports::Consistency;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use tonic::Code;

use crate::world::{World, code, principal_request};

fn request(page_token: &str) -> pb::ListPrincipalsRequest {
    pb::ListPrincipalsRequest { page_size: 3, page_token: page_token.into(), ..Default::default() }
}

fn ids(page: &pb::ListPrincipalsResponse) -> Vec<String> {
    page.records.iter().map(|record| record.principal.as_ref().unwrap().id.clone()).collect()
}

#[tokio::test]
async fn all_pages_come_from_one_state() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    for id in ["a1", "b1", "x1", "y1"] {
        world.principals(&key).create_principal(principal_request(None, id)).await.unwrap();
    }
    let mut client = world.principals(&key);
    let first = client.list_principals(request("")).await.unwrap().into_inner();
    assert_eq!(ids(&first), ["a1", "admin", "b1"]);
    // What happens between pages is in none of them.
    client.create_principal(principal_request(None, "c1")).await.unwrap();
    let delete = pb::DeletePrincipalRequest { principal: "x1".into(), ..Default::default() };
    client.delete_principal(delete).await.unwrap();
    let second = client.list_principals(request(&first.next_page_token)).await.unwrap().into_inner();
    assert_eq!(ids(&second), ["developer", "viewer", "x1"]);
    assert_eq!(second.read.unwrap().log_index, first.read.unwrap().log_index);
    let third = client.list_principals(request(&second.next_page_token)).await.unwrap().into_inner();
    assert_eq!((ids(&third), third.next_page_token.as_str()), (vec!["y1".to_owned()], ""));
}

#[tokio::test]
async fn a_token_fits_its_list_alone() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    let mut client = world.principals(&key);
    let page = client
        .list_principals(pb::ListPrincipalsRequest { page_size: 1, ..Default::default() })
        .await
        .unwrap();
    let token = page.into_inner().next_page_token;
    let flipped = format!("{}{}", if token.starts_with('0') { '1' } else { '0' }, &token[1..]);
    for bad in ["x", "00", &flipped, &token[..token.len() - 1]] {
        let refused = client.list_principals(request(bad)).await.unwrap_err();
        assert_eq!(
            (refused.code(), code(&refused).as_str()),
            (Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            "{bad}"
        );
    }
    let keys = pb::ListKeysRequest { page_token: token.clone(), ..Default::default() };
    assert_eq!(code(&client.list_keys(keys).await.unwrap_err()), "PAGE_TOKEN_INVALID");
    let other = world.key("other/admin").to_owned();
    let refused = world.principals(&other).list_principals(request(&token)).await.unwrap_err();
    assert_eq!(code(&refused), "PAGE_TOKEN_INVALID", "another tenant's token opens nothing");
}

#[tokio::test]
async fn a_token_for_a_state_no_longer_kept_is_stale() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    let mut client = world.principals(&key);
    let small = || pb::ListPrincipalsRequest { page_size: 1, ..Default::default() };
    let token = client.list_principals(small()).await.unwrap().into_inner().next_page_token;
    for number in 0..65 {
        let display_name = format!("Developer {number}");
        let principal = m::Principal {
            tenant: "acme".into(),
            id: "developer".into(),
            kind: m::PrincipalKind::Person.into(),
            display_name,
            ..Default::default()
        };
        let request = pb::UpdatePrincipalRequest { options: None, principal: Some(principal) };
        client.update_principal(request).await.unwrap();
        client.list_principals(small()).await.unwrap();
    }
    let refused = client.list_principals(request(&token)).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::Aborted, "PAGE_TOKEN_STALE"));
}

#[tokio::test]
async fn a_page_has_a_bound() {
    let world = World::new().await;
    let request = pb::ListPrincipalsRequest { page_size: 1_001, ..Default::default() };
    let refused = world.principals(world.key("acme/admin")).list_principals(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn reads_are_as_new_as_asked_for() {
    use pb::consistency::Level;
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    let list = |consistency: Option<pb::Consistency>| {
        let request = pb::ListPrincipalsRequest { consistency, ..Default::default() };
        let mut client = world.principals(&key);
        async move { client.list_principals(request).await }
    };
    let level = |level: Level| pb::Consistency { level: level.into(), ..Default::default() };
    list(None).await.unwrap();
    list(Some(level(Level::Lease))).await.unwrap();
    list(Some(level(Level::Local))).await.unwrap();
    let asked = world.memory.consistencies.lock().unwrap().clone();
    // The bound that a LOCAL read leaves open is the cluster's own, not none.
    let local = Consistency::Local { staleness_ms_max: 2_000, revision_min: 0 };
    assert_eq!(asked[asked.len() - 3..], [Consistency::Linearizable, Consistency::Lease, local]);
    let ahead = pb::Consistency { revision_min: 1_000_000, ..level(Level::Local) };
    assert_eq!(code(&list(Some(ahead)).await.unwrap_err()), "STALE");
    for bad in [
        pb::Consistency { level: 9, ..Default::default() },
        pb::Consistency { revision_min: 1, ..Default::default() },
        pb::Consistency { staleness_ms_max: u64::MAX, ..level(Level::Local) },
    ] {
        assert_eq!(list(Some(bad)).await.unwrap_err().code(), Code::InvalidArgument);
    }
}
