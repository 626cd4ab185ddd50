//! What is lent to a lost node, posted in full; and how much that was, as the audit trail tells it.

use only1mcp_domain::audit::AuditEvent;
use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{AuditIndex, NodeId, TenantId};
use only1mcp_domain::model::Measure;
use only1mcp_proto::admin as pb;

use super::{accounts, amount};
use crate::audit_event::decoded;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

/// Newest events looked at for the one that this write left.
const LOOKED_AT_MAX: usize = 1_000;
const MEASURES: [Measure; 3] = [Measure::Cost, Measure::Tokens, Measure::Calls];

pub(super) async fn force_close(
    core: &Core,
    call: &Call,
    message: pb::ForceCloseRequest,
) -> Result<pb::ForceCloseResponse, AdminError> {
    let account = message.account.as_ref().map(accounts::named).transpose()?;
    let command = Command::ForceClose { node: NodeId(message.node), account };
    let result = core.write(call, &message, TenantId::system(), |_, _| Ok(command)).await?;
    let log_index = result.as_ref().map(|result| result.log_index).unwrap_or_default();
    let Some(event) = told(core, call, log_index).await else {
        return Ok(pb::ForceCloseResponse { result, told: false, posted: Vec::new(), accounts: 0 });
    };
    let detail = |name: &str| event.details.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let posted = MEASURES.into_iter().filter_map(|measure| {
        let value = detail(&format!("posted_in_full_{}", measure.text()))?.parse().ok()?;
        let (measure, amount) = (measure.text().to_owned(), amount::text(measure, value));
        Some(pb::ForceClosedAmount { measure, amount })
    });
    let posted = posted.collect();
    let accounts = detail("accounts").and_then(|count| count.parse().ok()).unwrap_or_default();
    Ok(pb::ForceCloseResponse { result, told: true, posted, accounts })
}

/// The event that the write left, once this node has applied it. `None` where it is none of the newest, or the write
/// was made by an earlier attempt, or this node does not get that far in time: the trail has it all the same.
async fn told(core: &Core, call: &Call, log_index: u64) -> Option<AuditEvent> {
    let cluster = &core.ports.cluster;
    let mut applied = cluster.applied();
    tokio::time::timeout_at(call.deadline, applied.wait_for(|index| *index >= log_index)).await.ok()?.ok()?;
    let head = cluster.view().state.chain.index;
    let first = AuditIndex(head.0.saturating_sub(LOOKED_AT_MAX as u64).max(1));
    let newest = cluster.audit_scan(first, head, LOOKED_AT_MAX, true).await.ok()?;
    newest.iter().filter_map(decoded).find(|event| {
        event.action == "budget.force_close"
            && event.request_id == call.request_id
            && event.actor.id == call.identity.principal.as_str()
    })
}
