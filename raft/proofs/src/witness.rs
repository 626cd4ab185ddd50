//! A witness: remembers the last checkpoint of each chain it knows, and signs a newer one only where that is shown to
//! go on from it. Source: C2SP tlog-witness, tlog-cosignature.

use only1mcp_domain::audit::merkle::{PROOF_HASHES_MAX, TreeHead, is_consistent};
use only1mcp_domain::ids::{Digest, PublicKey};

use crate::checkpoint::{Checkpoint, Origin};
use crate::key::SigningKey;
use crate::note::{KeyType, Note, NoteSignature, VerifierKey};
use crate::pinned::Pinned;
use crate::policy::check_signers;
use crate::text::{decimal, unbase64};

/// A chain and whose signatures count there.
pub type Log = Pinned;

/// What it remembers of a chain.
pub type Known = TreeHead;

/// An HTTP answer; what is to be remembered must be on disk before it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
    pub remember: Option<(Origin, Known)>,
}

fn refuse(status: u16, body: impl Into<String>) -> Answer {
    Answer { status, content_type: "text/plain", body: body.into() + "\n", remember: None }
}

pub struct Witness {
    name: String,
    key: SigningKey,
    logs: Vec<Log>,
}

struct Asked<'a> {
    old: u64,
    path: Vec<Digest>,
    note: &'a str,
    checkpoint: Checkpoint,
}

impl<'a> Asked<'a> {
    fn parse(body: &'a str) -> Result<Self, Answer> {
        let wrong = |what: &str| refuse(400, what);
        let (head, note) = body.split_once("\n\n").ok_or_else(|| wrong("no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or_else(|| wrong("no old size"))?;
        let hash = |line: &str| unbase64(line).and_then(|bytes| bytes.try_into().ok()).map(Digest);
        let path: Option<Vec<Digest>> = lines.map(hash).collect();
        let path = path.filter(|path| path.len() < PROOF_HASHES_MAX).ok_or_else(|| wrong("no proof"))?;
        let parsed = Note::parse(note).map_err(|fault| wrong(&fault.to_string()))?;
        let checkpoint = parsed.text.split_once('\n').and_then(|(origin, _)| origin.parse::<Origin>().ok());
        if checkpoint.is_none() {
            return Err(refuse(404, "unknown origin"));
        }
        let checkpoint = Checkpoint::parse(&parsed.text).map_err(|fault| wrong(&fault.to_string()))?;
        Ok(Self { old, path, note, checkpoint })
    }
}

impl Witness {
    pub fn new(name: String, key: SigningKey, logs: Vec<Log>) -> Self {
        Self { name, key, logs }
    }

    /// What those who trust it are given.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey { name: self.name.clone(), of: KeyType::Cosignature, key: self.public() }
    }

    fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// Answers the body of an `add-checkpoint`. `known`: what it remembers of a chain; nobody else may answer meanwhile.
    pub fn add_checkpoint(
        &self,
        body: &str,
        known: impl FnOnce(Origin) -> Option<Known>,
        seconds: u64,
    ) -> Answer {
        let asked = match Asked::parse(body) {
            Ok(asked) => asked,
            Err(answer) => return answer,
        };
        let Asked { old, path, note, checkpoint } = asked;
        let (origin, tree) = (checkpoint.origin, checkpoint.tree);
        let Some(log) = self.logs.iter().find(|log| log.origin == origin) else {
            return refuse(404, "unknown origin");
        };
        if let Err(fault) = check_signers(note, log.origin, &log.signers) {
            return refuse(403, fault.to_string());
        }
        if old > tree.size {
            return refuse(400, "the old size is above the checkpoint's");
        }
        let known = known(origin);
        let size = known.map_or(0, |known| known.size);
        let conflict = || Answer {
            status: 409,
            content_type: "text/x.tlog.size",
            body: format!("{size}\n"),
            remember: None,
        };
        if old != size {
            return conflict();
        }
        if let Some(known) = known
            && known.size == tree.size
            && known.root != tree.root
        {
            return conflict();
        }
        // Nothing was seen before: there is nothing to be consistent with.
        let consistent = match known {
            Some(known) => is_consistent(known, tree, &path),
            None => path.is_empty(),
        };
        if !consistent {
            return refuse(422, "the checkpoint is not shown to go on from the last one");
        }
        let text = checkpoint.text();
        let signature = NoteSignature::cosignature(&self.name, &self.key, &text, seconds);
        Answer {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body: format!("{signature}\n"),
            remember: Some((origin, tree)),
        }
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::audit::Signers;
    use only1mcp_domain::audit::merkle::{Complete, Nodes, leaf, prove_consistency, root};
    use only1mcp_domain::ids::{AuditIndex, NodeId};

    use super::*;

    struct All(Complete);

    impl Nodes for All {
        type Error = ();

        fn node(&mut self, level: u32, index: u64) -> Result<Digest, ()> {
            self.0.get(level, index).ok_or(())
        }
    }

    fn tree(salt: u8) -> All {
        let mut complete = Complete::default();
        (1..=9).for_each(|index| complete.push(leaf(AuditIndex(index), Digest([salt; 32]))));
        All(complete)
    }

    fn key(node: u8) -> SigningKey {
        SigningKey::of_seed([node; 32])
    }

    fn origin() -> Origin {
        Origin { cluster: Digest([7; 32]), epoch: 1 }
    }

    fn head(salt: u8, size: u64) -> TreeHead {
        TreeHead { size, root: root(&mut tree(salt), size).unwrap() }
    }

    fn note(origin: Origin, tree: TreeHead, nodes: &[u8]) -> String {
        let text = Checkpoint { origin, tree, chain: Digest([1; 32]) }.text();
        let sign = |node: &u8| NoteSignature::ed25519(&origin.to_string(), &key(*node), &text);
        Note { text: text.clone(), signatures: nodes.iter().map(sign).collect() }.to_string()
    }

    fn body(old: u64, path: &[Digest], note: &str) -> String {
        let path: String = path.iter().map(|hash| crate::text::base64(&hash.0) + "\n").collect();
        format!("old {old}\n{path}\n{note}")
    }

    #[test]
    fn forks_and_rollbacks_are_refused() {
        let signers = Signers((1..=3_u8).map(|n| (NodeId(n.into()), Some(key(n).public()))).collect());
        let log = Pinned { origin: origin(), index: 0, signers };
        let witness = Witness::new("w.test".into(), key(9), vec![log]);
        let ask = |body: &str, known| witness.add_checkpoint(body, |_| known, 42);
        let seen = Some(head(1, 4));
        let path = |old, size| prove_consistency(&mut tree(1), old, size).unwrap();
        let good = note(origin(), head(1, 9), &[1, 2]);

        let first = ask(&body(0, &[], &good), None);
        assert_eq!((first.status, first.remember), (200, Some((origin(), head(1, 9)))));
        let signature = NoteSignature::parse(first.body.trim_end()).unwrap();
        assert_eq!(signature.verified(&witness.verifier(), &Note::parse(&good).unwrap().text), Some(42));
        let next = ask(&body(4, &path(4, 9), &good), seen);
        assert_eq!((next.status, next.remember), (200, Some((origin(), head(1, 9)))));
        assert_eq!(ask(&body(9, &[], &good), Some(head(1, 9))).status, 200, "the same again");

        let other = Origin { epoch: 2, ..origin() };
        let fork = note(origin(), head(2, 9), &[1, 2, 3]);
        for (status, body, known) in [
            (409, body(0, &[], &good), seen),
            (409, body(9, &[], &fork), Some(head(1, 9))),
            (409, body(4, &[], &note(origin(), head(1, 4), &[1, 2])), Some(head(1, 9))),
            (400, body(9, &[], &note(origin(), head(1, 4), &[1, 2])), Some(head(1, 9))),
            (422, body(4, &path(4, 9), &fork), seen),
            (422, body(4, &[], &good), seen),
            (422, body(0, &path(4, 9), &good), None),
            (403, body(0, &[], &note(origin(), head(1, 9), &[1])), None),
            (403, body(0, &[], &note(origin(), head(1, 9), &[4, 5])), None),
            (404, body(0, &[], &note(other, head(1, 9), &[1, 2])), None),
            (400, good.clone(), None),
            (400, body(0, &[], "no note\n"), None),
            (400, good.replacen("only1mcp/", "old 00\n\nonly1mcp/", 1), None),
        ] {
            let answer = ask(&body, known);
            assert_eq!((answer.status, answer.remember), (status, None), "{body}");
        }
        let told = ask(&body(0, &[], &good), seen);
        assert_eq!((told.content_type, told.body.as_str()), ("text/x.tlog.size", "4\n"));
    }
}
