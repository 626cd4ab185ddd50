//! The chain: `digest = SHA3-256(canonical bytes)`, `hash = SHA3-256(previous hash || index || digest)`.
//! The index is 8 bytes, big-endian; the hash before the first event is all zero.

use std::collections::BTreeMap;

use sha3::{Digest as _, Sha3_256};

use crate::ids::{AuditIndex, Digest};

/// Where the chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ChainHead {
    /// Index of the last event; 0 before the first.
    pub index: AuditIndex,
    pub hash: Digest,
}

/// An event as it stands in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedEvent {
    pub index: AuditIndex,
    /// Canonical bytes of the event.
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub hash: Digest,
}

/// SHA3-256 of an event's canonical bytes.
pub fn event_digest(canonical: &[u8]) -> Digest {
    Digest(Sha3_256::digest(canonical).into())
}

/// The hash at `index`, given the one before it.
pub fn link(previous: Digest, index: AuditIndex, digest: Digest) -> Digest {
    let mut hasher = Sha3_256::new();
    hasher.update(previous.0);
    hasher.update(index.0.to_be_bytes());
    hasher.update(digest.0);
    Digest(hasher.finalize().into())
}

impl ChainHead {
    /// Appends one event and moves the head onto it.
    pub fn append(&mut self, bytes: Vec<u8>) -> SealedEvent {
        let index = AuditIndex(self.index.0.saturating_add(1));
        let digest = event_digest(&bytes);
        let hash = link(self.hash, index, digest);
        *self = Self { index, hash };
        SealedEvent { index, bytes, digest, hash }
    }
}

/// What a verifier found wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainFault {
    #[error(
        "event {found} follows event {previous}: events between them are missing, or one was inserted or moved"
    )]
    OutOfOrder { previous: u64, found: u64 },
    #[error("event {index} was edited: its digest is not that of its bytes")]
    DigestMismatch { index: u64 },
    #[error("the chain breaks at event {index}: its hash does not follow from the one before")]
    HashMismatch { index: u64 },
    #[error("the payload of event {index} is missing, and no record of retention says that it was dropped")]
    PayloadMissing { index: u64 },
    #[error("event {index} is not a readable event: {detail}")]
    Unreadable { index: u64, detail: String },
    #[error("the chain ends at event {found}; {expected} was promised")]
    Truncated { expected: u64, found: u64 },
    #[error("the chain holds another event {index} than the one promised: it was forked or rewritten")]
    Forked { index: u64 },
}

/// Checks events one after the other, from a head that is trusted, against heads that were promised (a checkpoint's,
/// a receipt's).
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    head: ChainHead,
    /// Hashes not met yet, by index.
    promised: BTreeMap<AuditIndex, Digest>,
}

impl Verifier {
    /// Starts after `head`; `ChainHead::default()` is the beginning of time.
    pub fn after(head: ChainHead) -> Self {
        Self { head, promised: BTreeMap::new() }
    }

    /// Besides, the chain must hold the event `head` names, by that hash. What lies before the start cannot be checked
    /// and is not.
    pub fn promising(mut self, head: ChainHead) -> Self {
        if head.index >= self.head.index {
            self.promised.insert(head.index, head.hash);
        }
        self
    }

    pub fn head(&self) -> ChainHead {
        self.head
    }

    /// Takes the next event.
    /// Errors: `ChainFault`; the verifier is unchanged.
    pub fn push(&mut self, event: &SealedEvent) -> Result<(), ChainFault> {
        let index = event.index.0;
        let bytes_fit = || event_digest(&event.bytes) == event.digest;
        let next = self.next(event.index, event.digest, event.hash, bytes_fit)?;
        if let Err(error) = super::decode(&event.bytes) {
            return Err(ChainFault::Unreadable { index, detail: error.to_string() });
        }
        self.move_to(next);
        Ok(())
    }

    /// Takes the next event's place in the chain, its content being withheld: links are checked, bytes are not.
    /// Errors: `ChainFault`; the verifier is unchanged.
    pub fn push_place(&mut self, index: AuditIndex, digest: Digest, hash: Digest) -> Result<(), ChainFault> {
        let next = self.next(index, digest, hash, || true)?;
        self.move_to(next);
        Ok(())
    }

    fn next(
        &self,
        index: AuditIndex,
        digest: Digest,
        hash: Digest,
        bytes_fit: impl FnOnce() -> bool,
    ) -> Result<ChainHead, ChainFault> {
        if index.0 != self.head.index.0.saturating_add(1) {
            return Err(ChainFault::OutOfOrder { previous: self.head.index.0, found: index.0 });
        }
        if !bytes_fit() {
            return Err(ChainFault::DigestMismatch { index: index.0 });
        }
        if link(self.head.hash, index, digest) != hash {
            return Err(ChainFault::HashMismatch { index: index.0 });
        }
        if self.promised.get(&index).is_some_and(|promised| *promised != hash) {
            return Err(ChainFault::Forked { index: index.0 });
        }
        Ok(ChainHead { index, hash })
    }

    fn move_to(&mut self, next: ChainHead) {
        self.promised.retain(|promised, _| *promised > next.index);
        self.head = next;
    }

    /// Where the chain ends, every promised head met.
    /// Errors: `Truncated`, or `Forked` where the trusted start itself is not what was promised.
    pub fn finish(&self) -> Result<ChainHead, ChainFault> {
        if let Some((index, hash)) = self.promised.last_key_value() {
            if *index > self.head.index {
                return Err(ChainFault::Truncated { expected: index.0, found: self.head.index.0 });
            }
            if *hash != self.head.hash {
                return Err(ChainFault::Forked { index: index.0 });
            }
        }
        Ok(self.head)
    }
}
