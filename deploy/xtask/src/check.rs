//! `check` and `fix`: the same tools, once looking only, once writing.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::run::{Cmd, say};
use crate::{house, workspace};

/// Runs every check, also after one failed, so that one run shows all there is to repair.
pub fn check() -> Result<ExitCode> {
    let cargo = workspace::cargo();
    let checks: [(&str, Cmd); 3] = [
        ("formatting", Cmd::new(&cargo).args(["fmt", "--all", "--", "--check"])),
        (
            "clippy",
            Cmd::new(&cargo).args([
                "clippy",
                "--workspace",
                "--all-targets",
                // A benchmark that nothing else compiles.
                "--features",
                "only1mcp-enforcer/bench-purse",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ]),
        ),
        (
            "documentation",
            Cmd::new(&cargo)
                .args(["doc", "--workspace", "--no-deps", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
    ];
    let mut failed = Vec::new();
    for (name, cmd) in checks {
        if !cmd.status()?.success() {
            failed.push(name);
        }
    }
    let broken = house::broken_rules(&workspace::root()?)?;
    for line in &broken {
        say(&format!("house rule: {line}"));
    }
    if !broken.is_empty() {
        failed.push("house rules");
    }
    if !failed.is_empty() {
        bail!(
            "check: {} failed (`cargo xtask fix` repairs formatting and what clippy can)",
            failed.join(", ")
        );
    }
    say("check: formatting, clippy, documentation and house rules are in order");
    Ok(ExitCode::SUCCESS)
}

/// Lets clippy and rustfmt repair what they can, clippy first because its repairs need formatting.
pub fn fix() -> Result<ExitCode> {
    let cargo = workspace::cargo();
    Cmd::new(&cargo)
        .args(["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"])
        .must()?;
    Cmd::new(&cargo).args(["fmt", "--all"]).must()?;
    say("fix: done; `cargo xtask check` tells what is left");
    Ok(ExitCode::SUCCESS)
}
