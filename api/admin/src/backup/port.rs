//! What backups need of the node.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use only1mcp_domain::ids::{AuditIndex, Digest};
use tokio::time::Instant;

use crate::ports::{ReadFailure, TrailFailure};

/// The state at one index, frame by frame.
pub struct BackupImage {
    pub log_index: u64,
    /// An error ends them: the image is worth nothing then.
    pub frames: BoxStream<'static, Result<Bytes, String>>,
}

/// What this node can give of itself.
pub trait BackupPort: Send + Sync + 'static {
    /// Of a state with everything up to `log_index_min` applied.
    fn image(&self, log_index_min: u64, deadline: Instant)
    -> BoxFuture<'_, Result<BackupImage, ReadFailure>>;

    /// Bytes of the segment that begins with `first`, from `offset` on, at most `limits::SEGMENT_CHUNK_BYTES_MAX`; none
    /// behind its end. `None`: there is no such segment here.
    fn segment(
        &self,
        first: AuditIndex,
        address: Digest,
        offset: u64,
    ) -> BoxFuture<'_, Result<Option<Bytes>, TrailFailure>>;
}
