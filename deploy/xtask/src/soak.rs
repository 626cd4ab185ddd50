//! `soak`: the simulation's fuzzer, in release mode, for as long as one wants.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::run::{self, Cmd};
use crate::workspace;

/// The fuzzer's package and binary.
const PACKAGE: &str = "only1mcp-chaos";
const BINARY: &str = "fuzz";

#[derive(Args)]
pub struct SoakArgs {
    /// How long to go on with new seeds.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Passed to the fuzzer as it is, for instance `--seed N`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the fuzzer; the exit code is its own.
pub fn soak(args: &SoakArgs) -> Result<ExitCode> {
    let there = workspace::targets()?
        .iter()
        .any(|target| target.package == PACKAGE && target.name == BINARY && target.kind == "bin");
    if !there {
        bail!("{PACKAGE} has no binary `{BINARY}` in this checkout, so there is nothing to soak");
    }
    let minutes = args.minutes.to_string();
    let status = Cmd::new(workspace::cargo())
        .args(["run", "--release", "--package", PACKAGE, "--bin", BINARY, "--", "--minutes", &minutes])
        .args(&args.args)
        .status()?;
    Ok(run::code_of(status))
}
