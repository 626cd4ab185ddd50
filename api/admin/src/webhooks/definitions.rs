//! Webhooks as administrators define them. The signing secret leaves once, when it is made.

use only1mcp_domain::command::{Command, Secret32};
use only1mcp_domain::model::{DutyId, Webhook, WebhookEvent};
use only1mcp_domain::secret;
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::ports::View;
use crate::wire;

/// What is asked for, with a key that counts where a new one is made.
fn asked(call: &Call, webhook: Option<pb::Webhook>, key: Secret32) -> Result<Webhook, AdminError> {
    let asked = webhook.ok_or_else(|| AdminError::invalid("webhook", "is missing"))?;
    let tenant = call.tenant(&asked.tenant)?;
    let event = |number: i32| {
        let event = m::WebhookEvent::try_from(number).ok();
        let event = event.and_then(|event| WebhookEvent::try_from(event).ok());
        event.ok_or_else(|| AdminError::invalid("webhook.events", format!("{number} is no kind of event")))
    };
    let events = match asked.events.as_slice() {
        [] => WebhookEvent::ALL.to_vec(),
        named => named.iter().copied().map(event).collect::<Result<_, _>>()?,
    };
    Ok(Webhook {
        tenant,
        id: wire::id("webhook.id", &asked.id)?,
        url: asked.url,
        key,
        events,
        enabled: !asked.disabled,
        description: asked.description,
        created_at: TimestampMs(0),
        created_by: String::new(),
    })
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutWebhookRequest,
) -> Result<pb::PutWebhookResponse, AdminError> {
    let mut webhook = asked(call, message.webhook.clone(), Secret32(core.random()))?;
    let mut shown = String::new();
    let write = core.write(call, &message, webhook.tenant.clone(), |draft, view: &View| {
        let known = view.state.webhooks.contains_key(&(webhook.tenant.clone(), webhook.id.clone()));
        let keep_key = known && !message.new_secret;
        if !keep_key {
            shown = secret::format_webhook_secret(&webhook.key);
        }
        webhook.created_at = draft.now;
        webhook.created_by = format!("{}/{}", call.identity.tenant, call.identity.principal);
        // Of two who make it at one time, one alone is shown a secret.
        let if_revision = draft.if_revision.or_else(|| (!known).then_some(0));
        Ok(Command::PutWebhook { webhook: Box::new(webhook), keep_key, if_revision })
    });
    let result = write.await?;
    Ok(pb::PutWebhookResponse { result, secret: shown })
}

fn shown(view: &View, record: &Versioned<Webhook>) -> pb::WebhookRecord {
    let webhook = &record.value;
    let duty = DutyId::Webhook { tenant: webhook.tenant.clone(), webhook: webhook.id.clone() };
    let head = view.state.chain.index.0;
    let delivery = view.state.duties.get(&duty).map(|duty| pb::WebhookDelivery {
        node: duty.node.map(|node| node.0),
        assigned_at: duty.assigned_at,
        cursor: duty.cursor.0,
        lag: head.saturating_sub(duty.cursor.0),
        attempts: duty.attempts,
        last_error: duty.last_error.clone(),
        told_at_ms: duty.told_at.0,
    });
    let webhook = pb::Webhook {
        tenant: webhook.tenant.to_string(),
        id: webhook.id.to_string(),
        url: webhook.url.clone(),
        events: webhook.events.iter().map(|event| m::WebhookEvent::from(*event).into()).collect(),
        disabled: !webhook.enabled,
        description: webhook.description.clone(),
        created_at_ms: webhook.created_at.0,
        created_by: webhook.created_by.clone(),
    };
    pb::WebhookRecord { webhook: Some(webhook), revision: record.revision, delivery }
}

pub(super) async fn get(
    core: &Core,
    call: &Call,
    message: pb::GetWebhookRequest,
) -> Result<pb::GetWebhookResponse, AdminError> {
    let key = (call.tenant(&message.tenant)?, wire::id("webhook", &message.webhook)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let record = view.state.webhooks.get(&key).ok_or_else(|| AdminError::not_found("webhook", &key.1))?;
    Ok(pb::GetWebhookResponse { read: core.read_info(&view), record: Some(shown(&view, record)) })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListWebhooksRequest,
) -> Result<pb::ListWebhooksResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let webhooks = &list.view.state.webhooks;
    let (rows, next_page_token) =
        list.take(&core.pins, webhooks, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let records = rows.into_iter().map(|record| shown(&list.view, record)).collect();
    Ok(pb::ListWebhooksResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeleteWebhookRequest,
) -> Result<pb::DeleteWebhookResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let webhook = wire::id("webhook", &message.webhook)?;
    let write =
        core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeleteWebhook { tenant, webhook }));
    Ok(pb::DeleteWebhookResponse { result: write.await? })
}
