//! Whoever leads finishes removals. A removal is an entry, which bars the node's name, and then a change of Raft's
//! membership; a leader that dies between the two leaves a barred node behind that still counts in quorums.

use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::outcome::Effect;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Duration, Instant, sleep};

use crate::handle::{Handle, WeakHandle};
use crate::membership::{Change, ChangeOutcome};

/// One attempt.
const CHANGE: Duration = Duration::from_secs(10);
/// Between attempts: a quorum may be away.
const AGAIN: Duration = Duration::from_millis(500);

/// Runs until Raft ends. Looks whenever leadership, membership or a node's record changes.
pub async fn run(weak: WeakHandle) {
    let Some(handle) = weak.upgrade() else { return };
    let (mut metrics, mut notes) = (handle.raft().server_metrics(), handle.notes());
    drop(handle);
    loop {
        let Some(handle) = weak.upgrade() else { return };
        if handle.stopped_because().is_some() {
            return;
        }
        if let Some(node) = left_behind(&handle) {
            take_out(&handle, node).await;
            continue;
        }
        // Not held while waiting: it must not keep a dropped node alive.
        drop(handle);
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() { return },
            () = nodes_changed(&mut notes) => {}
        }
    }
}

/// Returns once the records of nodes may have changed.
async fn nodes_changed(notes: &mut tokio::sync::broadcast::Receiver<std::sync::Arc<crate::AppliedNote>>) {
    loop {
        match notes.recv().await {
            Ok(note) if note.resync || note.effects.contains(&Effect::NodesChanged) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The state machine has ended; the metrics tell.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// A removed node that is still a member, where this node leads.
fn left_behind(handle: &Handle) -> Option<NodeId> {
    let metrics = handle.raft().metrics().borrow_watched().clone();
    if metrics.current_leader != Some(handle.node().0) {
        return None;
    }
    let state = handle.state();
    let membership = metrics.membership_config.membership();
    let mut members = membership.nodes().map(|(id, _)| NodeId(*id));
    members.find(|id| state.nodes.get(id).is_some_and(|record| record.value.role == NodeRole::Removed))
}

/// Whoever proposed the removal does the same; one of the two finds it done.
async fn take_out(handle: &Handle, node: NodeId) {
    let change = Change::Remove(node);
    let why = match handle.change_here(&change, Instant::now() + CHANGE).await {
        ChangeOutcome::Done => return,
        ChangeOutcome::NotLeader { .. } => "this node no longer leads".to_owned(),
        ChangeOutcome::Unknown { detail } | ChangeOutcome::Refused { detail } => detail,
    };
    tracing::info!(%node, why, "a removed node is still a member");
    sleep(AGAIN).await;
}
