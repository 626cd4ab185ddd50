//! `only1mcp doctor`: a bit flipped in any kind of file is found and named, and nothing is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Output};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::future::BoxFuture;
use only1mcp_consensus::{Clock, Connector, Consensus, Options, PeerIo, PeerTarget, Stores, Timing};
use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::{ApiKeyId, AuditIndex, CommandId, Digest, NodeId, PrincipalId, TenantId};
use only1mcp_domain::model::{ApiKey, ClusterSettings, NodeRole, Principal, PrincipalKind};
use only1mcp_domain::row::{RowKey, RowValue};
use only1mcp_domain::time::TimestampMs;
use only1mcp_node::doctor::{Part, Report, Verdict, examine};
use only1mcp_proto::codec::encode_row;
use only1mcp_storage::{
    DataFolder, Engine as _, FileJournal, FileRaftLog, FileSegments, Journal as _, JournalOptions,
    RaftLogOptions, SledEngine,
};
use tokio::time::Instant;

const NOW: u64 = 1_800_000_000_000;
const EMAIL: &str = "flip-me-in-the-rows@example.com";

pub struct Nobody;

impl Connector for Nobody {
    fn connect(&self, _: PeerTarget) -> BoxFuture<'static, std::io::Result<Box<dyn PeerIo>>> {
        Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
    }
}

pub struct Fixed;

impl Clock for Fixed {
    fn now_ms(&self) -> u64 {
        NOW
    }
}

pub fn entry(command: Command, via: Via) -> Entry {
    let is_node = matches!(via, Via::Node(_));
    Entry {
        actor: Actor {
            tenant: TenantId::system(),
            principal: match via {
                Via::Node(node) => PrincipalId::of_node(node),
                _ => PrincipalId::new("root").unwrap(),
            },
            key: None,
            via,
            ip: None,
            user_agent: String::new(),
            personal: None,
            request_id: String::new(),
        },
        command_id: (!is_node).then_some(CommandId([1; 16])),
        request_digest: Digest([1; 32]),
        observed_at: TimestampMs(NOW),
        command,
        signature: None,
    }
}

pub fn form() -> Command {
    let root = PrincipalId::new("root").unwrap();
    Command::FormCluster(FormCluster {
        cluster_id: Digest([7; 32]),
        settings: ClusterSettings::new("examined"),
        node: RegisterNode {
            token: None,
            name: "n1".to_owned(),
            peer_address: "127.0.0.1:1".to_owned(),
            admin_address: "127.0.0.1:2".to_owned(),
            http_address: "127.0.0.1:3".to_owned(),
            region: "eu".to_owned(),
            zone: "a".to_owned(),
            version: "0.1.0".to_owned(),
        },
        administrator: Principal {
            tenant: TenantId::system(),
            id: root.clone(),
            kind: PrincipalKind::Person,
            display_name: "root".to_owned(),
            email: EMAIL.to_owned(),
            personal: None,
            projects: Vec::new(),
            attributes: BTreeMap::new(),
            enabled: true,
            created_at: TimestampMs(NOW),
            updated_at: TimestampMs(NOW),
        },
        administrator_key: ApiKey {
            id: ApiKeyId::new("key-root").unwrap(),
            tenant: TenantId::system(),
            principal: root,
            mac: Digest([0xac; 32]),
            label: "test".to_owned(),
            created_at: TimestampMs(NOW),
            expires_at: None,
            revoked_at: None,
            projects: Vec::new(),
            tools: Vec::new(),
            last_used_at: None,
            rotated_from: None,
        },
        key_hash_key: Secret32([8; 32]),
        session_key: Secret32([9; 32]),
    })
}

/// What a node leaves that has lived alone, with segments of four events.
async fn live(folder: &DataFolder) {
    folder.write_node_id(1).unwrap();
    let identity = serde_json::json!({
        "format": 1, "node": 1, "cluster_name": "examined", "heartbeat_ms": 100, "election_ms_min": 500,
        "election_ms_max": 1_000, "seeds": [],
    });
    folder.write_identity(identity.to_string().as_bytes()).unwrap();
    folder.write_signing_key(&[7; 32]).unwrap();
    folder.write_checkpoints(b"{}").unwrap();
    let generations = serde_json::json!({"1": Digest([3; 32]).to_string()});
    folder.write_generations(generations.to_string().as_bytes()).unwrap();
    let journal = FileJournal::open(folder.journal(), JournalOptions::default()).unwrap();
    for record in [b"first record of the journal".as_slice(), b"second record"] {
        let (sender, flushed) = channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        journal.append(bytes::Bytes::from_static(record), done).unwrap();
        flushed.recv().unwrap().unwrap();
    }
    let mut options = Options::new(NodeId(1), "n1", "127.0.0.1:1", Arc::new(Fixed));
    options.timing = Timing::default();
    options.segment_events = 4;
    let stores = Stores {
        log: Arc::new(FileRaftLog::open(folder.log(), RaftLogOptions::default()).unwrap()),
        engine: Arc::new(SledEngine::open(folder.state()).unwrap()),
        segments: Arc::new(FileSegments::open(folder.segments()).unwrap()),
    };
    let consensus = Consensus::start(options, stores, Arc::new(Nobody)).await.unwrap();
    let handle = consensus.handle();
    let soon = Instant::now() + Duration::from_secs(30);
    handle.form(entry(form(), Via::LocalSocket), soon).await.unwrap().outcome.unwrap();
    for _ in 0..22 {
        let role = Command::SetNodeRole { node: NodeId(1), role: NodeRole::Voter };
        handle.propose(entry(role, Via::Node(NodeId(1))), soon).await.unwrap().outcome.unwrap();
    }
    let sealed = usize::try_from(handle.state().chain.index.0).unwrap() / 4;
    while handle.audit_segments() != (sealed, 0) {
        assert!(Instant::now() < soon, "not sealed: {:?}", handle.audit_segments());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(sealed > 4);
    handle.shutdown().await.unwrap();
}

fn lived(root: &Path) {
    let folder = DataFolder::open(root).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(live(&folder));
    drop(runtime);
}

fn all_files(root: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, out);
        } else {
            let content = std::fs::read(&path).unwrap();
            out.insert(path, content);
        }
    }
}

fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    all_files(root, &mut out);
    out
}

fn look(root: &Path) -> Report {
    let scratch = tempfile::tempdir().unwrap();
    let before = content(root);
    let report = examine(root, scratch.path(), None).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "the copy stayed");
    assert!(content(root) == before, "something was written");
    report
}

/// The details of the damage in `part`.
fn damage(report: &Report, part: Part) -> String {
    let found = report.findings.iter().filter(|f| f.part == part && f.verdict == Verdict::Damaged);
    found.map(|f| format!("{} ({})", f.detail, f.advice)).collect::<Vec<_>>().join("\n")
}

fn only_file(folder: &Path, suffix: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_str().unwrap().ends_with(suffix)).min().unwrap()
}

fn places(content: &[u8], text: &[u8]) -> Vec<usize> {
    let windows = content.windows(text.len()).enumerate();
    windows.filter(|(_, window)| *window == text).map(|(at, _)| at + 2).collect()
}

#[test]
fn a_flipped_bit_in_every_kind_of_file_is_found_and_named() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    lived(root);
    let report = look(root);
    assert!(report.is_sound(), "{}", report.in_words());
    for part in ["segments", "chain", "log", "journal", "rows", "identity", "proofs", "keys"] {
        assert!(report.in_words().lines().any(|line| line.starts_with(part) && line.contains("sound")));
    }

    let wal = only_file(&root.join("log/wal"), ".wal");
    let journal = only_file(&root.join("journal"), ".log");
    let db = root.join("state/rows-1/db");
    let segment = only_file(&root.join("segments"), "");
    let in_db = places(&std::fs::read(&db).unwrap(), EMAIL.as_bytes());
    let in_wal = places(&std::fs::read(&wal).unwrap(), EMAIL.as_bytes());
    let in_journal = places(&std::fs::read(&journal).unwrap(), b"first record of the journal");
    assert!(!in_db.is_empty() && !in_wal.is_empty() && in_journal.len() == 1);
    let address = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let flips: Vec<(PathBuf, Vec<usize>, Part, &str)> = vec![
        (root.join("format"), vec![3], Part::Folder, "format"),
        (root.join("node-id"), vec![28], Part::Identity, "node-id"),
        (root.join("identity"), vec![60], Part::Identity, "identity"),
        (root.join("signing-key"), vec![40], Part::Proofs, "signing-key"),
        (root.join("checkpoints"), vec![32], Part::Proofs, "checkpoints"),
        (root.join("generations"), vec![50], Part::Keys, "generations"),
        (root.join("log/format"), vec![3], Part::Log, "format"),
        (wal, in_wal, Part::Log, ".wal"),
        (root.join("journal/format"), vec![3], Part::Journal, "format"),
        (journal.clone(), vec![1], Part::Journal, "journal-"),
        (journal, in_journal, Part::Journal, "journal-"),
        (root.join("state/current"), vec![3], Part::Rows, "current"),
        (db, in_db, Part::Rows, "rows"),
        (root.join("state/rows-1/synced"), vec![2], Part::Rows, "synced"),
        (segment.clone(), vec![20], Part::Segments, &address),
        (segment.clone(), vec![400], Part::Segments, &address),
        (segment.clone(), vec![std::fs::read(&segment).unwrap().len() - 1], Part::Segments, &address),
    ];
    for (path, places, part, named) in flips {
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        places.iter().for_each(|at| bad[*at] ^= 4);
        std::fs::write(&path, bad).unwrap();
        let report = look(root);
        let told = damage(&report, part);
        assert!(told.contains(named), "{}: {}", path.display(), report.in_words());
        assert!(!report.is_sound());
        std::fs::write(&path, good).unwrap();
    }
    assert!(look(root).is_sound());

    // Files that are not there.
    for (path, part) in
        [("log", Part::Log), ("journal", Part::Journal), (&*format!("segments/{address}"), Part::Segments)]
    {
        let away = root.join("away");
        std::fs::rename(root.join(path), &away).unwrap();
        let report = look(root);
        assert!(!damage(&report, part).is_empty(), "{path}: {}", report.in_words());
        std::fs::rename(&away, root.join(path)).unwrap();
    }

    // A segment nobody names is no damage; a row that was edited is, though its checksum is right.
    std::fs::copy(&segment, root.join("segments").join("ab".repeat(32))).unwrap();
    let report = look(root);
    assert!(report.is_sound() && report.in_words().contains("no row names it"), "{}", report.in_words());
    edit_last_event(root);
    let report = look(root);
    assert!(damage(&report, Part::Chain).contains("digest"), "{}", report.in_words());
}

fn edit_last_event(root: &Path) {
    let engine = SledEngine::open(root.join("state")).unwrap();
    let end = RowKey::audit(AuditIndex(u64::MAX)).0;
    let (key, value) = engine.scan_back(&RowKey::audit(AuditIndex(1)).0, &end, 1).unwrap().remove(0);
    let row = only1mcp_proto::codec::decode_row(only1mcp_domain::row::Table::Audit, &value).unwrap();
    let RowValue::Audit(mut event) = row else { panic!("no event") };
    let at = event.bytes.len() - 1;
    event.bytes[at] ^= 1;
    engine.write(vec![(key, Some(encode_row(&RowValue::Audit(event))))], true).unwrap();
}

fn doctor(arguments: &[&str]) -> Output {
    Process::new(env!("CARGO_BIN_EXE_only1mcp")).arg("doctor").args(arguments).output().unwrap()
}

#[test]
fn exit_codes_say_what_was_found_and_a_node_that_runs_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    lived(root.path());
    let path = root.path().to_str().unwrap();
    let sound = doctor(&[path]);
    assert_eq!(sound.status.code(), Some(0), "{}", String::from_utf8_lossy(&sound.stderr));
    assert!(String::from_utf8(sound.stdout).unwrap().ends_with("The folder is sound.\n"));

    let running = DataFolder::open(root.path()).unwrap();
    let refused = doctor(&[path]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("stop it first"));
    drop(running);
    assert_eq!(doctor(&[root.path().join("log").to_str().unwrap()]).status.code(), Some(2));

    // A key ring that cannot be read is damage, too; nothing else can be looked at then.
    let folder = DataFolder::open(root.path()).unwrap();
    folder.write_key_ring(b"{\"format\": 1}").unwrap();
    drop(folder);
    let ring = root.path().join("key-ring");
    let good = std::fs::read(&ring).unwrap();
    let mut bad = good.clone();
    bad[good.len() - 2] ^= 4;
    for content in [good, bad] {
        std::fs::write(&ring, content).unwrap();
        let damaged = doctor(&[path]);
        assert_eq!(damaged.status.code(), Some(1));
        let said = String::from_utf8(damaged.stdout).unwrap();
        assert!(said.contains("key-ring") && said.contains("DAMAGED"), "{said}");
    }
    std::fs::remove_file(&ring).unwrap();

    let segment = only_file(&root.path().join("segments"), "");
    std::fs::write(&segment, b"nothing").unwrap();
    let damaged = doctor(&[path, "--output", "json"]);
    assert_eq!(damaged.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert_eq!(told["sound"], false);
    let findings = told["findings"].as_array().unwrap();
    let finding = findings.iter().find(|f| f["verdict"] == "damaged").unwrap();
    assert_eq!(finding["part"], "segments");
    assert!(!finding["advice"].as_str().unwrap().is_empty());
}
