//! The folder that backups lie in. Files are for their owner only: they hold the cluster's secrets.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use only1mcp_domain::limits;
use only1mcp_storage::FileSegments;

use super::manifest::Manifest;

/// A manifest of a million segments is smaller.
const MANIFEST_BYTES_MAX: u64 = 512 << 20;
const EXTENSION: &str = "json";

/// A manifest's name, and why it cannot be read.
pub type Unreadable = (String, String);

#[derive(Debug)]
pub struct Target {
    root: PathBuf,
    pub segments: FileSegments,
    /// Held while something is written.
    _lock: Option<File>,
}

impl Target {
    /// Makes what is not there, and keeps others from writing at the same time.
    pub fn create(root: &Path) -> anyhow::Result<Self> {
        for folder in ["images", "segments", "manifests"] {
            let folder = root.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another backup into {} is under way", root.display()),
            Err(TryLockError::Error(error)) => return Err(error).context("the folder cannot be locked"),
        }
        Ok(Self {
            root: root.to_owned(),
            segments: FileSegments::open(root.join("segments"))?,
            _lock: Some(lock),
        })
    }

    /// For reading. Errors: there are no backups.
    pub fn existing(root: &Path) -> anyhow::Result<Self> {
        let found = root.join("manifests").is_dir();
        ensure!(found, "{} holds no backups: there is no folder `manifests`", root.display());
        let segments = FileSegments::existing(root.join("segments"));
        Ok(Self { root: root.to_owned(), segments, _lock: None })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn image_path(&self, name: &str) -> PathBuf {
        self.root.join("images").join(format!("{name}.image"))
    }

    pub(super) fn image_part(&self) -> PathBuf {
        self.root.join("images").join("part")
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.root.join("manifests").join(format!("{name}.{EXTENSION}"))
    }

    /// Makes the backup one: everything it names is there and synced.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> anyhow::Result<PathBuf> {
        let path = self.manifest_path(&manifest.name());
        let part = self.root.join("manifests").join("part");
        write_synced(&part, &manifest.encode()?)?;
        rename_synced(&part, &path)?;
        Ok(path)
    }

    /// Names of all backups that are complete, the newest last; with those that cannot be read, and why.
    pub fn manifests(&self) -> anyhow::Result<(Vec<Manifest>, Vec<Unreadable>)> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for name in self.stems("manifests", EXTENSION)? {
            match self.manifest(&name) {
                Ok(manifest) => good.push(manifest),
                Err(error) => bad.push((name, format!("{error:#}"))),
            }
        }
        good.sort_by_key(|manifest| (manifest.created_at_ms, manifest.epoch, manifest.log_index));
        Ok((good, bad))
    }

    /// By name, or by the path of its file.
    pub fn manifest(&self, name: &str) -> anyhow::Result<Manifest> {
        let stem = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name);
        let stem = stem.strip_suffix(&format!(".{EXTENSION}")).unwrap_or(stem);
        let path = self.manifest_path(stem);
        let read = || -> anyhow::Result<Manifest> {
            let file = File::open(&path)?;
            ensure!(file.metadata()?.len() <= MANIFEST_BYTES_MAX, "it is too large");
            let mut bytes = Vec::new();
            file.take(MANIFEST_BYTES_MAX).read_to_end(&mut bytes)?;
            let manifest = Manifest::decode(&bytes)?;
            ensure!(manifest.name() == stem, "it is the manifest of {}", manifest.name());
            Ok(manifest)
        };
        read().with_context(|| format!("{}", path.display()))
    }

    /// The newest. Errors: there is none that can be read.
    pub fn newest(&self) -> anyhow::Result<Manifest> {
        let (mut good, bad) = self.manifests()?;
        match (good.pop(), bad.first()) {
            (Some(newest), _) => Ok(newest),
            (None, Some((name, problem))) => bail!("no backup can be read; {name}: {problem}"),
            (None, None) => bail!("{} holds no complete backup", self.root.display()),
        }
    }

    /// What a transfer left that did not come to its end.
    pub fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let (good, bad) = self.manifests()?;
        let named = |stem: &str| {
            good.iter().any(|manifest| manifest.name() == stem) || bad.iter().any(|(name, _)| name == stem)
        };
        let images = self.stems("images", "image")?.into_iter().filter(|stem| !named(stem));
        let mut out: Vec<String> = images.map(|stem| format!("images/{stem}.image")).collect();
        out.extend(self.image_part().exists().then(|| "images/part".to_owned()));
        out.extend(self.stems("segments", "part")?.into_iter().map(|stem| format!("segments/{stem}.part")));
        Ok(out)
    }

    /// Removes images that no manifest names. Parts of segments stay: the next backup goes on with them.
    pub(super) fn sweep(&self) -> anyhow::Result<()> {
        for left in self.leftovers()?.into_iter().filter(|left| left.starts_with("images/")) {
            std::fs::remove_file(self.root.join(left))?;
        }
        Ok(())
    }

    /// File names in a folder that end in `.extension`, without it.
    fn stems(&self, folder: &str, extension: &str) -> anyhow::Result<Vec<String>> {
        let folder = self.root.join(folder);
        let mut out = Vec::new();
        if !folder.is_dir() {
            return Ok(out);
        }
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if path.extension().is_some_and(|found| found == extension) {
                out.extend(stem.map(str::to_owned));
            }
        }
        out.sort_unstable();
        Ok(out)
    }

    /// The frames of a backup's image, as they were sent.
    pub fn frames(&self, manifest: &Manifest) -> anyhow::Result<Frames> {
        let path = self.image_path(&manifest.name());
        let file = File::open(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Frames { file: BufReader::new(file), left: manifest.image.bytes })
    }
}

/// An image's file, frame by frame: a length, then so many bytes.
pub struct Frames {
    file: BufReader<File>,
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

pub(super) fn write_synced(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(())
}

/// A name that is there after a crash.
pub(super) fn rename_synced(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    if let Some(folder) = to.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
