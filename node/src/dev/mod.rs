//! `only1mcp dev`: a real cluster on this machine. N processes of this same binary with mutual TLS between them, a demo
//! MCP server behind them, two tenants with a key for each built-in role.

mod child;
mod cluster;
mod mcp_client;
mod seed;
mod summary;
mod tour;

use std::path::PathBuf;
use std::process::ExitCode;

pub use cluster::Cluster;

use crate::{print, serve};

#[derive(Debug, clap::Args)]
pub struct DevArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=7))]
    nodes: u16,
    /// Where everything is kept; a cluster found there is started again.
    #[arg(long, value_name = "DIR", default_value = ".only1mcp-dev")]
    dir: PathBuf,
    /// The first of the ports used: ten for each node, and one for the demo server.
    #[arg(long, value_name = "PORT", default_value_t = 7100)]
    base_port: u16,
    /// A further MCP server for all tenants: NAME=http://… or NAME=command with arguments. May be given several times.
    #[arg(long, value_name = "NAME=URL-or-command")]
    upstream: Vec<String>,
    /// Play the README's walk against the cluster, then end; succeeds only if every step came out as told.
    #[arg(long)]
    tour: bool,
}

pub async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    let mut cluster = tokio::select! {
        started = Cluster::start(&args) => started?,
        () = serve::signals::ended() => return Ok(ExitCode::FAILURE),
    };
    summary::print(&cluster);
    let result = if args.tour {
        tokio::select! {
            played = tour::play(&mut cluster) => played.map(|()| ExitCode::SUCCESS),
            () = serve::signals::ended() => Ok(ExitCode::FAILURE),
        }
    } else {
        tokio::select! {
            () = serve::signals::ended() => Ok(ExitCode::SUCCESS),
            what = cluster.nobody_left() => Err(anyhow::anyhow!("{what}; the logs are in {}", cluster.dir.display())),
        }
    };
    print::progress("stopping …");
    cluster.stop().await;
    result
}
