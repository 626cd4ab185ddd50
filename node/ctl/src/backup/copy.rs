//! Makes a backup: the image first, checked as it comes; then the segments that the folder lacks; the manifest last.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use only1mcp_domain::ids::{AuditIndex, Digest};
use only1mcp_domain::limits;
use only1mcp_domain::row::Table;
use only1mcp_proto::image::{Image, ImageCheck};
use only1mcp_storage::{SegmentCheck, SegmentCopy, SegmentName, StorageError};
use sha3::{Digest as _, Sha3_256};
use tokio::time::{Duration, sleep};

use super::manifest::{self, FORMAT, ImageFile, Manifest, SegmentFile};
use super::target::{Target, image_address};

/// Attempts in a row for one segment that bring nothing.
const ATTEMPTS: u32 = 5;
const AGAIN: Duration = Duration::from_millis(500);
/// Images taken for one backup: a further one where payloads are dropped from a segment before it was sent.
const IMAGES: u32 = 5;
/// Left free on the disk that backups lie on.
const MARGIN_BYTES: u64 = 16 << 20;

/// Who gives a backup, and of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    pub cluster_id: Digest,
    pub cluster_name: String,
    pub epoch: u64,
    pub node: u64,
    pub version: String,
    pub log_index: u64,
    /// Wall clock of whoever makes the backup.
    pub created_at_ms: u64,
}

/// A segment that the image names is another file now: payloads were dropped from it since.
#[derive(Debug, thiserror::Error)]
#[error(
    "payloads were dropped from the segment that begins with event {first} since the image was taken (SEGMENT_REPLACED)"
)]
pub struct Replaced {
    pub first: AuditIndex,
}

pub type Pieces = BoxStream<'static, anyhow::Result<Bytes>>;

/// A node that gives itself for a backup.
pub trait Source: Send + Sync {
    fn image(&self) -> BoxFuture<'_, anyhow::Result<(Origin, Pieces)>>;

    /// Errors: `Replaced`, in place of pieces or among them.
    fn segment<'a>(&'a self, name: &'a SegmentName, offset: u64) -> BoxFuture<'a, anyhow::Result<Pieces>>;
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    pub image_bytes: u64,
    /// Of the segments that the folder lacks.
    pub segments_done: usize,
    pub segments: usize,
    pub segment_bytes_done: u64,
    pub segment_bytes: u64,
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    pub manifest: Manifest,
    pub segments_sent: usize,
    /// Those that were not in the folder yet.
    pub segment_bytes_sent: u64,
}

/// Errors leave what was sent in the folder, for the next attempt; only an image is sent anew.
pub async fn copy(
    source: &dyn Source,
    target: &Target,
    mut told: impl FnMut(Progress),
) -> anyhow::Result<Copied> {
    let (mut segments, mut bytes) = (0, 0);
    let mut images = 1;
    loop {
        match attempt(source, target, (&mut segments, &mut bytes), &mut told).await {
            Ok(manifest) => {
                return Ok(Copied { manifest, segments_sent: segments, segment_bytes_sent: bytes });
            }
            Err(error) if images < IMAGES && error.is::<Replaced>() => {
                images += 1;
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Adds to `sent` what it sends, also where it fails.
async fn attempt(
    source: &dyn Source,
    target: &Target,
    sent: (&mut usize, &mut u64),
    told: &mut impl FnMut(Progress),
) -> anyhow::Result<Manifest> {
    let mut progress = Progress::default();
    let (origin, pieces) = source.image().await?;
    let name = manifest::name(&origin.cluster_id.to_string(), origin.epoch, origin.log_index);
    let (image, file) = take_image(pieces, &name, target, &mut progress, told).await?;
    let names = image.segments.iter().map(segment_name).collect::<anyhow::Result<Vec<_>>>()?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        cluster_id: origin.cluster_id.to_string(),
        cluster_name: origin.cluster_name,
        epoch: origin.epoch,
        log_index: origin.log_index,
        audit_index: image.state.chain.index.0,
        audit_hash: image.state.chain.hash.to_string(),
        node: origin.node,
        version: origin.version,
        created_at_ms: origin.created_at_ms,
        image: file,
        segments: names.iter().map(SegmentFile::of).collect(),
    };
    let cluster = image.state.cluster.as_ref();
    let same = cluster.is_some_and(|c| c.id == origin.cluster_id && c.epoch == origin.epoch);
    ensure!(same, "the image is of another cluster than its header says");
    let ahead = image.state.last_applied > origin.log_index;
    ensure!(!ahead, "the image is of another index than its header says");
    target.images().finish(&image_address(&name))?;
    take_segments(source, target, &names, sent, &mut progress, told).await?;
    target.put_manifest(&manifest)?;
    target.sweep()?;
    Ok(manifest)
}

async fn take_image(
    mut pieces: Pieces,
    name: &str,
    target: &Target,
    progress: &mut Progress,
    told: &mut impl FnMut(Progress),
) -> anyhow::Result<(Image, ImageFile)> {
    let (files, address) = (target.images(), image_address(name));
    // Of an attempt that was cut off.
    files.remove(&address, SegmentCopy::Part)?;
    let mut check = ImageCheck::new(Table::is_beside);
    let mut hasher = Sha3_256::new();
    while let Some(frame) = pieces.next().await {
        let frame = frame.context("the image was cut off")?;
        let at = progress.image_bytes;
        progress.image_bytes = at.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        ensure!(progress.image_bytes <= limits::SNAPSHOT_BYTES_MAX, "the image is too large");
        check.take(&frame).context("the image is damaged")?;
        hasher.update(&frame);
        files.append(&address, at, &frame)?;
        told(*progress);
    }
    let image = check.finish().context("the image is damaged")?;
    let sha3 = Digest(hasher.finalize().into()).to_string();
    Ok((image, ImageFile { bytes: progress.image_bytes, sha3 }))
}

pub(super) fn segment_name(segment: &only1mcp_proto::snapshot::Segment) -> anyhow::Result<SegmentName> {
    let digest = |bytes: &Bytes| {
        let bytes: Result<[u8; 32], _> = bytes.as_ref().try_into();
        bytes.map(Digest).context("a hash is not 32 bytes long")
    };
    Ok(SegmentName {
        first: AuditIndex(segment.first),
        last: AuditIndex(segment.last),
        address: digest(&segment.address)?,
        bytes: segment.bytes,
        hash: digest(&segment.hash)?,
    })
}

async fn take_segments(
    source: &dyn Source,
    target: &Target,
    names: &[SegmentName],
    (segments, bytes): (&mut usize, &mut u64),
    progress: &mut Progress,
    told: &mut impl FnMut(Progress),
) -> anyhow::Result<()> {
    let mut before = Digest::default();
    let mut lacking = Vec::new();
    let present = target.present(names)?;
    for name in names {
        if !present.contains(&name.address) {
            lacking.push((*name, before));
        }
        before = name.hash;
    }
    progress.segments = lacking.len();
    progress.segment_bytes = lacking.iter().map(|(name, _)| name.bytes).sum();
    let needed = progress.segment_bytes.saturating_add(MARGIN_BYTES);
    if let Some(free) = target.free_bytes()? {
        ensure!(needed <= free, "the segments need {needed} bytes, {} has {free}", target.shown());
    }
    for (name, before) in lacking {
        *bytes += take_segment(source, target, &name, before, progress, told).await?;
        *segments += 1;
        progress.segments_done = progress.segments_done.saturating_add(1);
        told(*progress);
    }
    Ok(())
}

/// Goes on behind what an earlier attempt left. Returns the bytes that were sent now.
async fn take_segment(
    source: &dyn Source,
    target: &Target,
    name: &SegmentName,
    before: Digest,
    progress: &mut Progress,
    told: &mut impl FnMut(Progress),
) -> anyhow::Result<u64> {
    let files = target.segments();
    let mut attempts = 0;
    let mut sent: u64 = 0;
    let mut anew = false;
    loop {
        let have = files.size(&name.address, SegmentCopy::Part)?.unwrap_or(0);
        if have < name.bytes {
            match take_pieces(source, target, name, have, progress, told).await {
                Ok(bytes) => sent = sent.saturating_add(bytes),
                Err(error) if error.is::<Replaced>() => {
                    // Nobody has the rest of it any more.
                    files.remove(&name.address, SegmentCopy::Part)?;
                    return Err(error);
                }
                Err(error) => {
                    let now = files.size(&name.address, SegmentCopy::Part)?.unwrap_or(0);
                    sent = sent.saturating_add(now.saturating_sub(have));
                    attempts = if now > have { 0 } else { attempts + 1 };
                    if attempts >= ATTEMPTS {
                        return Err(error.context(format!("segment {} was not sent", name.address)));
                    }
                    sleep(AGAIN).await;
                }
            }
            continue;
        }
        match SegmentCheck::of(*name, before, SegmentCopy::Part).run(files) {
            Ok(_) => {
                files.finish(&name.address)?;
                return Ok(sent);
            }
            // Parts of several attempts may not fit together: once more, all of it.
            Err(StorageError::Corrupt { .. } | StorageError::Version { .. }) if !anew => {
                files.remove(&name.address, SegmentCopy::Part)?;
                anew = true;
            }
            Err(error) => {
                files.remove(&name.address, SegmentCopy::Part)?;
                return Err(error).context(format!("segment {} came damaged", name.address));
            }
        }
    }
}

async fn take_pieces(
    source: &dyn Source,
    target: &Target,
    name: &SegmentName,
    from: u64,
    progress: &mut Progress,
    told: &mut impl FnMut(Progress),
) -> anyhow::Result<u64> {
    let mut pieces = source.segment(name, from).await?;
    let mut at = from;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let end = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if piece.is_empty() || end > name.bytes {
            bail!("{end} bytes came of {}", name.bytes);
        }
        target.segments().append(&name.address, at, &piece)?;
        progress.segment_bytes_done = progress.segment_bytes_done.saturating_add(end.saturating_sub(at));
        told(*progress);
        at = end;
    }
    ensure!(at == name.bytes, "the segment was cut off");
    Ok(at.saturating_sub(from))
}
