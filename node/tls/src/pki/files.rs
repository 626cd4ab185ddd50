//! Keys and certificates on disk: keys readable by their owner alone, nothing overwritten by accident,
//! each file replaced whole, so that a node that reloads never reads half of one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::authority::{Authority, Issued, belongs_together};
use super::error::PkiError;

/// The roots that are trusted: one, or two and more during a rotation.
pub const CA_BUNDLE_FILE: &str = "ca.pem";
/// The key that issues.
pub const CA_KEY_FILE: &str = "ca-key.pem";
/// The key that will issue after `pki rotate switch`.
pub const NEXT_KEY_FILE: &str = "ca-next-key.pem";

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// One trusted root, as it stands in the bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    pub pem: String,
    pub der: CertificateDer<'static>,
}

/// What to do where a file exists already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    Refuse,
    Replace,
}

impl Overwrite {
    pub fn forced(force: bool) -> Self {
        if force { Overwrite::Replace } else { Overwrite::Refuse }
    }
}

/// Where a certificate and its key were put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A folder that holds an authority, and, unless told otherwise, what it issued.
#[derive(Clone, Debug)]
pub struct PkiFolder {
    dir: PathBuf,
}

impl PkiFolder {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts a new authority here.
    /// Errors: `Exists` unless replacing; nothing is written then.
    pub fn save_authority(&self, root: &Issued, overwrite: Overwrite) -> Result<(), PkiError> {
        let (bundle, key) = (self.path(CA_BUNDLE_FILE), self.path(CA_KEY_FILE));
        refuse_existing(&[&bundle, &key], overwrite)?;
        make_folder(&self.dir)?;
        write_private(&key, &root.key_pem)?;
        write_public(&bundle, &root.certificate_pem)
    }

    /// Puts an issued certificate and its key into `dir` as `NAME.pem` and `NAME-key.pem`.
    /// Errors: `Exists` unless replacing; nothing is written then.
    pub fn save_issued(
        dir: &Path,
        name: &str,
        issued: &Issued,
        overwrite: Overwrite,
    ) -> Result<CertificateFiles, PkiError> {
        let files = CertificateFiles {
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}-key.pem")),
        };
        refuse_existing(&[&files.certificate, &files.key], overwrite)?;
        make_folder(dir)?;
        write_private(&files.key, &issued.key_pem)?;
        write_public(&files.certificate, &issued.certificate_pem)?;
        Ok(files)
    }

    /// The authority that issues now.
    pub fn authority(&self) -> Result<Authority, PkiError> {
        let key_pem = read_text(&self.path(CA_KEY_FILE))?;
        let root = self.issuing_root()?;
        Authority::from_root(&root.der, &key_pem)
    }

    /// The root that `ca-key.pem` belongs to.
    pub fn issuing_root(&self) -> Result<Root, PkiError> {
        self.root_of(CA_KEY_FILE)
    }

    /// The root that the key in that file belongs to.
    /// Errors: `KeyWithoutRoot`.
    pub fn root_of(&self, key_file: &str) -> Result<Root, PkiError> {
        let (bundle, key) = (self.path(CA_BUNDLE_FILE), self.path(key_file));
        let key_pem = read_text(&key)?;
        for root in self.roots()? {
            if belongs_together(&root.der, &key_pem)? {
                return Ok(root);
            }
        }
        Err(PkiError::KeyWithoutRoot { bundle, key })
    }

    /// Every root of the bundle.
    pub fn roots(&self) -> Result<Vec<Root>, PkiError> {
        let path = self.path(CA_BUNDLE_FILE);
        let text = read_text(&path)?;
        let bad = |detail: String| PkiError::BadFile { path: path.clone(), detail };
        let mut roots = Vec::new();
        for piece in text.split_inclusive(PEM_END) {
            let Some(from) = piece.find(PEM_BEGIN) else { continue };
            let pem = format!("{}\n", piece.get(from..).unwrap_or_default());
            let der =
                CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| bad(error.to_string()))?;
            roots.push(Root { pem, der });
        }
        if roots.is_empty() {
            return Err(bad("holds no certificate".to_owned()));
        }
        Ok(roots)
    }
}

/// The certificates of a PEM file, in its order.
/// Errors: `BadFile` when it holds none.
pub fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let bytes = fs::read(path).map_err(|source| PkiError::Read { path: path.to_path_buf(), source })?;
    let bad = |detail: String| PkiError::BadFile { path: path.to_path_buf(), detail };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("holds no certificate".to_owned()));
    }
    Ok(found)
}

pub fn read_text(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::Read { path: path.to_path_buf(), source })
}

pub fn refuse_existing(paths: &[&Path], overwrite: Overwrite) -> Result<(), PkiError> {
    match paths.iter().find(|path| path.exists()) {
        Some(path) if overwrite == Overwrite::Refuse => Err(PkiError::Exists { path: path.to_path_buf() }),
        _ => Ok(()),
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    replace(path, text, 0o600).map_err(|source| PkiError::Write { path: path.to_path_buf(), source })
}

/// Writes a file that anyone may read.
pub fn write_public(path: &Path, text: &str) -> Result<(), PkiError> {
    replace(path, text, 0o644).map_err(|source| PkiError::Write { path: path.to_path_buf(), source })
}

/// Renames, where the old name must exist.
pub fn rename(from: &Path, to: &Path) -> Result<(), PkiError> {
    fs::rename(from, to).map_err(|source| PkiError::Write { path: to.to_path_buf(), source })
}

fn make_folder(dir: &Path) -> Result<(), PkiError> {
    fs::create_dir_all(dir).map_err(|source| PkiError::Write { path: dir.to_path_buf(), source })
}

/// Writes beside, syncs, renames over: a reader sees the old file or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // A file left by an interrupted run could have another mode: the new one is always made anew.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    // The rename is durable only when the folder is.
    match path.parent() {
        Some(dir) if cfg!(unix) && !dir.as_os_str().is_empty() => fs::File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}
