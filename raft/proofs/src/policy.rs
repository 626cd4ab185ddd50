//! Whose signatures make a checkpoint one: a majority of the signers that the verifier trusts.

use std::collections::BTreeSet;

use only1mcp_domain::audit::Signers;
use only1mcp_domain::ids::NodeId;

use crate::checkpoint::{Checkpoint, Origin};
use crate::fault::Fault;
use crate::note::{KeyType, Note, VerifierKey};

/// A checkpoint and what stands behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    pub by: BTreeSet<NodeId>,
    pub of: usize,
}

/// The signers whose signatures the note has.
/// Errors: `SIGNATURE_INVALID`, where one says it is a signer's and is not.
pub fn count_signers(note: &Note, origin: Origin, signers: &Signers) -> Result<BTreeSet<NodeId>, Fault> {
    let mut by = BTreeSet::new();
    for (node, key) in signers.keys() {
        let key = VerifierKey { name: origin.to_string(), of: KeyType::Ed25519, key };
        for signature in note.signatures.iter().filter(|signature| signature.claims(&key)) {
            if signature.verified(&key, &note.text).is_none() {
                let detail = format!("the signature of node {node} is not over this checkpoint");
                return Err(Fault::new("SIGNATURE_INVALID", detail));
            }
            by.insert(node);
        }
    }
    Ok(by)
}

/// A checkpoint of the cluster and epoch that are trusted, signed by a majority of the signers.
/// Errors: `MALFORMED`, `OTHER_CLUSTER`, `OTHER_EPOCH`, `SIGNATURE_INVALID`, `QUORUM_MISSING`.
pub fn check_signers(note: &str, origin: Origin, signers: &Signers) -> Result<Signed, Fault> {
    let note = Note::parse(note).map_err(|fault| Fault::new("MALFORMED", fault.to_string()))?;
    let checkpoint = Checkpoint::parse(&note.text)?;
    let found = checkpoint.origin;
    if found.cluster != origin.cluster {
        let detail =
            format!("the checkpoint is of cluster {}, the keys of {}", found.cluster, origin.cluster);
        return Err(Fault::new("OTHER_CLUSTER", detail));
    }
    if found.epoch != origin.epoch {
        let detail = format!(
            "the checkpoint is of epoch {}, the keys of {}: the cluster was recovered in between, and what it was \
             before cannot vouch for it",
            found.epoch, origin.epoch
        );
        return Err(Fault::new("OTHER_EPOCH", detail));
    }
    let by = count_signers(&note, origin, signers)?;
    if by.len() < signers.majority() {
        let detail =
            format!("{} of {} signers signed, {} must", by.len(), signers.0.len(), signers.majority());
        return Err(Fault::new("QUORUM_MISSING", detail));
    }
    Ok(Signed { checkpoint, by, of: signers.0.len() })
}

/// When each of these witnesses signed the checkpoint. Units: seconds since the Unix epoch.
/// Errors: `WITNESS_MISSING`, `SIGNATURE_INVALID`.
pub fn witnessed_at(note: &str, witnesses: &[VerifierKey]) -> Result<Vec<u64>, Fault> {
    let note = Note::parse(note).map_err(|fault| Fault::new("MALFORMED", fault.to_string()))?;
    let find = |key: &VerifierKey| {
        let claims = note.signatures.iter().filter(|signature| signature.claims(key));
        let mut times = Vec::new();
        for signature in claims {
            let detail = format!("the signature of witness {} is not over this checkpoint", key.name);
            let at = signature.verified(key, &note.text);
            times.push(at.ok_or_else(|| Fault::new("SIGNATURE_INVALID", detail))?);
        }
        let missing = || Fault::new("WITNESS_MISSING", format!("witness {} did not sign", key.name));
        times.into_iter().max().ok_or_else(missing)
    };
    witnesses.iter().map(find).collect()
}
