//! What an open MCP session holds of its tenant's `max_connections`. INVARIANT: P1

use std::sync::Arc;

use only1mcp_domain::activity::{Hold, ItemKind};
use only1mcp_domain::decide::Reason;

use crate::admitted::Refused;
use crate::allowance::NotHeld;
use crate::enforcer::{CallFacts, Enforcer};

/// An open session's permit, and none where the tenant has no such limit. Dropped, it is given back.
pub struct SessionPermit {
    enforcer: Arc<Enforcer>,
    permits: Vec<Hold>,
}

impl Enforcer {
    /// Takes a permit for one more session in the tenant, waiting for one as calls do. Errors: a recorded refusal.
    pub async fn permit_session(self: &Arc<Self>, facts: &CallFacts) -> Result<SessionPermit, Refused> {
        if self.is_disk_low() {
            return Err(self.refuse_durably(facts, ItemKind::Tool, "session", Reason::DiskLow, None).await);
        }
        match self.hold_session(&facts.tenant).await {
            Ok(permits) => Ok(SessionPermit { enforcer: self.clone(), permits }),
            Err(NotHeld { reason, limit, .. }) => {
                let mut refused = self.refuse_durably(facts, ItemKind::Tool, "session", reason, None).await;
                refused.name_limit(limit);
                Err(refused)
            }
        }
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        if self.permits.is_empty() {
            return;
        }
        let returned = self.enforcer.purse.ended(|| self.enforcer.parts.cluster.state(), &self.permits);
        returned.into_iter().for_each(|record| self.enforcer.intake.owe(record, true));
    }
}
