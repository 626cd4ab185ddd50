//! `only1mcp audit verify`: the offline check on the command line.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::format::Head;
use super::verify::{Report, verify};

/// Exported audit files.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand, Debug)]
enum AuditCommand {
    /// Checks an exported file: every hash, every link, and that what can be read is what was hashed.
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
struct VerifyArgs {
    /// The file, as `only1mcp ctl audit export` writes it.
    #[arg(long)]
    file: PathBuf,
    /// A place the chain must hold: from `ctl audit head`, or audit index and event hash of a receipt. May be repeated.
    #[arg(long, value_name = "INDEX:HASH")]
    head: Vec<Head>,
    /// The place the file must start after; without it a file that starts later than the chain is taken at its word.
    #[arg(long, value_name = "INDEX:HASH")]
    start: Option<Head>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Success only for a sound file.
pub fn run(args: AuditArgs) -> ExitCode {
    let AuditCommand::Verify(args) = args.command;
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("error: {}: {error}", args.file.display());
            return ExitCode::FAILURE;
        }
    };
    match verify(BufReader::new(file), args.start.as_ref(), &args.head) {
        Ok(report) => {
            println!("{}", if args.json { as_json(&report) } else { in_words(&report) });
            ExitCode::SUCCESS
        }
        Err(fault) => {
            if args.json {
                println!("{}", json!({"valid": false, "fault": fault.to_string()}));
            }
            eprintln!("not valid: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn as_json(report: &Report) -> String {
    let Report { events, places, start, end, tenant, cluster_id, epoch, heads } = report;
    json!({
        "valid": true, "events": events, "places": places, "start": start, "end": end, "tenant": tenant,
        "cluster_id": cluster_id, "epoch": epoch, "heads_found": heads,
    })
    .to_string()
}

fn in_words(report: &Report) -> String {
    let whole = report.events - report.places;
    let mut text = format!("valid: {} events, {whole} whole", report.events);
    if report.places > 0 {
        text.push_str(&format!(", {} as places in the chain only (other tenants')", report.places));
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
    match report.heads {
        0 => text.push_str("\nno --head was given: events missing after the end would not be noticed"),
        heads => text.push_str(&format!("\nholds all {heads} promised places")),
    }
    text
}
