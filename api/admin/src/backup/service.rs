//! gRPC face of the Backups service.

use std::sync::Arc;

use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::backups_server::Backups;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{image, segment};
use crate::core::Core;

pub(crate) struct BackupsService(pub(crate) Arc<Core>);

#[tonic::async_trait]
impl Backups for BackupsService {
    type CreateBackupStream = ReceiverStream<Result<pb::CreateBackupResponse, Status>>;
    type ReadSegmentStream = ReceiverStream<Result<pb::ReadSegmentResponse, Status>>;

    async fn create_backup(
        &self,
        request: Request<pb::CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let (call, message) = self.0.open("Backups/CreateBackup", request).await?;
        let frames = image::create(self.0.clone(), call, message).await?;
        Ok(Response::new(ReceiverStream::new(frames)))
    }

    async fn read_segment(
        &self,
        request: Request<pb::ReadSegmentRequest>,
    ) -> Result<Response<Self::ReadSegmentStream>, Status> {
        let (call, message) = self.0.open("Backups/ReadSegment", request).await?;
        let chunks = segment::read(self.0.clone(), call, message).await?;
        Ok(Response::new(ReceiverStream::new(chunks)))
    }
}
