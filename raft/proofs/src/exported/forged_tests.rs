//! A corpus of forged proofs, checkpoints and exports. Each is refused with its code, by this verifier and by the one in
//! Python that was written from the format's description alone; what is sound both accept.

use std::io::Cursor;
use std::path::PathBuf;

use crate::{
    Bundle, CONSISTENCY_FORMAT, Checkpoint, Consistency, ExportSigner, ExportStatement, Note, NoteSignature,
    Origin, PROOF_FORMAT, Pinned, Receipt, SigningKey, VerifierKey, Witness,
};
use only1mcp_domain::audit::merkle::{self, Complete, Nodes, TreeHead, leaf};
use only1mcp_domain::audit::{
    self, AuditEvent, ChainHead, EventActor, EventKind, EventResource, SealedEvent, Signers, Statement, link,
};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, TenantId};
use only1mcp_domain::time::TimestampMs;

use super::format::{ExportSigned, FORMAT, Head, Header, Line, Trailer, readable};
use super::tests::event;
use super::verify::{Asked, verify};
use crate::text::hex;

pub(super) const ORIGIN: Origin = Origin { cluster: Digest([7; 32]), epoch: 1 };
const EVENTS: u64 = 12;
const AT: u64 = 6;

pub(super) fn key(node: u8) -> SigningKey {
    SigningKey::of_seed([node; 32])
}

struct All(Complete);

impl Nodes for All {
    type Error = ();

    fn node(&mut self, level: u32, index: u64) -> Result<Digest, ()> {
        self.0.get(level, index).ok_or(())
    }
}

/// A chain of twelve events, one of which brings a third signer, and one that its proposer signed.
struct World {
    events: Vec<SealedEvent>,
}

fn system(event: AuditEvent, action: &str, node: u64) -> AuditEvent {
    AuditEvent {
        kind: EventKind::ConfigurationChange,
        tenant: TenantId::system(),
        action: action.to_owned(),
        resource: EventResource { kind: "node".into(), id: node.to_string() },
        ..event
    }
}

fn content(number: u64) -> AuditEvent {
    let plain = event(number);
    match number {
        5 => {
            let signers = (1..=3_u8).map(|node| (format!("signer {node}"), key(node).public().to_string()));
            let own = ("signing_key".to_owned(), key(3).public().to_string());
            AuditEvent { details: signers.chain([own]).collect(), ..system(plain, "node.set_signing_key", 3) }
        }
        8 => {
            let statement = Statement {
                node: NodeId(1),
                actor: EventActor { tenant: "system".into(), id: "root".into(), via: "key".into() },
                action: "tenant.create".into(),
                resource: EventResource { kind: "node".into(), id: "1".into() },
                observed_at: TimestampMs(number),
                content: Digest([4; 32]),
            };
            let signature = [1_u64.to_be_bytes().as_slice(), &key(1).sign(&statement.bytes())].concat();
            AuditEvent {
                actor: statement.actor,
                details: vec![("content".into(), statement.content.to_string())],
                signature: Some(signature),
                ..system(plain, "tenant.create", 1)
            }
        }
        _ => plain,
    }
}

impl World {
    fn new(change: impl Fn(u64, AuditEvent) -> AuditEvent) -> Self {
        let mut head = ChainHead::default();
        let events = (1..=EVENTS).map(|number| head.append(audit::encode(&change(number, content(number)))));
        Self { events: events.collect() }
    }

    fn at(&self, index: u64) -> &SealedEvent {
        &self.events[usize::try_from(index).unwrap() - 1]
    }

    fn tree(&self) -> All {
        let mut complete = Complete::default();
        self.events.iter().for_each(|event| complete.push(leaf(event.index, event.digest)));
        All(complete)
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        let tree = TreeHead { size, root: merkle::root(&mut self.tree(), size).unwrap() };
        Checkpoint { origin: ORIGIN, tree, chain: self.at(size).hash }
    }

    fn bundle(&self, index: u64, checkpoint: String) -> Bundle {
        let event = self.at(index);
        let previous = if index == 1 { Digest::default() } else { self.at(index - 1).hash };
        let path = merkle::prove_inclusion(&mut self.tree(), index - 1, AT).unwrap();
        Bundle {
            format: PROOF_FORMAT.into(),
            index,
            previous: previous.to_string(),
            digest: event.digest.to_string(),
            hash: event.hash.to_string(),
            bytes: Some(hex(&event.bytes)),
            checkpoint,
            path: path.iter().map(ToString::to_string).collect(),
        }
    }

    /// The export of the events up to `end`, exported by node 2.
    fn export(&self, end: u64, checkpoint: Option<String>) -> Vec<String> {
        self.export_of(end, checkpoint, |number| !number.is_multiple_of(3))
    }

    fn export_of(&self, end: u64, checkpoint: Option<String>, whole: impl Fn(u64) -> bool) -> Vec<String> {
        let header = Header {
            format: FORMAT.into(),
            cluster_id: ORIGIN.cluster.to_string(),
            tenant: "acme".into(),
            start: Head::of(ChainHead::default()),
            end_index: end,
            log_time_ms: 99,
            epoch: ORIGIN.epoch,
            frontier: Vec::new(),
        };
        let mut out = vec![serde_json::to_string(&header).unwrap()];
        let mut signer = ExportSigner::default();
        for sealed in self.events.iter().take(usize::try_from(end).unwrap()) {
            let whole = whole(sealed.index.0);
            signer.add(sealed.index, sealed.digest, sealed.hash, whole);
            let line = Line {
                index: sealed.index.0,
                digest: sealed.digest.to_string(),
                hash: sealed.hash.to_string(),
                bytes: whole.then(|| hex(&sealed.bytes)),
                expired: None,
                event: whole.then(|| readable(&audit::decode(&sealed.bytes).unwrap())),
                personal: None,
            };
            out.push(serde_json::to_string(&line).unwrap());
        }
        let statement = ExportStatement {
            origin: ORIGIN,
            tenant: "acme".into(),
            start: ChainHead::default(),
            end: AuditIndex(end),
            log_time_ms: 99,
        };
        let signature = hex(&key(2).sign(&signer.message(&statement)));
        let signed = ExportSigned { node: 2, key: key(2).public().to_string(), signature };
        out.push(serde_json::to_string(&Trailer { signed, checkpoint }).unwrap());
        out
    }
}

fn note(checkpoint: &Checkpoint, nodes: &[u8]) -> String {
    let (text, name) = (checkpoint.text(), checkpoint.origin.to_string());
    let sign = |node: &u8| NoteSignature::ed25519(&name, &key(*node), &text);
    let signatures = nodes.iter().map(sign).collect();
    Note { text, signatures }.to_string()
}

fn pinned() -> Pinned {
    let signers = [1, 2].map(|node| (NodeId(u64::from(node)), Some(key(node).public())));
    Pinned { origin: ORIGIN, index: 0, signers: Signers(signers.into()) }
}

/// One file, what it is held against, and the code of what is wrong; empty where nothing is.
pub(super) struct Case {
    name: String,
    code: &'static str,
    what: &'static str,
    text: String,
    receipts: Vec<Receipt>,
    checkpoints: Vec<String>,
    witnesses: Vec<VerifierKey>,
    keyed: bool,
}

impl Case {
    pub(super) fn of(what: &'static str, name: &str, code: &'static str, text: String) -> Self {
        let name = format!("{what}: {name}");
        let (receipts, checkpoints, witnesses) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, code, what, text, receipts, checkpoints, witnesses, keyed: true }
    }

    fn receipt(mut self, event: &SealedEvent) -> Self {
        self.receipts.push(Receipt { audit_index: event.index.0, event_hash: event.hash.to_string() });
        self
    }

    fn checkpoint(mut self, note: String) -> Self {
        self.checkpoints.push(note);
        self
    }

    fn witness(mut self, key: VerifierKey) -> Self {
        self.witnesses.push(key);
        self
    }

    pub(super) fn without_keys(self) -> Self {
        Self { keyed: false, ..self }
    }

    fn verdict(&self) -> String {
        let keys = pinned();
        let found = match self.what {
            "proof" => Bundle::parse(&self.text)
                .and_then(|bundle| bundle.verify(&keys, &self.witnesses, self.receipts.first()).map(drop)),
            "consistency" => Consistency::parse(&self.text)
                .and_then(|consistency| consistency.verify(&keys, &self.witnesses).map(drop)),
            _ => {
                let asked = Asked {
                    receipts: self.receipts.clone(),
                    keys: self.keyed.then_some(keys),
                    checkpoints: self.checkpoints.clone(),
                    witnesses: self.witnesses.clone(),
                    ..Asked::default()
                };
                let found = verify(Cursor::new(self.text.clone()), &asked);
                return found.err().map(|fault| fault.code().to_owned()).unwrap_or_default();
            }
        };
        found.err().map(|fault| fault.code.to_owned()).unwrap_or_default()
    }
}

pub(super) fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn proofs(world: &World) -> Vec<Case> {
    let checkpoint = world.checkpoint(AT);
    let signed = note(&checkpoint, &[1, 2, 3]);
    let good = world.bundle(4, signed.clone());
    let with = |change: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        serde_json::to_string(&bundle).unwrap()
    };
    let of = |name: &str, code, change: &dyn Fn(&mut Bundle)| Case::of("proof", name, code, with(change));
    let signed_as = |change: &dyn Fn(&mut Checkpoint), nodes: &[u8]| {
        let mut other = checkpoint;
        change(&mut other);
        note(&other, nodes)
    };
    let replaced = |from: &str, to: &str| with(&|b| b.checkpoint = b.checkpoint.replacen(from, to, 1));
    let witness = Witness::new("witness.example/w".into(), key(9), vec![pinned()]);
    let stranger = Witness::new("witness.example/w".into(), key(8), vec![pinned()]);
    let witnessed = |witness: &Witness, note: &str| {
        let answer = witness.add_checkpoint(&format!("old 0\n\n{note}"), |_| None, 1_800_000_000);
        assert_eq!(answer.status, 200, "{}", answer.body);
        format!("{note}{}", answer.body)
    };
    let other_event = world.at(5);
    let mut cases = vec![
        of("sound", "", &|_| {}).receipt(world.at(4)),
        of("without content", "", &|b| b.bytes = None),
        Case::of(
            "proof",
            "the last event",
            "",
            serde_json::to_string(&world.bundle(AT, signed.clone())).unwrap(),
        ),
        of("another format", "MALFORMED", &|b| b.format = "only1mcp-proof-2".into()),
        of("a hash in capitals", "MALFORMED", &|b| b.hash = b.hash.to_uppercase()),
        of("a hash of the path changed", "INCLUSION_INVALID", &|b| b.path[1] = "ab".repeat(32)),
        of("the path cut", "INCLUSION_INVALID", &|b| drop(b.path.pop())),
        of("the path longer", "INCLUSION_INVALID", &|b| b.path.push("ab".repeat(32))),
        of("the path turned round", "INCLUSION_INVALID", &|b| b.path.reverse()),
        of("a path without end", "MALFORMED", &|b| b.path = vec!["ab".repeat(32); 65]),
        of("another index", "CHAIN_MISMATCH", &|b| b.index = 3),
        of("index nought", "NOT_COVERED", &|b| {
            b.index = 0;
            b.bytes = None;
            let (previous, digest) = (Digest::default(), Digest([1; 32]));
            (b.previous, b.digest) = (previous.to_string(), digest.to_string());
            b.hash = link(previous, AuditIndex(0), digest).to_string();
        }),
        of("the event edited", "EDITED", &|b| {
            b.bytes = b.bytes.as_ref().map(|bytes| bytes.replacen("75736572", "75736573", 1));
        }),
        of("another event in its place", "INCLUSION_INVALID", &|b| {
            b.bytes = Some(hex(&other_event.bytes));
            b.digest = other_event.digest.to_string();
            let previous = Digest::parse_hex(&b.previous).unwrap();
            b.hash = link(previous, AuditIndex(4), other_event.digest).to_string();
        }),
        of("another receipt", "RECEIPT_MISMATCH", &|_| {}).receipt(world.at(5)),
        of("an event behind the checkpoint", "NOT_COVERED", &|b| {
            let later = world.at(9);
            (b.index, b.bytes) = (9, None);
            (b.previous, b.digest) = (world.at(8).hash.to_string(), later.digest.to_string());
            b.hash = later.hash.to_string();
        }),
        of("another cluster", "OTHER_CLUSTER", &|b| {
            b.checkpoint = signed_as(&|c| c.origin.cluster = Digest([8; 32]), &[1, 2, 3]);
        }),
        of("an older epoch", "OTHER_EPOCH", &|b| {
            b.checkpoint = signed_as(&|c| c.origin.epoch = 2, &[1, 2, 3]);
        }),
        of("one of two signed", "QUORUM_MISSING", &|b| b.checkpoint = signed_as(&|_| {}, &[1])),
        of("one signed twice", "QUORUM_MISSING", &|b| b.checkpoint = signed_as(&|_| {}, &[1, 1])),
        of("strangers signed", "QUORUM_MISSING", &|b| b.checkpoint = signed_as(&|_| {}, &[3, 4, 5])),
        of("a forged root, signed by one", "QUORUM_MISSING", &|b| {
            b.checkpoint = signed_as(&|c| c.tree.root = Digest([1; 32]), &[1]);
        }),
        of("another chain than the tree's", "CHAIN_MISMATCH", &|b| {
            *b = world.bundle(AT, signed_as(&|c| c.chain = Digest([1; 32]), &[1, 2]));
        }),
        Case::of("proof", "the size changed", "SIGNATURE_INVALID", replaced("\n6\n", "\n7\n")),
        Case::of("proof", "a size with a nought", "MALFORMED", replaced("\n6\n", "\n06\n")),
        Case::of("proof", "a fifth line", "MALFORMED", replaced("\n\n", "\nmore\n\n")),
        Case::of("proof", "no chain", "MALFORMED", replaced("\nchain ", "\nchains ")),
        Case::of("proof", "a hyphen in place of the dash", "MALFORMED", replaced("\u{2014}", "-")),
        Case::of("proof", "no JSON", "MALFORMED", "{".into()),
        of("no signature at all", "MALFORMED", &|b| b.checkpoint = format!("{}\n", checkpoint.text())),
        of("no witness", "WITNESS_MISSING", &|_| {}).witness(witness.verifier()),
        of("witnessed", "", &|b| b.checkpoint = witnessed(&witness, &signed)).witness(witness.verifier()),
        of("another witness", "WITNESS_MISSING", &|b| b.checkpoint = witnessed(&stranger, &signed))
            .witness(witness.verifier()),
    ];
    // A true signature, of another checkpoint.
    for (name, line) in [("a node's signature moved", 0), ("a witness' signature moved", 3)] {
        let other = witnessed(&witness, &note(&world.checkpoint(7), &[1, 2, 3]));
        let mut own = Note::parse(&witnessed(&witness, &signed)).unwrap();
        own.signatures[line] = Note::parse(&other).unwrap().signatures[line].clone();
        let case = of(name, "SIGNATURE_INVALID", &|b| b.checkpoint = own.to_string());
        cases.push(case.witness(witness.verifier()));
    }
    cases
}

fn consistencies(world: &World) -> Vec<Case> {
    let signed = |size| note(&world.checkpoint(size), &[1, 2]);
    let path = |old, size| merkle::prove_consistency(&mut world.tree(), old, size).unwrap();
    let file = |old: String, new: String, path: Vec<Digest>| {
        let path = path.iter().map(ToString::to_string).collect();
        let format = CONSISTENCY_FORMAT.to_owned();
        serde_json::to_string(&Consistency { format, old, new, path }).unwrap()
    };
    let of = |name, code, text| Case::of("consistency", name, code, text);
    let forked =
        World::new(
            |number, event| {
                if number == 2 { AuditEvent { action: "something else".into(), ..event } } else { event }
            },
        );
    let fork = |size| note(&forked.checkpoint(size), &[1, 2]);
    let mut changed = path(AT, EVENTS);
    changed[0] = Digest([1; 32]);
    vec![
        of("sound", "", file(signed(AT), signed(EVENTS), path(AT, EVENTS))),
        of("from a complete tree", "", file(signed(4), signed(EVENTS), path(4, EVENTS))),
        of("the same", "", file(signed(AT), signed(AT), Vec::new())),
        of("rolled back", "ROLLED_BACK", file(signed(EVENTS), signed(AT), path(AT, EVENTS))),
        of("two of one size", "FORKED", file(signed(AT), fork(AT), Vec::new())),
        of("another past", "CONSISTENCY_INVALID", file(fork(AT), signed(EVENTS), path(AT, EVENTS))),
        of("a changed path", "CONSISTENCY_INVALID", file(signed(AT), signed(EVENTS), changed)),
        of("no path", "CONSISTENCY_INVALID", file(signed(AT), signed(EVENTS), Vec::new())),
        of("a path between equals", "CONSISTENCY_INVALID", file(signed(AT), signed(AT), path(AT, EVENTS))),
        of(
            "an unsigned past",
            "QUORUM_MISSING",
            file(note(&world.checkpoint(AT), &[3]), signed(EVENTS), path(AT, EVENTS)),
        ),
    ]
}

fn exports(world: &World) -> Vec<Case> {
    let (early, late) = (note(&world.checkpoint(AT), &[1, 2, 3]), note(&world.checkpoint(EVENTS), &[1, 3]));
    let good = world.export(EVENTS, Some(late.clone()));
    let of = |name: &str, code, file: &[String]| Case::of("export", name, code, lines(file));
    let with = |name: &str, code, change: &dyn Fn(&mut Vec<String>)| {
        let mut file = good.clone();
        change(&mut file);
        of(name, code, &file).checkpoint(early.clone())
    };
    let rewritten =
        World::new(
            |number, event| {
                if number == 4 { AuditEvent { action: "something else".into(), ..event } } else { event }
            },
        );
    let unsigned = World::new(|number, event| {
        let forge = |mut signature: Vec<u8>| {
            signature[70] ^= 1;
            signature
        };
        if number == 8 { AuditEvent { signature: event.signature.map(forge), ..event } } else { event }
    });
    let claimed =
        World::new(
            |number, event| {
                if number == 8 { AuditEvent { action: "tenant.delete".into(), ..event } } else { event }
            },
        );
    vec![
        with("sound, with a new signer", "", &|_| {}).receipt(world.at(7)),
        of("sound, nothing held against it", "", &good).without_keys(),
        of("the new signers' word alone", "QUORUM_MISSING", &good),
        with("edited", "EDITED", &|f| f[2] = f[2].replacen("75736572", "75736573", 1)),
        with("a hash edited", "CHAIN_BROKEN", &|f| {
            let mut line: Line = serde_json::from_str(&f[3]).unwrap();
            line.digest = "ab".repeat(32);
            f[3] = serde_json::to_string(&line).unwrap();
        }),
        with("deleted", "DELETED", &|f| drop(f.remove(4))),
        with("the first deleted", "DELETED", &|f| drop(f.remove(1))),
        with("moved", "MOVED", &|f| f.swap(4, 6)),
        with("inserted", "INSERTED", &|f| f.insert(5, f[3].clone())),
        with("truncated", "TRUNCATED", &|f| drop(f.remove(12))),
        with("truncated, and the header with it", "EXPORT_SIGNATURE_INVALID", &|f| {
            f.remove(12);
            f[0] = f[0].replace("\"end_index\":12", "\"end_index\":11");
        }),
        with("cut in a line", "MALFORMED", &|f| {
            let last = f.last_mut().unwrap();
            last.truncate(last.len() / 2);
        }),
        with("the last line missing", "EXPORT_UNSIGNED", &|f| drop(f.pop())),
        with("content withheld afterwards", "EXPORT_SIGNATURE_INVALID", &|f| {
            let mut line: Line = serde_json::from_str(&f[1]).unwrap();
            (line.bytes, line.event) = (None, None);
            f[1] = serde_json::to_string(&line).unwrap();
        }),
        with("another tenant's name", "EXPORT_SIGNATURE_INVALID", &|f| f[0] = f[0].replace("acme", "evil")),
        with("another exporter", "EXPORT_SIGNATURE_INVALID", &|f| {
            let last = f.last_mut().unwrap();
            *last = last.replace("\"node\":2", "\"node\":1");
        }),
        of("rolled back", "TRUNCATED", &world.export(10, None))
            .checkpoint(early.clone())
            .checkpoint(late.clone()),
        of("rolled back, to a receipt", "TRUNCATED", &world.export(10, None)).receipt(world.at(11)),
        of("rewritten, to a checkpoint", "FORKED", &rewritten.export(EVENTS, None)).checkpoint(early.clone()),
        of("rewritten, to a receipt", "FORKED", &rewritten.export(EVENTS, None)).receipt(world.at(7)),
        of("rewritten, nothing held against it", "", &rewritten.export(EVENTS, None)),
        of("a proposer's signature forged", "EVENT_SIGNATURE_INVALID", &unsigned.export(EVENTS, None)),
        of("not what was proposed", "EVENT_SIGNATURE_INVALID", &claimed.export(EVENTS, None)),
        with("another cluster's checkpoint", "OTHER_CLUSTER", &|_| {}).checkpoint({
            let other =
                Checkpoint { origin: Origin { cluster: Digest([8; 32]), epoch: 1 }, ..world.checkpoint(3) };
            note(&other, &[1, 2])
        }),
    ]
}

/// Path of the interpreter that the tests' peers come with.
fn python() -> PathBuf {
    let kit = match std::env::var_os("ONLY1MCP_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.peers"),
    };
    let path = kit.join("bin/mcp-python");
    assert!(path.exists(), "{} is not there: run `cargo xtask test`, which installs it", path.display());
    path
}

#[test]
fn two_verifiers_refuse_every_forgery_and_accept_what_is_sound() {
    let world = World::new(|_, event| event);
    let cases = [proofs(&world), consistencies(&world), exports(&world), super::expired_tests::cases()];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: String, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let keys = write("keys.json".into(), &pinned().text());
    let mut many = String::new();
    for (number, case) in cases.iter().enumerate() {
        assert_eq!(case.verdict(), case.code, "{}", case.name);
        let mut arguments = vec![case.what.to_owned(), write(format!("{number}.json"), &case.text)];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if case.keyed {
            option("--keys", keys.clone());
        }
        for (n, receipt) in case.receipts.iter().enumerate() {
            option("--receipt", write(format!("{number}-r{n}"), &serde_json::to_string(receipt).unwrap()));
        }
        for (n, note) in case.checkpoints.iter().enumerate() {
            option("--checkpoint", write(format!("{number}-c{n}"), note));
        }
        case.witnesses.iter().for_each(|witness| option("--witness", witness.to_string()));
        many.push_str(&(serde_json::to_string(&arguments).unwrap() + "\n"));
    }
    let list = write("list".into(), &many);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/verify/verify.py");
    let output = std::process::Command::new(python()).args([script, "many", &list]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.lines().count(), cases.len());
    for (case, said) in cases.iter().zip(said.lines()) {
        let code = said.split(':').next().unwrap();
        let code = if code == "valid" { "" } else { code };
        assert_eq!(code, case.code, "{}: {said}", case.name);
    }
}
