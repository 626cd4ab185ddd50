//! The real programs that tests talk to: found on this machine or installed into `.peers/`, without root.
//!
//! Tests look at one place only: `$ONLY1MCP_PEERS/bin/NAME` starts the peer, and `peers.json` beside it says
//! which version that is. A second run finds everything in place and takes no time.

mod debian;
mod kit;
mod node;
mod promtool;
mod python;
mod redis;
mod yardstick;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::run::say;
use crate::workspace;

/// One peer that is ready: the name of its starter in `.peers/bin`, its version, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: &'static str,
    pub version: String,
    pub origin: String,
}

/// The folder that holds the peers.
pub fn folder() -> Result<PathBuf> {
    Ok(workspace::root()?.join(".peers"))
}

/// Finds or installs every peer.
/// Errors: the first peer that cannot be had, with what to do about it.
pub fn ensure() -> Result<Vec<Peer>> {
    let kit = kit::Kit::open(folder()?)?;
    let mut found = node::ensure(&kit).context("MCP peers on Node.js")?;
    found.push(python::ensure(&kit).context("MCP peer in Python")?);
    found.push(python::ensure_moto(&kit).context("moto")?);
    found.push(promtool::ensure(&kit).context("promtool")?);
    kit.record(&found)?;
    Ok(found)
}

/// Finds or installs what the benchmark of that name compares with, if anything.
pub fn ensure_for_bench(bench: &str) -> Result<Option<Peer>> {
    yardstick::ensure(&kit::Kit::open(folder()?)?, bench)
}

/// `cargo xtask peers`.
pub fn show() -> Result<ExitCode> {
    for peer in ensure()? {
        say(&format!("{:<22} {:<12} {}", peer.name, peer.version, peer.origin));
    }
    Ok(ExitCode::SUCCESS)
}

/// All peers in one line.
pub fn summary(found: &[Peer]) -> String {
    found.iter().map(|peer| format!("{} {}", peer.name, peer.version)).collect::<Vec<_>>().join(", ")
}
