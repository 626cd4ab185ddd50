//! What `dev` says once the cluster is ready, and what it writes for programs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dev::Cluster;

/// `DIR/dev.json`, written last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DevFile {
    pub ca: String,
    pub root_key: String,
    pub nodes: Vec<DevNode>,
    pub tenants: Vec<DevTenant>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DevNode {
    pub id: u64,
    pub pid: u32,
    pub mcp_url: String,
    pub http_url: String,
    pub admin_url: String,
    pub peer_addr: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DevTenant {
    pub id: String,
    pub keys: DevKeys,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DevKeys {
    pub admin: String,
    pub developer: String,
    pub viewer: String,
    pub auditor: String,
}

/// Reads what an earlier run left; `None` when there is none.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<DevFile>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the file whole or not at all, readable by this user alone: it holds keys.
pub(super) fn write(path: &Path, file: &DevFile) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("json.new");
    let mut out =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    serde_json::to_writer_pretty(&mut out, file)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    std::fs::rename(&new, path)?;
    Ok(())
}

pub(super) fn print(cluster: &Cluster) {
    println!("A cluster of {} nodes is ready after {} ms.\n", cluster.nodes.len(), cluster.ready_after_ms);
    for node in &cluster.nodes {
        println!(
            "  node {}: MCP {}   admin {}   pid {}",
            node.file.id, node.file.mcp_url, node.file.admin_url, node.file.pid
        );
    }
    let path = cluster.dir.join("dev.json");
    println!("\nKeys and addresses are in {}.", path.display());
    if let Some((tenant, node)) = cluster.tenants.first().zip(cluster.nodes.first()) {
        println!("Try, as a developer of {}:\n", tenant.id);
        println!("  curl -s {} -H 'Authorization: Bearer {}' \\", node.file.mcp_url, tenant.keys.developer);
        println!(
            "    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\"
        );
        // What opens a session: everything else needs the session that its answer's header names.
        println!(
            "    -i -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"2025-11-25\","
        );
        println!("        \"capabilities\":{{}},\"clientInfo\":{{\"name\":\"curl\",\"version\":\"1\"}}}}}}'");
        println!("\nand as the operator:\n");
        println!("  export ONLY1MCP_ENDPOINT={} ONLY1MCP_CA={}", node.file.admin_url, cluster.ca.display());
        println!("  export ONLY1MCP_KEY={}", cluster.root_key);
        println!("  only1mcp ctl cluster status");
    }
    println!("\nCtrl-C ends all of it.");
}
