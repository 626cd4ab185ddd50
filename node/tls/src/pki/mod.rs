//! The cluster's private certificate authority: who may call itself a node or an administrator.
//!
//! A certificate says who its holder is in one URI (`urn:only1mcp:…`, see `identity`); names of hosts are there
//! for clients that check them. `authority` makes certificates, `files` keeps them, `rotate` replaces the root
//! while the cluster runs, `command` is `only1mcp pki`.

mod authority;
mod command;
mod describe;
mod error;
mod files;
mod identity;
mod rotate;

pub use authority::{Authority, ClientSubject, Issued, NodeSubject, Validity};
pub use command::{PkiArgs, run};
pub use describe::{Description, describe};
pub use error::PkiError;
pub use files::{CA_BUNDLE_FILE, CA_KEY_FILE, CertificateFiles, Overwrite, PkiFolder};
pub use identity::{CertIdentity, node_urn};

#[cfg(test)]
mod tests;
