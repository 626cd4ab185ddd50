//! Bounds on a tenant's child processes, set by the process itself before it becomes what was asked for: without `unsafe`
//! nothing can be set between a fork and an exec. The gateway starts upstreams through it (`api/gateway`, `stdio.rs`).
//!
//! Memory is bounded as data (heap, stacks, private writable mappings), not as address space: runtimes reserve far more of
//! that than they use. Both bounds hold for each process, also for those that it starts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, getpid, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// As shells have it: found, and not run.
const NOT_RUN: u8 = 126;

#[derive(Debug, clap::Args)]
pub(crate) struct ConfineArgs {
    /// Units: MiB.
    #[arg(long)]
    memory_mib: Option<u64>,
    /// Processors that it may run on, at least one.
    #[arg(long)]
    cpus: Option<usize>,
    /// The program and its arguments.
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

/// Returns only where the program cannot be run: without its bounds it never is.
pub(crate) fn run(args: &ConfineArgs) -> ExitCode {
    let why = match bound(args) {
        Ok(()) => match args.command.split_first() {
            Some((program, rest)) => Command::new(program).args(rest).exec().to_string(),
            None => "no program is named".to_owned(),
        },
        Err(error) => format!("its bounds cannot be set: {error}"),
    };
    eprintln!("{}: {why}", args.command.first().map(|program| program.to_string_lossy()).unwrap_or_default());
    ExitCode::from(NOT_RUN)
}

fn bound(args: &ConfineArgs) -> rustix::io::Result<()> {
    if let Some(mib) = args.memory_mib {
        let bytes = mib.saturating_mul(1 << 20);
        setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    }
    if let Some(count) = args.cpus {
        let allowed = sched_getaffinity(None)?;
        let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let mut chosen = CpuSet::new();
        // Not all tenants' processes on the same ones.
        let first = usize::try_from(getpid().as_raw_nonzero().get()).unwrap_or(0) % cpus.len().max(1);
        cpus.iter()
            .cycle()
            .skip(first)
            .take(count.clamp(1, cpus.len().max(1)))
            .for_each(|cpu| chosen.set(*cpu));
        sched_setaffinity(None, &chosen)?;
    }
    Ok(())
}
