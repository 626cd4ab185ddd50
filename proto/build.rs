//! Compiles the `.proto` files with protox, so that building needs no `protoc`.
use std::path::PathBuf;

use prost::Message as _;

/// Messages that carry secrets: their `Debug` is written by hand in `src/redacted.rs` and shows none.
const SECRET: &[&str] = &[
    ".only1mcp.admin.v1.CreateBackupResponse",
    ".only1mcp.admin.v1.CreateJoinTokenResponse",
    ".only1mcp.admin.v1.CreateKeyResponse",
    ".only1mcp.admin.v1.PutWebhookResponse",
    ".only1mcp.admin.v1.RotateKeyResponse",
    ".only1mcp.log.v1.FormCluster",
    ".only1mcp.log.v1.MetaRow",
    ".only1mcp.log.v1.Payload",
    ".only1mcp.log.v1.Restored",
    ".only1mcp.log.v1.StoredApiKey",
    ".only1mcp.log.v1.StoredJoinToken",
    ".only1mcp.log.v1.StoredWebhook",
    ".only1mcp.model.v1.EnvironmentVariable",
    ".only1mcp.model.v1.HeaderSecret",
    ".only1mcp.peer.v1.FetchGenerationResponse",
    ".only1mcp.peer.v1.ForwardMcpRequest",
    ".only1mcp.peer.v1.Header",
    ".only1mcp.peer.v1.InstallSnapshotRequest",
    ".only1mcp.peer.v1.JoinRequest",
    ".only1mcp.peer.v1.ProposeRequest",
    ".only1mcp.peer.v1.SnapshotPart",
    ".only1mcp.snapshot.v1.Row",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed=proto");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    files.sort();
    let set = protox::compile(&files, [&root])?;
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .boxed(".only1mcp.log.v1.Record.kind.admission")
        .boxed(".only1mcp.log.v1.Record.kind.refusal")
        .skip_debug(SECRET)
        .compile_fds(set)?;
    Ok(())
}
