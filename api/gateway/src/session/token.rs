//! The session id: an AEAD token, so that any node knows the session without asking another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use only1mcp_domain::ids::{ApiKeyId, McpSessionId, NodeId, PrincipalId, TenantId};
use zeroize::Zeroize;

use crate::ports::Identity;
use crate::protocol::{ClientCapabilities, Version};

/// Layout of the sealed part; the byte itself is authenticated as associated data.
const LAYOUT: u8 = 1;
/// Longer texts are not looked at.
const TEXT_BYTES_MAX: usize = 1_024;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("not a session token of this cluster")]
    Forged,
    #[error("the session has expired")]
    Expired,
    #[error("no randomness")]
    NoRandomness,
}

/// What a session token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TokenText {
    pub(crate) session: McpSessionId,
    /// Whose session it is; only that identity may use it.
    pub(crate) identity: Identity,
    /// The tenant it was opened in.
    pub(crate) tenant: TenantId,
    pub(crate) home: NodeId,
    pub(crate) version: Version,
    pub(crate) capabilities: ClientCapabilities,
    pub(crate) issued_at_ms: u64,
    pub(crate) expires_at_ms: u64,
}

/// Seals and opens tokens. Made anew per use from the cluster's key, which may rotate.
pub(crate) struct TokenKey(LessSafeKey);

impl TokenKey {
    pub(crate) fn new(mut key: [u8; 32]) -> Option<Self> {
        let unbound = UnboundKey::new(&AES_256_GCM, &key);
        key.zeroize();
        unbound.ok().map(|key| Self(LessSafeKey::new(key)))
    }

    pub(crate) fn seal(&self, token: &TokenText) -> Result<String, TokenError> {
        let mut nonce = [0u8; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| TokenError::NoRandomness)?;
        let mut sealed = token.encode();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([LAYOUT]), &mut sealed)
            .map_err(|_| TokenError::NoRandomness)?;
        let mut bytes = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        bytes.push(LAYOUT);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Errors: `Forged` for anything this key did not seal; `Expired` by `now_ms`.
    pub(crate) fn open(&self, text: &str, now_ms: u64) -> Result<TokenText, TokenError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Forged)?;
        let (&layout, rest) = bytes.split_first().ok_or(TokenError::Forged)?;
        if layout != LAYOUT {
            return Err(TokenError::Forged);
        }
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(TokenError::Forged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| TokenError::Forged)?;
        let mut sealed = sealed.to_vec();
        let plain =
            self.0.open_in_place(nonce, Aad::from([LAYOUT]), &mut sealed).map_err(|_| TokenError::Forged)?;
        let token = TokenText::decode(plain).ok_or(TokenError::Forged)?;
        if now_ms >= token.expires_at_ms { Err(TokenError::Expired) } else { Ok(token) }
    }
}

impl TokenText {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&self.home.0.to_be_bytes());
        out.extend_from_slice(&self.issued_at_ms.to_be_bytes());
        out.extend_from_slice(&self.expires_at_ms.to_be_bytes());
        out.push(self.version.number());
        out.push(self.capabilities.bits());
        let texts = [
            self.tenant.as_str(),
            self.identity.tenant.as_str(),
            self.identity.principal.as_str(),
            self.identity.key.as_str(),
        ];
        for text in texts {
            // Identifiers are at most 128 bytes long.
            out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let input = &mut bytes;
        let session = McpSessionId(take::<16>(input)?);
        let home = NodeId(u64::from_be_bytes(take(input)?));
        let issued_at_ms = u64::from_be_bytes(take(input)?);
        let expires_at_ms = u64::from_be_bytes(take(input)?);
        let [version] = take(input)?;
        let [capabilities] = take(input)?;
        let tenant = TenantId::new(take_text(input)?).ok()?;
        let identity = Identity {
            tenant: TenantId::new(take_text(input)?).ok()?,
            principal: PrincipalId::new(take_text(input)?).ok()?,
            key: ApiKeyId::new(take_text(input)?).ok()?,
        };
        let version = Version::from_number(version)?;
        let capabilities = ClientCapabilities::from_bits(capabilities);
        let token =
            Self { session, identity, tenant, home, version, capabilities, issued_at_ms, expires_at_ms };
        input.is_empty().then_some(token)
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*taken)
}

fn take_text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let [len] = take(input)?;
    let (taken, rest) = input.split_at_checked(usize::from(len))?;
    *input = rest;
    std::str::from_utf8(taken).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenText {
        TokenText {
            session: McpSessionId([7; 16]),
            identity: Identity {
                tenant: TenantId::new("acme").unwrap(),
                principal: PrincipalId::new("ann@acme.example").unwrap(),
                key: ApiKeyId::new("k1").unwrap(),
            },
            tenant: TenantId::new("acme").unwrap(),
            home: NodeId(3),
            version: Version::V2025_06_18,
            capabilities: ClientCapabilities::from_bits(5),
            issued_at_ms: 1_000,
            expires_at_ms: 2_000,
        }
    }

    #[test]
    fn a_token_survives_the_round_trip_until_it_expires() {
        let key = TokenKey::new([1; 32]).unwrap();
        let text = key.seal(&token()).unwrap();
        assert!(text.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(key.open(&text, 1_999), Ok(token()));
        assert_eq!(key.open(&text, 2_000), Err(TokenError::Expired));
        assert_ne!(text, key.seal(&token()).unwrap(), "the nonce is fresh");
    }

    #[test]
    fn any_changed_byte_and_any_other_key_is_forged() {
        let key = TokenKey::new([1; 32]).unwrap();
        let text = key.seal(&token()).unwrap();
        assert_eq!(TokenKey::new([2; 32]).unwrap().open(&text, 0), Err(TokenError::Forged));
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(key.open(&URL_SAFE_NO_PAD.encode(&forged), 0), Err(TokenError::Forged), "byte {at}");
            assert_eq!(
                key.open(&URL_SAFE_NO_PAD.encode(&bytes[..at]), 0),
                Err(TokenError::Forged),
                "cut at {at}"
            );
        }
        assert_eq!(key.open(&"A".repeat(TEXT_BYTES_MAX + 1), 0), Err(TokenError::Forged));
    }
}
