//! The Audit service: query, verify, export, watch.

mod export;
mod filter;
mod prove;
mod query;
pub(crate) mod reading;
mod retention;
mod service;
mod verify;
mod watch;

pub(crate) use service::AuditService;

use only1mcp_domain::audit::SealedEvent;
use only1mcp_domain::ids::{AuditIndex, TenantId};

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::TrailFailure;

/// Events read from the trail at one time.
const SCAN_ROWS: usize = 500;

/// Whose events a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Trail {
    Of(TenantId),
    /// The whole cluster's: for operators.
    Everyone,
}

impl Trail {
    /// Empty: the caller's own. `*`: everyone's.
    fn named(call: &Call, name: &str) -> Result<Self, AdminError> {
        if name == "*" { Ok(Self::Everyone) } else { call.tenant(name).map(Self::Of) }
    }

    /// Where the permission to see it must be held.
    fn authority(&self) -> TenantId {
        match self {
            Self::Of(tenant) => tenant.clone(),
            Self::Everyone => TenantId::system(),
        }
    }

    fn holds(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Of(own) => own == tenant,
            Self::Everyone => true,
        }
    }
}

/// Events `from ..= to`, at most `SCAN_ROWS`; contiguous from the first.
async fn scan(core: &Core, from: u64, to: u64, reverse: bool) -> Result<Vec<SealedEvent>, AdminError> {
    let scanned = core.ports.cluster.audit_scan(AuditIndex(from), AuditIndex(to), SCAN_ROWS, reverse).await;
    let mut events = scanned.map_err(|failure| unread(failure, from, to))?;
    retention::hide(&core.ports.cluster.view().state, &mut events);
    Ok(events)
}

fn unread(failure: TrailFailure, from: u64, to: u64) -> AdminError {
    match failure {
        TrailFailure::Fetching { code, detail } => {
            tracing::info!(code, detail, from, to, "a part of the audit trail is not here yet");
            AdminError::AuditFetching { code, detail }
        }
        TrailFailure::Unreadable(error) => {
            tracing::error!(error, from, to, "the audit trail cannot be read");
            AdminError::AuditUnreadable
        }
    }
}
