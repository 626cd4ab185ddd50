//! `only1mcp pki`: the authority on the command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use only1mcp_domain::ids::{IdError, PrincipalId, TenantId};
use only1mcp_domain::time::TimestampMs;

use crate::host::HostClock;

use super::authority::{Authority, ClientSubject, NodeSubject, Validity};
use super::describe::describe;
use super::error::PkiError;
use super::files::{CA_BUNDLE_FILE, CertificateFiles, Overwrite, PkiFolder, certificates_in};

/// The cluster's private certificate authority.
#[derive(Args, Debug)]
pub struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Subcommand, Debug)]
enum PkiCommand {
    /// Makes a new authority: ca.pem, which every node and client needs, and ca-key.pem, which must stay here.
    Ca(CaArgs),
    /// Issues a node's certificate.
    Node(NodeArgs),
    /// Issues an administrator's certificate.
    Client(ClientArgs),
    /// Replaces the authority while the cluster runs, in three steps.
    Rotate(RotateArgs),
    /// Shows what certificates say.
    Show {
        /// Files that hold certificates.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct Folder {
    /// The authority's folder.
    #[arg(long, default_value = "pki")]
    dir: PathBuf,
}

#[derive(Args, Debug)]
struct CaArgs {
    #[command(flatten)]
    folder: Folder,
    /// How many days the root is valid.
    #[arg(long, default_value_t = 3_650)]
    days: u32,
    /// Replaces an existing authority: all it issued is worthless then.
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct IssueArgs {
    #[command(flatten)]
    folder: Folder,
    /// Where the certificate goes; the authority's folder unless told otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
    /// How many days it is valid.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Replaces existing files.
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct NodeArgs {
    /// The node's name, as in its configuration.
    name: String,
    /// A host name that clients reach it by; may be repeated.
    #[arg(long)]
    dns: Vec<String>,
    /// An address that clients reach it by; may be repeated.
    #[arg(long)]
    ip: Vec<IpAddr>,
    #[command(flatten)]
    issue: IssueArgs,
}

#[derive(Args, Debug)]
struct ClientArgs {
    /// The principal it speaks for.
    #[arg(value_parser = |text: &str| PrincipalId::new(text))]
    principal: PrincipalId,
    /// The principal's tenant.
    #[arg(long, default_value = only1mcp_domain::ids::SYSTEM_TENANT, value_parser = tenant)]
    tenant: TenantId,
    #[command(flatten)]
    issue: IssueArgs,
}

fn tenant(text: &str) -> Result<TenantId, IdError> {
    TenantId::new(text)
}

#[derive(Args, Debug)]
struct RotateArgs {
    #[command(subcommand)]
    step: RotateStep,
}

#[derive(Subcommand, Debug)]
enum RotateStep {
    /// Makes the next root and adds it to ca.pem.
    Start {
        #[command(flatten)]
        folder: Folder,
        /// How many days the new root is valid.
        #[arg(long, default_value_t = 3_650)]
        days: u32,
    },
    /// Issues by the next root from now on.
    Switch {
        #[command(flatten)]
        folder: Folder,
    },
    /// Drops every root but the issuing one from ca.pem.
    Finish {
        #[command(flatten)]
        folder: Folder,
        /// Also when a certificate in the folder was issued by a root that goes.
        #[arg(long)]
        force: bool,
    },
}

/// Runs `only1mcp pki` and prints what came of it.
pub fn run(args: PkiArgs) -> anyhow::Result<()> {
    println!("{}", run_at(&args, TimestampMs(HostClock.now_ms()))?);
    Ok(())
}

/// Does what was asked at the given time, and returns what to print.
/// Errors: as said by `PkiError`; no file is half replaced.
pub fn run_at(args: &PkiArgs, now: TimestampMs) -> Result<String, PkiError> {
    match &args.command {
        PkiCommand::Ca(ca) => {
            let folder = PkiFolder::new(&ca.folder.dir);
            let root = Authority::create(Validity::new(now, ca.days)?)?;
            folder.save_authority(&root, Overwrite::forced(ca.force))?;
            Ok(format!(
                "{} is the authority; keep its key where no node runs",
                folder.path(CA_BUNDLE_FILE).display()
            ))
        }
        PkiCommand::Node(node) => {
            let subject =
                NodeSubject { name: node.name.clone(), dns: node.dns.clone(), ips: node.ip.clone() };
            let folder = PkiFolder::new(&node.issue.folder.dir);
            let issued = folder.authority()?.issue_node(&subject, Validity::new(now, node.issue.days)?)?;
            save(&folder, &node.issue, &node.name, &issued)
        }
        PkiCommand::Client(client) => {
            let subject =
                ClientSubject { tenant: client.tenant.clone(), principal: client.principal.clone() };
            let folder = PkiFolder::new(&client.issue.folder.dir);
            let issued =
                folder.authority()?.issue_client(&subject, Validity::new(now, client.issue.days)?)?;
            save(&folder, &client.issue, &client_file_name(&subject), &issued)
        }
        PkiCommand::Rotate(rotate) => run_rotate(&rotate.step, now),
        PkiCommand::Show { files } => show(files, now),
    }
}

fn save(
    folder: &PkiFolder,
    args: &IssueArgs,
    name: &str,
    issued: &super::Issued,
) -> Result<String, PkiError> {
    let dir = args.out.as_deref().unwrap_or(folder.dir());
    let CertificateFiles { certificate, key } =
        PkiFolder::save_issued(dir, name, issued, Overwrite::forced(args.force))?;
    Ok(format!("{}\n{}", certificate.display(), key.display()))
}

/// A principal may hold characters that file names may not.
fn client_file_name(subject: &ClientSubject) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' };
    let principal: String = subject.principal.as_str().chars().map(safe).collect();
    format!("client-{}-{principal}", subject.tenant)
}

fn run_rotate(step: &RotateStep, now: TimestampMs) -> Result<String, PkiError> {
    match step {
        RotateStep::Start { folder, days } => {
            let folder = PkiFolder::new(&folder.dir);
            folder.rotate_start(Validity::new(now, *days)?)?;
            Ok(format!(
                "{} now holds the next root too: give it to every node and client, then `pki rotate switch`",
                folder.path(CA_BUNDLE_FILE).display()
            ))
        }
        RotateStep::Switch { folder } => {
            PkiFolder::new(&folder.dir).rotate_switch()?;
            Ok("the new root issues from now on: reissue every certificate with --force, give it to its node, \
                then `pki rotate finish`"
                .to_owned())
        }
        RotateStep::Finish { folder, force } => {
            let folder = PkiFolder::new(&folder.dir);
            folder.rotate_finish(*force)?;
            Ok(format!(
                "{} holds the new root alone: give it to every node and client",
                folder.path(CA_BUNDLE_FILE).display()
            ))
        }
    }
}

fn show(files: &[PathBuf], now: TimestampMs) -> Result<String, PkiError> {
    let mut shown = Vec::new();
    for file in files {
        for certificate in certificates_in(file)? {
            let about = describe(&certificate)?;
            let left = match about.days_left(now) {
                Some(days) => format!("{days} days left"),
                None => "EXPIRED".to_owned(),
            };
            shown.push(format!("{}\n{about}\nexpiry       {left}", file.display()));
        }
    }
    Ok(shown.join("\n\n"))
}
