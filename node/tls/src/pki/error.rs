//! What can go wrong with keys and certificates, said so that the operator knows which file to look at.

use std::io;
use std::path::PathBuf;

/// Why a key or certificate could not be made, read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} exists already; --force replaces it, and what relied on it must then be given the new one", path.display())]
    Exists { path: PathBuf },
    #[error("{}: {detail}", path.display())]
    BadFile { path: PathBuf, detail: String },
    #[error("the certificate cannot be made: {source}")]
    Make { source: rcgen::Error },
    #[error("this is not a certificate: {detail}")]
    NotACertificate { detail: String },
    #[error("{name:?} cannot name a node: {allowed}")]
    BadNodeName { name: String, allowed: &'static str },
    #[error("a validity of {days} days is not between 1 and {days_max}")]
    BadValidity { days: u32, days_max: u32 },
    #[error("no root in {} belongs to the key in {}", bundle.display(), key.display())]
    KeyWithoutRoot { bundle: PathBuf, key: PathBuf },
    #[error("a rotation was already started: {} exists; go on with `pki rotate switch`", path.display())]
    RotationStarted { path: PathBuf },
    #[error("no rotation was started: {} is missing; begin with `pki rotate start`", path.display())]
    RotationNotStarted { path: PathBuf },
    #[error("there is one root only, so none to drop")]
    NothingToDrop,
    #[error("still issued by a root that would be dropped: {}; reissue them, or drop the root with --force", files.join(", "))]
    StillInUse { files: Vec<String> },
}

impl From<rcgen::Error> for PkiError {
    fn from(source: rcgen::Error) -> Self {
        PkiError::Make { source }
    }
}
