//! An upstream that is a child process, one JSON message a line. The process ends, and is reaped, with its connection.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use only1mcp_domain::model::{Transport, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::json::{Kind, Message, RawObject};
use crate::ports::Confinement;
use crate::upstream::exchange::Pending;
use crate::upstream::wire::parse_messages;
use crate::upstream::{Exchange, Inbound, UpstreamError};

/// Messages that wait for the child to read them.
const OUTBOUND_MAX: usize = 64;
const STDERR_CHUNK_BYTES: usize = 2_048;
/// Taken over from the node's own environment; nothing else is: it may hold secrets.
const ENVIRONMENT: [&str; 6] = ["PATH", "HOME", "LANG", "TMPDIR", "TZ", "USER"];

pub(crate) struct StdioLink {
    outbound: mpsc::Sender<Bytes>,
    pending: Pending,
}

pub(crate) struct StdioOptions {
    pub(crate) message_bytes_max: usize,
    pub(crate) exit: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) closed: CancellationToken,
    pub(crate) stray: mpsc::Sender<Message>,
    pub(crate) confined: Option<Confinement>,
}

impl StdioLink {
    /// Starts the process and the one task that owns it.
    pub(crate) fn start(upstream: &Upstream, options: StdioOptions) -> Result<Self, UpstreamError> {
        let mut child = command(upstream, options.confined.as_ref())?.spawn().map_err(|error| {
            tracing::warn!(upstream = %upstream.id, %error, "cannot start an upstream's process");
            UpstreamError::Connect { why: "its process cannot be started" }
        })?;
        let broken = UpstreamError::Connect { why: "its process has no standard streams" };
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(broken);
        };
        let (outbound, waiting) = mpsc::channel(OUTBOUND_MAX);
        let pending = Pending::default();
        let link = Self { outbound, pending: pending.clone() };
        let name = upstream.id.to_string();
        let tasks = options.tasks.clone();
        tasks.spawn(async move {
            tokio::select! {
                error = read(stdout, &pending, &options) => pending.fail_all(&error),
                () = write(stdin, waiting) => pending.fail_all(&UpstreamError::Closed),
                () = drain(stderr, &name) => {}
                () = options.closed.cancelled() => pending.fail_all(&UpstreamError::Closed),
            }
            // `write` owned the child's input: it is closed by now.
            options.closed.cancel();
            pending.fail_all(&UpstreamError::Closed);
            end(child, options.exit).await;
        });
        Ok(link)
    }

    pub(crate) async fn exchange(&self, id: u64, object: &RawObject) -> Result<Exchange, UpstreamError> {
        let exchange = self.pending.enter(id);
        self.send(object).await?;
        Ok(exchange)
    }

    pub(crate) async fn send(&self, object: &RawObject) -> Result<(), UpstreamError> {
        self.outbound.send(object.to_line()).await.map_err(|_| UpstreamError::Closed)
    }
}

fn command(upstream: &Upstream, confined: Option<&Confinement>) -> Result<Command, UpstreamError> {
    let Transport::Stdio { command, args, env } = &upstream.transport else {
        return Err(UpstreamError::Connect { why: "it is no process" });
    };
    let mut child = match confined {
        None => Command::new(command),
        Some(Confinement { program, memory_mib, cpus }) => {
            let mut child = Command::new(program);
            child.arg("confine");
            for (name, bound) in [("--memory-mib", memory_mib), ("--cpus", cpus)] {
                child.args(bound.iter().flat_map(|bound| [name.to_owned(), bound.to_string()]));
            }
            child.arg("--").arg(command);
            child
        }
    };
    child.args(args).env_clear();
    child.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    child.envs(env).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Of its own, so that what it starts ends with it.
    child.process_group(0);
    Ok(child)
}

/// Its input is closed: lets it end by itself for a moment, then kills it with all it started, and reaps it.
async fn end(mut child: Child, exit: Duration) {
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    let ended = tokio::time::timeout(exit, child.wait()).await.is_ok();
    if let Some(group) = group {
        // After its leader's end the group lives on while a descendant does.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    if !ended {
        let _ = child.kill().await;
    }
}

async fn write(mut stdin: ChildStdin, mut waiting: mpsc::Receiver<Bytes>) {
    while let Some(line) = waiting.recv().await {
        let wrote = async {
            stdin.write_all(&line).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        };
        if wrote.await.is_err() {
            return;
        }
    }
}

/// Reads until the stream ends or breaks the bound.
async fn read(stdout: ChildStdout, pending: &Pending, options: &StdioOptions) -> UpstreamError {
    let bytes_max = options.message_bytes_max;
    let mut lines = FramedRead::new(stdout, LinesCodec::new_with_max_length(bytes_max));
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => match parse_messages(&line) {
                Ok(messages) => {
                    messages.into_iter().for_each(|message| route(message, pending, &options.stray))
                }
                // Servers are known to print other things there.
                Err(error) => {
                    tracing::debug!(%error, "a line on an upstream's standard output is no message")
                }
            },
            Err(LinesCodecError::MaxLineLengthExceeded) => return UpstreamError::TooLarge { bytes_max },
            Err(LinesCodecError::Io(_)) => return UpstreamError::Closed,
        }
    }
    UpstreamError::Closed
}

/// Answers by id, progress by token (which is the request's id); all else belongs to no request that can be told.
fn route(message: Message, pending: &Pending, stray: &mpsc::Sender<Message>) {
    let exchange = match &message.kind {
        Kind::Response { id } => {
            let id = id.as_ref().and_then(|id| id.raw.get().parse().ok());
            if let Some(id) = id {
                pending.deliver(id, Inbound::Answer(message));
            }
            return;
        }
        Kind::Notification { method } if method == "notifications/progress" => message
            .params()
            .and_then(|params| params.get("progressToken").and_then(|token| token.get().parse::<u64>().ok())),
        Kind::Notification { .. } | Kind::Request { .. } => None,
    };
    let taken = match exchange {
        Some(id) => pending.deliver(id, Inbound::Interim(message)),
        None => stray.try_send(message).is_ok(),
    };
    if !taken {
        tracing::debug!("dropped a message of an upstream: nobody waits for it, or too many wait");
    }
}

/// Keeps the child from blocking on its error stream; never ends: a child may close that and go on.
async fn drain(mut stderr: ChildStderr, upstream: &str) {
    let mut chunk = [0u8; STDERR_CHUNK_BYTES];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        let text = String::from_utf8_lossy(chunk.get(..length).unwrap_or_default());
        tracing::debug!(upstream, text = text.trim_end(), "standard error");
    }
    std::future::pending::<()>().await;
}
