//! ed25519 keys of nodes and witnesses.

use ed25519_dalek::{Signature, Signer as _, SigningKey as Pair, VerifyingKey};
use only1mcp_domain::ids::PublicKey;
use zeroize::Zeroizing;

/// Signs. Its seed lies sealed on the disk of whoever has it and nowhere else; in memory it is wiped when dropped.
pub struct SigningKey(Pair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of 32 secret bytes, drawn from the system's secure generator.
    pub fn of_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(Pair::from_bytes(&seed))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// For its file.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Whether `signature` is `key`'s over `message`. Strict: of one message and key there is no second signature that
/// counts, and no key that anything is signed by.
pub fn verifies(key: PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_bytes(&key.0), Signature::from_slice(signature))
    else {
        return false;
    };
    key.verify_strict(message, &signature).is_ok()
}
