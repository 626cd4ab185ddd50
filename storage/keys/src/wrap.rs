//! AES-256-GCM for wrapping: each under a key derived with a salt of its own, so that no nonce can come twice.
//!
//! Wrapped bytes: version 1, salt (32), the key (32), tag (16).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, hmac, rand};
use only1mcp_storage::Key32;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;

struct KeyBytes;

impl hkdf::KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

fn derive(outer: &Key32, salt: &[u8]) -> Result<LessSafeKey, Unspecified> {
    let mut derived = [0; 32];
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(outer.bytes());
    secret.expand(&[b"only1mcp wrapped 1"], KeyBytes)?.fill(&mut derived)?;
    let derived = Key32::take(&mut derived);
    Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.bytes())?))
}

/// Wraps `inner`, bound to `context`.
pub fn wrap(outer: &Key32, inner: &Key32, context: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt)?;
    let mut out = vec![VERSION];
    out.extend(salt);
    let mut body = *inner.bytes();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let tag = derive(outer, &salt)?.seal_in_place_separate_tag(nonce, Aad::from(context), &mut body)?;
    out.extend(body);
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Errors: changed, cut off, of another key or context.
pub fn unwrap(outer: &Key32, wrapped: &[u8], context: &[u8]) -> Result<Key32, Unspecified> {
    let rest = wrapped.strip_prefix(&[VERSION]).ok_or(Unspecified)?;
    let (salt, sealed) = rest.split_at_checked(SALT_BYTES).ok_or(Unspecified)?;
    let mut body = zeroize::Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let plain = derive(outer, salt)?.open_in_place(nonce, Aad::from(context), &mut body)?;
    let mut key: [u8; 32] = (&*plain).try_into().map_err(|_| Unspecified)?;
    Ok(Key32::take(&mut key))
}

/// A new key from the system's randomness.
pub fn random_key() -> Result<Key32, Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(Key32::take(&mut bytes))
}

/// Tells a key by, without telling the key.
pub fn check_value(key: &Key32, context: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
    let mut text = b"only1mcp check 1".to_vec();
    text.extend_from_slice(context);
    hmac::sign(&key, &text).as_ref().get(..16).unwrap_or_default().to_vec()
}
