//! Runs worlds: many seeds, each in a process of its own, or one seed again.
//!
//! `fuzz --seeds N [--from SEED] [--minutes M] [--jobs J]` runs seeds until one fails; `fuzz --reproduce SEED` prints what
//! happens under one. Both take `--scenario NAME` and `--mutant NAME`.

use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use only1mcp_chaos::{Mutant, Options, Scenario};

const USAGE: &str = "usage: fuzz --seeds N [--from SEED] [--minutes M] [--jobs J] | --reproduce SEED
       [--scenario storm|vote-gate] [--mutant none|log-before-sync|journal-before-sync|journal-drops]";
/// Lines of a failed world's trace that are shown; the rest comes with `--reproduce`.
const SHOWN_LINES: usize = 40;

#[derive(Debug)]
struct Arguments {
    reproduce: Option<u64>,
    seeds: u64,
    from: u64,
    minutes: Option<u64>,
    jobs: u64,
    scenario: Scenario,
    mutant: Mutant,
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments {
        reproduce: None,
        seeds: 0,
        from: 1,
        minutes: None,
        jobs: std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1)),
        scenario: Scenario::default(),
        mutant: Mutant::None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--reproduce" => parsed.reproduce = Some(value.parse().ok()?),
            "--seeds" => parsed.seeds = value.parse().ok()?,
            "--from" => parsed.from = value.parse().ok()?,
            "--minutes" => parsed.minutes = Some(value.parse().ok()?),
            "--jobs" => parsed.jobs = value.parse().ok()?,
            "--scenario" => parsed.scenario = Scenario::parse(&value)?,
            "--mutant" => parsed.mutant = Mutant::parse(&value)?,
            _ => return None,
        }
    }
    if parsed.minutes.is_some() && parsed.seeds == 0 {
        parsed.seeds = u64::MAX;
    }
    (parsed.reproduce.is_some() || parsed.seeds > 0).then_some(parsed)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match arguments.reproduce {
        Some(seed) => reproduce(Options { seed, scenario: arguments.scenario, mutant: arguments.mutant }),
        None => fuzz(&arguments),
    }
}

fn reproduce(options: Options) -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    match only1mcp_chaos::run(options) {
        Ok(report) => {
            print!("{report}");
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            println!("seed {} FAILED: {why}", options.seed);
            ExitCode::FAILURE
        }
    }
}

/// Seconds since the machine started. The C library's clock is a simulated one in this program.
fn uptime_s() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

fn fuzz(arguments: &Arguments) -> ExitCode {
    let until = arguments.minutes.map(|minutes| uptime_s().saturating_add(minutes.saturating_mul(60)));
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let run = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let late = until.is_some_and(|until| uptime_s() >= until);
        if number >= arguments.seeds || late || failed.lock().is_ok_and(|failed| failed.is_some()) {
            return;
        }
        let seed = arguments.from.saturating_add(number);
        match world(seed, arguments) {
            Ok(summary) => println!("seed {seed}: {summary}"),
            Err(end) => {
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert((seed, end));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(run);
        }
    });
    match failed.into_inner() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((_, end))) => {
            println!("{end}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// One world in a process of its own. Gives its summary, or the end of what it printed.
fn world(seed: u64, arguments: &Arguments) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--reproduce", &seed.to_string()])
        .args(["--scenario", arguments.scenario.name(), "--mutant", arguments.mutant.name()])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    if output.status.success() {
        let summary = lines.iter().rev().nth(1).copied().unwrap_or_default();
        return Ok(summary.to_owned());
    }
    let shown: Vec<&str> = lines.iter().rev().take(SHOWN_LINES).rev().copied().collect();
    Err(format!("{}\n{}", shown.join("\n"), String::from_utf8_lossy(&output.stderr)))
}
