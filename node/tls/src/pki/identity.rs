//! Who the holder of a certificate is: one URI in its subject alternative names.

use std::fmt;

use only1mcp_domain::ids::{PrincipalId, TenantId};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::PkiError;

const NODE_PREFIX: &str = "urn:only1mcp:node:";
const ADMIN_PREFIX: &str = "urn:only1mcp:admin:";
const OWN_PREFIX: &str = "urn:only1mcp:";

/// The longest node name, in bytes: a label of a host name.
const NODE_NAME_BYTES_MAX: usize = 63;

/// What a verified certificate says about its holder.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CertIdentity {
    /// A member of the cluster, or a node about to join.
    Node { name: String },
    /// A person or service that administers without an API key.
    Admin { tenant: TenantId, principal: PrincipalId },
    /// A certificate of our authority that gives neither identity, or more than one.
    Other,
}

impl CertIdentity {
    /// Reads the identity out of a DER certificate. It proves nothing unless the chain was verified before.
    /// Errors: `NotACertificate`.
    pub fn of_der(der: &[u8]) -> Result<Self, PkiError> {
        let not = |detail: String| PkiError::NotACertificate { detail };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| not(error.to_string()))?;
        let names = certificate.subject_alternative_name().map_err(|error| not(error.to_string()))?;
        let own: Vec<&str> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with(OWN_PREFIX) => Some(*uri),
                _ => None,
            })
            .collect();
        // Two identities in one certificate are none: nothing may depend on which is read first.
        Ok(match own.as_slice() {
            [uri] => Self::of_uri(uri),
            _ => CertIdentity::Other,
        })
    }

    fn of_uri(uri: &str) -> Self {
        if let Some(name) = uri.strip_prefix(NODE_PREFIX)
            && check_node_name(name).is_ok()
        {
            return CertIdentity::Node { name: name.to_owned() };
        }
        if let Some((tenant, principal)) =
            uri.strip_prefix(ADMIN_PREFIX).and_then(|rest| rest.split_once(':'))
            && let (Ok(tenant), Ok(principal)) = (TenantId::new(tenant), PrincipalId::new(principal))
        {
            return CertIdentity::Admin { tenant, principal };
        }
        CertIdentity::Other
    }
}

impl fmt::Display for CertIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertIdentity::Node { name } => write!(f, "node {name}"),
            CertIdentity::Admin { tenant, principal } => write!(f, "administrator {principal} of {tenant}"),
            CertIdentity::Other => f.write_str("nobody in particular"),
        }
    }
}

/// The URI that names a node.
/// Errors: `BadNodeName`.
pub fn node_urn(name: &str) -> Result<String, PkiError> {
    check_node_name(name)?;
    Ok(format!("{NODE_PREFIX}{name}"))
}

/// The URI that names an administrator.
pub fn admin_urn(tenant: &TenantId, principal: &PrincipalId) -> String {
    format!("{ADMIN_PREFIX}{tenant}:{principal}")
}

fn check_node_name(name: &str) -> Result<(), PkiError> {
    let first_last = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (1..=NODE_NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(|c| first_last(c) || c == '-')
        && name.starts_with(first_last)
        && name.ends_with(first_last);
    if !good {
        let allowed = "1 to 63 of a-z, 0-9 and, inside, '-'";
        return Err(PkiError::BadNodeName { name: name.to_owned(), allowed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_who_its_holder_is() {
        assert_eq!(
            CertIdentity::of_uri("urn:only1mcp:node:eu-1"),
            CertIdentity::Node { name: "eu-1".to_owned() }
        );
        assert_eq!(
            CertIdentity::of_uri("urn:only1mcp:admin:system:ana@example.org:2"),
            CertIdentity::Admin {
                tenant: TenantId::new("system").unwrap(),
                principal: PrincipalId::new("ana@example.org:2").unwrap(),
            }
        );
        for nobody in
            ["urn:only1mcp:node:", "urn:only1mcp:node:A", "urn:only1mcp:admin:system", "urn:only1mcp:x"]
        {
            assert_eq!(CertIdentity::of_uri(nobody), CertIdentity::Other, "{nobody}");
        }
    }

    #[test]
    fn a_node_name_is_a_host_label() {
        assert!(node_urn(&"n".repeat(63)).is_ok());
        for bad in ["", "-a", "a-", "a.b", "a b", "ä", &"n".repeat(64)] {
            assert!(node_urn(bad).is_err(), "{bad}");
        }
    }
}
