//! Typed identifiers: what they may look like, checked once, when they are made.

use std::fmt;

use crate::limits;

/// Why a piece of text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{kind} is empty")]
    Empty { kind: &'static str },
    #[error("{kind} is {len} bytes long; at most {max} are allowed")]
    TooLong { kind: &'static str, len: usize, max: usize },
    #[error("{kind} contains {found:?}; allowed are {allowed}")]
    BadCharacter { kind: &'static str, found: char, allowed: &'static str },
}

/// Which characters a kind of identifier may hold.
#[derive(Clone, Copy)]
enum Alphabet {
    /// `a-z`, `0-9`, `-`, starting with a letter or digit: safe in URLs, host names and tool prefixes.
    Slug,
    /// Printable ASCII without spaces, quotes, backslash: mail addresses, roles, generated ids.
    Name,
}

impl Alphabet {
    fn allows(self, c: char, first: bool) -> bool {
        match self {
            Alphabet::Slug => c.is_ascii_lowercase() || c.is_ascii_digit() || (c == '-' && !first),
            Alphabet::Name => c.is_ascii_alphanumeric() || (!first && "-_.@:+/".contains(c)),
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Alphabet::Slug => "a-z, 0-9 and, not first, '-'",
            Alphabet::Name => "letters, digits and, not first, any of -_.@:+/",
        }
    }
}

fn check(kind: &'static str, text: &str, alphabet: Alphabet, max: usize) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > max {
        return Err(IdError::TooLong { kind, len: text.len(), max });
    }
    for (i, c) in text.chars().enumerate() {
        if !alphabet.allows(c, i == 0) {
            return Err(IdError::BadCharacter { kind, found: c, allowed: alphabet.describe() });
        }
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $alphabet:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks and wraps `text`.
            /// Errors: `IdError` when empty, too long, or holding a character outside its alphabet.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check($kind, text, Alphabet::$alphabet, $max)?;
                Ok(Self(text.into()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// Isolation and billing boundary. `system` is the operators' own.
    TenantId, "tenant id", Slug, limits::SLUG_BYTES_MAX);
text_id!(
    /// A person or service account, unique within its tenant.
    PrincipalId, "principal id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// A role, unique within its tenant; built-in ids (`admin`, `developer`, `viewer`, `auditor`) are everywhere.
    RoleId, "role id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// One assignment of a role to a principal.
    GrantId, "grant id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// The public part of an API key: finds the record, proves nothing.
    ApiKeyId, "key id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// A tool restriction or an explicit deny.
    RuleId, "rule id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// A budget, unique within its tenant.
    BudgetId, "budget id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// An MCP server behind the gateway: the prefix of its tools' names.
    UpstreamId, "upstream id", Slug, limits::SLUG_BYTES_MAX);
text_id!(
    /// A project within a tenant.
    ProjectId, "project id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// One entry of the price book.
    PriceId, "price id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// One discount on prices.
    DiscountId, "discount id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// How the usage of some tools is measured.
    MeteringId, "metering id", Name, limits::NAME_BYTES_MAX);
text_id!(
    /// A webhook, unique within its tenant.
    WebhookId, "webhook id", Name, limits::NAME_BYTES_MAX);

/// The tenant operators live in.
pub const SYSTEM_TENANT: &str = "system";

impl TenantId {
    pub fn system() -> Self {
        Self(SYSTEM_TENANT.into())
    }

    pub fn is_system(&self) -> bool {
        &*self.0 == SYSTEM_TENANT
    }
}

impl PrincipalId {
    /// The name under which a cluster member acts for itself.
    pub fn of_node(node: NodeId) -> Self {
        Self(format!("node-{node}").into())
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A cluster member; given by the log, never reused.
    NodeId);
number_id!(
    /// One life of a node's journal; given by the log, larger than all before it.
    Incarnation);
number_id!(
    /// Position in the audit chain, from 1.
    AuditIndex);
number_id!(
    /// Index of the log entry that last changed what decisions depend on.
    Revision);

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl $name {
            /// Reads the hexadecimal text that `Display` writes; `None` when it is anything else.
            pub fn parse_hex(text: &str) -> Option<Self> {
                let mut out = [0u8; $len];
                let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                if text.len() != 2 * $len || !digits {
                    return None;
                }
                for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    *slot = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
                }
                Some(Self(out))
            }
        }
    };
}

bytes_id!(
    /// Names one administrative write, so that retrying it is safe.
    CommandId, 16);
bytes_id!(
    /// Names one call through the gateway.
    CallId, 16);
bytes_id!(
    /// Names one decision; a denied caller quotes it when asking why.
    DecisionId, 16);
bytes_id!(
    /// Names one MCP session (the token's inner id, not the token).
    McpSessionId, 16);
bytes_id!(
    /// Names the key that one person's data is sealed under.
    SubjectKeyId, 16);
bytes_id!(
    /// A SHA3-256 digest or hash, or one of the Merkle tree's.
    Digest, 32);
bytes_id!(
    /// An ed25519 public key.
    PublicKey, 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_bytes_max_and_alphabet() {
        assert!(TenantId::new("a".repeat(limits::SLUG_BYTES_MAX)).is_ok());
        let over = UpstreamId::new("a".repeat(limits::SLUG_BYTES_MAX + 1));
        assert!(matches!(over, Err(IdError::TooLong { kind: "upstream id", len: 33, max: 32 })));
        for good in ["a", "0", "a-b", "a-", "x9"] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a b", "ä", "a\0", "a/b"] {
            assert!(TenantId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn name_bytes_max_and_alphabet() {
        assert!(PrincipalId::new("a".repeat(limits::NAME_BYTES_MAX)).is_ok());
        assert!(RoleId::new("a".repeat(limits::NAME_BYTES_MAX + 1)).is_err());
        for good in ["ann@example.com", "A", "team/a:b+c", "x_y-z.0"] {
            assert!(PrincipalId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "@a", "-a", "a b", "a\"b", "a\\b", "a\n", "é"] {
            assert!(PrincipalId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_that_are_made_are_ids() {
        assert_eq!(TenantId::new(SYSTEM_TENANT).unwrap(), TenantId::system());
        assert!(TenantId::system().is_system() && !TenantId::new("systems").unwrap().is_system());
        let node = PrincipalId::of_node(NodeId(u64::MAX));
        assert_eq!(PrincipalId::new(node.as_str()).unwrap(), node);
    }

    #[test]
    fn hexadecimal_reads_back() {
        let id = CommandId([0, 1, 0x7f, 0x80, 0xff, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(id.to_string(), "00017f80ff05060708090a0b0c0d0e0f");
        assert_eq!(CommandId::parse_hex(&id.to_string()), Some(id));
        for bad in [
            "",
            "00",
            &"0".repeat(31),
            &"0".repeat(33),
            &"g".repeat(32),
            &"é".repeat(16),
            &"+1".repeat(16),
            &"AB".repeat(16),
        ] {
            assert_eq!(CommandId::parse_hex(bad), None, "{bad}");
        }
    }
}
