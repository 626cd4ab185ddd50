//! P8: a write is made once, whatever becomes of its answer.

use std::sync::atomic::Ordering;

use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::{World, code, named, principal_request};

#[tokio::test]
async fn an_unknown_outcome_is_told_as_such_and_the_retry_finds_it() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    world.memory.lose_answer.store(true, Ordering::SeqCst);
    let lost = world.principals(&key).create_principal(principal_request(named(1), "ann")).await.unwrap_err();
    assert_eq!((lost.code(), code(&lost).as_str()), (Code::DeadlineExceeded, "OUTCOME_UNKNOWN"));
    let details = lost.get_error_details();
    assert!(details.retry_info().is_some());
    assert_eq!(details.error_info().unwrap().metadata["command_id"], "01".repeat(16));
    let before = world.memory.state().last_applied;
    let again = world.principals(&key).create_principal(principal_request(named(1), "ann")).await.unwrap();
    let result = again.into_inner().result.unwrap();
    assert_eq!(result.log_index, before, "the retry tells of the first attempt");
    assert_eq!(result.command_id, vec![1; 16]);
}

#[tokio::test]
async fn a_command_id_means_one_request_of_one_caller() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    world.principals(&key).create_principal(principal_request(named(2), "ann")).await.unwrap();
    let other =
        world.principals(&key).create_principal(principal_request(named(2), "bob")).await.unwrap_err();
    assert_eq!((other.code(), code(&other).as_str()), (Code::FailedPrecondition, "COMMAND_ID_CONFLICT"));
    let root = world.root_key.clone();
    let stranger =
        world.principals(&root).create_principal(principal_request(named(2), "ann")).await.unwrap_err();
    assert_eq!(
        code(&stranger),
        "COMMAND_ID_CONFLICT",
        "another caller learns nothing of the first one's outcome"
    );
    // How long to wait is no part of the request.
    let mut waiting = principal_request(named(2), "ann");
    waiting.options.as_mut().unwrap().wait = true;
    let result = world.principals(&key).create_principal(waiting).await.unwrap().into_inner().result.unwrap();
    assert_eq!(result.wait(), pb::write_result::Wait::Everywhere);
}

#[tokio::test]
async fn a_retried_deletion_is_done_not_missing() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    world.principals(&key).create_principal(principal_request(None, "ann")).await.unwrap();
    let delete =
        pb::DeletePrincipalRequest { options: named(3), tenant: "acme".into(), principal: "ann".into() };
    let first = world.principals(&key).delete_principal(delete.clone()).await.unwrap().into_inner();
    let second = world.principals(&key).delete_principal(delete.clone()).await.unwrap().into_inner();
    assert_eq!(first.result, second.result);
    let anew = pb::DeletePrincipalRequest { options: None, ..delete };
    assert_eq!(world.principals(&key).delete_principal(anew).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    let request = pb::CreateKeyRequest {
        options: named(4),
        tenant: "acme".into(),
        principal: "developer".into(),
        ..Default::default()
    };
    let made = world.principals(&key).create_key(request.clone()).await.unwrap().into_inner();
    let again = world.principals(&key).create_key(request).await.unwrap_err();
    assert_eq!(code(&again), "SECRET_NOT_RECOVERABLE");
    assert_eq!(again.get_error_details().error_info().unwrap().metadata["id"], made.key_id);
}

#[tokio::test]
async fn a_write_on_an_older_revision_is_refused() {
    let world = World::new().await;
    let key = world.key("acme/admin").to_owned();
    let role = |permission: &str| {
        Some(m::Role {
            id: "looker".into(),
            tenant: "acme".into(),
            name: "Looker".into(),
            permissions: vec![permission.into()],
            ..Default::default()
        })
    };
    let put = |if_revision, permission| pb::PutRoleRequest {
        options: Some(pb::WriteOptions { if_revision, ..Default::default() }),
        role: role(permission),
    };
    let first = world.roles(&key).put_role(put(Some(0), "ServerView")).await.unwrap().into_inner();
    let revision = first.result.unwrap().log_index;
    let late = world.roles(&key).put_role(put(Some(0), "CostView")).await.unwrap_err();
    assert_eq!((late.code(), code(&late).as_str()), (Code::Aborted, "REVISION_MISMATCH"));
    let info = late.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!(info["found_revision"], revision.to_string());
    world.roles(&key).put_role(put(Some(revision), "CostView")).await.unwrap();
    // Where a condition means nothing it is refused, not ignored.
    let mut request = principal_request(None, "ann");
    request.options = Some(pb::WriteOptions { if_revision: Some(1), ..Default::default() });
    let refused = world.principals(&key).create_principal(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn an_incomplete_wait_leaves_the_write_standing() {
    let world = World::new().await;
    world.memory.never_everywhere.store(true, Ordering::SeqCst);
    let mut request = principal_request(None, "ann");
    request.options = Some(pb::WriteOptions { wait: true, ..Default::default() });
    let answer = world.principals(world.key("acme/admin")).create_principal(request).await.unwrap();
    let result = answer.into_inner().result.unwrap();
    assert_eq!(result.wait(), pb::write_result::Wait::Incomplete);
    assert_eq!(result.command_id.len(), 16, "the server made one");
}

#[tokio::test]
async fn without_a_quorum_nothing_is_changed_and_that_is_said() {
    let world = World::new().await;
    world.memory.cut_off.store(true, Ordering::SeqCst);
    let key = world.key("acme/admin").to_owned();
    let refused = world.principals(&key).create_principal(principal_request(None, "ann")).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::Unavailable, "UNAVAILABLE"));
    assert!(refused.get_error_details().retry_info().is_some());
    // What an operator needs to find out why still answers.
    let status = world.cluster(&world.root_key).status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader, status.term, status.members.len()), (Some(1), 3, 1));
}
