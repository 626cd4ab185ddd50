//! [`Segments`] in a folder: `ADDRESS` is a whole segment, `ADDRESS.part` one that is being written or fetched.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use only1mcp_domain::ids::Digest;

use crate::error::StorageError;
use crate::files::sync_folder;
use crate::segments::{SegmentCopy, Segments, elsewhere, not_here};

const PART: &str = ".part";

#[derive(Debug)]
pub struct FileSegments {
    folder: PathBuf,
}

impl FileSegments {
    /// Makes the folder when it is not there.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StorageError> {
        let folder = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&folder).map_err(|e| StorageError::io("create folder", &folder, e))?;
        Ok(Self { folder })
    }

    /// For reading only: nothing is made, and a folder that is not there holds nothing.
    pub fn existing(folder: impl AsRef<Path>) -> Self {
        Self { folder: folder.as_ref().to_path_buf() }
    }

    fn path(&self, address: &Digest, copy: SegmentCopy) -> PathBuf {
        match copy {
            SegmentCopy::Whole => self.folder.join(address.to_string()),
            SegmentCopy::Part => self.folder.join(format!("{address}{PART}")),
        }
    }
}

fn if_there<T>(
    result: io::Result<T>,
    operation: &'static str,
    path: &Path,
) -> Result<Option<T>, StorageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io(operation, path, e)),
    }
}

fn read_at_most(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    // Sized by what is there, not by what was asked for.
    let left = file.metadata()?.len().saturating_sub(offset);
    let mut out = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(length)];
    let mut filled = 0;
    while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    out.truncate(filled);
    Ok(out)
}

impl Segments for FileSegments {
    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError> {
        let path = self.path(address, copy);
        Ok(if_there(std::fs::metadata(&path), "stat", &path)?.map(|meta| meta.len()))
    }

    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let path = self.path(address, copy);
        let file = if_there(File::open(&path), "open", &path)?.ok_or_else(|| not_here(address))?;
        read_at_most(&file, offset, length).map_err(|e| StorageError::io("read", &path, e))
    }

    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.path(address, SegmentCopy::Part);
        let failed = |e| StorageError::io("write", &path, e);
        let file = OpenOptions::new()
            .write(true)
            .create(offset == 0)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        let end = file.metadata().map_err(failed)?.len();
        if end != offset {
            return Err(elsewhere(address, end, offset));
        }
        file.write_all_at(bytes, offset).map_err(failed)
    }

    fn finish(&self, address: &Digest) -> Result<(), StorageError> {
        let (part, whole) = (self.path(address, SegmentCopy::Part), self.path(address, SegmentCopy::Whole));
        File::open(&part).and_then(|f| f.sync_all()).map_err(|e| StorageError::io("fsync", &part, e))?;
        std::fs::rename(&part, &whole).map_err(|e| StorageError::io("rename", &part, e))?;
        sync_folder(&self.folder)
    }

    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError> {
        let path = self.path(address, copy);
        if if_there(std::fs::remove_file(&path), "remove", &path)?.is_some() {
            sync_folder(&self.folder)?;
        }
        Ok(())
    }

    fn addresses(&self) -> Result<Vec<Digest>, StorageError> {
        self.named(Digest::parse_hex)
    }

    fn parts(&self) -> Result<Vec<Digest>, StorageError> {
        self.named(|name| Digest::parse_hex(name.strip_suffix(PART)?))
    }
}

impl FileSegments {
    fn named(&self, address: impl Fn(&str) -> Option<Digest>) -> Result<Vec<Digest>, StorageError> {
        let Some(entries) = if_there(std::fs::read_dir(&self.folder), "list", &self.folder)? else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        for entry in entries {
            let name = entry.map_err(|e| StorageError::io("list", &self.folder, e))?.file_name();
            out.extend(name.to_str().and_then(&address));
        }
        out.sort_unstable();
        Ok(out)
    }
}
