//! Worlds in the normal run. Each runs in a process of its own, which the fuzz binary starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests may fail loudly"
)]

mod mutants;
mod pinned;
mod storms;

use std::process::{Command, Output};

/// Runs the fuzz binary with `arguments`, given as one text.
fn fuzz(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fuzz")).args(arguments.split_whitespace()).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn must_hold(arguments: &str) {
    let output = fuzz(arguments);
    assert!(output.status.success(), "{}", text(&output));
}
