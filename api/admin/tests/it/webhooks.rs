//! Webhooks over the interface: their secret is shown once, and their delivery to whoever asks.

use only1mcp_domain::command::{Command, DutyProgress};
use only1mcp_domain::ids::{AuditIndex, NodeId, TenantId, WebhookId};
use only1mcp_domain::model::DutyId;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;
use tonic::Code;

use crate::budgets::by_node;
use crate::samples::webhook;
use crate::world::{World, code};

fn put(id: &str, new_secret: bool, command: u8) -> pb::PutWebhookRequest {
    let options = pb::WriteOptions { command_id: vec![command; 16].into(), ..Default::default() };
    pb::PutWebhookRequest { options: Some(options), webhook: Some(webhook("acme", id)), new_secret }
}

fn key_of(world: &World, id: &str) -> [u8; 32] {
    let key = (TenantId::new("acme").unwrap(), WebhookId::new(id).unwrap());
    world.memory.state().webhooks.get(&key).unwrap().value.key.0
}

#[tokio::test]
async fn the_secret_is_shown_when_it_is_made_and_never_again() {
    let world = World::new().await;
    let mut client = world.webhooks(world.key("acme/admin"));
    let first = client.put_webhook(put("ops", false, 1)).await.unwrap().into_inner().secret;
    assert!(first.starts_with("whsec_") && first.len() == 50, "{first}");
    let key = key_of(&world, "ops");
    // The same write again takes effect once, and has nothing to show.
    assert_eq!(client.put_webhook(put("ops", false, 1)).await.unwrap().into_inner().secret, "");
    // A change keeps the secret, and does not show it.
    let mut changed = put("ops", false, 2);
    changed.webhook.as_mut().unwrap().events = vec![m::WebhookEvent::Overrun.into()];
    assert_eq!(client.put_webhook(changed).await.unwrap().into_inner().secret, "");
    assert_eq!(key_of(&world, "ops"), key);
    let new = client.put_webhook(put("ops", true, 3)).await.unwrap().into_inner().secret;
    assert!(new.starts_with("whsec_") && new != first);
    assert_ne!(key_of(&world, "ops"), key);
    let get = pb::GetWebhookRequest { webhook: "ops".into(), ..Default::default() };
    let record = client.get_webhook(get).await.unwrap().into_inner().record.unwrap();
    assert!(!format!("{record:?}").contains("whsec_"));
    assert_eq!(
        record.webhook.unwrap().events,
        [m::WebhookEvent::BudgetLevel, m::WebhookEvent::Overrun].map(i32::from)
    );
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_refused_with_its_field() {
    let world = World::new().await;
    let mut client = world.webhooks(world.key("acme/admin"));
    for url in ["http://example.com/hook", "ftp://127.0.0.1", "", "https://user:pass@example.com"] {
        let mut request = put("ops", false, 1);
        request.webhook.as_mut().unwrap().url = url.into();
        request.options = None;
        let refused = client.put_webhook(request).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "INVALID"), "{url}");
    }
    let mut request = put("ops", false, 1);
    request.webhook.as_mut().unwrap().events = vec![9];
    assert_eq!(client.put_webhook(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn delivery_is_told_as_the_log_has_it() {
    let world = World::new().await;
    let mut client = world.webhooks(world.key("acme/admin"));
    for id in ["a", "ops"] {
        client.put_webhook(put(id, false, id.len() as u8)).await.unwrap();
    }
    let (tenant, webhook) = (TenantId::new("acme").unwrap(), WebhookId::new("ops").unwrap());
    let duty = DutyId::Webhook { tenant, webhook };
    let after = world.memory.state().duties.get(&duty).unwrap().assigned_at;
    let assign = Command::AssignDuty { duty: duty.clone(), node: NodeId(1), after };
    world.memory.apply(&by_node(assign)).outcome.unwrap();
    let held = world.memory.state().duties.get(&duty).cloned().unwrap();
    let progress = DutyProgress {
        duty,
        fence: held.assigned_at,
        cursor: AuditIndex(held.cursor.0 + 1),
        attempts: 3,
        last_error: "answered HTTP 500".into(),
    };
    world.memory.apply(&by_node(Command::AdvanceDuty(progress))).outcome.unwrap();
    let list = client.list_webhooks(pb::ListWebhooksRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.records.len(), 2);
    assert_eq!(list.records[0].delivery.as_ref().unwrap().node, None, "nobody leads in this world");
    let told = list.records[1].delivery.clone().unwrap();
    assert_eq!((told.node, told.assigned_at, told.attempts), (Some(1), held.assigned_at, 3));
    assert_eq!((told.cursor, told.last_error.as_str()), (held.cursor.0 + 1, "answered HTTP 500"));
    assert_eq!(told.lag, world.memory.state().chain.index.0 - told.cursor);
    client
        .delete_webhook(pb::DeleteWebhookRequest { webhook: "ops".into(), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(world.memory.state().duties.len(), 1);
    let get = pb::GetWebhookRequest { webhook: "ops".into(), ..Default::default() };
    assert_eq!(client.get_webhook(get).await.unwrap_err().code(), Code::NotFound);
}
