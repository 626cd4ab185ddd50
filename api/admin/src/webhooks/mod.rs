//! Webhooks: their definitions, and how their delivery stands.

mod definitions;
mod service;

pub(crate) use service::WebhooksService;
