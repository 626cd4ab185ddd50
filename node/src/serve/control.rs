//! The local socket: whoever may open it is this host's administrator. One JSON line in, one JSON line out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::serve::reseal::Told;

/// A request is short; anything longer is refused.
const LINE_BYTES_MAX: u64 = 64 << 10;
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Forming a cluster or leaving one takes a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// Forms the cluster with this node as its first member.
    Init { administrator: String },
    /// Replaces a lost administrator key.
    RecoverAdmin { administrator: String },
    /// What the node is doing.
    Status,
    /// Makes a new data key, which seals from then on.
    RotateKeys,
    /// Wraps every key under the newest key-encryption key.
    RewrapKeys,
    /// Which data keys there are, and how far sealing again has come.
    ShowKeys,
    /// Hands in the journal and leaves the cluster for good.
    Leave,
}

/// A data key, never the key itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShownKey {
    pub id: u32,
    pub seals: bool,
    pub wrapped_by: String,
    pub made_ms: u64,
    /// Where it was named when that was looked at last.
    pub named_by: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlAnswer {
    /// Shown once; never kept.
    AdministratorKey {
        key: String,
        cluster_id: String,
        node: u64,
    },
    Status {
        phase: String,
        node: Option<u64>,
        ready: bool,
        why_not: Option<String>,
    },
    KeysRotated {
        data_key: u32,
    },
    KeysRewrapped,
    Keys {
        keys: Vec<ShownKey>,
        /// What each key-encryption key wraps, by its name.
        wraps: BTreeMap<String, Vec<String>>,
        resealing: Told,
    },
    Left,
    Failed {
        code: String,
        message: String,
    },
}

/// A request and where its answer goes.
pub type Asked = (ControlRequest, oneshot::Sender<ControlAnswer>);

/// Listens until dropped. The socket is readable and writable by this user alone.
pub struct ControlSocket {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl ControlSocket {
    pub fn open(path: &Path, asked: mpsc::Sender<Asked>) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        // The data folder's lock is held: a socket that is still there was left by a process that is gone.
        if path.exists() {
            std::fs::remove_file(path)
                .with_context(|| format!("cannot remove the stale socket {}", path.display()))?;
        }
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, asked.clone()))),
                    Err(error) => {
                        tracing::warn!(%error, "the control socket could not accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { path: path.to_owned(), task })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, asked: mpsc::Sender<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LINE_BYTES_MAX));
    let read = timeout(READ_TIMEOUT, reader.read_line(&mut line)).await;
    let answer = match read {
        Ok(Ok(_)) => match serde_json::from_str::<ControlRequest>(&line) {
            Ok(request) => ask(request, &asked).await,
            Err(error) => failed("BAD_REQUEST", error.to_string()),
        },
        _ => failed("BAD_REQUEST", "no request arrived".to_owned()),
    };
    if let Ok(mut text) = serde_json::to_vec(&answer) {
        text.push(b'\n');
        let _ = timeout(READ_TIMEOUT, write.write_all(&text)).await;
    }
}

async fn ask(request: ControlRequest, asked: &mpsc::Sender<Asked>) -> ControlAnswer {
    let (sender, receiver) = oneshot::channel();
    if asked.send((request, sender)).await.is_err() {
        return failed("STOPPING", "the node is shutting down".to_owned());
    }
    match timeout(ANSWER_TIMEOUT, receiver).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => failed("STOPPING", "the node is shutting down".to_owned()),
        Err(_) => failed("UNKNOWN", "no answer in time: ask `status` before trying again".to_owned()),
    }
}

pub fn failed(code: &str, message: String) -> ControlAnswer {
    ControlAnswer::Failed { code: code.to_owned(), message }
}

/// Asks the node that listens on `path`.
pub async fn request(path: &Path, request: &ControlRequest) -> anyhow::Result<ControlAnswer> {
    let stream = UnixStream::connect(path).await.with_context(|| {
        format!("cannot reach a node on {}: is `only1mcp serve` running?", path.display())
    })?;
    let (read, mut write) = stream.into_split();
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LINE_BYTES_MAX));
    timeout(ANSWER_TIMEOUT + READ_TIMEOUT, reader.read_line(&mut line))
        .await
        .context("the node does not answer")??;
    serde_json::from_str(&line).context("the node's answer is not readable")
}
