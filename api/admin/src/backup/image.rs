//! An image, told in the audit trail before its first byte leaves.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use only1mcp_domain::command::{BackupNote, Command};
use only1mcp_domain::ids::TenantId;
use only1mcp_proto::admin as pb;
use tokio::sync::mpsc;
use tonic::Status;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) type Frames = mpsc::Receiver<Result<pb::CreateBackupResponse, Status>>;

/// Frames made before the caller takes them.
const AHEAD: usize = 2;

pub(super) async fn create(
    core: Arc<Core>,
    call: Call,
    message: pb::CreateBackupRequest,
) -> Result<Frames, AdminError> {
    let walk = core.chain_walks.clone().try_acquire_owned().map_err(|_| AdminError::Overloaded)?;
    let node = core.ports.cluster.node();
    let command = Command::NoteBackup(BackupNote { node });
    let result = core.write(&call, &message, TenantId::system(), |_, _| Ok(command)).await?;
    let noted = result.as_ref().map_or(0, |result| result.log_index);
    let image = core.ports.backup.image(noted, call.deadline).await?;
    let state = core.ports.cluster.view().state;
    let cluster = state.cluster.as_ref();
    let header = pb::BackupHeader {
        result,
        cluster_id: cluster.map(|cluster| cluster.id.0.to_vec()).unwrap_or_default().into(),
        cluster_name: cluster.map(|cluster| cluster.settings.value.cluster_name.clone()).unwrap_or_default(),
        epoch: cluster.map_or(0, |cluster| cluster.epoch),
        node: node.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_index: image.log_index,
    };
    let (sender, frames) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let _walk = walk;
        let first = pb::CreateBackupResponse { header: Some(header), frame: Bytes::new() };
        if sender.send(Ok(first)).await.is_err() {
            return;
        }
        let mut frames = image.frames;
        while let Some(frame) = frames.next().await {
            let part = match (still_allowed(&core, &call), frame) {
                (Ok(()), Ok(frame)) => Ok(pb::CreateBackupResponse { header: None, frame }),
                (Ok(()), Err(detail)) => {
                    tracing::error!(detail, "an image for a backup could not be made");
                    Err(Status::from(AdminError::AuditUnreadable))
                }
                (Err(error), _) => Err(Status::from(error)),
            };
            let ends = part.is_err();
            // A caller that went away needs no error.
            if sender.send(part).await.is_err() || ends {
                return;
            }
        }
    });
    Ok(frames)
}

/// A backup takes a while: who is no operator any more gets no more of it. INVARIANT: P4
pub(super) fn still_allowed(core: &Core, call: &Call) -> Result<(), AdminError> {
    core.authorize(call, &core.ports.cluster.view(), &TenantId::system())
}
