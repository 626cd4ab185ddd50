//! What an earlier version wrote is read by this one. Each `tests/fixtures/version-N` is a node's folder as that
//! version left it: the Raft log and the sealed segments as they are, the rows as text (what sled makes of them is
//! pinned by its version, and large). None of them is ever changed; a version that writes something new adds one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use only1mcp_consensus::{Consensus, Stores};
use only1mcp_domain::audit::Verifier;
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::{AuditIndex, Digest, NodeId, PrincipalId, PublicKey, SubjectKeyId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Held, Offer, Personal, Principal, PrincipalKind, Slot, WrappedKey};
use only1mcp_domain::time::TimestampMs;
use only1mcp_storage::{Engine, FileRaftLog, FileSegments, RaftLogOptions, SledEngine};

use crate::world::{PlainConnector, START_MS, World, name, soon};

const VERSIONS: [&str; 2] = ["version-1", "version-2"];

fn folder_of(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn principal(id: &str) -> Command {
    Command::CreatePrincipal(Principal {
        tenant: TenantId::system(),
        id: PrincipalId::new(id).unwrap(),
        kind: PrincipalKind::Person,
        display_name: id.to_owned(),
        email: format!("{id}@example.com"),
        personal: None,
        projects: Vec::new(),
        attributes: [("team".to_owned(), "blue".to_owned())].into(),
        enabled: true,
        created_at: TimestampMs(START_MS),
        updated_at: TimestampMs(START_MS),
    })
}

/// Opened as it is, and with the rows lost: both give the state that version had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_earlier_versions_wrote_is_read() {
    for version in VERSIONS {
        let fixture = folder_of(version);
        let told = std::fs::read_to_string(fixture.join("state.txt")).unwrap();
        let told: Vec<&str> = told.lines().collect();
        for with_rows in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            copy(&fixture.join("log"), &folder.path().join("log"));
            copy(&fixture.join("segments"), &folder.path().join("segments"));
            let engine = SledEngine::open(folder.path().join("state")).unwrap();
            if with_rows {
                let rows = std::fs::read_to_string(fixture.join("rows.txt")).unwrap();
                let rows = rows.lines().map(|line| line.split_once(' ').unwrap());
                engine.replace_all(Box::new(rows.map(|(key, value)| (unhex(key), unhex(value))))).unwrap();
            }
            let stores = Stores {
                log: Arc::new(
                    FileRaftLog::open(folder.path().join("log"), RaftLogOptions::default()).unwrap(),
                ),
                engine: Arc::new(engine),
                segments: Arc::new(FileSegments::open(folder.path().join("segments")).unwrap()),
            };
            let world = World::new(1).await;
            let connector = Arc::new(PlainConnector { name: name(1) });
            let consensus = Consensus::start(world.options(1), stores, connector).await.unwrap();
            let handle = consensus.handle();
            let index: u64 = told[0].parse().unwrap();
            handle.wait_applied(index, soon()).await.unwrap();
            assert_eq!(hex(&handle.state_digest().digest.0), told[1], "{version}, rows kept: {with_rows}");
            let events = handle.audit_events(AuditIndex(1), 1_000).unwrap();
            let mut verifier = Verifier::default();
            events.iter().for_each(|event| verifier.push(event).unwrap());
            assert_eq!(verifier.head(), handle.state().chain);
            assert_eq!(hex(&handle.state().chain.hash.0), told[2]);
            // And goes on from there.
            let read = handle.read_index(soon()).await.unwrap();
            assert!(read >= index);
            handle.shutdown().await.unwrap();
        }
    }
}

/// What feature level 3 brought: signing keys, generations, persons whose names are sealed, erased, held.
async fn persons_are_sealed(world: &mut World) {
    let (node, check) = (NodeId(1), Digest([0xc1; 32]));
    let own = Via::Node(node);
    world.command(1, Command::SetSigningKey { node, key: PublicKey([0x51; 32]) }, own).await;
    world.command(1, Command::OfferGeneration(Offer { generation: 1, check, node }), own).await;
    let held = Held { oldest: 1, newest: 1, check, destroyed_at: TimestampMs(0) };
    world.command(1, Command::TellGenerations { node, held }, own).await;
    world.command(1, Command::BeginGeneration { generation: 1 }, own).await;
    for number in 0..4_u8 {
        let id = SubjectKeyId([number; 16]);
        let slot = Slot { key: id, commitment: Digest([0xab; 32]), ciphertext: vec![number; 60] };
        let key = Some(WrappedKey { id, generation: 1, bytes: vec![number; 60] });
        let Command::CreatePrincipal(open) = principal(&format!("sealed-{number}")) else { panic!() };
        let personal = Some(Personal { slot, key });
        let sealed = Principal { display_name: String::new(), email: String::new(), personal, ..open };
        world.command(1, Command::CreatePrincipal(sealed), Via::ApiKey).await;
    }
    let (tenant, one) = (TenantId::system(), |id| PrincipalId::new(id).unwrap());
    let erase = Command::EraseSubject { tenant: tenant.clone(), principal: one("sealed-1") };
    world.command(1, erase, Via::ApiKey).await;
    let hold = "a case".to_owned();
    world.command(1, Command::HoldSubject { tenant, principal: one("sealed-2"), hold }, Via::ApiKey).await;
}

/// Writes `version-N`; to be run once, by the version whose formats it keeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes a fixture: only when formats were added, into a new folder"]
async fn write() {
    let to = folder_of(&std::env::var("ONLY1MCP_FIXTURE").unwrap());
    assert!(!to.exists(), "a fixture is never changed");
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(1).await;
    world.snapshot_every = 20;
    world.keep = 1_000;
    world.folders.insert(1, folder.path().to_owned());
    // The one that this version raises clusters to.
    world.level = limits::FEATURE_LEVEL_MAX;
    world.form().await;
    persons_are_sealed(&mut world).await;
    for number in 0..24 {
        world.command(1, principal(&format!("person-{number}")), Via::ApiKey).await;
    }
    let gone = PrincipalId::new("person-3").unwrap();
    let delete = Command::DeletePrincipal { tenant: TenantId::system(), principal: gone, if_revision: None };
    world.command(1, delete, Via::ApiKey).await;
    world.command(1, Command::OpenIncarnation { node: NodeId(1) }, Via::Node(NodeId(1))).await;
    world.set(1, |settings| settings.leader_region = "eu".to_owned()).await;
    let index = world.tick(1).await;
    let handle = world.handle(1);
    handle.wait_applied(index, soon()).await.unwrap();
    while handle.audit_segments().0 < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (digest, chain) = (handle.state_digest().digest, handle.state().chain);
    drop(handle);
    world.kill(1).await;
    let engine = loop {
        // Whoever still held it lets go.
        match SledEngine::open(folder.path().join("state")) {
            Ok(engine) => break engine,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    let rows = engine.scan(&[], &[0xff; 64], usize::MAX).unwrap();
    let rows: Vec<String> =
        rows.iter().map(|(key, value)| format!("{} {}\n", hex(key), hex(value))).collect();
    copy(&folder.path().join("log"), &to.join("log"));
    copy(&folder.path().join("segments"), &to.join("segments"));
    std::fs::write(to.join("rows.txt"), rows.concat()).unwrap();
    let text = format!("{index}\n{}\n{}\n", hex(&digest.0), hex(&chain.hash.0));
    std::fs::write(to.join("state.txt"), text).unwrap();
}
