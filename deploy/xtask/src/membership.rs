//! `soak --membership N`: as many changes of membership under load, and a dated result.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::run::{self, Cmd};
use crate::workspace;

const TEST: &str = "membership::as_many_changes_as_one_wants";
const CHANGES: &str = "ONLY1MCP_MEMBERSHIP_CHANGES";
/// The line of the test that tells what it came to.
const MARK: &str = "membership: ";

pub fn soak(changes: u64) -> Result<ExitCode> {
    let command =
        // The whole workspace, as in `test`: a part of it would be built anew with other features.
        ["test", "--workspace", "--test", "it", "--", "--ignored", "--exact", "--nocapture", TEST];
    run::say(&format!("{changes} changes of membership; this takes a second or so for each"));
    let date = Cmd::new("date").args(["-u", "+%F"]).read()?;
    // Of what is built now, whatever is committed meanwhile.
    let commit = Cmd::new("git").args(["rev-parse", "--short", "HEAD"]).read()?;
    let said = Cmd::new(workspace::cargo()).args(command).env(CHANGES, changes.to_string()).read()?;
    let told: Vec<&str> =
        said.lines().filter_map(|line| line.split_once(MARK).map(|(_, told)| told)).collect();
    let Some(last) = told.last() else { bail!("the test told nothing:\n{said}") };
    let text = format!(
        "# Changes of membership under load ({date})\n\n{last}.\n\nMade with a debug build of commit {commit}: `cargo xtask soak \
         --membership {changes}`. Real consensus nodes over loopback in one process, the log purged behind them; every \
         acknowledged write is there at the end, and all members agree.\n"
    );
    let path = workspace::root()?.join("chaos/results").join(format!("{date}-membership.md"));
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    run::say(&format!("{last}; written to {}", path.display()));
    Ok(ExitCode::SUCCESS)
}
