//! `only1mcp keys`: key files, recovery keys, and the key ring of a node on this host.

use std::collections::BTreeMap;
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
use crate::host::HostClock;
use crate::print;
use crate::serve::Told;
use crate::serve::control::{self, ControlAnswer, ControlRequest, ShownKey};

/// Make and look after the keys that data folders are encrypted with.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

const REMOVE_HELP: &str = "The key stays, and the command says KEY_IN_USE, while it is the one that wraps, or wraps a data key, the key for names or
a generation in one of the nodes named, running or not, or in one of the places of backups named. What is not named is not
looked at, and does not open any more when its key is gone: name every node and every place that used the file.

Example:
  only1mcp keys add --file /etc/only1mcp/node-1.keys
  only1mcp keys rewrap --config node.yaml
  only1mcp keys remove --file /etc/only1mcp/node-1.keys --key 51c0a9… --config node.yaml --backups /mnt/backups";

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key file, for `keys: { file: … }`. Keep a copy of it away from the data: without it nothing opens.
    Init {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Add a new key to a key file: it wraps from the next `keys rewrap` on, the others still open.
    Add {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove a key from a key file for ever, once it wraps nothing.
    #[command(after_help = REMOVE_HELP)]
    Remove {
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// As `keys show` names it.
        #[arg(long, value_name = "ID")]
        key: String,
        /// The configuration of each node whose keys the file wraps.
        #[arg(long, value_name = "FILE", required = true)]
        config: Vec<PathBuf>,
        /// Each place of backups that is protected by the file.
        #[arg(long, value_name = "PLACE")]
        backups: Vec<String>,
    },
    /// Show the data keys of a node, never the keys themselves, and what wraps them; and, where it runs, how far what lies
    /// under older ones is sealed again, and where each was still named when that was looked at last.
    Show(OfNode),
    /// Wrap the keys of a node under the newest key of what its configuration names. A node that runs does it itself, and
    /// serves meanwhile; where the configuration names another provider than before it has to be stopped.
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
            print::progress(format!(
                "{} holds key {}; in the node's configuration:",
                file.display(),
                made.current()
            ));
            let path = std::path::absolute(&file).unwrap_or(file);
            println!("keys: {{ file: {} }}", serde_json::to_string(&path)?);
        }
        KeysCommand::Add { file } => {
            let made = KeyFile::add_key(&file)?;
            print::progress(format!("{} wraps with key {} from now on", file.display(), made.current()));
        }
        KeysCommand::Remove { file, key, config, backups } => remove(&file, &key, config, &backups).await?,
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

/// The answer of a node that runs, or the ring of one that does not.
async fn shown(
    node: &OfNode,
) -> anyhow::Result<(Vec<ShownKey>, BTreeMap<String, Vec<String>>, Option<Told>)> {
    let config = NodeConfig::load(&node.config)?;
    if !is_running(&config) {
        let (_, _, ring) = folder_of(node)?;
        let key = |(id, wrapped_by, made_ms)| ShownKey {
            id,
            seals: id == ring.current(),
            wrapped_by,
            made_ms,
            named_by: Vec::new(),
        };
        return Ok((ring.data_keys().into_iter().map(key).collect(), ring.uses(), None));
    }
    match control::request(&config.control_socket(), &ControlRequest::ShowKeys).await? {
        ControlAnswer::Keys { keys, wraps, resealing } => Ok((keys, wraps, Some(resealing))),
        ControlAnswer::Failed { code, message } => anyhow::bail!("{message} ({code})"),
        other => anyhow::bail!("unexpected answer {other:?}"),
    }
}

fn is_running(config: &NodeConfig) -> bool {
    matches!(DataFolder::existing(&config.data_dir), Err(StorageError::Locked { .. }))
}

async fn show(node: &OfNode) -> anyhow::Result<()> {
    let (keys, wraps, resealing) = shown(node).await?;
    for ShownKey { id, seals, wrapped_by, made_ms, named_by } in keys {
        let state = if seals { "seals" } else { "opens" };
        let named = if named_by.is_empty() || seals {
            String::new()
        } else {
            format!(", named by {}", named_by.join(", "))
        };
        println!("data key {id}: {state}, wrapped by {wrapped_by}, made at {made_ms} ms{named}");
    }
    for (key, uses) in wraps {
        println!("key-encryption key {key}: wraps {}", uses.join(", "));
    }
    if let Some(Told { under_way, rows, segments, bytes, rounds, dropped }) = resealing {
        let state = if under_way { "under way" } else { "not under way" };
        println!(
            "sealing again: {state}; since the start {rounds} rounds, {rows} rows and {segments} segments looked at, \
             {bytes} bytes sealed again, {dropped} data keys dropped"
        );
    }
    Ok(())
}

async fn remove(file: &Path, key: &str, configs: Vec<PathBuf>, backups: &[String]) -> anyhow::Result<()> {
    let there = KeyFile::open(file)?;
    anyhow::ensure!(
        there.ids().iter().any(|id| id == key),
        "{} holds no key {key} (NOT_FOUND)",
        file.display()
    );
    let in_use = |by: String| anyhow::anyhow!("key {key} stays: {by} (KEY_IN_USE)");
    if there.current() == key {
        return Err(in_use("it wraps; add another first".to_owned()));
    }
    for config in configs {
        let node = OfNode { config };
        let (_, wraps, _) = shown(&node).await?;
        if let Some(uses) = wraps.get(key) {
            return Err(in_use(format!("it wraps {} of {}", uses.join(", "), node.config.display())));
        }
    }
    for at in backups {
        if let Some(uses) = only1mcp_ctl::backup::wrapped_in(at)?.get(key) {
            return Err(in_use(format!("it wraps {} of the backups in {at}", uses.join(", "))));
        }
    }
    KeyFile::remove_key(file, key)?;
    print::progress(format!("{} holds key {key} no more", file.display()));
    Ok(())
}

fn tell_left(left: &[String]) {
    for key in left {
        print::progress(format!("key-encryption key {key} wraps nothing of this node any more: delete it"));
    }
}

async fn rewrap(node: &OfNode, from_file: Option<&Path>) -> anyhow::Result<()> {
    let config = NodeConfig::load(&node.config)?;
    if is_running(&config) {
        anyhow::ensure!(from_file.is_none(), "a node that runs wraps under what it runs with: stop it first");
        return match control::request(&config.control_socket(), &ControlRequest::RewrapKeys).await? {
            ControlAnswer::KeysRewrapped => {
                print::progress("the data keys are wrapped under the newest key");
                Ok(())
            }
            ControlAnswer::Failed { code, message } => anyhow::bail!("{message} ({code})"),
            other => anyhow::bail!("unexpected answer {other:?}"),
        };
    }
    let (config, folder, mut ring) = folder_of(node)?;
    let to = configured(&config).await?;
    let keys = match from_file {
        Some(file) => ring.open(&KeyFile::open(file)?).await?,
        None => ring.open(to.provider.as_ref()).await?,
    };
    let (provider, recovery) = (to.provider.as_ref(), to.recovery.as_deref());
    tell_left(&ring.rewrap(&folder, &keys, provider, recovery, HostClock.now_ms()).await?);
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
    let (provider, recovery) = (to.provider.as_ref(), to.recovery.as_deref());
    tell_left(&ring.rewrap(&folder, &keys, provider, recovery, HostClock.now_ms()).await?);
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
