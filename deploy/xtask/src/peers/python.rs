//! The Python MCP SDK, in a virtual environment of its own.

use anyhow::{Context, Result};

use super::Peer;
use super::kit::Kit;
use crate::run::{self, Cmd, say};

/// Pinned, so that a test that passes today meets the same peer tomorrow.
const SPEC: &str = "mcp==2.3.0";

/// Makes the environment; `bin/mcp-python` is its interpreter.
pub fn ensure(kit: &Kit) -> Result<Peer> {
    let dir = kit.install("mcp-python", SPEC, |dir| {
        let python = ["python3.13", "python3.12", "python3.11", "python3.10", "python3"]
            .into_iter()
            .find(|name| run::which(name).is_some() && runs(name))
            .context("Python 3.10 or newer is not on PATH (Debian: apt-get install python3-venv)")?;
        say(&format!("installing {SPEC} from PyPI (about half a minute)"));
        let shown = dir.to_string_lossy();
        Cmd::new(python)
            .args(["-m", "venv", shown.as_ref()])
            .quiet()
            .context("cannot make a virtual environment (Debian: apt-get install python3-venv)")?;
        Cmd::new(dir.join("bin").join("python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", SPEC])
            .quiet()
            .context("pip could not install the package: is PyPI reachable?")
    })?;
    let python = dir.join("bin").join("python");
    let version = Cmd::new(&python)
        .args(["-c", "from importlib.metadata import version; print(version('mcp'))"])
        .read()
        .context("the Python environment in .peers is broken: remove .peers and try again")?;
    kit.starter("mcp-python", &python, &[])?;
    Ok(Peer { name: "mcp-python", version, origin: "PyPI, mcp".to_owned() })
}

/// Whether that interpreter starts (a version manager's shim may exist and refuse) and is new enough.
fn runs(python: &str) -> bool {
    Cmd::new(python).args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).read().is_ok()
}
