//! A bucket that backups lie in, of AWS S3 or a store that speaks like it. What is written or read passes through a folder
//! for temporary files: an object comes into being whole or not at all, and is read at once.
//!
//! Credentials, region and endpoint: the environment (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, …), a web
//! identity, or what the machine has been given.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload, WriteMultipart};
use only1mcp_domain::ids::Digest;
use only1mcp_storage::{FileSegments, SegmentCopy, Segments, StorageError};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::place::{Part, Place};

/// Of a part of an upload; S3 takes no smaller ones but the last, and ten thousand of them.
const UPLOAD_BYTES: usize = 16 << 20;
const UPLOADS: usize = 4;
/// Of one request, its body included: the library's half a minute is too little for a large image.
const REQUEST_TIMEOUT: &str = "1 hour";
/// Of an answer that stands still.
const SILENCE_TIMEOUT: &str = "1 minute";
const READ_BYTES: usize = 1 << 20;
/// Of whole files that were fetched and are kept for the next reading.
const KEPT_BYTES: u64 = 1 << 30;

pub(super) struct Bucket {
    shared: Arc<Shared>,
}

struct Shared {
    store: AmazonS3,
    prefix: Path,
    shown: String,
    worker: Worker,
    /// Gone at the end.
    temporary: tempfile::TempDir,
}

/// A runtime of its own, so that callers may stand in any or none.
struct Worker {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Worker {
    fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::Builder::new().name("bucket".to_owned()).spawn(move || runtime.block_on(stopped))?;
        Ok(Self { handle, _stop: stop })
    }

    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> object_store::Result<T> {
        let (done, told) = mpsc::channel();
        self.handle.spawn(async move {
            // Nobody listens any more when the whole program ends.
            let _ = done.send(work.await);
        });
        told.recv().unwrap_or_else(|_| {
            let source = "the work was given up".into();
            Err(object_store::Error::Generic { store: "S3", source })
        })
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.shared.shown).finish()
    }
}

impl Bucket {
    pub(super) fn open(at: &str) -> anyhow::Result<Self> {
        let place = at.strip_prefix("s3://").unwrap_or(at);
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        ensure!(!bucket.is_empty(), "{at} names no bucket: write s3://BUCKET/PREFIX");
        let prefix =
            Path::parse(prefix.trim_end_matches('/')).with_context(|| format!("{at}: the prefix"))?;
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        let store = AmazonS3Builder::from_env().with_bucket_name(bucket);
        let silence = AmazonS3ConfigKey::Client(ClientConfigKey::ReadTimeout);
        let store = store.with_config(timeout, REQUEST_TIMEOUT).with_config(silence, SILENCE_TIMEOUT).build();
        let shared = Shared {
            store: store.with_context(|| at.to_owned())?,
            prefix,
            shown: at.to_owned(),
            worker: Worker::start()?,
            temporary: tempfile::tempdir().context("no folder for temporary files")?,
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// `Ok(None)` for what is not there.
    fn ask<T, F>(&self, name: &str, work: impl FnOnce(AmazonS3, Path) -> F) -> object_store::Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let (store, path) = (self.store.clone(), self.path(name));
        match self.worker.wait(work(store, path)) {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, part: Part) -> object_store::Result<Vec<String>> {
        let listed = self.ask(part.name(), |store, path| async move {
            let found: Vec<_> = store.list(Some(&path)).try_collect().await?;
            let names = found.iter().filter_map(|object| object.location.filename().map(str::to_owned));
            Ok(names.collect::<Vec<_>>())
        });
        let mut names = listed?.unwrap_or_default();
        names.sort_unstable();
        Ok(names)
    }
}

impl Place for Bucket {
    fn shown(&self) -> &str {
        &self.shared.shown
    }

    fn files(&self, part: Part) -> Arc<dyn Segments> {
        let spool = FileSegments::existing(self.shared.temporary.path());
        Arc::new(Objects { shared: self.shared.clone(), part, spool, kept: Mutex::default() })
    }

    fn names(&self, part: Part) -> anyhow::Result<Vec<String>> {
        self.shared.list(part).with_context(|| format!("listing {}", self.shared.shown))
    }

    fn read(&self, name: &str, max: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let got = self.shared.ask(name, |store, path| async move {
            let got = store.get(&path).await?;
            if got.meta.size > max {
                return Ok(None);
            }
            Ok(Some(got.bytes().await?.to_vec()))
        });
        match got.with_context(|| format!("reading {name} in {}", self.shared.shown))? {
            Some(None) => bail!("it is too large"),
            Some(content) => Ok(content),
            None => Ok(None),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let content = PutPayload::from(content.to_vec());
        let put = self.shared.ask(name, |store, path| async move { store.put(&path, content).await });
        let put = put.with_context(|| format!("writing {name} in {}", self.shared.shown))?;
        ensure!(put.is_some(), "{}: there is no such bucket", self.shared.shown);
        Ok(())
    }

    /// Another backup may be under way: what no manifest names yet may be its.
    fn sweep(&self, _names: &[String]) -> anyhow::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> anyhow::Result<Option<u64>> {
        Ok(None)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// Objects as files: parts lie in the spool until they are finished.
struct Objects {
    shared: Arc<Shared>,
    part: Part,
    spool: FileSegments,
    /// Whole files in the spool, the oldest first.
    kept: Mutex<VecDeque<(Digest, u64)>>,
}

fn failed(operation: &'static str, name: &str, error: object_store::Error) -> StorageError {
    StorageError::io(operation, name, std::io::Error::other(error))
}

impl Objects {
    fn name(&self, address: &Digest) -> String {
        format!("{}/{address}", self.part.name())
    }

    fn fetch(&self, address: &Digest) -> Result<(), StorageError> {
        if self.spool.size(address, SegmentCopy::Whole)?.is_some() {
            return Ok(());
        }
        let name = self.name(address);
        self.spool.remove(address, SegmentCopy::Part)?;
        let found =
            self.shared.ask(&name, |store, path| async move { Ok(store.get(&path).await?.into_stream()) });
        let absent =
            || StorageError::Refused { operation: "read object", detail: format!("{name} is not there") };
        let mut pieces = found.map_err(|error| failed("get", &name, error))?.ok_or_else(absent)?;
        let mut at: u64 = 0;
        loop {
            let (piece, rest) = self
                .shared
                .worker
                .wait(async move { Ok((pieces.next().await.transpose()?, pieces)) })
                .map_err(|error| failed("get", &name, error))?;
            pieces = rest;
            let Some(piece) = piece else { break };
            self.spool.append(address, at, &piece)?;
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        self.spool.finish(address)?;
        self.keep(*address, at)
    }

    fn keep(&self, address: Digest, bytes: u64) -> Result<(), StorageError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = kept.iter().fold(bytes, |all, (_, bytes)| all.saturating_add(*bytes));
        while all > KEPT_BYTES
            && let Some((oldest, bytes)) = kept.pop_front()
        {
            self.spool.remove(&oldest, SegmentCopy::Whole)?;
            all = all.saturating_sub(bytes);
        }
        kept.push_back((address, bytes));
        Ok(())
    }

    fn upload(&self, address: &Digest) -> Result<(), StorageError> {
        let name = self.name(address);
        let lost = |error| failed("put", &name, error);
        let begun = self.shared.ask(&name, |store, path| async move { store.put_multipart(&path).await });
        let none =
            || StorageError::Refused { operation: "put", detail: "there is no such bucket".to_owned() };
        let mut upload =
            WriteMultipart::new_with_chunk_size(begun.map_err(lost)?.ok_or_else(none)?, UPLOAD_BYTES);
        let mut at: u64 = 0;
        loop {
            let piece = self.spool.read(address, SegmentCopy::Whole, at, READ_BYTES)?;
            if piece.is_empty() {
                break;
            }
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            let worker = &self.shared.worker;
            upload = worker
                .wait(async move {
                    upload.wait_for_capacity(UPLOADS).await?;
                    upload.write(&piece);
                    Ok(upload)
                })
                .map_err(lost)?;
        }
        self.shared.worker.wait(upload.finish()).map_err(lost)?;
        Ok(())
    }
}

impl Segments for Objects {
    fn parts(&self) -> Result<Vec<Digest>, StorageError> {
        self.spool.parts()
    }

    fn size(&self, address: &Digest, copy: SegmentCopy) -> Result<Option<u64>, StorageError> {
        if copy == SegmentCopy::Part {
            return self.spool.size(address, copy);
        }
        let name = self.name(address);
        let found = self.shared.ask(&name, |store, path| async move { store.head(&path).await });
        Ok(found.map_err(|error| failed("head", &name, error))?.map(|object| object.size))
    }

    fn read(
        &self,
        address: &Digest,
        copy: SegmentCopy,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        if copy == SegmentCopy::Whole {
            self.fetch(address)?;
        }
        self.spool.read(address, copy, offset, length)
    }

    fn append(&self, address: &Digest, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.spool.append(address, offset, bytes)
    }

    fn finish(&self, address: &Digest) -> Result<(), StorageError> {
        self.spool.finish(address)?;
        self.upload(address)?;
        self.spool.remove(address, SegmentCopy::Whole)
    }

    fn remove(&self, address: &Digest, copy: SegmentCopy) -> Result<(), StorageError> {
        self.spool.remove(address, copy)?;
        if copy == SegmentCopy::Whole {
            let name = self.name(address);
            let gone = self.shared.ask(&name, |store, path| async move { store.delete(&path).await });
            gone.map_err(|error| failed("delete", &name, error))?;
        }
        Ok(())
    }

    fn addresses(&self) -> Result<Vec<Digest>, StorageError> {
        let names = self.shared.list(self.part).map_err(|error| failed("list", self.part.name(), error))?;
        Ok(names.iter().filter_map(|name| Digest::parse_hex(name)).collect())
    }
}
