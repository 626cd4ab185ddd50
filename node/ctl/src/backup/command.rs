//! `ctl backup`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use serde_json::{Value, json};

use super::check::{Checked, check};
use super::copy::{Copied, Progress, copy};
use super::key_table::fetch;
use super::manifest::Manifest;
use super::protection::Protection;
use super::remote::Node;
use super::target::Target;
use crate::output::{Output, Printer};
use crate::parse::time_text;
use crate::session::{Connection, Session};
use crate::write::WriteArgs;

const COLUMNS: [(&str, &str); 8] = [
    ("BACKUP", "name"),
    ("CREATED", "created"),
    ("EPOCH", "epoch"),
    ("LOG INDEX", "log_index"),
    ("EVENTS", "audit_index"),
    ("SEGMENTS", "segments"),
    ("BYTES", "bytes"),
    ("PROBLEM", "problem"),
];

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Makes a backup: the whole cluster at one log index. Segments of the audit trail that lie there already are not
    /// sent again. Of a backup that is not encrypted every secret of the cluster can be read.
    Create {
        /// A folder, made where it is not there; or s3://BUCKET/PREFIX, with region, credentials and, for other stores
        /// than AWS', the endpoint from the environment (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …).
        #[arg(long, value_name = "PLACE")]
        to: String,
        #[command(flatten)]
        keys: KeysOf,
        /// Backups there are not encrypted.
        #[arg(long, conflicts_with = "keys")]
        plaintext: bool,
        /// Take it from the node that the endpoint names, even if it leads.
        #[arg(long)]
        here: bool,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Writes the key table: without it a backup shows no names, addresses or user agents again. Keep it apart from
    /// backups, and only the newest: who is erased is in no newer one.
    Keys {
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// The public part of a recovery key, as `only1mcp keys recovery-init` makes it; a restore needs the private one.
        #[arg(long, value_name = "FILE")]
        recovery: PathBuf,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// Lists the backups in a place; needs no server and no keys.
    List {
        #[arg(long, value_name = "PLACE")]
        from: String,
    },
    /// Reads backups back, every byte, and says whether they can be restored; needs no server.
    Verify {
        #[arg(long, value_name = "PLACE")]
        from: String,
        #[command(flatten)]
        keys: KeysOf,
        /// Only this one, as `list` names it.
        #[arg(long, value_name = "BACKUP")]
        at: Option<String>,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct KeysOf {
    /// What backups are encrypted with: a file with a section `keys:` as in a node's configuration, which is one.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_BACKUP_KEYS")]
    keys: Option<PathBuf>,
}

impl KeysOf {
    fn protection(&self) -> anyhow::Result<Protection> {
        self.keys.as_ref().map_or(Ok(Protection::Unsaid), |file| Protection::load(file))
    }
}

pub(crate) async fn run(connection: &Connection, output: Output, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { to, keys, plaintext, here, write } => {
            let protection = if plaintext { Protection::Plaintext } else { keys.protection()? };
            let target = Target::create(&to, &protection).await?;
            create(connection, output, &target, here, write).await
        }
        Command::Keys { to, recovery, write } => keys(connection, output, &to, &recovery, write).await,
        Command::List { from } => list(&Printer::new(output), &from),
        Command::Verify { from, keys, at } => {
            let target = Target::existing(&from, &keys.protection()?).await?;
            verify(&Printer::new(output), &target, at.as_deref())
        }
    }
}

async fn create(
    connection: &Connection,
    output: Output,
    target: &Target,
    here: bool,
    write: WriteArgs,
) -> anyhow::Result<()> {
    let node = Node::open(connection, output, here, write).await?;
    let on_terminal = std::io::stderr().is_terminal();
    let mut shown = String::new();
    let copied = copy(&node, target, |progress| {
        if on_terminal {
            show(progress, &mut shown);
        }
    })
    .await;
    if on_terminal {
        eprintln!();
    }
    let Copied { manifest, segments_sent, segment_bytes_sent } = copied?;
    let mut record = described(&manifest);
    if let Some(record) = record.as_object_mut() {
        record.insert("segments_sent".to_owned(), json!(segments_sent));
        record.insert("segment_bytes_sent".to_owned(), json!(segment_bytes_sent));
        record.insert("node".to_owned(), json!(manifest.node));
    }
    let sentence = format!(
        "backup {} of cluster {}, epoch {}, at log index {}, from node {}: {} events, {} of {} segments sent",
        manifest.name(),
        manifest.cluster_name,
        manifest.epoch,
        manifest.log_index,
        manifest.node,
        manifest.audit_index,
        segments_sent,
        manifest.segments.len(),
    );
    node.session().printer.done(&sentence, &record)
}

async fn keys(
    connection: &Connection,
    output: Output,
    to: &Path,
    recovery: &Path,
    write: WriteArgs,
) -> anyhow::Result<()> {
    let public = std::fs::read_to_string(recovery);
    let public = public.with_context(|| format!("cannot read {}", recovery.display()))?;
    let session = Session::open(connection, output).await?;
    let table = fetch(&session, &public, to, write).await?;
    let (persons, generation) = (table.persons(), table.generation);
    let record = json!({"file": to.display().to_string(), "persons": persons, "generation": generation});
    let sentence =
        format!("the keys of {persons} persons, of generation {generation}, are in {}", to.display());
    session.printer.done(&sentence, &record)
}

/// One line, written over.
fn show(progress: Progress, shown: &mut String) {
    let mib = |bytes: u64| bytes >> 20;
    let line = format!(
        "image {} MiB, segments {} of {}, {} of {} MiB",
        mib(progress.image_bytes),
        progress.segments_done,
        progress.segments,
        mib(progress.segment_bytes_done),
        mib(progress.segment_bytes),
    );
    if line != *shown {
        let _ = write!(std::io::stderr(), "\r{line}");
        *shown = line;
    }
}

fn described(manifest: &Manifest) -> Value {
    let bytes: u64 = manifest.segments.iter().map(|segment| segment.bytes).sum();
    json!({
        "name": manifest.name(),
        "created": time_text(manifest.created_at_ms),
        "cluster_id": manifest.cluster_id,
        "cluster_name": manifest.cluster_name,
        "epoch": manifest.epoch,
        "log_index": manifest.log_index,
        "audit_index": manifest.audit_index,
        "audit_hash": manifest.audit_hash,
        "segments": manifest.segments.len(),
        "bytes": bytes.saturating_add(manifest.image.bytes),
    })
}

fn broken(name: &str, problem: &str) -> Value {
    json!({"name": name, "problem": problem})
}

fn list(printer: &Printer, from: &str) -> anyhow::Result<()> {
    let (good, bad) = Target::listing(from)?.manifests()?;
    let bad = bad.iter().map(|(name, problem)| broken(name, problem));
    printer.list(&COLUMNS, good.iter().map(described).chain(bad).collect())
}

/// Errors: something is damaged or incomplete; what, was printed.
fn verify(printer: &Printer, target: &Target, at: Option<&str>) -> anyhow::Result<()> {
    let (good, bad) = match at {
        Some(name) => (vec![target.manifest(name)?], Vec::new()),
        None => target.manifests()?,
    };
    let mut records: Vec<Value> = bad.iter().map(|(name, problem)| broken(name, problem)).collect();
    let mut faults = records.len();
    for manifest in &good {
        let mut record = described(manifest);
        let problem = match check(target, manifest) {
            Ok(Checked { .. }) => None,
            Err(found) => {
                faults = faults.saturating_add(1);
                Some(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        };
        if let Some(record) = record.as_object_mut() {
            record.insert("valid".to_owned(), json!(problem.is_none()));
            record.insert("problem".to_owned(), json!(problem));
        }
        records.push(record);
    }
    let leftovers = if at.is_none() { target.leftovers()? } else { Vec::new() };
    let whole = good.len().saturating_add(bad.len()).saturating_sub(faults);
    records.extend(leftovers.iter().map(|left| {
        broken(left, "incomplete: a transfer was cut off; `ctl backup create` goes on with what is there")
    }));
    printer.list(&COLUMNS, records)?;
    ensure!(faults == 0, "{faults} backups are damaged");
    ensure!(leftovers.is_empty(), "incomplete: {} files of a transfer that was cut off", leftovers.len());
    if whole == 0 {
        bail!("incomplete: {} holds no complete backup", target.shown());
    }
    Ok(())
}
