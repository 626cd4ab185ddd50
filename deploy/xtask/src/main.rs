//! `cargo xtask`: the one way to check, test, measure and soak this repository, for people and for CI alike.
//!
//! Every command says on stderr what it starts; results go to stdout as the tools underneath print them.
//! The exit code is that of the tool that decided the matter.

mod bench;
mod check;
mod fault_soak;
mod fault_tools;
mod house;
mod measured;
mod membership;
mod peers;
mod run;
mod soak;
mod suite;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Check, test, measure and soak Only1MCP")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formatting, clippy, documentation and the house rules; writes nothing.
    Check,
    /// Formats the code and applies what clippy can fix by itself.
    Fix,
    /// Finds or installs the peers, builds, and runs the tests; no root needed.
    Test(suite::TestArgs),
    /// Runs one benchmark in release mode, or lists them.
    Bench(bench::BenchArgs),
    /// Runs the simulation's fuzzer with ever new seeds.
    Soak(soak::SoakArgs),
    /// Finds or installs the peers that tests talk to, and shows them.
    Peers,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Check => check::check(),
        Task::Fix => check::fix(),
        Task::Test(args) => suite::test(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Soak(args) => soak::soak(&args),
        Task::Peers => peers::show(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            run::say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
