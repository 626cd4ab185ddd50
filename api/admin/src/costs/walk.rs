//! Reads the cost records of one tenant, page by page, as far as one state has them.

use only1mcp_domain::cost::{CostPlace, CostRecord};
use only1mcp_domain::ids::{AuditIndex, TenantId};
use only1mcp_domain::time::TimestampMs;

use crate::core::Core;
use crate::error::AdminError;
use crate::ports::View;

/// Records read at one time.
const PAGE: usize = 500;

pub(super) struct Walk<'a> {
    core: &'a Core,
    tenant: &'a TenantId,
    next: CostPlace,
    to: TimestampMs,
    /// Records behind this event are newer than the state.
    newest: AuditIndex,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// Of the records posted in `from..to`, those that `view` has.
    pub(super) fn new(
        core: &'a Core,
        view: &View,
        tenant: &'a TenantId,
        from: TimestampMs,
        to: TimestampMs,
    ) -> Self {
        let next = CostPlace { at: from, index: AuditIndex(0), part: 0 };
        Self { core, tenant, next, to, newest: view.state.chain.index, ended: false }
    }

    /// The next records, in the order they were posted; none at the end.
    pub(super) async fn page(&mut self) -> Result<Vec<CostRecord>, AdminError> {
        if self.ended {
            return Ok(Vec::new());
        }
        // Other tasks run between two pages, however long the period is.
        tokio::task::yield_now().await;
        let mut records = scan(self.core, self.tenant, self.next, self.to, PAGE).await?;
        self.ended = records.len() < PAGE;
        if let Some(last) = records.last() {
            self.next = CostPlace::of(last).following();
        }
        records.retain(|record| record.audit_index <= self.newest);
        Ok(records)
    }
}

/// One record.
pub(super) async fn find(
    core: &Core,
    tenant: &TenantId,
    place: CostPlace,
) -> Result<Option<CostRecord>, AdminError> {
    let found = scan(core, tenant, place, place.at.plus_ms(1), 1).await?.pop();
    Ok(found.filter(|record| CostPlace::of(record) == place))
}

async fn scan(
    core: &Core,
    tenant: &TenantId,
    from: CostPlace,
    to: TimestampMs,
    limit: usize,
) -> Result<Vec<CostRecord>, AdminError> {
    core.ports.cluster.cost_scan(tenant, from, to, limit).await.map_err(|error| {
        tracing::error!(error, %tenant, "cost records cannot be read");
        AdminError::CostsUnreadable
    })
}
