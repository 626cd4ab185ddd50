//! What a certificate says, for people: `pki show`.

use std::fmt;
use std::net::IpAddr;

use aws_lc_rs::digest;
use only1mcp_domain::time::TimestampMs;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::{CertIdentity, PkiError};

/// A certificate's contents, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    pub identity: CertIdentity,
    pub authority: bool,
    pub not_before: String,
    pub not_after: String,
    /// Units: milliseconds since the Unix epoch.
    pub not_after_ms: u64,
    /// SHA-256 of the DER, in hexadecimal pairs.
    pub fingerprint: String,
}

/// Reads a DER certificate.
/// Errors: `NotACertificate`.
pub fn describe(der: &[u8]) -> Result<Description, PkiError> {
    let not = |detail: String| PkiError::NotACertificate { detail };
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| not(error.to_string()))?;
    let names = certificate.subject_alternative_name().map_err(|error| not(error.to_string()))?;
    let validity = certificate.validity();
    Ok(Description {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        names: names.iter().flat_map(|found| &found.value.general_names).map(name_text).collect(),
        identity: CertIdentity::of_der(der)?,
        authority: certificate.is_ca(),
        not_before: validity.not_before.to_string(),
        not_after: validity.not_after.to_string(),
        not_after_ms: u64::try_from(validity.not_after.timestamp()).unwrap_or(0).saturating_mul(1_000),
        fingerprint: fingerprint(der),
    })
}

impl Description {
    /// Whole days left at `now`; `None` when it has expired.
    pub fn days_left(&self, now: TimestampMs) -> Option<u64> {
        self.not_after_ms.checked_sub(now.0).map(|left| left / 86_400_000)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind =
            if self.authority { "certificate authority".to_owned() } else { self.identity.to_string() };
        writeln!(f, "holder       {kind}")?;
        writeln!(f, "subject      {}", self.subject)?;
        writeln!(f, "issuer       {}", self.issuer)?;
        if !self.names.is_empty() {
            writeln!(f, "names        {}", self.names.join(", "))?;
        }
        writeln!(f, "valid        {} to {}", self.not_before, self.not_after)?;
        write!(f, "fingerprint  sha256 {}", self.fingerprint)
    }
}

fn fingerprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, der);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn name_text(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(host) => format!("DNS {host}"),
        GeneralName::URI(uri) => format!("URI {uri}"),
        GeneralName::IPAddress(bytes) => match address(bytes) {
            Some(address) => format!("IP {address}"),
            None => "IP of an impossible length".to_owned(),
        },
        other => other.to_string(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
