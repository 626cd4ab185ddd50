//! What administration's backups take from this node.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use only1mcp_admin::ports::{ReadFailure, TrailFailure};
use only1mcp_admin::{BackupImage, BackupPort};
use only1mcp_consensus::Handle;
use only1mcp_domain::ids::{AuditIndex, Digest};
use tokio::time::Instant;

use crate::serve::admin_port::{read_failure, trail_failure};

pub struct NodeBackup(pub Handle);

impl BackupPort for NodeBackup {
    fn image(
        &self,
        log_index_min: u64,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<BackupImage, ReadFailure>> {
        Box::pin(async move {
            let image = self.0.state_image(log_index_min, deadline).await.map_err(read_failure)?;
            let frames = image.frames.map(|frame| frame.map_err(|error| error.to_string()));
            Ok(BackupImage { log_index: image.log_index, frames: frames.boxed() })
        })
    }

    fn segment(
        &self,
        first: AuditIndex,
        address: Digest,
        offset: u64,
    ) -> BoxFuture<'_, Result<Option<Bytes>, TrailFailure>> {
        Box::pin(async move { self.0.segment_chunk(first, address, offset).await.map_err(trail_failure) })
    }
}
