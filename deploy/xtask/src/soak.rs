//! `soak`: the simulation's fuzzer, in release mode, for as long as one wants; or real processes under real faults.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::fault_soak::FaultSoak;
use crate::membership;
use crate::run::{self, Cmd};
use crate::workspace;

/// The fuzzer's package and binary.
const PACKAGE: &str = "only1mcp-chaos";
const BINARY: &str = "fuzz";

/// A mutant that survives so many seeds shows that the harness is too weak.
const MUTANT_SEEDS_MAX: &str = "200";

/// Where the minutes are not named.
const MINUTES: u64 = 30;
/// From less than one segment to hundreds.
const PASTS: &str = "10000,100000,1000000,10000000w";
/// Enough for a 99th percentile.
const KILLS: u64 = 100;

#[derive(Args)]
pub struct SoakArgs {
    /// How long to go on: with new seeds, 30 unless told otherwise, or with `--faults` with killing leaders.
    #[arg(long)]
    minutes: Option<u64>,
    /// Real processes instead: leaders are killed again and again, then every other fault once. Needs root and Linux;
    /// the times are written to `chaos/results`.
    #[arg(long, conflicts_with = "mutants")]
    faults: bool,
    /// How many leaders are killed, with `--faults`.
    #[arg(long, default_value_t = KILLS, conflicts_with = "minutes")]
    kills: u64,
    /// With the build that `cargo xtask test` made: nothing is built in release mode.
    #[arg(long, conflicts_with = "membership")]
    debug: bool,
    /// Goes on with a run that was cut off, with `--faults`: what held at this commit is not run again.
    #[arg(long, requires = "faults")]
    resume: bool,
    /// Of the fault tests only those with this in their names, with `--faults`.
    #[arg(long, requires = "faults")]
    only: Option<String>,
    /// Proves the harness instead: runs each fault put into the product until it is caught, and prints a table.
    #[arg(long)]
    mutants: bool,
    /// Makes that many changes of membership under load instead, on real consensus nodes, and writes a dated result.
    #[arg(long)]
    membership: Option<u64>,
    /// Measures what a snapshot and a join cost behind pasts of so many events instead, and writes a dated result. With a
    /// `w` behind the number the past is written by the code that seals, not made by the cluster.
    #[arg(long, value_name = "EVENTS", num_args = 0..=1, default_missing_value = PASTS)]
    join: Option<String>,
    /// Passed to the fuzzer as it is, for instance `--seed N`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the fuzzer, or the fault tests; the exit code is their own.
pub fn soak(args: &SoakArgs) -> Result<ExitCode> {
    if let Some(changes) = args.membership {
        return membership::soak(changes);
    }
    if let Some(pasts) = &args.join {
        return membership::join(pasts);
    }
    if !args.faults {
        return fuzz(args);
    }
    FaultSoak {
        minutes: args.minutes,
        kills: args.kills,
        debug: args.debug,
        resume: args.resume,
        only: args.only.as_deref(),
        more: &args.args,
    }
    .run()
}

fn fuzz(args: &SoakArgs) -> Result<ExitCode> {
    let there = workspace::targets()?
        .iter()
        .any(|target| target.package == PACKAGE && target.name == BINARY && target.kind == "bin");
    if !there {
        bail!("{PACKAGE} has no binary `{BINARY}` in this checkout, so there is nothing to soak");
    }
    // Seeds that no run before began with, unless the caller names others.
    let epoch = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs());
    let from = epoch.saturating_mul(1_000).to_string();
    let minutes = args.minutes.unwrap_or(MINUTES).to_string();
    let told = workspace::root()?.join("target/soak-told.txt");
    let told_text = told.display().to_string();
    // Of an earlier run, if any.
    let _ = std::fs::remove_file(&told);
    let mut command = vec!["run", "--package", PACKAGE, "--bin", BINARY];
    if !args.debug {
        command.push("--release");
    }
    if args.mutants {
        command.extend(["--features", "mutants", "--", "--mutants", MUTANT_SEEDS_MAX]);
    } else {
        command.extend(["--", "--minutes", &minutes, "--from", &from]);
    }
    command.extend(["--told", &told_text]);
    // What is built now, whatever is committed meanwhile.
    let commit = Cmd::new("git").args(["rev-parse", "--short", "HEAD"]).read()?;
    let status = Cmd::new(workspace::cargo()).args(command).args(&args.args).status()?;
    keep(&told, args, &commit, status.success())?;
    Ok(run::code_of(status))
}

/// What the fuzzer came to, as a dated result beside the earlier ones; nothing where it told nothing.
fn keep(told: &Path, args: &SoakArgs, commit: &str, held: bool) -> Result<()> {
    let SoakArgs { mutants, debug, .. } = *args;
    let Ok(text) = std::fs::read_to_string(told) else { return Ok(()) };
    let date = Cmd::new("date").args(["-u", "+%F"]).read()?;
    let (name, title, how) = if mutants {
        ("mutants", "Faults put into the product, and what noticed them", "cargo xtask soak --mutants")
    } else {
        ("fuzz", "Random worlds", "cargo xtask soak")
    };
    let end = if held || mutants { "" } else { "\nThen one failed; the run names its seed.\n" };
    let (build, debug) = if debug { ("debug", " --debug") } else { ("release", "") };
    let result = format!(
        "# {title} ({date})\n\n{text}{end}\nMade with a {build} build of commit {commit}: `{how}{debug}`.\n"
    );
    let path = workspace::root()?.join("chaos/results").join(format!("{date}-{name}.md"));
    std::fs::write(&path, result).with_context(|| format!("cannot write {}", path.display()))?;
    run::say(&format!("written to {}", path.display()));
    Ok(())
}
