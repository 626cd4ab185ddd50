//! `only1mcp audit verify`: the offline check on the command line.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use only1mcp_proofs::exported::{Asked, Head, Report, readable, verify};
use only1mcp_proofs::{Bundle, Consistency, Pinned, Proven, Receipt, Signed, VerifierKey};
use serde_json::{Value, json};

use crate::audit_prove::read_receipt;

/// Exported audit files.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand, Debug)]
enum AuditCommand {
    /// Checks an exported file, a proof, or that one checkpoint goes on from another; needs no server.
    Verify(Box<VerifyArgs>),
}

#[derive(Args, Debug)]
struct VerifyArgs {
    /// The file, as `only1mcp ctl audit export` writes it.
    #[arg(long, required_unless_present_any = ["proof", "consistency"])]
    file: Option<PathBuf>,
    /// A proof, as `only1mcp ctl audit prove` writes it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "consistency"], requires = "keys")]
    proof: Option<PathBuf>,
    /// Two checkpoints, as `only1mcp ctl audit checkpoint --since` writes them.
    #[arg(long, value_name = "FILE", conflicts_with = "file", requires = "keys")]
    consistency: Option<PathBuf>,
    /// Whose signatures count: kept since `only1mcp ctl audit keys`.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A receipt, or an answer that holds one. May be repeated for an exported file.
    #[arg(long, value_name = "FILE")]
    receipt: Vec<PathBuf>,
    /// A checkpoint that the exported file has to agree with. May be repeated.
    #[arg(long, value_name = "FILE", requires = "keys", requires = "file")]
    checkpoint: Vec<PathBuf>,
    /// A witness that must have signed, as NAME+HASH+KEY. May be repeated.
    #[arg(long, value_name = "KEY", requires = "keys")]
    witness: Vec<VerifierKey>,
    /// A place the chain must hold: from `ctl audit head`, or audit index and event hash of a receipt. May be repeated.
    #[arg(long, value_name = "INDEX:HASH", requires = "file")]
    head: Vec<Head>,
    /// The place the file must start after; without it a file that starts later than the chain is taken at its word.
    #[arg(long, value_name = "INDEX:HASH", requires = "file")]
    start: Option<Head>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found wrong, or why nothing was looked at.
enum Wrong {
    Fault { code: &'static str, detail: String },
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Wrong {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<only1mcp_proofs::Fault> for Wrong {
    fn from(fault: only1mcp_proofs::Fault) -> Self {
        Self::Fault { code: fault.code, detail: fault.detail }
    }
}

/// Success only for what is sound.
pub fn run(args: AuditArgs) -> ExitCode {
    let AuditCommand::Verify(args) = args.command;
    let json = args.json;
    match check(*args) {
        Ok((record, words)) => {
            println!("{}", if json { record.to_string() } else { words });
            ExitCode::SUCCESS
        }
        Err(Wrong::Fault { code, detail }) => {
            if json {
                println!("{}", json!({"valid": false, "code": code, "fault": detail}));
            }
            eprintln!("not valid: {detail} ({code})");
            ExitCode::FAILURE
        }
        Err(Wrong::Other(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn check(args: VerifyArgs) -> Result<(Value, String), Wrong> {
    let keys = match &args.keys {
        Some(path) => Some(Pinned::parse(&text(path)?)?),
        None => None,
    };
    let receipts = args.receipt.iter().map(|path| read_receipt(path));
    let receipts = receipts.collect::<anyhow::Result<Vec<Receipt>>>()?;
    if let (Some(path), Some(keys)) = (&args.proof, &keys) {
        let proven = Bundle::parse(&text(path)?)?.verify(keys, &args.witness, receipts.first())?;
        return Ok(proven_told(&proven));
    }
    if let (Some(path), Some(keys)) = (&args.consistency, &keys) {
        let (old, new) = Consistency::parse(&text(path)?)?.verify(keys, &args.witness)?;
        let (before, after) = (old.checkpoint.tree.size, new.checkpoint.tree.size);
        let record = json!({"valid": true, "old_size": before, "size": after, "signers": signers(&new)});
        return Ok((record, format!("valid: {before} events are the beginning of {after}\n{}", by(&new))));
    }
    let Some(path) = args.file else {
        return Err(anyhow::anyhow!("name a file, a proof, or two checkpoints").into());
    };
    let checkpoints = args.checkpoint.iter().map(|path| text(path)).collect::<anyhow::Result<_>>()?;
    let asked =
        Asked { start: args.start, heads: args.head, receipts, keys, checkpoints, witnesses: args.witness };
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    match verify(BufReader::new(file), &asked) {
        Ok(report) => Ok((as_json(&report), in_words(&report, asked.keys.is_some()))),
        Err(fault) => Err(Wrong::Fault { code: fault.code(), detail: fault.to_string() }),
    }
}

fn signers(signed: &Signed) -> Vec<u64> {
    signed.by.iter().map(|node| node.0).collect()
}

fn by(signed: &Signed) -> String {
    let nodes: Vec<String> = signed.by.iter().map(ToString::to_string).collect();
    format!(
        "signed by nodes {} of {} signers, in epoch {}",
        nodes.join(", "),
        signed.of,
        signed.checkpoint.origin.epoch
    )
}

fn proven_told(proven: &Proven) -> (Value, String) {
    let Proven { index, digest, event, signed, witnessed } = proven;
    let size = signed.checkpoint.tree.size;
    let record = json!({
        "valid": true, "index": index, "digest": digest.to_string(), "size": size, "signers": signers(signed),
        "witnessed_at": witnessed, "event": event.as_ref().map(readable),
    });
    let mut words = format!("valid: event {index} stands in the chain of {size} events\n{}", by(signed));
    if let Some(event) = event {
        let actor = &event.actor;
        words.push_str(&format!(
            "\n{} of {}/{}: {} {}",
            event.kind.name(),
            actor.tenant,
            actor.id,
            event.action,
            event.resource.id
        ));
    }
    (record, words)
}

fn as_json(report: &Report) -> Value {
    let Report { events, places, start, end, tenant, cluster_id, epoch, heads, .. } = report;
    json!({
        "valid": true, "events": events, "places": places, "start": start, "end": end, "tenant": tenant,
        "cluster_id": cluster_id, "epoch": epoch, "heads_found": heads, "checkpoints": report.checkpoints,
        "signed_events": report.signed_events, "expired": report.expired, "exported_by": report.exported_by,
    })
}

fn in_words(report: &Report, keyed: bool) -> String {
    let whole = report.events - report.places;
    let mut text = format!("valid: {} events, {whole} whole", report.events);
    if report.expired > 0 {
        text.push_str(&format!(", {} whose payload was dropped, as is recorded among them", report.expired));
    }
    let others = report.places.saturating_sub(report.expired);
    if others > 0 {
        text.push_str(&format!(", {others} as places in the chain only (other tenants')"));
    }
    if report.start.index > 0 {
        text.push_str(&format!("\nstarts after {}", report.start));
    }
    text.push_str(&format!("\nends at {}", report.end));
    if report.epoch > 1 {
        let epoch = report.epoch;
        text.push_str(&format!(
            "\nepoch {epoch}: the cluster was restored or recovered; its events say when"
        ));
    }
    if let Some(node) = report.exported_by {
        let signed = report.signed_events;
        text.push_str(&format!(
            "\nexported and signed by node {node}; {signed} events have their proposer's signature"
        ));
    }
    match report.checkpoints.as_slice() {
        [] if keyed => text.push_str("\nno checkpoint is in it, and none was given"),
        [] => text.push_str("\nno --keys were given: signatures were not looked at"),
        sizes => {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            text.push_str(&format!("\nholds the signed checkpoint of {} events", sizes.join(", ")));
        }
    }
    match report.heads {
        0 if report.checkpoints.is_empty() => {
            text.push_str("\nno --head was given: events missing after the end would not be noticed");
        }
        0 => {}
        heads => text.push_str(&format!("\nholds all {heads} promised places")),
    }
    text
}
