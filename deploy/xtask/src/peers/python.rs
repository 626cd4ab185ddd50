//! Peers from PyPI, each in a virtual environment of its own: the MCP SDK, and an emulator of AWS KMS and S3.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Peer;
use super::kit::Kit;
use crate::run::{self, Cmd, say};

/// Pinned, so that a test that passes today meets the same peer tomorrow.
const MCP: &str = "mcp==2.3.0";
const MOTO: &str = "moto[server]==5.2.1";

/// `bin/mcp-python` is the interpreter that has the SDK.
pub fn ensure(kit: &Kit) -> Result<Peer> {
    let dir = environment(kit, "mcp-python", MCP)?;
    let python = dir.join("bin").join("python");
    kit.starter("mcp-python", &python, &[])?;
    Ok(Peer { name: "mcp-python", version: version(&python, "mcp")?, origin: "PyPI, mcp".to_owned() })
}

/// `bin/moto-server` is the emulator: `-H 127.0.0.1 -p PORT`.
pub fn ensure_moto(kit: &Kit) -> Result<Peer> {
    let dir = environment(kit, "moto-server", MOTO)?;
    let python = dir.join("bin").join("python");
    kit.starter("moto-server", &dir.join("bin").join("moto_server"), &[])?;
    Ok(Peer { name: "moto-server", version: version(&python, "moto")?, origin: "PyPI, moto".to_owned() })
}

fn version(python: &std::path::Path, package: &str) -> Result<String> {
    let ask = format!("from importlib.metadata import version; print(version('{package}'))");
    Cmd::new(python)
        .args(["-c", &ask])
        .read()
        .context("the Python environment in .peers is broken: remove .peers and try again")
}

/// Makes a virtual environment that holds what `spec` names.
fn environment(kit: &Kit, name: &str, spec: &str) -> Result<PathBuf> {
    kit.install(name, spec, |dir| {
        let python = ["python3.13", "python3.12", "python3.11", "python3.10", "python3"]
            .into_iter()
            .find(|name| run::which(name).is_some() && runs(name))
            .context("Python 3.10 or newer is not on PATH (Debian: apt-get install python3-venv)")?;
        say(&format!("installing {spec} from PyPI (about half a minute)"));
        let shown = dir.to_string_lossy();
        Cmd::new(python)
            .args(["-m", "venv", shown.as_ref()])
            .quiet()
            .context("cannot make a virtual environment (Debian: apt-get install python3-venv)")?;
        Cmd::new(dir.join("bin").join("python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", spec])
            .quiet()
            .context("pip could not install the package: is PyPI reachable?")
    })
}

/// Whether that interpreter starts (a version manager's shim may exist and refuse) and is new enough.
fn runs(python: &str) -> bool {
    Cmd::new(python).args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).read().is_ok()
}
