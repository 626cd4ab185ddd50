//! Checkpoints, and that an event is among those one covers.

use only1mcp_domain::activity::AuditReadKind;
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::model::NodeRole;
use only1mcp_proto::admin as pb;

use super::reading::{self, range_text};
use super::retention::told;
use super::verify::before;
use super::{Trail, scan, unread};
use crate::audit_event::{decoded, place, whole};
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

fn path(hashes: Vec<Digest>) -> Vec<bytes::Bytes> {
    hashes.into_iter().map(|hash| hash.0.to_vec().into()).collect()
}

/// Errors: none is signed, or none so large by the deadline.
async fn newest(core: &Core, call: &Call, size_min: u64) -> Result<(String, u64), AdminError> {
    let found = core.ports.proofs.checkpoint(size_min, call.deadline).await;
    found.ok_or_else(|| AdminError::AuditFetching {
        code: "CHECKPOINT_PENDING",
        detail: format!("no checkpoint of {size_min} events or more is signed by a majority yet"),
    })
}

pub(super) async fn checkpoint(
    core: &Core,
    call: &Call,
    message: pb::GetCheckpointRequest,
) -> Result<pb::GetCheckpointResponse, AdminError> {
    core.read(call, None, &call.identity.tenant).await?;
    let (checkpoint, size) = newest(core, call, message.size_min.max(message.old_size)).await?;
    let proven = core.ports.proofs.consistency(message.old_size, size);
    let proven = proven.map_err(|failure| unread(failure, message.old_size, size))?;
    Ok(pb::GetCheckpointResponse { checkpoint, size, path: path(proven) })
}

pub(super) async fn event(
    core: &Core,
    call: &Call,
    message: pb::ProveAuditRequest,
) -> Result<pb::ProveAuditResponse, AdminError> {
    let view = core.read(call, None, &call.identity.tenant).await?;
    let index = message.index;
    if index == 0 || index > view.state.chain.index.0 {
        return Err(AdminError::invalid("index", format!("the chain ends at {}", view.state.chain.index)));
    }
    let previous = before(core, index).await?;
    let events = scan(core, index, index, false).await?;
    let sealed = events.first().ok_or(AdminError::AuditUnreadable)?;
    // Of another tenant's event only the place leaves (P7); operators see every event.
    let trail = match call.identity.tenant.is_system() {
        true => Trail::Everyone,
        false => Trail::Of(call.identity.tenant.clone()),
    };
    let record = match decoded(sealed) {
        Some(event) if trail.holds(&event.tenant) => whole(core, sealed, &event),
        _ => {
            let expired = told(&view.state, sealed).filter(|_| trail == Trail::Everyone);
            pb::AuditRecord { expired, ..place(sealed) }
        }
    };
    reading::of_trail(core, call, AuditReadKind::Verify, &trail, range_text(index, index), 1)?;
    let (checkpoint, size) = newest(core, call, index).await?;
    let proven = core.ports.proofs.inclusion(AuditIndex(index), size);
    let proven = proven.map_err(|failure| unread(failure, index, size))?;
    Ok(pb::ProveAuditResponse {
        record: Some(record),
        previous: previous.hash.0.to_vec().into(),
        checkpoint,
        path: path(proven),
    })
}

pub(super) async fn signers(
    core: &Core,
    call: &Call,
    message: pb::GetSignersRequest,
) -> Result<pb::GetSignersResponse, AdminError> {
    let view = core.read(call, message.consistency, &call.identity.tenant).await?;
    let cluster = view.state.cluster.as_ref();
    let voters = view.state.nodes.values().map(|record| &record.value);
    let signers = voters.filter(|node| node.role == NodeRole::Voter).map(|node| {
        let key = node.signing_key.map(|key| key.0.to_vec().into()).unwrap_or_default();
        pb::get_signers_response::Signer { node: node.id.0, key }
    });
    Ok(pb::GetSignersResponse {
        read: core.read_info(&view),
        cluster_id: cluster.map(|cluster| cluster.id.0.to_vec().into()).unwrap_or_default(),
        epoch: cluster.map_or(0, |cluster| cluster.epoch),
        index: view.state.chain.index.0,
        signers: signers.collect(),
    })
}
