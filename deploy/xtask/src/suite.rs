//! `test` and `test --faults`: peers beside the build, then the runner, whose verdict is ours.

use std::process::ExitCode;
use std::thread;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use crate::run::{self, Cmd, say};
use crate::{fault_tools, peers, workspace};

#[derive(Args)]
pub struct TestArgs {
    /// Runs the tests that break machines instead: network namespaces, small disks, killed processes.
    /// Needs root and Linux.
    #[arg(long)]
    faults: bool,
    /// Passed to the runner as it is: filters, `-p PACKAGE`, `--no-capture`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// Runs the suite; the exit code is the runner's.
pub fn test(args: &TestArgs) -> Result<ExitCode> {
    if args.faults {
        root_on_linux()?;
        fault_tools::ensure()?;
    }
    let cargo = workspace::cargo();
    // Peers are mostly waited for, the build keeps the cores busy.
    let peers = thread::spawn(peers::ensure);
    // The same selection of targets as the runner's, so that nothing is built twice.
    let built = Cmd::new(&cargo).args(["build", "--workspace", "--bins", "--tests", "--quiet"]).must();
    let found = peers.join().map_err(|_| anyhow!("installing the peers ended unexpectedly"))?;
    built?;
    say(&format!("peers: {}", peers::summary(&found?)));
    let nextest = Cmd::new(&cargo).args(["nextest", "--version"]).read().is_ok();
    if !nextest {
        say("cargo-nextest is not installed; `cargo test` runs the same tests, only slower");
    }
    let runner = runner_args(nextest, args.faults, &args.runner);
    let status = Cmd::new(&cargo)
        .args(runner)
        .env("ONLY1MCP_PEERS", peers::folder()?)
        .env("ONLY1MCP_BIN", workspace::product_binary()?)
        .status()?;
    Ok(run::code_of(status))
}

/// Fault tests but for the long ones, which `soak --faults` runs besides.
const SHORT_FAULTS: &str = "test(/(^|::)faults_/) - test(/(^|::)faults_soak_/)";

/// What cargo is told. Fault tests are named `faults_*` and ignored by default, which both runners understand.
fn runner_args(nextest: bool, faults: bool, extra: &[String]) -> Vec<String> {
    let fixed: &[&str] = match (nextest, faults) {
        (true, false) => &["nextest", "run"],
        (true, true) => &["nextest", "run", "--run-ignored", "only", "-E", SHORT_FAULTS],
        (false, _) => &["test", "--no-fail-fast"],
    };
    let mut args: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    // A package named by the caller narrows the run; naming the workspace too would widen it again.
    if !extra.iter().any(|arg| arg == "-p" || arg.starts_with("--package")) {
        args.push("--workspace".to_owned());
    }
    args.extend(extra.iter().cloned());
    if !nextest && faults {
        args.extend(
            ["--", "--ignored", "faults_", "--skip", "faults_soak_", "--test-threads", "1"]
                .map(str::to_owned),
        );
    }
    args
}

pub fn root_on_linux() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("`test --faults` needs Linux: it makes network namespaces and small file systems");
    }
    let uid = Cmd::new("id").args(["-u"]).read()?;
    if uid != "0" {
        bail!("`test --faults` needs root (this is uid {uid}): it makes network namespaces and mounts");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(nextest: bool, faults: bool, extra: &[&str]) -> String {
        runner_args(nextest, faults, &extra.iter().map(ToString::to_string).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn both_runners_are_told_the_same() {
        assert_eq!(joined(true, false, &[]), "nextest run --workspace");
        assert_eq!(joined(false, false, &[]), "test --no-fail-fast --workspace");
        assert_eq!(
            joined(true, true, &[]),
            "nextest run --run-ignored only -E test(/(^|::)faults_/) - test(/(^|::)faults_soak_/) --workspace"
        );
        assert_eq!(
            joined(false, true, &[]),
            "test --no-fail-fast --workspace -- --ignored faults_ --skip faults_soak_ --test-threads 1"
        );
    }

    #[test]
    fn a_named_package_narrows_the_run() {
        assert_eq!(joined(true, false, &["-p", "xtask", "house"]), "nextest run -p xtask house");
    }
}
