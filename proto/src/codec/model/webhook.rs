//! Webhooks, with their keys: for the log and the rows alone.

use only1mcp_domain::command::Secret32;
use only1mcp_domain::model::{Webhook, WebhookEvent};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::form::write_secret;
use crate::codec::parts::{Text as _, enumeration, fixed, text, wire_enum};
use crate::{log, model};

wire_enum!(WebhookEvent, model::WebhookEvent, "WebhookEvent", [BudgetLevel, Overrun]);

impl From<&Webhook> for log::StoredWebhook {
    fn from(webhook: &Webhook) -> Self {
        Self {
            tenant: webhook.tenant.written(),
            id: webhook.id.written(),
            url: webhook.url.clone(),
            key: write_secret(&webhook.key),
            events: webhook.events.iter().map(|event| model::WebhookEvent::from(*event).into()).collect(),
            enabled: webhook.enabled,
            description: webhook.description.clone(),
            created_at_ms: webhook.created_at.0,
            created_by: webhook.created_by.clone(),
        }
    }
}

impl TryFrom<log::StoredWebhook> for Webhook {
    type Error = DecodeError;

    fn try_from(wire: log::StoredWebhook) -> Result<Self, DecodeError> {
        let event = |number| enumeration::<model::WebhookEvent, _>("StoredWebhook.events", number);
        Ok(Self {
            tenant: text("StoredWebhook.tenant", &wire.tenant)?,
            id: text("StoredWebhook.id", &wire.id)?,
            url: wire.url,
            key: Secret32(fixed("StoredWebhook.key", &wire.key)?),
            events: wire.events.into_iter().map(event).collect::<Result<_, DecodeError>>()?,
            enabled: wire.enabled,
            description: wire.description,
            created_at: TimestampMs(wire.created_at_ms),
            created_by: wire.created_by,
        })
    }
}
