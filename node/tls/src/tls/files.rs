//! The files of one TLS identity, read all at once and checked to belong together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsError;

/// The largest PEM file that is read, in bytes: a chain and a bundle of roots are a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a certificate, its key and the trusted roots lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate, then any intermediates.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The roots that others must be certified by; may hold several during a rotation. Without it nobody's
    /// certificate can be checked.
    pub ca: Option<PathBuf>,
}

/// What the files say, ready for use.
pub struct Material {
    /// Grows by one with every reload.
    pub generation: u64,
    pub certified: Arc<CertifiedKey>,
    pub roots: Option<Arc<RootCertStore>>,
}

/// The bytes of the files: what tells a change, whatever the file system's clock says.
#[derive(PartialEq, Eq)]
pub struct Contents {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    ca: Option<Vec<u8>>,
}

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl TlsFiles {
    /// Errors: `Read`; `BadFile` when a file is too large.
    pub fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?.into(),
            ca: self.ca.as_deref().map(read).transpose()?,
        })
    }

    /// Makes sense of the files' bytes.
    /// Errors: `BadFile`, `KeyMismatch`.
    pub fn parse(&self, contents: &Contents, generation: u64) -> Result<Material, TlsError> {
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let bad_key = |detail: String| TlsError::BadFile { path: self.key.clone(), detail };
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| bad_key(error.to_string()))?;
        let key =
            provider().key_provider.load_private_key(key).map_err(|error| bad_key(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| TlsError::KeyMismatch {
            key: self.key.clone(),
            certificate: self.certificate.clone(),
        })?;
        let roots = match (&self.ca, &contents.ca) {
            (Some(path), Some(bytes)) => Some(Arc::new(roots(path, bytes)?)),
            _ => None,
        };
        Ok(Material { generation, certified: Arc::new(certified), roots })
    }
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, TlsError> {
    let path = path.as_ref();
    let failed = |source| TlsError::Read { path: path.to_path_buf(), source };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES_MAX {
        let detail = format!("{length} bytes are too many for a PEM file; at most {FILE_BYTES_MAX} are read");
        return Err(TlsError::BadFile { path: path.to_path_buf(), detail });
    }
    fs::read(path).map_err(failed)
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |detail: String| TlsError::BadFile { path: path.to_path_buf(), detail };
    let found = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("holds no certificate".to_owned()));
    }
    Ok(found)
}

/// The authorities in a bundle, each of which can be used as a root.
/// Errors: `Read`, `BadFile`.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    roots(path, &bytes)?;
    certificates(path, &bytes)
}

/// The roots of a bundle; one that cannot be used is an error, not skipped, so that a damaged bundle is noticed.
pub fn roots(path: &Path, bytes: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for root in certificates(path, bytes)? {
        store
            .add(root)
            .map_err(|error| TlsError::BadFile { path: path.to_path_buf(), detail: error.to_string() })?;
    }
    Ok(store)
}
