//! Proofs of the in-memory cluster, whose one node signs alone; and what of them a caller sees.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use only1mcp_admin::ports::{ExportSignature, ProofPort, TrailFailure};
use only1mcp_domain::audit::Signers;
use only1mcp_domain::audit::merkle::{self, Complete, Frontier, Nodes};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId};
use only1mcp_proofs::{Bundle, Checkpoint, Note, NoteSignature, Origin, PROOF_FORMAT, Pinned, SigningKey};
use only1mcp_proto::admin as pb;
use tokio::time::Instant;

use crate::memory::Memory;
use crate::world::World;

fn key() -> SigningKey {
    SigningKey::of_seed([3; 32])
}

struct All(Complete);

impl Nodes for All {
    type Error = TrailFailure;

    fn node(&mut self, level: u32, index: u64) -> Result<Digest, TrailFailure> {
        self.0.get(level, index).ok_or_else(|| TrailFailure::Unreadable("no such node".to_owned()))
    }
}

impl Memory {
    fn tree(&self) -> All {
        let mut complete = Complete::default();
        self.events().iter().for_each(|event| complete.push(merkle::leaf(event.index, event.digest)));
        All(complete)
    }

    fn checkpoint_now(&self) -> (String, u64) {
        let (events, mut tree) = (self.events(), self.tree());
        let size = events.len() as u64;
        let checkpoint = Checkpoint {
            origin: Origin { cluster: Digest([9; 32]), epoch: 1 },
            tree: merkle::TreeHead { size, root: merkle::root(&mut tree, size).unwrap() },
            chain: events.last().unwrap().hash,
        };
        let text = checkpoint.text();
        let own = NoteSignature::ed25519(&checkpoint.origin.to_string(), &key(), &text);
        (Note { text, signatures: vec![own] }.to_string(), size)
    }
}

impl ProofPort for Memory {
    fn checkpoint(&self, size_min: u64, _: Instant) -> BoxFuture<'_, Option<(String, u64)>> {
        let found = Some(self.checkpoint_now()).filter(|(_, size)| *size >= size_min);
        async move { found }.boxed()
    }

    fn newest(&self) -> Option<(String, u64)> {
        Some(self.checkpoint_now())
    }

    fn inclusion(&self, index: AuditIndex, size: u64) -> Result<Vec<Digest>, TrailFailure> {
        merkle::prove_inclusion(&mut self.tree(), index.0 - 1, size)
    }

    fn consistency(&self, old: u64, size: u64) -> Result<Vec<Digest>, TrailFailure> {
        merkle::prove_consistency(&mut self.tree(), old, size)
    }

    fn frontier(&self, size: u64) -> Result<Frontier, TrailFailure> {
        merkle::frontier(&mut self.tree(), size)
    }

    fn sign_export(&self, message: &[u8]) -> ExportSignature {
        let key = key();
        ExportSignature { node: NodeId(1), key: key.public(), signature: key.sign(message) }
    }
}

#[tokio::test]
async fn an_event_of_another_tenant_is_proven_without_its_content() {
    let world = World::new().await;
    let pinned = Pinned {
        origin: Origin { cluster: Digest([9; 32]), epoch: 1 },
        index: 0,
        signers: Signers([(NodeId(1), Some(key().public()))].into()),
    };
    for (caller, whole) in [(world.key("acme/admin"), false), (world.root_key.as_str(), true)] {
        let mut audit = world.audit(caller);
        let answer = audit.prove_audit(pb::ProveAuditRequest { index: 1 }).await.unwrap().into_inner();
        let sealed = answer.record.unwrap().sealed.unwrap();
        let hex = |bytes: &[u8]| only1mcp_proofs::hex(bytes);
        let bundle = Bundle {
            format: PROOF_FORMAT.to_owned(),
            index: 1,
            previous: hex(&answer.previous),
            digest: hex(&sealed.digest),
            hash: hex(&sealed.hash),
            bytes: (!sealed.canonical.is_empty()).then(|| hex(&sealed.canonical)),
            checkpoint: answer.checkpoint,
            path: answer.path.iter().map(|hash| hex(hash)).collect(),
        };
        assert_eq!(bundle.bytes.is_some(), whole, "{caller}");
        let proven = bundle.verify(&pinned, &[], None).unwrap();
        assert_eq!((proven.index, proven.event.is_some()), (1, whole));
    }
    let mut audit = world.audit(&world.root_key);
    for index in [0, 1 << 40] {
        let refused = audit.prove_audit(pb::ProveAuditRequest { index }).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}
