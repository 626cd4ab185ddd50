//! A place of backups, opened: what lies there, and how it is sealed.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use only1mcp_domain::ids::Digest;
use only1mcp_domain::limits;
use only1mcp_storage::{
    SealedSegments, Sealer, SegmentCopy, SegmentName, Segments, StorageError, segment_is_here,
};

use super::manifest::Manifest;
use super::place::{self, Part, Place};
use super::protection::{self, Protection};

/// A manifest of a million segments is smaller.
const MANIFEST_BYTES_MAX: u64 = 512 << 20;
const EXTENSION: &str = ".json";
const FRAME_BUFFER_BYTES: usize = 256 << 10;

/// A manifest's name, and why it cannot be read.
pub type Unreadable = (String, String);

#[derive(Debug)]
pub struct Target {
    place: Box<dyn Place>,
    stores: Stores,
}

struct Stores {
    segments: Arc<dyn Segments>,
    images: Arc<dyn Segments>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stores")
    }
}

impl Stores {
    fn open(place: &dyn Place, keys: Option<&Arc<Sealer>>) -> Self {
        let files = |part| -> Arc<dyn Segments> {
            let files = place.files(part);
            match keys {
                Some(keys) => Arc::new(SealedSegments::new(files, keys.clone())),
                None => files,
            }
        };
        Self { segments: files(Part::Segments), images: files(Part::Images) }
    }
}

impl Target {
    /// For writing to a folder or `s3://BUCKET/PREFIX`: made where it is not there.
    /// Errors: backups there are protected otherwise.
    pub async fn create(at: &str, protection: &Protection) -> anyhow::Result<Self> {
        let place = place::create(at)?;
        let keys = protection::begin(&*place, protection).await?;
        let stores = Stores::open(&*place, keys.as_ref());
        Ok(Self { place, stores })
    }

    /// For reading. Errors: there are no backups; they do not open by these keys.
    pub async fn existing(at: &str, protection: &Protection) -> anyhow::Result<Self> {
        let place = place::existing(at)?;
        let keys = protection::open(&*place, protection).await?;
        let stores = Stores::open(&*place, keys.as_ref());
        Ok(Self { place, stores })
    }

    /// For looking at manifests alone, which takes no keys.
    pub fn listing(at: &str) -> anyhow::Result<Self> {
        let place = place::existing(at)?;
        let stores = Stores::open(&*place, None);
        Ok(Self { place, stores })
    }

    pub fn shown(&self) -> &str {
        self.place.shown()
    }

    /// Of the audit trail.
    pub fn segments(&self) -> &dyn Segments {
        &*self.stores.segments
    }

    /// Of the state, each under the address of its backup's name.
    pub(super) fn images(&self) -> &dyn Segments {
        &*self.stores.images
    }

    pub(super) fn free_bytes(&self) -> anyhow::Result<Option<u64>> {
        self.place.free_bytes()
    }

    /// Those of `names` that need not be sent again.
    pub(super) fn present(&self, names: &[SegmentName]) -> anyhow::Result<BTreeSet<Digest>> {
        if self.place.is_remote() {
            return Ok(self.segments().addresses()?.into_iter().collect());
        }
        let here = names.iter().filter(|name| segment_is_here(self.segments(), name));
        Ok(here.map(|name| name.address).collect())
    }

    /// Makes the backup one: everything it names is there and synced.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> anyhow::Result<()> {
        self.place.write(&manifest_file(&manifest.name()), &manifest.encode()?)
    }

    /// Names of all backups that are complete, the newest last; with those that cannot be read, and why.
    pub fn manifests(&self) -> anyhow::Result<(Vec<Manifest>, Vec<Unreadable>)> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for file in self.place.names(Part::Manifests)? {
            let Some(name) = file.strip_suffix(EXTENSION) else { continue };
            match self.manifest(name) {
                Ok(manifest) => good.push(manifest),
                Err(error) => bad.push((name.to_owned(), format!("{error:#}"))),
            }
        }
        good.sort_by_key(|manifest| (manifest.created_at_ms, manifest.epoch, manifest.log_index));
        Ok((good, bad))
    }

    /// By name, or by the path of its file.
    pub fn manifest(&self, name: &str) -> anyhow::Result<Manifest> {
        let stem = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name);
        let stem = stem.strip_suffix(EXTENSION).unwrap_or(stem);
        let file = manifest_file(stem);
        let read = || -> anyhow::Result<Manifest> {
            let bytes = self.place.read(&file, MANIFEST_BYTES_MAX)?.context("it is not there")?;
            let manifest = Manifest::decode(&bytes)?;
            ensure!(manifest.name() == stem, "it is the manifest of {}", manifest.name());
            Ok(manifest)
        };
        read().with_context(|| format!("{file} in {}", self.shown()))
    }

    /// The newest. Errors: there is none that can be read.
    pub fn newest(&self) -> anyhow::Result<Manifest> {
        let (mut good, bad) = self.manifests()?;
        match (good.pop(), bad.first()) {
            (Some(newest), _) => Ok(newest),
            (None, Some((name, problem))) => bail!("no backup can be read; {name}: {problem}"),
            (None, None) => bail!("{} holds no complete backup", self.shown()),
        }
    }

    /// What a transfer left that did not come to its end.
    pub fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let (good, bad) = self.manifests()?;
        let named: BTreeSet<String> = good
            .iter()
            .map(Manifest::name)
            .chain(bad.into_iter().map(|(name, _)| name))
            .map(|name| image_address(&name).to_string())
            .collect();
        let images = self.place.names(Part::Images)?.into_iter().filter(|file| !named.contains(file));
        let parts = self.place.names(Part::Segments)?.into_iter().filter(|file| file.ends_with(".part"));
        let images = images.map(|file| format!("{}/{file}", Part::Images.name()));
        Ok(images.chain(parts.map(|file| format!("{}/{file}", Part::Segments.name()))).collect())
    }

    /// Removes images that no manifest names. Parts of segments stay: the next backup goes on with them.
    pub(super) fn sweep(&self) -> anyhow::Result<()> {
        let images: Vec<String> =
            self.leftovers()?.into_iter().filter(|left| left.starts_with(Part::Images.name())).collect();
        self.place.sweep(&images)
    }

    /// The frames of a backup's image, as they were sent.
    pub fn frames(&self, manifest: &Manifest) -> anyhow::Result<Frames> {
        let inside =
            Inside { files: self.stores.images.clone(), address: image_address(&manifest.name()), at: 0 };
        Ok(Frames { file: BufReader::with_capacity(FRAME_BUFFER_BYTES, inside), left: manifest.image.bytes })
    }
}

fn manifest_file(name: &str) -> String {
    format!("{}/{name}{EXTENSION}", Part::Manifests.name())
}

/// Where the image of a backup lies: bound to its name, so that no other can stand in for it.
pub(super) fn image_address(name: &str) -> Digest {
    super::manifest::digest_of(format!("only1mcp backup image {name}").as_bytes())
}

/// What is inside of a whole file, from its start on.
struct Inside {
    files: Arc<dyn Segments>,
    address: Digest,
    at: u64,
}

impl io::Read for Inside {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let found = self.files.read(&self.address, SegmentCopy::Whole, self.at, into.len());
        let found = found.map_err(|error| match error {
            StorageError::Io { source, .. } => io::Error::new(source.kind(), source.to_string()),
            other => io::Error::other(other),
        })?;
        if let Some(start) = into.get_mut(..found.len()) {
            start.copy_from_slice(&found);
        }
        self.at = self.at.saturating_add(u64::try_from(found.len()).unwrap_or(u64::MAX));
        Ok(found.len())
    }
}

/// An image's file, frame by frame: a length, then so many bytes.
pub struct Frames {
    file: BufReader<Inside>,
    left: u64,
}

impl Frames {
    fn read(&mut self) -> anyhow::Result<Bytes> {
        let mut frame = Vec::new();
        let mut length: u64 = 0;
        for shift in (0..35).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            let [byte] = byte;
            frame.push(byte);
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        // A frame ends with the row that goes past its bound.
        let max = u64::try_from(2 * limits::SNAPSHOT_FRAME_BYTES_MAX).unwrap_or(u64::MAX);
        ensure!(length <= max, "a frame of {length} bytes");
        let head = frame.len();
        frame.resize(head.saturating_add(usize::try_from(length)?), 0);
        if let Some(rest) = frame.get_mut(head..) {
            self.file.read_exact(rest)?;
        }
        Ok(frame.into())
    }
}

/// Ends behind the bytes that the manifest tells of, or with an error.
impl Iterator for Frames {
    type Item = anyhow::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let read = self.read();
        match &read {
            Ok(frame) => self.left = self.left.saturating_sub(u64::try_from(frame.len()).unwrap_or(u64::MAX)),
            Err(_) => self.left = 0,
        }
        Some(read.context("the image is cut off or damaged"))
    }
}
