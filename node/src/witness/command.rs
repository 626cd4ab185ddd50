//! The witness on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use only1mcp_proofs::{Pinned, Witness};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::serve::{Serving, router};
use super::store::Store;
use crate::serve::signals;

/// Run a witness: apart from the cluster, it remembers the audit chain's last checkpoint and refuses forks and rollbacks.
#[derive(Args, Debug)]
pub struct WitnessArgs {
    /// Where its key and its memory are; made where they are not.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// Its name, a URL without scheme that nobody else uses.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Whose checkpoints it signs, as `only1mcp ctl audit keys` writes it. May be repeated.
    #[arg(long, value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Plain HTTP; put a proxy with TLS before it beyond a trusted network.
    #[arg(long, default_value = "127.0.0.1:9450")]
    listen: SocketAddr,
    /// End when standard input closes: for a parent process that must not leave it behind.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Serves until it is told to end. Prints the address and the key that verifies it.
pub async fn run(args: WitnessArgs) -> anyhow::Result<ExitCode> {
    let mut logs = Vec::new();
    for path in &args.keys {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        logs.push(Pinned::parse(&text).with_context(|| path.display().to_string())?);
    }
    let (store, key) = Store::open(&args.dir)?;
    let witness = Witness::new(args.name, key, logs);
    let verifier = witness.verifier();
    anyhow::ensure!(
        verifier.to_string().parse().is_ok_and(|parsed: only1mcp_proofs::VerifierKey| parsed == verifier),
        "the name is empty, or has spaces or a plus sign"
    );
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("http://{}", listener.local_addr()?);
    println!("{verifier}");
    let serving = Arc::new(Serving { witness, store: Mutex::new(store) });
    let ended = async move {
        if args.until_stdin_closes { signals::ended_or_stdin_closed().await } else { signals::ended().await }
    };
    axum::serve(listener, router(serving)).with_graceful_shutdown(ended).await?;
    Ok(ExitCode::SUCCESS)
}
