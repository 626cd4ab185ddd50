//! Making certificates: the root, and what it issues to nodes and administrators.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::time::TimestampMs;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::pki_types::CertificateDer;

use super::PkiError;
use super::identity::{admin_urn, node_urn};

/// Certificates are valid from this long before they are made, for hosts whose clocks are behind.
const BACKDATED_S: u64 = 3_600;
/// The longest validity, in days: a root of twenty years.
pub const VALID_DAYS_MAX: u32 = 7_305;
const DAY_S: u64 = 86_400;

/// From when and for how long a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    now: TimestampMs,
    days: u32,
}

impl Validity {
    /// Errors: `BadValidity` for none at all, or more than twenty years.
    pub fn new(now: TimestampMs, days: u32) -> Result<Self, PkiError> {
        if !(1..=VALID_DAYS_MAX).contains(&days) {
            return Err(PkiError::BadValidity { days, days_max: VALID_DAYS_MAX });
        }
        Ok(Self { now, days })
    }

    fn apply(self, params: &mut CertificateParams) {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let now_s = self.now.0 / 1_000;
        params.not_before = epoch + Duration::from_secs(now_s.saturating_sub(BACKDATED_S));
        params.not_after = epoch + Duration::from_secs(now_s.saturating_add(u64::from(self.days) * DAY_S));
    }
}

/// What a node's certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSubject {
    pub name: String,
    /// Host names that clients reach it by.
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
}

/// What an administrator's certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientSubject {
    pub tenant: TenantId,
    pub principal: PrincipalId,
}

/// A certificate with its key, as PEM.
pub struct Issued {
    pub certificate_pem: String,
    pub key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// A root with its key: what issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new root and returns it with its key, as PEM.
    pub fn create(validity: Validity) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // Roots of one cluster differ in name, so that in a bundle of two it is plain which issued what.
        let id = params.key_identifier(&key);
        let mark: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        params.distinguished_name = named(&format!("Only1MCP cluster CA {mark}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity.apply(&mut params);
        let root = params.self_signed(&key)?;
        Ok(Issued { certificate_pem: root.pem(), key_pem: key.serialize_pem() })
    }

    /// The authority of an existing root and its key.
    pub fn from_root(root: &CertificateDer<'_>, key_pem: &str) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self { issuer: Issuer::from_ca_cert_der(root, key)? })
    }

    /// Issues a node's certificate: server and client in one, because every node is both.
    pub fn issue_node(&self, subject: &NodeSubject, validity: Validity) -> Result<Issued, PkiError> {
        let mut names = vec![uri(&node_urn(&subject.name)?)?];
        for host in &subject.dns {
            names.push(SanType::DnsName(host.as_str().try_into()?));
        }
        names.extend(subject.ips.iter().copied().map(SanType::IpAddress));
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&subject.name, names, usages, validity)
    }

    /// Issues an administrator's certificate: client only.
    pub fn issue_client(&self, subject: &ClientSubject, validity: Validity) -> Result<Issued, PkiError> {
        let names = vec![uri(&admin_urn(&subject.tenant, &subject.principal))?];
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(subject.principal.as_str(), names, usages, validity)
    }

    fn issue(
        &self,
        common_name: &str,
        names: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        validity: Validity,
    ) -> Result<Issued, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(common_name);
        params.subject_alt_names = names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        validity.apply(&mut params);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

/// Whether the root's public key is that of the private key.
pub fn belongs_together(root_der: &[u8], key_pem: &str) -> Result<bool, PkiError> {
    use rcgen::PublicKeyData as _;
    use x509_parser::prelude::FromDer as _;

    let key = KeyPair::from_pem(key_pem)?;
    let (_, root) = x509_parser::certificate::X509Certificate::from_der(root_der)
        .map_err(|error| PkiError::NotACertificate { detail: error.to_string() })?;
    Ok(root.public_key().raw == key.subject_public_key_info().as_slice())
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn uri(text: &str) -> Result<SanType, PkiError> {
    Ok(SanType::URI(text.try_into()?))
}
