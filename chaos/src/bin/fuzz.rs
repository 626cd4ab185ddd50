//! Runs worlds: many seeds, each in a process of its own, or one seed again.
//!
//! `fuzz --seeds N [--from SEED] [--minutes M] [--jobs J]` runs seeds until one fails; `fuzz --reproduce SEED` prints what
//! happens under one. Both take `--scenario NAME` and `--mutant NAME`. `fuzz --mutants SEEDS` runs every mutant of this
//! build until it is caught and prints a table. With `--told FILE` what it came to is written to that file too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use only1mcp_chaos::{Mutant, Options, Scenario};

const USAGE: &str =
    "usage: fuzz --seeds N [--from SEED] [--minutes M] [--jobs J] | --reproduce SEED | --mutants SEEDS
       [--told FILE]
       [--scenario storm|vote-gate|lease-drift|lease-sleep|regions|staleness|rot] [--mutant NAME]";
/// Lines of a failed world's trace that are shown; the rest comes with `--reproduce`.
const SHOWN_LINES: usize = 40;

#[derive(Debug)]
struct Arguments {
    reproduce: Option<u64>,
    mutants: Option<u64>,
    seeds: u64,
    from: u64,
    minutes: Option<u64>,
    jobs: u64,
    scenario: Scenario,
    mutant: Mutant,
    told: Option<PathBuf>,
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments {
        reproduce: None,
        mutants: None,
        seeds: 0,
        from: 1,
        minutes: None,
        jobs: std::thread::available_parallelism().map_or(1, |n| u64::try_from(n.get()).unwrap_or(1)),
        scenario: Scenario::default(),
        mutant: Mutant::None,
        told: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--reproduce" => parsed.reproduce = Some(value.parse().ok()?),
            "--mutants" => parsed.mutants = Some(value.parse().ok()?),
            "--seeds" => parsed.seeds = value.parse().ok()?,
            "--from" => parsed.from = value.parse().ok()?,
            "--minutes" => parsed.minutes = Some(value.parse().ok()?),
            "--jobs" => parsed.jobs = value.parse().ok()?,
            "--scenario" => parsed.scenario = Scenario::parse(&value)?,
            "--told" => parsed.told = Some(value.into()),
            "--mutant" => parsed.mutant = Mutant::parse(&value)?,
            _ => return None,
        }
    }
    if parsed.minutes.is_some() && parsed.seeds == 0 {
        parsed.seeds = u64::MAX;
    }
    (parsed.reproduce.is_some() || parsed.mutants.is_some() || parsed.seeds > 0).then_some(parsed)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match (arguments.reproduce, arguments.mutants) {
        (Some(seed), _) => {
            reproduce(Options { seed, scenario: arguments.scenario, mutant: arguments.mutant })
        }
        (None, Some(seeds)) => mutants(seeds, arguments.from, arguments.told.as_deref()),
        (None, None) => fuzz(&arguments),
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
            println!("VIOLATED panic: {why}");
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

/// What many worlds came to.
#[derive(Default)]
struct Totals {
    worlds: u64,
    simulated_ms: u64,
    faults: BTreeMap<String, u64>,
    noticed: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, world: &Held) {
        self.worlds = self.worlds.saturating_add(1);
        self.simulated_ms = self.simulated_ms.saturating_add(world.simulated_ms);
        add_counts(&mut self.faults, &world.faults);
        add_counts(&mut self.noticed, &world.noticed);
    }

    fn text(&self, real_s: u64) -> String {
        let told = |counts: &BTreeMap<String, u64>| {
            let told: Vec<String> = counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            told.join(", ")
        };
        let simulated_s = self.simulated_ms / 1_000;
        // A simulated hour per real hour is a simulated second per real second.
        format!(
            "{} worlds held in {real_s} s: {}.{:02} simulated hours, {} simulated hours per real hour; faults: {}; \
             noticed by nodes: {}",
            self.worlds,
            simulated_s / 3_600,
            simulated_s % 3_600 / 36,
            simulated_s / real_s.max(1),
            told(&self.faults),
            told(&self.noticed)
        )
    }
}

/// What one world told of: counts by kind.
fn add_counts(sums: &mut BTreeMap<String, u64>, told: &str) {
    for (kind, count) in told.split(", ").filter_map(|told| told.rsplit_once(' ')) {
        let sum = sums.entry(kind.to_owned()).or_default();
        *sum = sum.saturating_add(count.parse().unwrap_or(0));
    }
}

/// How often a long run says how far it is.
const TELL_EVERY_S: u64 = 60;

fn fuzz(arguments: &Arguments) -> ExitCode {
    let begin = uptime_s();
    let until = arguments.minutes.map(|minutes| begin.saturating_add(minutes.saturating_mul(60)));
    let next = AtomicU64::new(0);
    let told = AtomicU64::new(begin);
    let (failed, totals) = (Mutex::new(None), Mutex::new(Totals::default()));
    let run = || loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let late = until.is_some_and(|until| uptime_s() >= until);
        if number >= arguments.seeds || late || failed.lock().is_ok_and(|failed| failed.is_some()) {
            return;
        }
        let seed = arguments.from.saturating_add(number);
        match world(seed, arguments.scenario, arguments.mutant) {
            Ok(held) => {
                println!("seed {seed}: {}", held.summary);
                let Ok(mut totals) = totals.lock() else { return };
                totals.add(&held);
                let now = uptime_s();
                if now >= told.load(Ordering::Relaxed).saturating_add(TELL_EVERY_S) {
                    told.store(now, Ordering::Relaxed);
                    println!("{}", totals.text(now.saturating_sub(begin)));
                }
            }
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
    if let Ok(totals) = totals.into_inner() {
        let text = totals.text(uptime_s().saturating_sub(begin));
        println!("{text}");
        if !told_to(arguments.told.as_deref(), &text) {
            return ExitCode::FAILURE;
        }
    }
    match failed.into_inner() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some((_, end))) => {
            println!("{end}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes what a run came to, where that was asked for. False: it could not be.
fn told_to(file: Option<&Path>, text: &str) -> bool {
    let Some(file) = file else { return true };
    let written = std::fs::write(file, format!("{text}\n"));
    if let Err(error) = &written {
        eprintln!("cannot write {}: {error}", file.display());
    }
    written.is_ok()
}

/// What the table does not say by itself.
const NOTE: &str = "

`gap-accepted` has four batches on their way, where the product has one: with one, none can overtake another.";

/// Every mutant until it is caught.
fn mutants(seeds: u64, from: u64, told: Option<&Path>) -> ExitCode {
    let mut table =
        "| mutant | scenario | seeds tried | caught by seed | caught by |\n|---|---|---|---|---|".to_owned();
    println!("{table}");
    let mut all_caught = true;
    for name in Mutant::names() {
        let Some(mutant) = Mutant::parse(name) else { continue };
        let scenario = Scenario::of_mutant(name);
        let mut tried = 0_u64;
        let caught = (from..from.saturating_add(seeds)).find_map(|seed| {
            tried = tried.saturating_add(1);
            world(seed, scenario, mutant).err().map(|end| (seed, broken(&end)))
        });
        let place = scenario.name();
        let row = match &caught {
            Some((seed, what)) => format!("| {name} | {place} | {tried} | {seed} | {what} |"),
            None => format!("| {name} | {place} | {tried} | | NOT CAUGHT |"),
        };
        println!("{row}");
        table.push_str(&format!("\n{row}"));
        all_caught &= caught_rightly(&caught);
    }
    table.push_str(NOTE);
    all_caught &= told_to(told, &table);
    if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A harness that fails by itself has caught nothing.
fn caught_rightly(caught: &Option<(u64, String)>) -> bool {
    caught.as_ref().is_some_and(|(_, what)| !what.is_empty() && !what.contains("the harness"))
}

/// The invariants that a failed world names, each once.
fn broken(end: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for line in end.lines().filter_map(|line| line.strip_prefix("VIOLATED ")) {
        let name = line.split(':').next().unwrap_or(line);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join("; ")
}

/// A world in which everything held.
struct Held {
    summary: String,
    faults: String,
    noticed: String,
    simulated_ms: u64,
}

/// One world in a process of its own. `Err`: the end of what it printed.
fn world(seed: u64, scenario: Scenario, mutant: Mutant) -> Result<Held, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args(["--reproduce", &seed.to_string()])
        .args(["--scenario", scenario.name(), "--mutant", mutant.name()])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    if output.status.success() {
        let summary = lines.iter().rev().nth(1).copied().unwrap_or_default().to_owned();
        let told = |what: &str| {
            let found = lines.iter().rev().find_map(|line| line.strip_prefix(what));
            found.unwrap_or_default().to_owned()
        };
        let simulated_ms = summary.split(' ').next().and_then(|ms| ms.parse().ok()).unwrap_or(0);
        let (faults, noticed) = (told("faults: "), told("noticed: "));
        return Ok(Held { faults, noticed, simulated_ms, summary });
    }
    let shown: Vec<&str> = lines.iter().rev().take(SHOWN_LINES).rev().copied().collect();
    Err(format!("{}\n{}", shown.join("\n"), String::from_utf8_lossy(&output.stderr)))
}
