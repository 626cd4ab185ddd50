//! What nodes have in hand of limits and no call holds, called back.

use only1mcp_domain::ledger::LimitId;
use only1mcp_proto::admin as pb;

use super::{accounts, amount};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::NodeRecall;

pub(super) async fn recall(
    core: &Core,
    call: &Call,
    message: pb::RecallRequest,
) -> Result<pb::RecallResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let limit = accounts::optional_limit("limit", &message.limit)?;
    let view = core.read(call, None, &tenant).await?;
    if let Some(LimitId::Budget(id)) = &limit
        && !view.state.budgets.contains_key(&(tenant.clone(), id.clone()))
    {
        return Err(AdminError::not_found("budget", id));
    }
    let nodes = core.ports.cluster.recall(&tenant, limit.as_ref(), call.deadline).await;
    Ok(pb::RecallResponse { nodes: nodes.into_iter().map(shown).collect() })
}

fn shown(asked: NodeRecall) -> pb::NodeRecall {
    let answered = asked.recalled.is_some();
    let recalled = asked.recalled.unwrap_or_default();
    let amounts = recalled.amounts.into_iter().map(|(measure, value)| pb::RecalledAmount {
        measure: measure.text().to_owned(),
        amount: amount::text(measure, value),
    });
    pb::NodeRecall {
        node: asked.node.0,
        answered,
        amounts: amounts.collect(),
        accounts: recalled.accounts,
        more: recalled.more,
    }
}
