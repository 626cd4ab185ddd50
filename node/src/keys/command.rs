//! `only1mcp keys`: key files, recovery keys, and the key ring of a node on this host.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use only1mcp_keys::{KeyFile, KeyRing, RecoveryKey};
use only1mcp_storage::{DataFolder, StorageError};
use zeroize::Zeroizing;

use super::{Source, source};
use crate::config::NodeConfig;
use crate::print;
use crate::serve::Told;
use crate::serve::control::{self, ControlAnswer, ControlRequest};

/// Make and look after the keys that data folders are encrypted with.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key file, for `keys: { file: … }`. Keep a copy of it away from the data: without it nothing opens.
    Init {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Add a new key to a key file: it wraps from now on, the others still open. Then `keys rewrap`.
    Add {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Show the data keys of a node, never the keys themselves; and, where it runs, how far what lies under older ones is
    /// sealed again.
    Show(OfNode),
    /// Wrap the data keys of a node that does not run under the newest key of what its configuration names.
    Rewrap {
        #[command(flatten)]
        node: OfNode,
        /// The key file that the keys are wrapped under now, when the configuration names another provider.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Have the node that runs on this host make a new data key, which seals from then on.
    Rotate(OfNode),
    /// Make a recovery key: the private part to be kept offline, the public part for `keys: { recovery: … }`.
    RecoveryInit {
        #[arg(long, value_name = "FILE")]
        private: PathBuf,
        #[arg(long, value_name = "FILE")]
        public: PathBuf,
    },
    /// Open the data keys of a node that does not run by the recovery key, and wrap them under what its configuration
    /// names: for when the provider they were wrapped by is lost.
    Recover {
        #[command(flatten)]
        node: OfNode,
        /// The private part of the recovery key.
        #[arg(long, value_name = "FILE")]
        private: PathBuf,
    },
}

#[derive(Debug, Args)]
struct OfNode {
    /// The configuration of the node on this host.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_CONFIG")]
    config: PathBuf,
}

pub async fn run(args: KeysArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        KeysCommand::Init { file } => {
            let made = KeyFile::create(&file)?;
            print::progress(format!("{} holds key {}", file.display(), made.current()));
        }
        KeysCommand::Add { file } => {
            let made = KeyFile::add_key(&file)?;
            print::progress(format!("{} wraps with key {} from now on", file.display(), made.current()));
        }
        KeysCommand::Show(node) => show(&node).await?,
        KeysCommand::Rewrap { node, from_file } => rewrap(&node, from_file.as_deref()).await?,
        KeysCommand::Rotate(node) => rotate(&node).await?,
        KeysCommand::RecoveryInit { private, public } => recovery_init(&private, &public)?,
        KeysCommand::Recover { node, private } => recover(&node, &private).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn folder_of(node: &OfNode) -> anyhow::Result<(NodeConfig, DataFolder, KeyRing)> {
    let config = NodeConfig::load(&node.config)?;
    let folder = match DataFolder::existing(&config.data_dir) {
        Err(StorageError::Locked { path }) => anyhow::bail!("a node runs on {path}: stop it first"),
        other => other?,
    };
    let ring = KeyRing::read(&folder)?
        .with_context(|| format!("{} has no key ring: it is not encrypted", config.data_dir.display()))?;
    Ok((config, folder, ring))
}

async fn configured(config: &NodeConfig) -> anyhow::Result<Source> {
    source(&config.keys).await?.context("the configuration says that nothing is encrypted")
}

async fn show(node: &OfNode) -> anyhow::Result<()> {
    let config = NodeConfig::load(&node.config)?;
    let line = |id: u32, seals: bool, key: &str, made_ms: u64| {
        let state = if seals { "seals" } else { "opens" };
        println!("data key {id}: {state}, wrapped by {key}, made at {made_ms} ms");
    };
    if !matches!(DataFolder::existing(&config.data_dir), Err(StorageError::Locked { .. })) {
        let (_, _, ring) = folder_of(node)?;
        for (id, key, made_ms) in ring.data_keys() {
            line(id, id == ring.current(), &key, made_ms);
        }
        return Ok(());
    }
    match control::request(&config.control_socket(), &ControlRequest::ShowKeys).await? {
        ControlAnswer::Keys { keys, resealing } => {
            keys.iter().for_each(|key| line(key.id, key.seals, &key.wrapped_by, key.made_ms));
            let Told { under_way, rows, segments, bytes, rounds } = resealing;
            let state = if under_way { "under way" } else { "not under way" };
            println!(
                "sealing again: {state}; since the start {rounds} rounds, {rows} rows and {segments} segments looked at, \
                 {bytes} bytes sealed again"
            );
            Ok(())
        }
        ControlAnswer::Failed { code, message } => anyhow::bail!("{message} ({code})"),
        other => anyhow::bail!("unexpected answer {other:?}"),
    }
}

async fn rewrap(node: &OfNode, from_file: Option<&Path>) -> anyhow::Result<()> {
    let (config, folder, mut ring) = folder_of(node)?;
    let to = configured(&config).await?;
    let keys = match from_file {
        Some(file) => ring.open(&KeyFile::open(file)?).await?,
        None => ring.open(to.provider.as_ref()).await?,
    };
    ring.rewrap(&folder, &keys, to.provider.as_ref(), to.recovery.as_deref()).await?;
    print::progress("the data keys are wrapped under the newest key");
    Ok(())
}

async fn rotate(node: &OfNode) -> anyhow::Result<()> {
    let config = NodeConfig::load(&node.config)?;
    match control::request(&config.control_socket(), &ControlRequest::RotateKeys).await? {
        ControlAnswer::KeysRotated { data_key } => {
            print::progress(format!("data key {data_key} seals from now on"));
            Ok(())
        }
        ControlAnswer::Failed { code, message } => anyhow::bail!("{message} ({code})"),
        other => anyhow::bail!("unexpected answer {other:?}"),
    }
}

async fn recover(node: &OfNode, private: &Path) -> anyhow::Result<()> {
    let (config, folder, mut ring) = folder_of(node)?;
    let text = Zeroizing::new(
        std::fs::read_to_string(private).with_context(|| format!("cannot read {}", private.display()))?,
    );
    let keys = ring.recover(&RecoveryKey::parse(&text)?)?;
    let to = configured(&config).await?;
    ring.rewrap(&folder, &keys, to.provider.as_ref(), to.recovery.as_deref()).await?;
    print::progress("the data keys are wrapped anew; the node can be started");
    Ok(())
}

fn recovery_init(private: &Path, public: &Path) -> anyhow::Result<()> {
    let (secret, shown) = RecoveryKey::generate()?;
    for (path, text, mode) in [(private, secret.as_str(), 0o600), (public, shown.as_str(), 0o644)] {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all())?;
    }
    print::progress(format!(
        "take {} off this machine; nodes need {} alone",
        private.display(),
        public.display()
    ));
    Ok(())
}
