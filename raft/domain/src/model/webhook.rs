//! An address that is told, by signed HTTP requests, what happens to a tenant's budgets.

use crate::command::Secret32;
use crate::ids::{TenantId, WebhookId};
use crate::time::TimestampMs;

/// What a webhook is told of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WebhookEvent {
    /// A budget passed 75, 90 or 100 % of its amount.
    BudgetLevel,
    /// A call used more than was held for it.
    Overrun,
}

impl WebhookEvent {
    pub const ALL: [Self; 2] = [Self::BudgetLevel, Self::Overrun];

    pub fn text(self) -> &'static str {
        match self {
            Self::BudgetLevel => "budget_level",
            Self::Overrun => "overrun",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    pub tenant: TenantId,
    pub id: WebhookId,
    /// https, or http to the node's own host.
    pub url: String,
    /// Signs what is sent. Secret: shown once, when it is made.
    pub key: Secret32,
    pub events: Vec<WebhookEvent>,
    /// While it is not, its place is kept: what happens meanwhile is told once it is again.
    pub enabled: bool,
    pub description: String,
    pub created_at: TimestampMs,
    pub created_by: String,
}
