//! Fetches segments that this node lacks, from any member, in chunks. What was fetched before a cut stays: the next
//! attempt goes on behind it. A copy counts only once it is checked whole and synced.

use only1mcp_domain::ids::AuditIndex;
use only1mcp_domain::limits;
use only1mcp_proto::peer;
use only1mcp_storage::{SegmentCopy, StorageError};
use tokio::time::{Duration, sleep, timeout};

use super::whole::{Lacking, Trail};
use crate::handle::{Handle, WeakHandle};
use crate::network::{Lane, PeerTarget};

/// One chunk.
const CHUNK: Duration = Duration::from_secs(10);
/// After a round in which nobody had what is lacking.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a segment did not come from a member.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", .0.message())]
    Peer(#[from] tonic::Status),
    #[error("no answer in time")]
    Late,
    #[error("it sent what was not asked for: {0}")]
    Protocol(String),
    #[error("its copy is damaged: {0}")]
    Damaged(StorageError),
    #[error(transparent)]
    Here(#[from] StorageError),
}

/// Runs until Raft ends.
pub async fn run(weak: WeakHandle) {
    let Some(handle) = weak.upgrade() else { return };
    let mut lacking = handle.trail().watch_lacking();
    drop(handle);
    let mut told = false;
    loop {
        let Some(handle) = weak.upgrade() else { return };
        if handle.stopped_because().is_some() {
            return;
        }
        lacking.mark_unchanged();
        let trail = handle.trail();
        if trail.is_whole() {
            told = false;
            drop((handle, trail));
            if lacking.changed().await.is_err() {
                return;
            }
            continue;
        }
        let left = round(&handle, &trail).await;
        drop((handle, trail));
        if let Some(left) = left {
            if !told {
                tracing::warn!(
                    code = "AUDIT_SEGMENT_LACKING",
                    segment = %left.name.address,
                    first = left.name.first.0,
                    last = left.name.last.0,
                    "no other member gives a segment of the audit trail; it is asked for again and again. Where no \
                     member has it, put the file of that name back into this node's `segments` folder"
                );
                told = true;
            }
            sleep(AGAIN).await;
        }
    }
}

/// Asks for each lacking segment once; the first of those that did not come.
async fn round(handle: &Handle, trail: &Trail) -> Option<Lacking> {
    let mut left = None;
    let mut from = AuditIndex(1);
    while let Some(lacking) = trail.lacks(from) {
        if handle.stopped_because().is_some() {
            return None;
        }
        from = AuditIndex(lacking.name.last.0.saturating_add(1));
        if is_here(trail, &lacking).await || from_anyone(handle, trail, &lacking).await {
            trail.arrived(&lacking.name);
            unwanted(trail, &lacking);
        } else {
            left = left.or(Some(lacking));
        }
    }
    left
}

/// Payloads were dropped from it while it came: what came is not what is to be here.
pub(super) fn unwanted(trail: &Trail, lacking: &Lacking) {
    if trail.has(&lacking.name) {
        return;
    }
    if let Err(error) = trail.files().remove(&lacking.name.address, SegmentCopy::Whole) {
        tracing::warn!(segment = %lacking.name.address, %error, "a segment that came too late was not removed");
    }
}

/// It may have been put back, or the disk failed only once.
async fn is_here(trail: &Trail, lacking: &Lacking) -> bool {
    super::check(trail.files(), lacking.name, lacking.before, SegmentCopy::Whole).await.is_ok()
}

async fn from_anyone(handle: &Handle, trail: &Trail, lacking: &Lacking) -> bool {
    for target in handle.directory().members(handle.node()) {
        let mut result = fetch(handle, trail, lacking, &target, false).await;
        if matches!(result, Err(FetchError::Damaged(_))) {
            // Parts may have come from several members: once more, all of it from this one, which looks first.
            result = fetch(handle, trail, lacking, &target, true).await;
        }
        match result {
            Ok(()) => return true,
            Err(error) => tracing::info!(
                segment = %lacking.name.address,
                from = %target.name,
                %error,
                "a segment of the audit trail did not come"
            ),
        }
    }
    false
}

async fn fetch(
    handle: &Handle,
    trail: &Trail,
    lacking: &Lacking,
    target: &PeerTarget,
    look_first: bool,
) -> Result<(), FetchError> {
    let Lacking { name, before } = lacking;
    let files = trail.files();
    loop {
        let have = files.size(&name.address, SegmentCopy::Part)?.unwrap_or(0);
        if have >= name.bytes {
            break;
        }
        let request = peer::FetchSegmentRequest {
            from: handle.node().0,
            first: name.first.0,
            address: bytes::Bytes::copy_from_slice(&name.address.0),
            offset: have,
            look_first: look_first && have == 0,
        };
        let mut client = handle.links().client(target, Lane::Snapshot);
        let answer = timeout(CHUNK, client.fetch_segment(request)).await;
        handle.links().report(target, Lane::Snapshot, answer.is_err());
        let chunk = answer.map_err(|_| FetchError::Late)??.into_inner().chunk;
        let left = usize::try_from(name.bytes.saturating_sub(have)).unwrap_or(usize::MAX);
        if chunk.is_empty() || chunk.len() > left.min(limits::SEGMENT_CHUNK_BYTES_MAX) {
            return Err(FetchError::Protocol(format!("{} bytes", chunk.len())));
        }
        files.append(&name.address, have, &chunk)?;
    }
    if let Err(error) = super::check(files, *name, *before, SegmentCopy::Part).await {
        files.remove(&name.address, SegmentCopy::Part)?;
        return Err(match error {
            StorageError::Corrupt { .. } | StorageError::Version { .. } => FetchError::Damaged(error),
            error => FetchError::Here(error),
        });
    }
    files.finish(&name.address)?;
    // INVARIANT: P6 (read back before the log may go)
    super::check(files, *name, *before, SegmentCopy::Whole).await?;
    tracing::info!(segment = %name.address, from = %target.name, "a segment of the audit trail was fetched");
    Ok(())
}
