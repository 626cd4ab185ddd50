//! Clients and servers that are not ours, through the gateway: the official Python client and the npm inspector, to
//! `server-everything` over stdio.

use std::path::PathBuf;

use crate::cluster::{Cluster, PATIENCE};

/// Path of a peer's starter.
pub fn peer(name: &str) -> PathBuf {
    let kit = match std::env::var_os("ONLY1MCP_PEERS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.peers"),
    };
    let path = kit.join("bin").join(name);
    assert!(
        path.exists(),
        "the peer {name} is not there ({}): run `cargo xtask test`, which installs it",
        path.display()
    );
    path.canonicalize().unwrap()
}

async fn with_everything(number: u16) -> Cluster {
    let upstream = format!("everything={} stdio", peer("mcp-server-everything").display());
    Cluster::start_with(number, &["--upstream", &upstream]).await
}

/// Runs a peer to its end: what it printed, which must be a success.
async fn succeed(name: &str, args: &[&str]) -> String {
    // Its own settings must not come from, nor go to, those of whoever runs the tests.
    let home = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(peer(name));
    let command = command.args(args).env("HOME", home.path()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE * 2, command).await.expect("the peer hangs").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name} {args:?}:\n{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_client_works_through_the_gateway() {
    let cluster = with_everything(16).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/peers/client.py");
    let said = succeed("mcp-python", &[script, &cluster.mcp_url(2), &cluster.key("developer")]).await;
    assert!(said.trim_end().ends_with("all as expected"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_npm_inspector_works_through_the_gateway() {
    let cluster = with_everything(17).await;
    let url = cluster.mcp_url(3);
    let header = format!("Authorization: Bearer {}", cluster.key("developer"));
    let inspect = async |more: &[&str]| {
        let common = ["--cli", &url, "--transport", "http", "--header", &header];
        succeed("mcp-inspector", &[common.as_slice(), more].concat()).await
    };
    let listed = inspect(&["--method", "tools/list"]).await;
    for tool in ["everything__echo", "everything__get-sum", "demo__echo"] {
        assert!(listed.contains(&format!("\"{tool}\"")), "{tool} is not in:\n{listed}");
    }
    assert!(!listed.contains("demo__admin_only"), "{listed}");
    let sum = [
        "--method",
        "tools/call",
        "--tool-name",
        "everything__get-sum",
        "--tool-arg",
        "a=2",
        "--tool-arg",
        "b=3",
    ];
    let said = inspect(&sum).await;
    assert!(said.contains('5') && said.contains("only1mcp/receipt"), "{said}");
}
