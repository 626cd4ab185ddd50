//! Child processes that end with their parent: each ends when its standard input closes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// A process of this same binary.
pub struct Process {
    pub name: String,
    pub pid: u32,
    child: Child,
    /// Dropping it tells the child to shut down.
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `only1mcp ARGS…`; its output goes to `log`.
    pub fn start(name: &str, args: &[&std::ffi::OsStr], log: &Path) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(binary)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C reaches the parent alone, which ends its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().with_context(|| format!("{name} ended at once; see {}", log.display()))?;
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), pid, child, stdin })
    }

    /// `None` while it runs.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(status.to_string()),
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// As a power cut would: no warning, no clean-up.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Asks it to shut down and waits; ends it after `patience`.
    pub async fn stop(mut self, patience: Duration) {
        drop(self.stdin.take());
        if timeout(patience, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}
