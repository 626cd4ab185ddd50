//! One sealed segment, in chunks.

use std::sync::Arc;

use only1mcp_domain::activity::{AuditRead, AuditReadKind};
use only1mcp_domain::ids::{AuditIndex, Digest, TenantId};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use tokio::sync::mpsc;
use tonic::Status;

use super::image::still_allowed;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::TrailFailure;

pub(super) type Chunks = mpsc::Receiver<Result<pb::ReadSegmentResponse, Status>>;

/// Chunks read before the caller takes them.
const AHEAD: usize = 2;

pub(super) async fn read(
    core: Arc<Core>,
    call: Call,
    message: pb::ReadSegmentRequest,
) -> Result<Chunks, AdminError> {
    core.read(&call, None, &TenantId::system()).await?;
    let walk = core.chain_walks.clone().try_acquire_owned().map_err(|_| AdminError::Overloaded)?;
    let address: [u8; 32] = message
        .address
        .as_ref()
        .try_into()
        .map_err(|_| AdminError::invalid("address", "is not 32 bytes long"))?;
    let (first, address) = (AuditIndex(message.first), Digest(address));
    let now = TimestampMs(core.ports.host.now_ms());
    let read = AuditRead {
        kind: AuditReadKind::Export,
        caller: call.caller(),
        tenant: TenantId::system(),
        everyone: true,
        asked: format!("segment from index {first}, for a backup"),
        events: 0,
        count: 1,
        first_at: now,
        last_at: now,
    };
    if !core.ports.host.record_audit_read(read) {
        return Err(AdminError::Overloaded);
    }
    let (sender, chunks) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _walk = walk;
        let mut offset = message.offset;
        loop {
            let chunk = match still_allowed(&core, &call) {
                Ok(()) => chunk(&core, first, address, offset).await,
                Err(error) => Err(error),
            };
            let part = match chunk {
                Ok(chunk) if chunk.is_empty() => return,
                Ok(chunk) => {
                    offset = offset.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                    Ok(pb::ReadSegmentResponse { chunk })
                }
                Err(error) => Err(Status::from(error)),
            };
            let ends = part.is_err();
            if sender.send(part).await.is_err() || ends {
                return;
            }
        }
    });
    Ok(chunks)
}

async fn chunk(
    core: &Core,
    first: AuditIndex,
    address: Digest,
    offset: u64,
) -> Result<bytes::Bytes, AdminError> {
    let found = core.ports.backup.segment(first, address, offset).await;
    let found = found.map_err(|failure| match failure {
        TrailFailure::Fetching { code, detail } => AdminError::AuditFetching { code, detail },
        TrailFailure::Unreadable(error) => {
            tracing::error!(error, %first, "a segment cannot be read");
            AdminError::AuditUnreadable
        }
    })?;
    let replaced = || core.ports.cluster.view().state.drops_of(first).next().is_some();
    found.ok_or_else(|| match replaced() {
        true => AdminError::SegmentReplaced { first },
        false => AdminError::invalid("address", "is no segment that begins there"),
    })
}
