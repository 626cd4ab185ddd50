//! Work that is to be done once in a cluster: who does it, by which assignment, and how far it has come.

use crate::ids::{AuditIndex, NodeId, TenantId, WebhookId};
use crate::time::TimestampMs;

/// Which work.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DutyId {
    /// Telling a webhook what happened.
    Webhook { tenant: TenantId, webhook: WebhookId },
    /// Dropping payloads of audit events that are past their days. Feature level 5.
    Retention,
}

impl std::fmt::Display for DutyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Webhook { tenant, webhook } => write!(f, "webhook {tenant}/{webhook}"),
            Self::Retention => f.write_str("retention"),
        }
    }
}

/// State of one duty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duty {
    /// Who has it; `None` until it is assigned.
    pub node: Option<NodeId>,
    /// The fence: log index of the entry that gave it to `node`, or took it from the one before.
    pub assigned_at: u64,
    /// Everything up to here is done.
    pub cursor: AuditIndex,
    /// Failures of what comes next, as last told.
    pub attempts: u32,
    /// Why the last of them failed; no secret, no address.
    pub last_error: String,
    /// Log time of the last word about it.
    pub told_at: TimestampMs,
}

impl Duty {
    /// Of work that nobody was given yet.
    pub fn unassigned() -> Self {
        Self {
            node: None,
            assigned_at: 0,
            cursor: AuditIndex(0),
            attempts: 0,
            last_error: String::new(),
            told_at: TimestampMs(0),
        }
    }
}
