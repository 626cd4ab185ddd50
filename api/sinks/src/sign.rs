//! The signature of one request, as the Standard Webhooks specification has it: HMAC-SHA256 over id, time and body,
//! under a key that only the two ends know.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use only1mcp_domain::command::Secret32;

/// Value of the header `webhook-signature`.
pub(crate) fn signature(key: &Secret32, id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{timestamp_s}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python's `hmac.new(bytes(range(32)), b"41.1800000000.{}", "sha256")` gives it.
    #[test]
    fn known_signature() {
        let key = Secret32(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        assert_eq!(
            signature(&key, "41", 1_800_000_000, b"{}"),
            "v1,jXO9RyIHkz1fEsaJ+Vu3hTYMZMVLwBeOeoFCc2teiUM="
        );
    }
}
