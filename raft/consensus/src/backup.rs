//! What a node gives of itself for a backup: its state at one index, and segments as other members fetch them.

use bytes::Bytes;
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_proto::peer;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Duration, Instant, sleep_until};
use tonic::Code;

use crate::handle::Handle;
use crate::reads::ReadError;
use crate::service;
use crate::snapshot::FrameStream;
use crate::trail::TrailError;

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The state at one index, frame by frame; costs a clone of shared maps to begin with.
pub struct StateImage {
    pub log_index: u64,
    pub frames: FrameStream,
}

impl Handle {
    /// Of a state that has applied `index`, as this node has it. Errors: not so far in time.
    pub async fn state_image(&self, index: u64, deadline: Instant) -> Result<StateImage, ReadError> {
        self.wait_applied(index, deadline).await?;
        let stopped = |detail: String| ReadError::Stopped { detail };
        loop {
            let found = self.raft().get_snapshot().await.map_err(|error| stopped(error.to_string()))?;
            let at = found.as_ref().and_then(|found| found.meta.last_log_id.as_ref()).map(|id| id.index);
            match (found, at) {
                (Some(found), Some(log_index)) if log_index >= index => {
                    return Ok(StateImage { log_index, frames: found.snapshot.into_frames() });
                }
                _ if Instant::now() >= deadline => return Err(ReadError::Behind { wanted: index }),
                // A snapshot point of now. One that is being made is waited for.
                _ => self.snapshot_now().await.map_err(stopped)?,
            }
            let mut metrics = self.raft().metrics();
            let made = async {
                loop {
                    let at = metrics.borrow_watched().snapshot.as_ref().map_or(0, |id| id.index);
                    if at >= index || metrics.changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = made => {}
                () = sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)) => {}
            }
        }
    }

    /// A chunk of the segment that begins with `first`; empty behind its end, `None` where it is not known here.
    /// Errors: this node's copy is damaged, and being fetched again.
    pub async fn segment_chunk(
        &self,
        first: AuditIndex,
        address: Digest,
        offset: u64,
    ) -> Result<Option<Bytes>, TrailError> {
        let request = peer::FetchSegmentRequest {
            from: self.node().0,
            first: first.0,
            address: Bytes::copy_from_slice(&address.0),
            offset,
            look_first: false,
        };
        match service::chunk(&self.trail(), &request).await {
            Ok(chunk) => Ok(Some(chunk)),
            Err(status) if status.code() == Code::NotFound => match self.trail().lacks(first) {
                Some(lacking) if lacking.name.first == first => {
                    Err(TrailError::Lacking { first, last: lacking.name.last })
                }
                _ => Ok(None),
            },
            Err(status) => {
                let detail = status.message().to_owned();
                Err(TrailError::Damaged { first, last: first, detail })
            }
        }
    }
}
