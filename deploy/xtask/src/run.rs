//! Running other programs: said before, checked after, with errors that name the command.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::{env, fmt};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// One progress line, on stderr.
pub fn say(line: &str) {
    eprintln!("xtask: {line}");
}

/// A command to be run in the checkout.
pub struct Cmd {
    inner: Command,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = Command::new(program);
        // What the outer `cargo run` set for this program would make the inner cargo rebuild packages
        // whose build scripts look at it.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                inner.env_remove(&name);
            }
        }
        if let Ok(root) = workspace::root() {
            inner.current_dir(root);
        }
        Self { inner }
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inner.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    pub fn dir(mut self, dir: &Path) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Puts `dir` first on PATH.
    pub fn path_first(mut self, dir: &Path) -> Result<Self> {
        let old = env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(dir.to_path_buf()).chain(env::split_paths(&old));
        let joined = env::join_paths(dirs).context("a folder on PATH cannot be joined")?;
        self.inner.env("PATH", joined);
        Ok(self)
    }

    /// Runs it with our own output streams.
    pub fn status(mut self) -> Result<ExitStatus> {
        say(&format!("$ {self}"));
        self.inner.status().with_context(|| format!("cannot start `{self}`"))
    }

    /// Runs it with our own output streams. Errors: when it fails.
    pub fn must(self) -> Result<()> {
        let shown = self.to_string();
        let status = self.status()?;
        if !status.success() {
            bail!("`{shown}` ended with {status}");
        }
        Ok(())
    }

    /// Runs it silently. Errors: when it fails, with the end of what it printed.
    pub fn quiet(mut self) -> Result<()> {
        say(&format!("$ {self}"));
        let out =
            self.inner.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{self}`"))?;
        if !out.status.success() {
            let said = [out.stdout, out.stderr].concat();
            bail!("`{self}` ended with {}:\n{}", out.status, tail(&String::from_utf8_lossy(&said)));
        }
        Ok(())
    }

    /// Runs it and returns its standard output, trimmed. Errors: when it fails.
    pub fn read(mut self) -> Result<String> {
        let out =
            self.inner.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{self}`"))?;
        if !out.status.success() {
            bail!("`{self}` ended with {}:\n{}", out.status, tail(&String::from_utf8_lossy(&out.stderr)));
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = Path::new(self.inner.get_program());
        write!(f, "{}", program.file_name().unwrap_or(program.as_os_str()).to_string_lossy())?;
        for arg in self.inner.get_args() {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

/// The first program of that name on PATH.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The exit code of a program that ran to its end, or failure when a signal ended it.
pub fn code_of(status: ExitStatus) -> ExitCode {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => ExitCode::from(code),
        None => ExitCode::FAILURE,
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(30);
    lines.into_iter().skip(from).collect::<Vec<_>>().join("\n")
}
