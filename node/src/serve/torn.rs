//! A node whose log was cut at start may have lost entries that it once acknowledged. So, before this node is heard
//! again, another node is asked to lead, where there is one: a new leader begins by asking what everybody has. Nothing
//! can be lost by that: who leads next must hold all that is committed. With two voters, the one that leads sends what
//! is lacking.

use only1mcp_consensus::Handle;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_proto::peer::{
    self, change_membership_request::Change, change_membership_response::Result as Answer,
};
use tokio::time::{Duration, Instant, sleep, timeout};

/// Without a leader for so long there is none to protect.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);

/// Returns once another node leads than the one that led before, or when there is nobody to ask.
pub async fn have_another_lead(handle: &Handle) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let voters = other_voters(handle);
        for leader in &voters {
            let Some(successor) = voters.iter().find(|voter| *voter != leader) else { return };
            if leads(handle, *leader).await && hands_over(handle, *leader, *successor).await {
                tracing::warn!(from = %leader, to = %successor, "leadership was moved: this node's log was cut");
                return;
            }
        }
        sleep(AGAIN).await;
    }
}

fn other_voters(handle: &Handle) -> Vec<NodeId> {
    let state = handle.state();
    let records = state.nodes.values().map(|record| &record.value);
    records.filter(|r| r.role == NodeRole::Voter && r.id != handle.node()).map(|record| record.id).collect()
}

async fn leads(handle: &Handle, node: NodeId) -> bool {
    let Some(mut client) = handle.peer(node) else { return false };
    let request = peer::StatusRequest { from: handle.node().0, ..Default::default() };
    let answer = timeout(ASK, client.status(request)).await;
    matches!(answer, Ok(Ok(status)) if status.get_ref().leader == node.0)
}

async fn hands_over(handle: &Handle, leader: NodeId, to: NodeId) -> bool {
    let Some(mut client) = handle.peer(leader) else { return false };
    let request = peer::ChangeMembershipRequest {
        from: handle.node().0,
        wait_ms: u64::try_from(ASK.as_millis()).unwrap_or(u64::MAX),
        change: Some(Change::TransferTo(to.0)),
    };
    let answer = timeout(ASK, client.change_membership(request)).await;
    matches!(answer, Ok(Ok(answer)) if matches!(answer.get_ref().result, Some(Answer::Accepted(_))))
}
