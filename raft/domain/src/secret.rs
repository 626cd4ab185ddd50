//! Text and hash of secrets shown once: API keys and join tokens, in one place so that whoever makes, checks or reads
//! them agrees. Pure: random bytes come from outside.
//!
//! Shape: `o1_<key id>_<secret>` and `o1j_<token id>_<secret>`; the id is `k` or `j` and 16 hexadecimal characters,
//! the secret 32 random bytes as 43 characters of unpadded base64url. Only HMAC-SHA3-256 of the secret's text, under
//! the cluster's key-hash key, is ever stored.

use hmac::{KeyInit as _, Mac as _, SimpleHmac};
use sha3::Sha3_256;
use subtle::ConstantTimeEq as _;

use crate::command::Secret32;
use crate::ids::{ApiKeyId, Digest};

const KEY_PREFIX: &str = "o1_";
const TOKEN_PREFIX: &str = "o1j_";
const WEBHOOK_PREFIX: &str = "whsec_";
/// 32 bytes in unpadded base64.
const SECRET_CHARS: usize = 43;
const ID_CHARS: usize = 17;

/// The id of a new API key, from 8 random bytes.
pub fn key_id(random: [u8; 8]) -> ApiKeyId {
    id('k', random)
}

/// The id of a new join token, from 8 random bytes.
pub fn token_id(random: [u8; 8]) -> ApiKeyId {
    id('j', random)
}

fn id(letter: char, random: [u8; 8]) -> ApiKeyId {
    let text = format!("{letter}{:016x}", u64::from_be_bytes(random));
    // A letter and 16 hexadecimal characters are always an id; the empty id cannot come of it.
    ApiKeyId::new(text).unwrap_or_else(|_| unreachable!("a letter and hexadecimal digits are an id"))
}

/// The text of an API key, to be shown once.
pub fn format_key(id: &ApiKeyId, secret: &[u8; 32]) -> String {
    format!("{KEY_PREFIX}{id}_{}", base64url(secret))
}

/// The text of a join token, to be shown once.
pub fn format_token(id: &ApiKeyId, secret: &[u8; 32]) -> String {
    format!("{TOKEN_PREFIX}{id}_{}", base64url(secret))
}

/// The text of a webhook's signing key, to be shown once.
/// Source: Standard Webhooks, "Signature scheme".
pub fn format_webhook_secret(key: &Secret32) -> String {
    // The standard alphabet, padded.
    format!("{WEBHOOK_PREFIX}{}=", base64url(&key.0).replace('-', "+").replace('_', "/"))
}

/// Splits the text of an API key into its id and its secret; `None` when it is no such text.
pub fn parse_key(text: &str) -> Option<(ApiKeyId, &str)> {
    parse(text, KEY_PREFIX, 'k')
}

/// Splits the text of a join token into its id and its secret; `None` when it is no such text.
pub fn parse_token(text: &str) -> Option<(ApiKeyId, &str)> {
    parse(text, TOKEN_PREFIX, 'j')
}

fn parse<'a>(text: &'a str, prefix: &str, letter: char) -> Option<(ApiKeyId, &'a str)> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    let hex = id.strip_prefix(letter)?;
    let id_fits = id.len() == ID_CHARS && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let secret_fits = secret.len() == SECRET_CHARS
        && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !id_fits || !secret_fits {
        return None;
    }
    ApiKeyId::new(id).ok().map(|id| (id, secret))
}

/// What is stored of a secret: HMAC-SHA3-256 of its text under the cluster's key-hash key.
pub fn mac(key: &Secret32, secret: &str) -> Digest {
    Digest(keyed(key, secret).finalize().into_bytes().into())
}

/// Whether `secret` is the one that `stored` was made of; takes the same time whatever the answer.
pub fn verify(key: &Secret32, secret: &str, stored: &Digest) -> bool {
    mac(key, secret).0.ct_eq(&stored.0).into()
}

fn keyed(key: &Secret32, secret: &str) -> SimpleHmac<Sha3_256> {
    let mut hmac = SimpleHmac::<Sha3_256>::new_from_slice(&key.0)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    hmac.update(secret.as_bytes());
    hmac
}

fn base64url(bytes: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(SECRET_CHARS);
    for chunk in bytes.chunks(3) {
        let mut group = 0u32;
        for i in 0..3 {
            group = (group << 8) | u32::from(chunk.get(i).copied().unwrap_or(0));
        }
        for i in 0..=chunk.len() {
            let six = (group >> (18 - 6 * i)) & 63;
            out.push(char::from(ALPHABET.get(six as usize).copied().unwrap_or(b'A')));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_verifies_only_itself() {
        let key = Secret32([7; 32]);
        let id = key_id([0xab; 8]);
        assert_eq!(id.as_str(), "kabababababababab");
        let text = format_key(&id, &[0xff; 32]);
        assert_eq!(text, format!("o1_kabababababababab_{}8", "_".repeat(42)));
        let (parsed, secret) = parse_key(&text).unwrap();
        assert_eq!(parsed, id);
        let stored = mac(&key, secret);
        assert!(verify(&key, secret, &stored));
        assert!(!verify(&Secret32([8; 32]), secret, &stored));
        assert!(!verify(&key, &secret.replace('8', "4"), &stored));
    }

    #[test]
    fn a_token_is_no_key() {
        let token = format_token(&token_id([1; 8]), &[0; 32]);
        assert!(parse_key(&token).is_none());
        assert!(parse_token(&token).is_some());
        assert!(parse_token(&format_key(&key_id([1; 8]), &[0; 32])).is_none());
    }

    #[test]
    fn anything_else_is_refused() {
        let good = format_key(&key_id([1; 8]), &[3; 32]);
        for bad in ["", "o1_", "o1__", "o1_k_x", &good[1..], &good[..good.len() - 1], &format!("{good}A")] {
            assert!(parse_key(bad).is_none(), "{bad}");
        }
        assert!(parse_key(&good.replace("k0", "kG")).is_none());
        assert!(parse_key(&format!("{}=", &good[..good.len() - 1])).is_none());
    }

    /// As Python's `base64.b64encode` writes the same bytes.
    #[test]
    fn webhook_secrets_are_standard_base64() {
        let key = Secret32([0xfb; 32]);
        assert_eq!(format_webhook_secret(&key), format!("whsec_{}+/s=", "+/v7".repeat(10)));
    }

    /// RFC 4648 alphabet and grouping, and HMAC-SHA3-256 as Python's `hmac` and `hashlib.sha3_256` compute it.
    #[test]
    fn known_values() {
        let mut bytes = [0u8; 32];
        for (i, b) in bytes.iter_mut().enumerate() {
            *b = u8::try_from(i).unwrap();
        }
        assert_eq!(base64url(&bytes), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(
            mac(&Secret32(bytes), "hello").to_string(),
            "e6d520deb05cf56101c5bbbc508af68ee30d077975a59ed8a70523d8ea84e11e"
        );
    }
}
