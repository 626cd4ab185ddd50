//! Small files written whole, and what `std::fs` leaves to its caller: syncing directories, free space.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::StorageError;

/// Makes created, renamed and removed names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| StorageError::io("sync folder", folder, e))
}

/// Bytes that an unprivileged process may still write on the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64, StorageError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| StorageError::io("statvfs", path, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

pub(crate) fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let mut content = Vec::new();
    match File::open(path).and_then(|mut f| f.read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io("read", path, e)),
    }
}

/// Replaces `path` by `content`: after a crash it is the old file or the new one, whole. Readable by its owner only.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|e| StorageError::io("write", path, e))?;
    sync_folder(parent)
}

/// A small file with one line of header, so that rot and foreign versions are noticed:
/// `only1mcp <kind> <version> <crc32 of the rest, hex>`.
pub(crate) struct Sealed {
    pub kind: &'static str,
    pub version: u32,
}

impl Sealed {
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StorageError> {
        let mut out = format!("only1mcp {} {} {:08x}\n", self.kind, self.version, crc32fast::hash(content))
            .into_bytes();
        out.extend_from_slice(content);
        write_atomic(path, &out)
    }

    /// Errors: `Corrupt`, or `Version` when another version wrote it.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(bytes) = read_if_exists(path)? else { return Ok(None) };
        let damaged = || StorageError::corrupt(path, format!("no {} header of only1mcp", self.kind));
        let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(damaged)?;
        let (header, rest) = bytes.split_at_checked(end).ok_or_else(damaged)?;
        let content = rest.get(1..).unwrap_or_default();
        let header = std::str::from_utf8(header).map_err(|_| damaged())?;
        let words: Vec<&str> = header.split(' ').collect();
        let [product, kind, version, crc] = words.as_slice() else { return Err(damaged()) };
        if *product != "only1mcp" || *kind != self.kind {
            return Err(damaged());
        }
        let found: u32 = version.parse().map_err(|_| damaged())?;
        // The version is read first: a later one may have changed what the checksum covers.
        if found != self.version {
            return Err(StorageError::Version {
                path: path.display().to_string(),
                found,
                known: self.version,
            });
        }
        if u32::from_str_radix(crc, 16).ok() != Some(crc32fast::hash(content)) {
            return Err(StorageError::corrupt(path, "checksum does not match"));
        }
        Ok(Some(content.to_vec()))
    }
}
