//! A folder that backups lie in. Its files are for their owner only.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use only1mcp_storage::{FileSegments, Segments, free_bytes};

use super::place::{Part, Place};

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    shown: String,
    /// Held while something is written.
    lock: Option<File>,
}

impl Folder {
    /// Makes what is not there, and keeps others from writing at the same time.
    pub(super) fn create(at: &str) -> anyhow::Result<Self> {
        let root = Path::new(at);
        for part in Part::ALL {
            let folder = root.join(part.name());
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another backup into {at} is under way"),
            Err(TryLockError::Error(error)) => return Err(error).context("the folder cannot be locked"),
        }
        Ok(Self { root: root.to_owned(), shown: at.to_owned(), lock: Some(lock) })
    }

    pub(super) fn existing(at: &str) -> anyhow::Result<Self> {
        let root = Path::new(at);
        let found = root.join(Part::Manifests.name()).is_dir();
        ensure!(found, "{at} holds no backups: there is no folder `manifests`");
        Ok(Self { root: root.to_owned(), shown: at.to_owned(), lock: None })
    }
}

impl Place for Folder {
    fn shown(&self) -> &str {
        &self.shown
    }

    fn files(&self, part: Part) -> Arc<dyn Segments> {
        Arc::new(FileSegments::existing(self.root.join(part.name())))
    }

    fn names(&self, part: Part) -> anyhow::Result<Vec<String>> {
        let folder = self.root.join(part.name());
        let mut out = Vec::new();
        if !folder.is_dir() {
            return Ok(out);
        }
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            out.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        out.sort_unstable();
        Ok(out)
    }

    fn read(&self, name: &str, max: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.root.join(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        ensure!(file.metadata()?.len() <= max, "it is too large");
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let path = self.root.join(name);
        let part = path.with_file_name("part");
        let failed = || format!("cannot write {}", path.display());
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part);
        let mut file = file.with_context(failed)?;
        file.write_all(content).and_then(|()| file.sync_all()).with_context(failed)?;
        std::fs::rename(&part, &path).with_context(failed)?;
        // A name that is there after a crash.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        Ok(())
    }

    fn sweep(&self, names: &[String]) -> anyhow::Result<()> {
        if self.lock.is_some() {
            names.iter().try_for_each(|name| std::fs::remove_file(self.root.join(name)))?;
        }
        Ok(())
    }

    fn free_bytes(&self) -> anyhow::Result<Option<u64>> {
        Ok(Some(free_bytes(&self.root)?))
    }

    fn is_remote(&self) -> bool {
        false
    }
}
