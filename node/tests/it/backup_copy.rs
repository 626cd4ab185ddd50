//! Backups with segments: what is there is not sent again, what was cut off is gone on with, what is damaged is found,
//! and what is whole becomes a cluster.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use only1mcp_consensus::{Consensus, Handle, Options, Stores, Timing};
use only1mcp_domain::command::{Command, Via};
use only1mcp_domain::ids::{Digest, NodeId};
use only1mcp_domain::model::NodeRole;
use only1mcp_node::ctl::backup::{Copied, Fault, Origin, Protection, Replaced, Source, Target, check, copy};
use only1mcp_storage::{FileRaftLog, FileSegments, RaftLogOptions, SegmentName, SledEngine};
use tokio::time::Instant;

use crate::cluster::run;
use crate::doctor::{Fixed, Nobody, entry, form};

/// Small, so that a transfer can be cut within a segment.
const PIECE: usize = 200;

/// A node alone, with segments of four events, that gives itself and can be cut off.
struct Node {
    handle: Handle,
    _folder: tempfile::TempDir,
    /// Pieces of segments that are still sent.
    left: Arc<AtomicUsize>,
    /// Bytes of segments sent so far.
    sent: Arc<AtomicU64>,
    images: AtomicUsize,
    /// Segments asked for that are replaced by then.
    replaced: AtomicUsize,
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

impl Node {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(NodeId(1), "n1", "127.0.0.1:1", Arc::new(Fixed));
        options.timing = Timing::default();
        options.segment_events = 4;
        let stores = Stores {
            log: Arc::new(FileRaftLog::open(folder.path().join("log"), RaftLogOptions::default()).unwrap()),
            engine: Arc::new(SledEngine::open(folder.path().join("state")).unwrap()),
            segments: Arc::new(FileSegments::open(folder.path().join("segments")).unwrap()),
        };
        let consensus = Consensus::start(options, stores, Arc::new(Nobody)).await.unwrap();
        let handle = consensus.handle();
        handle.form(entry(form(), Via::LocalSocket), soon()).await.unwrap().outcome.unwrap();
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let (sent, images, replaced) = Default::default();
        Self { handle, _folder: folder, left, sent, images, replaced }
    }

    /// That many events more, all of them sealed that can be.
    async fn events(&self, count: usize) {
        for _ in 0..count {
            let role = Command::SetNodeRole { node: NodeId(1), role: NodeRole::Voter };
            self.handle.propose(entry(role, Via::Node(NodeId(1))), soon()).await.unwrap().outcome.unwrap();
        }
        let sealed = usize::try_from(self.handle.state().chain.index.0).unwrap() / 4;
        let until = soon();
        while self.handle.audit_segments() != (sealed, 0) {
            assert!(Instant::now() < until, "not sealed: {:?}", self.handle.audit_segments());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn back_up(&self, folder: &Path, protection: &Protection) -> anyhow::Result<Copied> {
        let target = Target::create(folder.to_str().unwrap(), protection).await?;
        copy(self, &target, |_| {}).await
    }
}

impl Source for Node {
    fn image(
        &self,
    ) -> BoxFuture<
        '_,
        anyhow::Result<(Origin, futures_util::stream::BoxStream<'static, anyhow::Result<Bytes>>)>,
    > {
        Box::pin(async {
            self.images.fetch_add(1, Ordering::SeqCst);
            let applied = *self.handle.applied().borrow();
            let image = self.handle.state_image(applied, soon()).await?;
            let origin = Origin {
                cluster_id: Digest([7; 32]),
                cluster_name: "examined".to_owned(),
                epoch: 1,
                node: 1,
                version: "0.1.0".to_owned(),
                log_index: image.log_index,
                created_at_ms: image.log_index,
            };
            Ok((origin, image.frames.map(|frame| Ok(frame?)).boxed()))
        })
    }

    fn segment<'a>(
        &'a self,
        name: &'a SegmentName,
        offset: u64,
    ) -> BoxFuture<'a, anyhow::Result<futures_util::stream::BoxStream<'static, anyhow::Result<Bytes>>>> {
        Box::pin(async move {
            let take = |left: usize| left.checked_sub(1);
            if self.replaced.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
                return Err(Replaced { first: name.first }.into());
            }
            let chunk = self.handle.segment_chunk(name.first, name.address, offset).await?.unwrap();
            let pieces: Vec<Bytes> = chunk.chunks(PIECE).map(Bytes::copy_from_slice).collect();
            let (left, sent) = (self.left.clone(), self.sent.clone());
            let pieces = futures_util::stream::iter(pieces).map(move |piece| {
                if left.load(Ordering::SeqCst) == 0 {
                    bail!("the connection broke");
                }
                left.fetch_sub(1, Ordering::SeqCst);
                sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
                Ok(piece)
            });
            Ok(pieces.boxed())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_off_is_incomplete_and_is_gone_on_with() {
    let node = Node::start().await;
    node.events(21).await;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let clear = &Protection::Plaintext;
    // In the middle of the second segment.
    node.left.store(8, Ordering::SeqCst);
    assert!(node.back_up(folder.path(), clear).await.is_err());
    let sent = node.sent.load(Ordering::SeqCst);
    assert!(sent > 0);
    let (valid, said) = run(&["ctl", "backup", "verify", "--from", at]).await;
    assert!(!valid && said.contains("incomplete"), "{said}");
    let (restored, said) =
        run(&["restore", "--from", at, "--plaintext", "--config", &config(folder.path())]).await;
    assert!(!restored && said.contains("no complete backup"), "{said}");

    node.left.store(usize::MAX, Ordering::SeqCst);
    let copied = node.back_up(folder.path(), clear).await.unwrap();
    let all: u64 = copied.manifest.segments.iter().map(|segment| segment.bytes).sum();
    assert_eq!(node.sent.load(Ordering::SeqCst), all, "not a byte was sent twice");
    let (valid, said) = run(&["ctl", "backup", "verify", "--from", at]).await;
    assert!(valid, "{said}");

    // A further one sends what is new.
    node.events(8).await;
    let further = node.back_up(folder.path(), clear).await.unwrap();
    assert_eq!(further.segments_sent, 2);
    let now: u64 = further.manifest.segments.iter().map(|segment| segment.bytes).sum();
    assert_eq!((further.segment_bytes_sent, node.sent.load(Ordering::SeqCst)), (now - all, now));
    let again = node.back_up(folder.path(), clear).await.unwrap();
    assert_eq!(again.segments_sent, 0);
    let (listed, said) = run(&["ctl", "--output", "json", "backup", "list", "--from", at]).await;
    let listed_now: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(listed && listed_now.as_array().unwrap().len() == 2, "one a log index: {said}");
}

/// Retention drops payloads from a segment between the image and the time it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_replaced_meanwhile_makes_another_image() {
    let node = Node::start().await;
    node.events(21).await;
    let folder = tempfile::tempdir().unwrap();
    let clear = &Protection::Plaintext;
    node.replaced.store(1, Ordering::SeqCst);
    let copied = node.back_up(folder.path(), clear).await.unwrap();
    assert_eq!(node.images.load(Ordering::SeqCst), 2);
    let all: u64 = copied.manifest.segments.iter().map(|segment| segment.bytes).sum();
    assert_eq!((copied.segments_sent, copied.segment_bytes_sent), (copied.manifest.segments.len(), all));
    let target = Target::existing(folder.path().to_str().unwrap(), clear).await.unwrap();
    assert!(check(&target, &copied.manifest).is_ok());
    // Not for ever.
    node.events(4).await;
    node.replaced.store(usize::MAX, Ordering::SeqCst);
    let error = node.back_up(folder.path(), clear).await.unwrap_err();
    assert!(error.is::<Replaced>() && error.to_string().contains("SEGMENT_REPLACED"), "{error:#}");
    assert_eq!(node.images.load(Ordering::SeqCst), 2 + 5);
    node.handle.shutdown().await.unwrap();
}

/// A configuration whose data folder lies beside the backups, encrypted.
fn config(folder: &Path) -> String {
    let file = folder.join("node.yaml");
    let keys = folder.join("node.keys");
    only1mcp_keys::KeyFile::create(&keys).unwrap();
    let tls = "{ cert: c.pem, key: k.pem, ca: ca.pem }";
    let text = format!(
        "name: n1\ndata_dir: {}\npeer: {{ listen: '127.0.0.1:1', tls: {tls} }}\n\
         admin: {{ listen: '127.0.0.1:2', tls: {tls} }}\nhttp: {{ listen: '127.0.0.1:3' }}\nkeys: {{ file: {} }}\n",
        folder.join("data").display(),
        keys.display()
    );
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_whole_becomes_a_cluster_and_what_is_not_is_refused() {
    let node = Node::start().await;
    node.events(17).await;
    let folder = tempfile::tempdir().unwrap();
    let (at, config) = (folder.path().to_str().unwrap(), config(folder.path()));
    let keys = &Protection::load(Path::new(&config)).unwrap();
    let copied = node.back_up(folder.path(), keys).await.unwrap();
    let target = Target::existing(at, keys).await.unwrap();

    // A bit anywhere.
    let name = copied.manifest.name();
    let image = std::fs::read_dir(folder.path().join("images")).unwrap().next().unwrap().unwrap().path();
    let mut files = vec![image, folder.path().join(format!("manifests/{name}.json"))];
    files.extend(copied.manifest.segments.iter().map(|s| folder.path().join("segments").join(&s.address)));
    for file in &files {
        let good = std::fs::read(file).unwrap();
        for place in [0, good.len() / 3, good.len() / 2, good.len() - 2] {
            let mut bad = good.clone();
            bad[place] ^= 4;
            std::fs::write(file, bad).unwrap();
            let (restored, said) = run(&["restore", "--from", at, "--config", &config]).await;
            assert!(!restored, "{}, byte {place}: {said}", file.display());
            assert!(!folder.path().join("data").exists(), "nothing is begun: {said}");
        }
        std::fs::write(file, &good[..good.len() - 2]).unwrap();
        let cut = target.newest().map(|manifest| check(&target, &manifest).is_ok());
        assert!(!matches!(cut, Ok(true)), "{} cut off", file.display());
        std::fs::write(file, good).unwrap();
    }
    std::fs::remove_file(&files[2]).unwrap();
    let faults = check(&target, &copied.manifest).unwrap_err();
    assert!(matches!(faults[..], [Fault::Segment { first: 1, .. }]), "{faults:?}");
    let again = node.back_up(folder.path(), keys).await.unwrap();
    assert_eq!(again.segments_sent, 1, "what was lost is sent again");

    let (restored, said) = run(&["restore", "--from", at, "--config", &config, "--output", "json"]).await;
    assert!(restored, "{said}");
    let json = &said[said.find('{').unwrap()..=said.rfind('}').unwrap()];
    let told: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((&told["epoch"], &told["node"]), (&2.into(), &1001.into()), "{told}");
    let data = folder.path().join("data");
    let (sound, said) = run(&["doctor", data.to_str().unwrap(), "--config", &config]).await;
    assert!(sound, "{said}");
    let events = copied.manifest.audit_index;
    // The lost member, and the restore itself.
    assert_eq!(told["audit_index"], events + 2, "{told}");
    assert!(said.contains(&format!("{} events", events + 2)), "{said}");

    let (over, said) = run(&["restore", "--from", at, "--config", &config]).await;
    assert!(!over && said.contains("is not empty"), "{said}");
    // A restore that was cut off: no node lives on it, and the next one begins anew.
    std::fs::write(data.join("unfinished"), "only1mcp restore").unwrap();
    std::fs::remove_file(data.join("identity")).unwrap();
    let (served, said) = run(&["serve", "--config", &config]).await;
    assert!(!served && said.contains("did not come to its end"), "{said}");
    let (restored, said) = run(&["restore", "--from", at, "--config", &config]).await;
    assert!(restored, "{said}");
    let (sound, said) = run(&["doctor", data.to_str().unwrap(), "--config", &config]).await;
    assert!(sound, "{said}");
    node.handle.shutdown().await.unwrap();
}
