//! What can be run: `only1mcp <command>`.

use std::cell::Cell;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::NodeConfig;
use crate::serve::control::{ControlAnswer, ControlRequest};
use crate::{audit_verify, confine, ctl, demo, dev, doctor, keys, offline, pki, print, serve, witness};

/// A clustered gateway for MCP: it knows who calls, decides by role down to the single tool, and records every call in
/// a replicated hash chain.
///
/// Try `only1mcp dev --tour`: a three-node cluster on this machine, and a walk through what it does.
#[derive(Debug, Parser)]
#[command(name = "only1mcp", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster of real processes on this machine, with a demo MCP server behind it.
    Dev(dev::DevArgs),
    /// Run one node.
    Serve(ServeArgs),
    /// Form the cluster on the node that runs on this host; prints the first administrator key, once.
    Init(InitArgs),
    /// Replace a lost administrator key, through the local socket of a node on this host.
    RecoverAdmin(InitArgs),
    /// Have the node on this host hand in its journal and leave the cluster for good.
    Leave(ControlArgs),
    /// Make a private CA, node and client certificates, and rotate them.
    Pki(pki::PkiArgs),
    Keys(keys::KeysArgs),
    /// Administer a cluster over gRPC.
    Ctl(Box<ctl::CtlArgs>),
    /// Check exported audit files; needs no server.
    Audit(audit_verify::AuditArgs),
    Witness(witness::WitnessArgs),
    Doctor(doctor::DoctorArgs),
    Restore(offline::RestoreArgs),
    /// What is done to a cluster from the host of a stopped node.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Run the demo MCP server that `dev` puts behind the gateway.
    Demo(DemoCommand),
    /// Become a program, within bounds.
    #[command(hide = true)]
    Confine(confine::ConfineArgs),
    /// Print the completion script of a shell.
    Completions {
        /// bash, zsh, fish, elvish or powershell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    Recover(offline::RecoverArgs),
}

#[derive(Debug, clap::Args)]
struct ServeArgs {
    /// The node's configuration.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_CONFIG")]
    config: PathBuf,
    /// End when standard input closes: for a parent process that must not leave nodes behind.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

#[derive(Debug, clap::Args)]
struct DemoCommand {
    #[command(flatten)]
    demo: demo::DemoArgs,
    /// End when standard input closes: for a parent process that must not leave it behind.
    #[arg(long, hide = true, conflicts_with = "stdio")]
    until_stdin_closes: bool,
}

#[derive(Debug, clap::Args)]
struct ControlArgs {
    /// The configuration of the node on this host.
    #[arg(long, value_name = "FILE", env = "ONLY1MCP_CONFIG")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// The administrator's principal id in the tenant `system`.
    #[arg(long, default_value = "root")]
    administrator: String,
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before there are other threads.
    if let Command::Confine(args) = &cli.command {
        return confine::run(args);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print::failure(&anyhow::anyhow!("no runtime: {error}")),
    };
    // Boxed: the runtime makes several copies of the code of what it is given.
    let start_anew = Cell::new(false);
    let command: Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>> + '_>> =
        Box::pin(run(cli.command, &start_anew));
    let mut done = runtime.block_on(command);
    if start_anew.get() {
        done = serve::start_anew(runtime).map(|()| ExitCode::SUCCESS);
    } else {
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    }
    done.unwrap_or_else(|error| print::failure(&error))
}

/// `start_anew` is set where the program is to be run once more in place of this one.
async fn run(command: Command, start_anew: &Cell<bool>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev(args) => dev::run(args).await,
        Command::Serve(args) => {
            let config = NodeConfig::load(&args.config)?;
            let next = Box::pin(serve::run(config, args.until_stdin_closes)).await?;
            start_anew.set(next == serve::Next::StartAnew);
            Ok(ExitCode::SUCCESS)
        }
        Command::Init(args) => {
            let administrator = args.administrator;
            control(&args.control, ControlRequest::Init { administrator }).await
        }
        Command::RecoverAdmin(args) => {
            let administrator = args.administrator;
            control(&args.control, ControlRequest::RecoverAdmin { administrator }).await
        }
        Command::Leave(args) => control(&args, ControlRequest::Leave).await,
        Command::Pki(args) => pki::run(args).map(|()| ExitCode::SUCCESS),
        Command::Keys(args) => keys::run(args).await,
        Command::Ctl(args) => Ok(ctl::run(*args).await),
        Command::Audit(args) => Ok(audit_verify::run(args)),
        Command::Witness(args) => witness::run(args).await,
        Command::Doctor(args) => Ok(doctor::run(&args).await),
        Command::Restore(args) => offline::restore(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Cluster(ClusterCommand::Recover(args)) => {
            offline::recover(&args).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Demo(args) => {
            let ended: Pin<Box<dyn Future<Output = ()> + Send>> = if args.until_stdin_closes {
                Box::pin(serve::signals::ended_or_stdin_closed())
            } else {
                Box::pin(serve::signals::ended())
            };
            demo::run(args.demo, ended).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Confine(args) => Ok(confine::run(&args)),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "only1mcp", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Asks the node on this host and prints its answer: the result on standard output, the rest on standard error.
async fn control(args: &ControlArgs, request: ControlRequest) -> anyhow::Result<ExitCode> {
    let config = NodeConfig::load(&args.config)?;
    match serve::control::request(&config.control_socket(), &request).await? {
        ControlAnswer::AdministratorKey { key, cluster_id, node } => {
            print::progress(format!(
                "cluster {cluster_id}, node {node}. The administrator key is shown this once:"
            ));
            println!("{key}");
            Ok(ExitCode::SUCCESS)
        }
        ControlAnswer::KeysRotated { data_key } => {
            print::progress(format!("data key {data_key} seals from now on"));
            Ok(ExitCode::SUCCESS)
        }
        ControlAnswer::KeysRewrapped => {
            print::progress("the data keys are wrapped under the newest key");
            Ok(ExitCode::SUCCESS)
        }
        ControlAnswer::Keys { keys, .. } => {
            println!("{} data keys", keys.len());
            Ok(ExitCode::SUCCESS)
        }
        ControlAnswer::Left => {
            print::progress("the node has left the cluster; its data folder can be removed");
            Ok(ExitCode::SUCCESS)
        }
        ControlAnswer::Status { phase, node, ready, why_not } => {
            println!("phase: {phase}, node: {node:?}, ready: {ready}, {}", why_not.unwrap_or_default());
            Ok(ExitCode::SUCCESS)
        }
        ControlAnswer::Failed { code, message } => anyhow::bail!("{message} ({code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
