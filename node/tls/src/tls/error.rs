//! What can go wrong with TLS: in the files, or with the other side.

use std::io;
use std::path::PathBuf;

use crate::pki::{CertIdentity, PkiError};

/// Why a configuration or a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {detail}", path.display())]
    BadFile { path: PathBuf, detail: String },
    #[error("the key in {} does not belong to the certificate in {}", key.display(), certificate.display())]
    KeyMismatch { key: PathBuf, certificate: PathBuf },
    #[error("client certificates cannot be checked without a CA file")]
    NoRoots,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("the client certificate check cannot be set up: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    #[error("cannot reach {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("no answer from {address} within {deadline_ms} ms")]
    ConnectTimeout { address: String, deadline_ms: u64 },
    #[error("{address} is not the node it should be: {source}")]
    Handshake { address: String, source: io::Error },
    #[error("no TLS handshake within {deadline_ms} ms")]
    HandshakeTimeout { deadline_ms: u64 },
    #[error("the TLS handshake failed: {0}")]
    HandshakeFailed(io::Error),
    #[error("{who} may not use this port")]
    NotAdmitted { who: CertIdentity },
    #[error("a client without a certificate may not use this port")]
    Anonymous,
    #[error(transparent)]
    Certificate(#[from] PkiError),
}
