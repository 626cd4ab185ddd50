//! The command line of `doctor`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use only1mcp_keys::{KeyRing, RingError};
use only1mcp_storage::{DataFolder, Sealer, StorageError};

use super::examine::examine;
use super::report::{Part, Report};
use crate::config::NodeConfig;
use crate::keys::KeysConfig;
use crate::print;

/// Looks through the data folder of a node that does not run, and says what is wrong with it.
///
/// Checked are: the folder's version, node id and identity; every record of Raft's log, the vote, and the journal;
/// the key ring, the signing key and what was signed; every row; every sealed segment of the audit trail against its name; and the audit chain, recomputed from its events
/// to the head that the state names.
///
/// The folder is only read. Log, journal and rows are looked at in a copy, since opening them would write: it needs as
/// much room as they take, in the system's folder for temporary files or in --scratch, and is removed at the end.
///
/// Exit codes: 0 all is sound, 1 damage was found, 2 the folder could not be looked at (a node runs on it, it is no data
/// folder, there is no room for the copy).
///
/// A node with a damaged log must not be started again under its id: remove it with `only1mcp ctl cluster remove` and
/// have it join anew with an empty folder. Rows and segments a node makes or fetches again by itself.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  only1mcp doctor /var/lib/only1mcp --output json | jq '.findings[] | select(.verdict == \"damaged\")'"
)]
pub struct DoctorArgs {
    /// The data folder: `data_dir` of the node's configuration.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where to put the copy of log, journal and rows while they are looked at.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// The node's configuration: where the keys come from that the folder is encrypted with.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key file that the folder's keys are wrapped under, without a configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    keys: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Output {
    #[default]
    Table,
    Json,
}

/// `None` for a folder that has no key ring.
async fn keys(args: &DoctorArgs) -> anyhow::Result<Option<Arc<Sealer>>> {
    // A folder that cannot be opened is the examination's finding.
    let Ok(view) = DataFolder::existing(&args.folder) else { return Ok(None) };
    let Some(ring) = KeyRing::read(&view)? else { return Ok(None) };
    let configured = match (&args.config, &args.keys) {
        (Some(config), _) => NodeConfig::load(config)?.keys,
        (None, file) => KeysConfig { file: file.clone(), ..KeysConfig::default() },
    };
    let source = crate::keys::source(&configured).await?;
    let source =
        source.context("the folder is encrypted: name the node's --config, or the key file by --keys")?;
    let keys = ring.open(source.provider.as_ref()).await?;
    Ok(Some(Arc::new(Sealer::with_system_randomness(keys)?)))
}

const LOST_RING: &str = "nothing in this folder opens without its key ring: put `key-ring` back from a backup, or remove the \
                         node with `ctl cluster remove --lose-journal` and have it join anew with an empty folder";

/// Of a key ring that is damaged: nothing else can be looked at.
fn without_ring(error: &anyhow::Error) -> Option<Report> {
    let damaged = match error.downcast_ref()? {
        RingError::Damaged { .. } => true,
        RingError::Storage(error) => {
            matches!(error, StorageError::Corrupt { .. } | StorageError::Version { .. })
        }
        RingError::Key(_) | RingError::Lacks { .. } => false,
    };
    damaged.then(|| {
        let mut report = Report::default();
        report.damaged(Part::Keys, format!("key-ring: {error:#}"), LOST_RING);
        report
    })
}

/// 0: sound, 1: damaged, 2: could not look.
pub async fn run(args: &DoctorArgs) -> ExitCode {
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let examined = match keys(args).await {
        Ok(keys) => examine(&args.folder, &scratch, keys.as_ref()),
        Err(error) => without_ring(&error).ok_or(error),
    };
    match examined {
        Ok(report) => {
            match args.output {
                Output::Table => println!("{}", report.in_words()),
                Output::Json => println!("{:#}", report.as_json()),
            }
            if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            print::failure(&error);
            ExitCode::from(2)
        }
    }
}
