//! Gives other members the segments they lack, a chunk at a time.

use bytes::Bytes;
use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::limits;
use only1mcp_proto::peer;
use only1mcp_storage::SegmentCopy;
use tonic::Status;

use crate::trail::{self, Trail};

/// Bytes of a segment from an offset on; none behind its end.
/// Errors: `NotFound` when this node does not have it, `DataLoss` when its copy is damaged.
pub async fn chunk(trail: &Trail, request: &peer::FetchSegmentRequest) -> Result<Bytes, Status> {
    let here = trail.here(AuditIndex(request.first));
    let here = here.filter(|here| here.name.address.0.as_slice() == request.address.as_ref());
    let here = here.ok_or_else(|| Status::not_found("no such segment here"))?;
    let (name, files) = (here.name, trail.files());
    let damaged = |error: only1mcp_storage::StorageError| {
        // Payloads were dropped from it meanwhile, and its file went.
        if !trail.has(&name) {
            return Status::not_found("no such segment here any more");
        }
        trail.damaged(&name, &error.to_string());
        Status::data_loss(error.to_string())
    };
    if request.look_first {
        trail::check(files, name, here.before, SegmentCopy::Whole).await.map_err(damaged)?;
    }
    let read = files.read(&name.address, SegmentCopy::Whole, request.offset, limits::SEGMENT_CHUNK_BYTES_MAX);
    let chunk = read.map_err(damaged)?;
    if chunk.is_empty() && request.offset < name.bytes && trail.has(&name) {
        trail.damaged(&name, "it is cut off");
        return Err(Status::data_loss("the segment is cut off here"));
    }
    Ok(Bytes::from(chunk))
}
