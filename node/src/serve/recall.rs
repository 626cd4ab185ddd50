//! An operator's recall, on its way to every node: a hint between peers; only what comes back stands in the log.

use std::sync::{Arc, OnceLock};

use futures_util::future::{BoxFuture, join_all};
use only1mcp_admin::ports::{NodeRecall, Recalled};
use only1mcp_consensus::{Handle, RecallHandler};
use only1mcp_domain::ids::{NodeId, TenantId};
use only1mcp_domain::ledger::LimitId;
use only1mcp_domain::model::{Measure, NodeRole};
use only1mcp_enforcer::Enforcer;
use only1mcp_proto::peer;
use tokio::time::{Duration, Instant, timeout_at};
use tonic::Status;

/// The longest that a node takes for it: what is returned is in one batch.
const WITHIN: Duration = Duration::from_secs(5);
const MEASURES: [Measure; 3] = [Measure::Cost, Measure::Tokens, Measure::Calls];

/// Answers other nodes once enforcement stands.
pub struct RecallHere(pub Arc<OnceLock<Arc<Enforcer>>>);

impl RecallHandler for RecallHere {
    fn recall(&self, request: peer::RecallRequest) -> BoxFuture<'_, Result<peer::RecallResponse, Status>> {
        Box::pin(async move {
            let enforcer = self.0.get().ok_or_else(|| Status::unavailable("the node starts"))?;
            let wrong = |error: &dyn std::fmt::Display| Status::invalid_argument(error.to_string());
            let tenant = TenantId::new(request.tenant).map_err(|error| wrong(&error))?;
            let limit = match request.limit.as_str() {
                "" => None,
                limit => Some(limit.parse::<LimitId>().map_err(|error| wrong(&error))?),
            };
            let wait = Duration::from_millis(request.wait_ms).min(WITHIN);
            let recalled = enforcer.recall(&tenant, limit.as_ref(), Instant::now() + wait).await;
            let recalled = recalled.map_err(|error| Status::deadline_exceeded(error.to_string()))?;
            let amounts = recalled.amounts.iter();
            let amounts = amounts.map(|(measure, amount)| peer::RecalledAmount {
                measure: measure.text().to_owned(),
                amount: amount.to_string(),
            });
            Ok(peer::RecallResponse {
                amounts: amounts.collect(),
                accounts: recalled.accounts,
                more: recalled.more,
            })
        })
    }
}

/// Asks every member, this one too. `None` in place of an answer that did not come.
pub async fn everywhere(
    handle: &Handle,
    enforcer: &Enforcer,
    tenant: &TenantId,
    limit: Option<&LimitId>,
    deadline: Instant,
) -> Vec<NodeRecall> {
    let deadline = deadline.min(Instant::now() + WITHIN);
    let state = handle.state();
    let members = state.nodes.iter().filter(|(_, record)| record.value.role != NodeRole::Removed);
    let asked = members.map(|(node, _)| async move {
        let recalled = if *node == handle.node() {
            let recalled = enforcer.recall(tenant, limit, deadline).await.ok();
            recalled.map(|recalled| Recalled {
                amounts: recalled.amounts.into_iter().collect(),
                accounts: recalled.accounts,
                more: recalled.more,
            })
        } else {
            ask(handle, *node, tenant, limit, deadline).await
        };
        NodeRecall { node: *node, recalled }
    });
    join_all(asked).await
}

async fn ask(
    handle: &Handle,
    node: NodeId,
    tenant: &TenantId,
    limit: Option<&LimitId>,
    deadline: Instant,
) -> Option<Recalled> {
    let mut client = handle.peer(node)?;
    let wait = deadline.saturating_duration_since(Instant::now());
    let request = peer::RecallRequest {
        from: handle.node().0,
        tenant: tenant.to_string(),
        limit: limit.map(ToString::to_string).unwrap_or_default(),
        wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    };
    let answer = timeout_at(deadline, client.recall(request)).await.ok()?.ok()?.into_inner();
    let amounts = answer.amounts.into_iter().map(|told| {
        let measure = MEASURES.into_iter().find(|measure| measure.text() == told.measure)?;
        Some((measure, told.amount.parse().ok()?))
    });
    Some(Recalled { amounts: amounts.collect::<Option<_>>()?, accounts: answer.accounts, more: answer.more })
}
