//! `soak --faults`: the fault tests as in `test --faults`, in release mode unless told otherwise, with far more dead
//! leaders; the times that failovers and transfers took become a dated page of `chaos/results`.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::run::{self, Cmd, say};
use crate::suite::root_on_linux;
use crate::{fault_tools, workspace};

const FAILOVERS: &str = "faults::failover::";
/// Read by the tests.
const SOAK: &str = "ONLY1MCP_SOAK";
const KILLS: &str = "ONLY1MCP_SOAK_KILLS";
const MINUTES: &str = "ONLY1MCP_SOAK_MINUTES";
const REPORT: &str = "ONLY1MCP_SOAK_REPORT";

/// `minutes` wins over `kills`. `debug`: with the build that the tests use. Errors: no root, no tools, no build.
pub fn run(minutes: Option<u64>, kills: u64, debug: bool, more: &[String]) -> Result<ExitCode> {
    root_on_linux()?;
    fault_tools::ensure()?;
    let root = workspace::root()?;
    let measured = root.join("target").join("soak-failover.md");
    // An older one must not be taken for this run's.
    let _ = fs::remove_file(&measured);
    // Of what is built now, whatever is committed meanwhile.
    let commit = commit()?;
    // The whole workspace in debug mode, as in `test`: a part of it would be built anew with other features.
    let build: &[&str] = if debug { &["--workspace"] } else { &["--release", "--package", "only1mcp"] };
    let test = || {
        let binary = ["--test", "it", "--"];
        Cmd::new(workspace::cargo()).args(["test"]).args(build).args(binary)
    };
    let mut failovers = test()
        .args([FAILOVERS, "--ignored", "--nocapture", "--test-threads", "1"])
        .args(more)
        .env(REPORT, &measured);
    failovers = match minutes {
        Some(minutes) => failovers.env(MINUTES, minutes.to_string()),
        None => failovers.env(KILLS, kills.to_string()),
    };
    let died = failovers.status()?;
    if died.success() {
        let page = root.join("chaos").join("results").join(format!("{}-failover.md", today()?));
        let table = fs::read_to_string(&measured).context("the failovers left no table")?;
        fs::write(&page, report(&today()?, &commit, if debug { "debug" } else { "release" }, &table))?;
        say(&format!("the times are in {}", page.display()));
    }
    let others = test()
        .args(["faults_", "--ignored", "--nocapture", "--test-threads", "1", "--skip", FAILOVERS])
        .args(more)
        .env(SOAK, "1")
        .status()?;
    Ok(run::code_of(if died.success() { others } else { died }))
}

fn today() -> Result<String> {
    Cmd::new("date").args(["-u", "+%F"]).read()
}

fn commit() -> Result<String> {
    Cmd::new("git").args(["rev-parse", "--short", "HEAD"]).read()
}

fn report(date: &str, commit: &str, build: &str, table: &str) -> String {
    format!(
        "# Leaders that die, and leaders that hand over ({date})\n\n\
         Three nodes in network namespaces of one machine, default timeouts, six callers that never pause for long. \
         `cargo xtask soak --faults`, {build} build of commit {commit}.\n\n{table}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_bears_date_commit_and_table() {
        let page = report("2026-01-02", "abc1234", "debug", "| a |\n");
        assert!(page.starts_with("# Leaders") && page.contains("(2026-01-02)"));
        assert!(page.contains("debug build of commit abc1234"));
        assert!(page.ends_with("\n\n| a |\n"));
    }
}
