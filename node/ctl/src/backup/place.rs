//! Where backups lie: a folder, or a bucket of an S3-compatible store. Names are relative: `manifests/NAME.json`.

use std::fmt::Debug;
use std::sync::Arc;

use only1mcp_storage::Segments;

use super::bucket::Bucket;
use super::folder::Folder;

/// What lies in a place, besides small files at its top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Images,
    Segments,
    Manifests,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Images, Self::Segments, Self::Manifests];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Segments => "segments",
            Self::Manifests => "manifests",
        }
    }
}

pub(super) trait Place: Send + Sync + Debug {
    /// As its user named it.
    fn shown(&self) -> &str;

    /// Large files of a part, named by hashes.
    fn files(&self, part: Part) -> Arc<dyn Segments>;

    /// Names of the files in a part, ascending.
    fn names(&self, part: Part) -> anyhow::Result<Vec<String>>;

    /// `None` when it is not there. Errors: it has more than `max` bytes.
    fn read(&self, name: &str, max: u64) -> anyhow::Result<Option<Vec<u8>>>;

    /// Replaces a small file; durable at return, never half written.
    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()>;

    /// Removes files that no backup names; only where nobody else can be writing.
    fn sweep(&self, names: &[String]) -> anyhow::Result<()>;

    /// Room that is left, where that is known. Units: bytes.
    fn free_bytes(&self) -> anyhow::Result<Option<u64>>;

    /// Whether to look at what is there costs as much as to fetch it: then what is listed counts as whole.
    fn is_remote(&self) -> bool;
}

/// For writing: made where it is not there.
pub(super) fn create(at: &str) -> anyhow::Result<Box<dyn Place>> {
    Ok(match remote(at)? {
        Some(bucket) => Box::new(bucket),
        None => Box::new(Folder::create(at)?),
    })
}

/// For reading. Errors: there are no backups.
pub(super) fn existing(at: &str) -> anyhow::Result<Box<dyn Place>> {
    Ok(match remote(at)? {
        Some(bucket) => Box::new(bucket),
        None => Box::new(Folder::existing(at)?),
    })
}

fn remote(at: &str) -> anyhow::Result<Option<Bucket>> {
    if at.starts_with("s3://") {
        return Bucket::open(at).map(Some);
    }
    anyhow::ensure!(!at.contains("://"), "{at} is neither a folder nor s3://BUCKET/PREFIX");
    Ok(None)
}
