//! `only1mcp restore`: a new cluster of one node, made of a backup.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use only1mcp_consensus::offline::{Planted, plant};
use only1mcp_consensus::{Stores, inspect};
use only1mcp_domain::command::{AdoptKeys, Command, EpochCause, Restored, Secret32};
use only1mcp_domain::ids::Digest;
use only1mcp_domain::limits;
use only1mcp_keys::{RecoveryKey, generation_check};
use only1mcp_storage::{DataFolder, Key32, SegmentCheck, SegmentCopy, SegmentName, Segments as _};
use serde_json::json;
use zeroize::Zeroizing;

use super::{alone, stores};
use crate::config::NodeConfig;
use crate::ctl::backup::{Checked, KeyTable, Manifest, Protection, Target, check};
use crate::host::HostEntropy;
use crate::keys::table_context;
use crate::print;
use crate::serve::{Identity, registration};

/// What a folder being restored is marked with.
const WHAT: &str = "only1mcp restore";

/// Makes a new cluster of a backup, on a host that has no node yet.
///
/// The node becomes the first and only member; others join it by token, as they would any cluster. Tenants, principals,
/// keys, roles, budgets and the audit trail are those of the backup. The cluster has a new id and the next epoch; MCP
/// sessions and join tokens of before are void; what members of the old cluster were lent of budgets counts as spent,
/// since nobody can say what they did with it. All of that stands in the audit trail, which goes on after the backup's
/// last event.
///
/// What happened in the old cluster after the backup is lost. Make sure that none of its nodes runs.
///
/// The data folder of the configuration must be empty. A restore that was interrupted is begun anew.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  only1mcp restore --from /backups/only1mcp --config node.yaml && only1mcp serve --config node.yaml"
)]
pub struct RestoreArgs {
    /// Where `only1mcp ctl backup create` wrote it: a folder, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// What the backups are encrypted with: a file with a section `keys:`. Left out: the keys of the configuration.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_BACKUP_KEYS")]
    keys: Option<PathBuf>,
    /// The backups are not encrypted.
    #[arg(long, conflicts_with = "keys")]
    plaintext: bool,
    /// Which backup, as `only1mcp ctl backup list` names it; the newest where it is left out.
    #[arg(long, value_name = "BACKUP")]
    at: Option<String>,
    /// The configuration of the node.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_CONFIG")]
    config: PathBuf,
    /// The key table of the cluster that the backup is of, as `only1mcp ctl backup keys` wrote it: the newest there is.
    /// Without it nobody's name, address or user agent can be read again.
    #[arg(long, value_name = "FILE", requires = "recovery_private")]
    key_table: Option<PathBuf>,
    /// The private part of the recovery key that the key table is wrapped for.
    #[arg(long, value_name = "FILE", requires = "key_table")]
    recovery_private: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Output {
    #[default]
    Table,
    Json,
}

pub async fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let config = NodeConfig::load(&args.config)?;
    let protection = match &args.keys {
        Some(file) => Protection::load(file)?,
        None if args.plaintext => Protection::Plaintext,
        None => Protection::from(config.keys.clone()),
    };
    let target = Target::existing(&args.from, &protection).await?;
    let manifest = match &args.at {
        Some(name) => target.manifest(name)?,
        None => target.newest()?,
    };
    print::progress(format!("reading backup {} …", manifest.name()));
    let checked = check(&target, &manifest).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("backup {} cannot be restored: {}", manifest.name(), faults.join("; "))
    })?;
    let table = table(args)?;
    let folder = empty_folder(&config.data_dir)?;
    stores::begin(&folder, WHAT)?;
    let keys = stores::keys(&config, &folder).await?;
    let mut adoption = Vec::new();
    if let Some((table, key)) = &table {
        stores::keep_generation(&config, &folder, table.generation, key).await?;
        adoption = table.adoption()?;
    }
    let stores = stores::open(&folder, keys.as_ref())?;
    // Empty, and known to be: a journal that is not there would count as lost.
    drop(crate::serve::stores::journal(folder.journal(), keys.as_ref())?);
    segments(&target, &checked, &stores)?;
    let frames = target.frames(&manifest)?.map(|frame| frame.map_err(|error| format!("{error:#}")));
    let planted = plant(&stores, frames, &config.name, &config.peer_address())?;
    let (engine, files) = (stores.engine.clone(), stores.segments.clone());
    let state = begin(&config, stores, &planted, &manifest, adoption).await?;
    // INVARIANT: P3 (from the first event to the one that tells of the restore)
    if let Some(fault) = inspect(&*engine, &*files).faults.first() {
        bail!("what was restored is not sound: {fault}");
    }
    let Some(cluster) = &state.cluster else { bail!("the cluster is gone") };
    let settings = &cluster.settings.value;
    let timing = only1mcp_consensus::Timing::of_settings(settings);
    Identity::new(planted.node, settings.cluster_name.clone(), timing, Vec::new()).write(&folder)?;
    stores::end(&folder)?;
    match args.output {
        Output::Json => println!(
            "{:#}",
            json!({
                "backup": manifest.name(), "cluster_id": cluster.id.to_string(), "epoch": cluster.epoch,
                "node": planted.node.0, "log_index": state.last_applied, "audit_index": state.chain.index.0,
                "audit_hash": state.chain.hash.to_string(),
            })
        ),
        Output::Table => println!(
            "restored backup {} as cluster {}, epoch {}, of node {}; {} events, valid from the first: the last hash is \
             {}.\nStart it with `only1mcp serve`; other nodes join by `only1mcp ctl cluster join-token`.",
            manifest.name(),
            cluster.id,
            cluster.epoch,
            planted.node,
            state.chain.index,
            state.chain.hash,
        ),
    }
    Ok(())
}

/// The table and the key of its generation.
fn table(args: &RestoreArgs) -> anyhow::Result<Option<(KeyTable, Key32)>> {
    let (Some(table), Some(private)) = (&args.key_table, &args.recovery_private) else {
        print::progress(
            "no --key-table is given: names, addresses and user agents of before stay sealed for ever",
        );
        return Ok(None);
    };
    let table = KeyTable::read(table)?;
    let text = std::fs::read_to_string(private);
    let text = Zeroizing::new(text.with_context(|| format!("cannot read {}", private.display()))?);
    let context = table_context(table.generation);
    let key = RecoveryKey::parse(&text)?.unwrap(&table.wrapped_generation()?, &context)?;
    ensure!(generation_check(&key) == table.check()?, "the key table holds another key than it says");
    Ok(Some((table, key)))
}

async fn begin(
    config: &NodeConfig,
    stores: Stores,
    planted: &Planted,
    manifest: &Manifest,
    adoption: Vec<AdoptKeys>,
) -> anyhow::Result<std::sync::Arc<only1mcp_domain::State>> {
    let cause = EpochCause::Restored(Box::new(Restored {
        cluster_id: Digest(HostEntropy.bytes()),
        session_key: Secret32(HostEntropy.bytes()),
        node: registration(config),
        backup: manifest.digest()?,
    }));
    let further = adoption.into_iter().map(|part| Command::AdoptKeys(Box::new(part))).collect();
    alone::begin_epoch(config, stores, planted.node, &planted.state, cause, further).await
}

/// Errors: there is something in it that an interrupted restore did not put there.
fn empty_folder(path: &Path) -> anyhow::Result<DataFolder> {
    let is_empty = !path.exists() || std::fs::read_dir(path)?.next().is_none();
    if is_empty {
        return Ok(DataFolder::open(path)?);
    }
    let refused = || format!("{} is not empty: a restore needs an empty data folder", path.display());
    let found = DataFolder::existing(path).with_context(refused)?;
    ensure!(stores::unfinished(&found)?.as_deref() == Some(WHAT), refused());
    print::progress("an interrupted restore is begun anew");
    for part in [found.log(), found.state(), found.journal(), found.segments()] {
        if part.exists() {
            std::fs::remove_dir_all(part)?;
        }
    }
    drop(found);
    Ok(DataFolder::open(path)?)
}

/// Copies and reads back what the image names.
fn segments(target: &Target, checked: &Checked, stores: &Stores) -> anyhow::Result<()> {
    let files = &*stores.segments;
    let mut before = Digest::default();
    for (done, name) in checked.segments.iter().enumerate() {
        copy_segment(target, name, stores).with_context(|| format!("segment {}", name.address))?;
        SegmentCheck::of(*name, before, SegmentCopy::Part).run(files)?;
        files.finish(&name.address)?;
        before = name.hash;
        if (done + 1).is_multiple_of(16) {
            print::progress(format!("{} of {} segments", done + 1, checked.segments.len()));
        }
    }
    Ok(())
}

fn copy_segment(target: &Target, name: &SegmentName, stores: &Stores) -> anyhow::Result<()> {
    let mut at = 0;
    while at < name.bytes {
        let length = limits::SEGMENT_CHUNK_BYTES_MAX;
        let chunk = target.segments().read(&name.address, SegmentCopy::Whole, at, length)?;
        ensure!(!chunk.is_empty(), "it is cut off");
        stores.segments.append(&name.address, at, &chunk)?;
        at = at.saturating_add(u64::try_from(chunk.len())?);
    }
    Ok(())
}
