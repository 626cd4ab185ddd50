//! Replacing the root while the cluster runs, in three steps, each safe to stop after.
//!
//! `start` makes the new root and adds it to the bundle: give the bundle to every node, which then trusts both.
//! `switch` lets the new root issue: reissue each certificate, nodes reload them. `finish` drops the old root.

use std::fs;
use std::path::Path;

use super::authority::{Authority, Validity};
use super::error::PkiError;
use super::files::{
    CA_BUNDLE_FILE, CA_KEY_FILE, NEXT_KEY_FILE, Overwrite, PkiFolder, Root, certificates_in, refuse_existing,
    rename, write_private, write_public,
};

impl PkiFolder {
    /// Makes the next root and trusts it beside the present one.
    /// Errors: `RotationStarted` when that was done already.
    pub fn rotate_start(&self, validity: Validity) -> Result<(), PkiError> {
        let next_key = self.path(NEXT_KEY_FILE);
        if refuse_existing(&[&next_key], Overwrite::Refuse).is_err() {
            return Err(PkiError::RotationStarted { path: next_key });
        }
        // Proves that key and bundle fit before anything is written.
        self.issuing_root()?;
        let mut roots = self.roots()?;
        let next = Authority::create(validity)?;
        // The key first: a root whose key is lost could never issue, a key without its root does no harm.
        write_private(&next_key, &next.key_pem)?;
        let text: String = roots.drain(..).map(|root| root.pem).chain([next.certificate_pem]).collect();
        write_public(&self.path(CA_BUNDLE_FILE), &text)
    }

    /// Lets the next root issue from now on; both stay trusted.
    /// Errors: `RotationNotStarted`; `KeyWithoutRoot` when the bundle does not trust the next root.
    pub fn rotate_switch(&self) -> Result<(), PkiError> {
        let next_key = self.path(NEXT_KEY_FILE);
        if !next_key.exists() {
            return Err(PkiError::RotationNotStarted { path: next_key });
        }
        self.root_of(NEXT_KEY_FILE)?;
        // The old key is not kept: a key that must not issue any more is best gone.
        rename(&next_key, &self.path(CA_KEY_FILE))
    }

    /// Trusts the issuing root alone.
    /// Errors: `NothingToDrop`; `RotationStarted` before the switch; `StillInUse` while a certificate in this
    /// folder comes from another root, unless `force`.
    pub fn rotate_finish(&self, force: bool) -> Result<(), PkiError> {
        let next_key = self.path(NEXT_KEY_FILE);
        if next_key.exists() {
            return Err(PkiError::RotationStarted { path: next_key });
        }
        let issuing = self.issuing_root()?;
        if self.roots()?.len() == 1 {
            return Err(PkiError::NothingToDrop);
        }
        let files = self.issued_by_others(&issuing)?;
        if !files.is_empty() && !force {
            return Err(PkiError::StillInUse { files });
        }
        write_public(&self.path(CA_BUNDLE_FILE), &issuing.pem)
    }

    /// Names of the certificate files in this folder that another root issued.
    fn issued_by_others(&self, issuing: &Root) -> Result<Vec<String>, PkiError> {
        let subject = names_of(&issuing.der)?.subject;
        let listed = fs::read_dir(self.dir())
            .map_err(|source| PkiError::Read { path: self.dir().to_path_buf(), source })?;
        let mut others = Vec::new();
        for entry in listed.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == CA_BUNDLE_FILE || !is_certificate_file(&entry.path(), &name) {
                continue;
            }
            if let Some(leaf) = certificates_in(&entry.path())?.first()
                && names_of(leaf)?.issuer != subject
            {
                others.push(name);
            }
        }
        others.sort();
        Ok(others)
    }
}

fn is_certificate_file(path: &Path, name: &str) -> bool {
    path.extension().is_some_and(|extension| extension == "pem") && !name.ends_with("-key.pem")
}

struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

fn names_of(der: &[u8]) -> Result<Names, PkiError> {
    use x509_parser::prelude::FromDer as _;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der)
        .map_err(|error| PkiError::NotACertificate { detail: error.to_string() })?;
    let tbs = &certificate.tbs_certificate;
    Ok(Names { subject: tbs.subject.as_raw().to_vec(), issuer: tbs.issuer.as_raw().to_vec() })
}
