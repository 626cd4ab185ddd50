//! Files that prove one event, or that one checkpoint is the beginning of another.

use only1mcp_domain::audit::merkle::{PROOF_HASHES_MAX, is_consistent, leaf, root_by_inclusion};
use only1mcp_domain::audit::{AuditEvent, decode, event_digest, link};
use only1mcp_domain::ids::{AuditIndex, Digest};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, malformed};
use crate::note::VerifierKey;
use crate::pinned::Pinned;
use crate::policy::{Signed, check_signers, witnessed_at};

pub const PROOF_FORMAT: &str = "only1mcp-proof-1";
pub const CONSISTENCY_FORMAT: &str = "only1mcp-consistency-1";

/// An event's place in the chain and in the tree of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bundle {
    pub format: String,
    pub index: u64,
    /// The chain's hash before the event.
    pub previous: String,
    pub digest: String,
    pub hash: String,
    /// The event's canonical bytes, where whoever asked may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
    pub path: Vec<String>,
}

/// What a client was told of its call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    pub audit_index: u64,
    pub event_hash: String,
}

/// An event that stands in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    pub index: u64,
    pub digest: Digest,
    pub event: Option<AuditEvent>,
    pub signed: Signed,
    /// By the witnesses asked for. Units: seconds since the Unix epoch.
    pub witnessed: Vec<u64>,
}

fn hash(text: &str, what: &str) -> Result<Digest, Fault> {
    Digest::parse_hex(text).ok_or_else(|| malformed(format!("{what} is not 64 hexadecimal characters")))
}

fn path(texts: &[String]) -> Result<Vec<Digest>, Fault> {
    if texts.len() > PROOF_HASHES_MAX {
        return Err(malformed("the path is too long"));
    }
    texts.iter().map(|text| hash(text, "a hash of the path")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

impl Bundle {
    /// Errors: `MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let bundle: Self = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if bundle.format == PROOF_FORMAT {
            Ok(bundle)
        } else {
            Err(malformed(format!("the format is {:?}, not {PROOF_FORMAT}", bundle.format)))
        }
    }

    /// Errors: the first fault found, in the order in which `FORMAT.md` lists the checks.
    pub fn verify(
        &self,
        pinned: &Pinned,
        witnesses: &[VerifierKey],
        receipt: Option<&Receipt>,
    ) -> Result<Proven, Fault> {
        let (previous, digest) = (hash(&self.previous, "previous")?, hash(&self.digest, "digest")?);
        let (own, path) = (hash(&self.hash, "hash")?, path(&self.path)?);
        let bytes = match &self.bytes {
            Some(text) => Some(unhex(text).ok_or_else(|| malformed("bytes are not hexadecimal"))?),
            None => None,
        };
        if let Some(receipt) = receipt
            && (receipt.audit_index != self.index || receipt.event_hash != self.hash)
        {
            let detail = format!(
                "the receipt is of event {} with hash {}, the proof of event {} with hash {}",
                receipt.audit_index, receipt.event_hash, self.index, self.hash
            );
            return Err(Fault::new("RECEIPT_MISMATCH", detail));
        }
        let index = AuditIndex(self.index);
        if link(previous, index, digest) != own {
            return Err(Fault::new(
                "CHAIN_MISMATCH",
                "the hash is not that of this event after the one before",
            ));
        }
        let event = match &bytes {
            Some(bytes) if event_digest(bytes) != digest => {
                return Err(Fault::new("EDITED", "the event's bytes are not those that were hashed"));
            }
            Some(bytes) => Some(decode(bytes).map_err(|error| malformed(format!("the event: {error}")))?),
            None => None,
        };
        let signed = check_signers(&self.checkpoint, pinned.origin, &pinned.signers)?;
        let tree = signed.checkpoint.tree;
        if self.index == 0 || self.index > tree.size {
            let detail =
                format!("event {} is not among the {} that the checkpoint covers", self.index, tree.size);
            return Err(Fault::new("NOT_COVERED", detail));
        }
        if root_by_inclusion(self.index - 1, tree.size, leaf(index, digest), &path) != Some(tree.root) {
            let detail = format!("the path does not lead from event {} to the checkpoint's root", self.index);
            return Err(Fault::new("INCLUSION_INVALID", detail));
        }
        if self.index == tree.size && signed.checkpoint.chain != own {
            return Err(Fault::new("CHAIN_MISMATCH", "the checkpoint has another hash for this event"));
        }
        let witnessed = witnessed_at(&self.checkpoint, witnesses)?;
        Ok(Proven { index: self.index, digest, event, signed, witnessed })
    }
}

/// Two checkpoints, and the proof that the older is the beginning of the newer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Consistency {
    pub format: String,
    pub old: String,
    pub new: String,
    pub path: Vec<String>,
}

impl Consistency {
    /// Errors: `MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let consistency: Self = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if consistency.format == CONSISTENCY_FORMAT {
            Ok(consistency)
        } else {
            Err(malformed(format!("the format is {:?}, not {CONSISTENCY_FORMAT}", consistency.format)))
        }
    }

    /// Errors: the first fault found, as `FORMAT.md` lists them.
    pub fn verify(&self, pinned: &Pinned, witnesses: &[VerifierKey]) -> Result<(Signed, Signed), Fault> {
        let path = path(&self.path)?;
        let old = check_signers(&self.old, pinned.origin, &pinned.signers)?;
        let new = check_signers(&self.new, pinned.origin, &pinned.signers)?;
        let (before, after) = (old.checkpoint.tree, new.checkpoint.tree);
        if before.size > after.size {
            let detail = format!("the newer checkpoint has {} events, the older {}", after.size, before.size);
            return Err(Fault::new("ROLLED_BACK", detail));
        }
        if before.size == after.size && before.root != after.root {
            let detail = format!("two checkpoints of {} events have different roots", before.size);
            return Err(Fault::new("FORKED", detail));
        }
        if !is_consistent(before, after, &path) {
            let detail = "the path does not show that the older checkpoint is the beginning of the newer";
            return Err(Fault::new("CONSISTENCY_INVALID", detail));
        }
        witnessed_at(&self.new, witnesses)?;
        Ok((old, new))
    }
}
