//! The offline recovery key: an RSA key whose public part wraps every data key besides, and whose private part is kept
//! away from all machines until the provider is lost for good.
//!
//! RSA-3072 with OAEP and SHA-256: what is wrapped can be unwrapped with common tools as well. The label of OAEP is the
//! key's context.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use only1mcp_storage::Key32;
use zeroize::Zeroizing;

use crate::context::KeyContext;
use crate::provider::KeyError;

const NAME: &str = "the recovery key";
const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";
const LINE: usize = 64;

/// The public part, as nodes have it.
pub struct RecoveryPublic(OaepPublicEncryptingKey);

/// The private part.
pub struct RecoveryKey(OaepPrivateDecryptingKey);

impl fmt::Debug for RecoveryPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryPublic")
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(…)")
    }
}

fn wrong(detail: &str) -> KeyError {
    KeyError::Wrong { provider: NAME, detail: detail.to_owned() }
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

fn from_pem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let inside = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let inside = inside.strip_suffix(&format!("-----END {label}-----"))?;
    let packed: Zeroizing<String> = Zeroizing::new(inside.split_whitespace().collect());
    STANDARD.decode(packed.as_bytes()).ok().map(Zeroizing::new)
}

impl RecoveryKey {
    /// A new pair: the private part and the public part, both PEM.
    pub fn generate() -> Result<(Zeroizing<String>, String), KeyError> {
        let failed = |_| wrong("no key could be made");
        let private = PrivateDecryptingKey::generate(KeySize::Rsa3072).map_err(failed)?;
        let secret: Pkcs8V1Der<'_> = private.as_der().map_err(failed)?;
        let public: PublicKeyX509Der<'_> = private.public_key().as_der().map_err(failed)?;
        Ok((Zeroizing::new(to_pem(PRIVATE, secret.as_ref())), to_pem(PUBLIC, public.as_ref())))
    }

    /// From PEM (PKCS#8).
    pub fn parse(pem: &str) -> Result<Self, KeyError> {
        let der = from_pem(PRIVATE, pem).ok_or_else(|| wrong("it is no PKCS#8 private key in PEM"))?;
        let key = PrivateDecryptingKey::from_pkcs8(&der).map_err(|_| wrong("it is no RSA key"))?;
        OaepPrivateDecryptingKey::new(key).map(Self).map_err(|_| wrong("it is no RSA key"))
    }

    /// Errors: `Wrong` for another key or context.
    pub fn unwrap(&self, wrapped: &[u8], context: &KeyContext) -> Result<Key32, KeyError> {
        let mut out = Zeroizing::new(vec![0; self.0.min_output_size()]);
        let failed = || wrong("it was wrapped for another one, or changed");
        let label = context.bytes();
        let plain = self.0.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut out, Some(&label));
        let mut key: [u8; 32] = plain.map_err(|_| failed())?.as_ref().try_into().map_err(|_| failed())?;
        Ok(Key32::take(&mut key))
    }
}

impl RecoveryPublic {
    /// From PEM (SubjectPublicKeyInfo).
    pub fn parse(pem: &str) -> Result<Self, KeyError> {
        let der = from_pem(PUBLIC, pem).ok_or_else(|| wrong("it is no public key in PEM"))?;
        let key = PublicEncryptingKey::from_der(&der).map_err(|_| wrong("it is no RSA key"))?;
        OaepPublicEncryptingKey::new(key).map(Self).map_err(|_| wrong("it is no RSA key"))
    }

    pub fn wrap(&self, key: &Key32, context: &KeyContext) -> Result<Vec<u8>, KeyError> {
        let mut out = vec![0; self.0.ciphertext_size()];
        let label = context.bytes();
        let length = self
            .0
            .encrypt(&OAEP_SHA256_MGF1SHA256, key.bytes(), &mut out, Some(&label))
            .map_err(|_| wrong("it does not encrypt"))?
            .len();
        out.truncate(length);
        Ok(out)
    }
}
