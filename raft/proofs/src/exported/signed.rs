//! Signatures over an exported file: of the node that exported it, of the proposers of its events, and of checkpoints
//! that it has to agree with.

use std::collections::BTreeMap;

use crate::{
    Checkpoint, ExportSigner, ExportStatement, Fault as ProofFault, Note, Origin, Pinned, VerifierKey,
    check_signers, verifies, witnessed_at,
};
use only1mcp_domain::audit::merkle::Frontier;
use only1mcp_domain::audit::{AuditEvent, ChainFault, ChainHead, Signers, Statement};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, PublicKey};

use super::format::{Header, Trailer};
use super::verify::{Asked, Fault};
use crate::text::unhex;

/// What nodes signed themselves.
pub struct Signatures {
    /// Keys of nodes, as known up to here.
    known: BTreeMap<NodeId, PublicKey>,
    signer: ExportSigner,
    checked: u64,
    start: Option<ChainHead>,
}

impl Signatures {
    pub fn new(keys: Option<&Pinned>, header: &Header) -> Self {
        let known = keys.map(|keys| keys.signers.keys().collect()).unwrap_or_default();
        Self { known, signer: ExportSigner::default(), checked: 0, start: header.start.parse() }
    }

    pub fn add(&mut self, index: AuditIndex, digest: Digest, hash: Digest, whole: bool) {
        self.signer.add(index, digest, hash, whole);
    }

    /// Errors: `EVENT_SIGNATURE_INVALID`.
    pub fn event(&mut self, index: u64, event: &AuditEvent) -> Result<(), Fault> {
        if let Some((node, key)) = told_key(event) {
            self.known.insert(node, key);
        }
        if event.signature.is_none() {
            return Ok(());
        }
        let wrong = |detail: String| ProofFault::new("EVENT_SIGNATURE_INVALID", detail);
        let Some((statement, signature)) = Statement::of(event) else {
            return Err(wrong(format!("the signature of event {index} has not the form of one")).into());
        };
        let node = statement.node;
        let Some(key) = self.known.get(&node) else { return Ok(()) };
        if !verifies(*key, &statement.bytes(), &signature) {
            return Err(wrong(format!("event {index} is not what node {node} proposed and signed")).into());
        }
        self.checked = self.checked.saturating_add(1);
        Ok(())
    }

    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// The node that exported the file.
    /// Errors: `EXPORT_UNSIGNED`, `EXPORT_SIGNATURE_INVALID`.
    pub fn finish(self, header: &Header, trailer: Option<&Trailer>) -> Result<u64, Fault> {
        let unsigned =
            || ProofFault::new("EXPORT_UNSIGNED", "the file does not end with its exporter's signature");
        let signed = &trailer.ok_or_else(unsigned)?.signed;
        let malformed = |what: &str| ProofFault::new("MALFORMED", format!("{what} is not of its form"));
        let cluster = Digest::parse_hex(&header.cluster_id).ok_or_else(|| malformed("cluster_id"))?;
        let key = PublicKey::parse_hex(&signed.key).ok_or_else(|| malformed("the exporter's key"))?;
        let signature = unhex(&signed.signature).ok_or_else(|| malformed("the exporter's signature"))?;
        let statement = ExportStatement {
            origin: Origin { cluster, epoch: header.epoch },
            tenant: header.tenant.clone(),
            start: self.start.unwrap_or_default(),
            end: AuditIndex(header.end_index),
            log_time_ms: header.log_time_ms,
        };
        let known = self.known.get(&NodeId(signed.node)) == Some(&key);
        if !known || !verifies(key, &self.signer.message(&statement), &signature) {
            let detail = format!("the file is not what node {} exported", signed.node);
            return Err(ProofFault::new("EXPORT_SIGNATURE_INVALID", detail).into());
        }
        Ok(signed.node)
    }
}

/// A node and what it signs with from this event on.
fn told_key(event: &AuditEvent) -> Option<(NodeId, PublicKey)> {
    let tells = event.tenant.is_system()
        && event.outcome == only1mcp_domain::audit::EventOutcome::Success
        && event.action == "node.set_signing_key"
        && event.resource.kind == "node";
    let told = event.details.iter().find(|(name, _)| name == "signing_key").filter(|_| tells)?;
    Some((NodeId(event.resource.id.parse().ok()?), PublicKey::parse_hex(&told.1)?))
}

/// A checkpoint, and what the file has at its place.
struct Held {
    note: String,
    given: bool,
    checkpoint: Checkpoint,
    found: Option<(Digest, Option<Digest>)>,
}

/// Checkpoints that the file has to agree with.
pub struct Notes {
    held: Vec<Held>,
    origin: Option<Origin>,
    signers: Signers,
    /// Index up to which `signers` count every change.
    counted: u64,
    changes: Vec<(u64, Signers)>,
    witnesses: Vec<VerifierKey>,
}

impl Notes {
    pub fn none() -> Self {
        let (held, changes, witnesses) = (Vec::new(), Vec::new(), Vec::new());
        Self { held, origin: None, signers: Signers::default(), counted: 0, changes, witnesses }
    }

    /// Those given, and the file's own.
    pub fn of(keys: &Pinned, asked: &Asked, trailer: Option<&Trailer>) -> Result<Self, Fault> {
        let given = asked.checkpoints.iter().map(|note| (note.clone(), true));
        let own = trailer.and_then(|trailer| trailer.checkpoint.clone()).map(|note| (note, false));
        let mut held = Vec::new();
        for (note, given) in given.chain(own) {
            let parsed =
                Note::parse(&note).map_err(|fault| ProofFault::new("MALFORMED", fault.to_string()))?;
            held.push(Held { checkpoint: Checkpoint::parse(&parsed.text)?, note, given, found: None });
        }
        held.sort_by_key(|held| held.checkpoint.tree.size);
        Ok(Self {
            held,
            origin: Some(keys.origin),
            signers: keys.signers.clone(),
            counted: keys.index,
            changes: Vec::new(),
            witnesses: asked.witnesses.clone(),
        })
    }

    pub fn event(&mut self, index: u64, event: &AuditEvent) {
        if self.origin.is_some()
            && let Some(signers) = Signers::told_by(event)
        {
            self.changes.push((index, signers));
        }
    }

    /// The file stands at `head`, with that tree.
    pub fn pass(&mut self, head: ChainHead, frontier: Option<&Frontier>) {
        for held in self.held.iter_mut().filter(|held| held.checkpoint.tree.size == head.index.0) {
            held.found = Some((head.hash, frontier.map(Frontier::root)));
        }
    }

    /// The sizes of the checkpoints, each signed by a majority of those who were the signers then, and held by the file.
    /// Errors: as `FORMAT.md` lists them.
    pub fn finish(mut self, start: u64, end: u64) -> Result<Vec<u64>, Fault> {
        let Some(origin) = self.origin else { return Ok(Vec::new()) };
        let mut sizes = Vec::new();
        for held in &self.held {
            check_signers(&held.note, origin, &self.signers)?;
            if held.given {
                witnessed_at(&held.note, &self.witnesses)?;
            }
            let Checkpoint { tree, chain, .. } = held.checkpoint;
            if tree.size < start {
                return Err(Fault::BeforeStart { start, asked: tree.size });
            }
            if tree.size > end {
                return Err(Fault::End(ChainFault::Truncated { expected: tree.size, found: end }));
            }
            if held.found != Some((chain, Some(tree.root))) {
                return Err(Fault::End(ChainFault::Forked { index: tree.size }));
            }
            sizes.push(tree.size);
            // What the checkpoint covers is as good as signed: so are the signers it tells.
            for (index, signers) in &self.changes {
                if (self.counted.saturating_add(1)..=tree.size).contains(index) {
                    (self.signers, self.counted) = (signers.clone(), *index);
                }
            }
        }
        Ok(sizes)
    }
}
