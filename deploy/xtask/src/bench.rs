//! `bench NAME`: finds the benchmark wherever it lives in the workspace and runs it in release mode.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::peers;
use crate::run::{self, Cmd, say};
use crate::workspace::{self, Target};

/// Features that nothing but a benchmark is built with: a peer which is a crate, or what is otherwise private.
const FEATURES: [(&str, &str); 2] = [("decide", "bench-cedar"), ("purse", "bench-purse")];

#[derive(Args)]
pub struct BenchArgs {
    /// The benchmark's name; without one, those that exist are listed.
    name: Option<String>,
    /// Built with another profile than cargo's `bench`: `dev` is quick to build, to see that a benchmark works.
    #[arg(long)]
    profile: Option<String>,
    /// Passed to the benchmark as it is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs one benchmark; the exit code is its own.
pub fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let all: Vec<Target> =
        workspace::targets()?.into_iter().filter(|target| target.kind == "bench").collect();
    let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
    let Some(name) = &args.name else {
        say(&format!("benchmarks: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
        return Ok(ExitCode::SUCCESS);
    };
    let Some(target) = all.iter().find(|target| target.name == *name) else {
        bail!("there is no benchmark `{name}`; there are: {}", names.join(", "));
    };
    if let Some(peer) = peers::ensure_for_bench(&target.name)? {
        say(&format!("compared with {} {} ({})", peer.name, peer.version, peer.origin));
    }
    let mut command = Cmd::new(workspace::cargo())
        .args(["bench", "--package", &target.package, "--bench", &target.name])
        .env("ONLY1MCP_PEERS", peers::folder()?);
    if let Some((_, feature)) = FEATURES.iter().find(|(bench, _)| target.name == *bench) {
        command = command.args(["--features", *feature]);
    }
    if let Some(profile) = &args.profile {
        command = command.args(["--profile", profile]);
    }
    let status = command.args(["--"]).args(&args.args).status()?;
    Ok(run::code_of(status))
}
