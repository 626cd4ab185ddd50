//! `soak --faults`: every fault test by itself, the long ones too, in release mode unless told otherwise, with far more
//! dead leaders. What held, how long it took, and the times that tests measured become a dated page of `chaos/results`,
//! written anew after every test; a run that was cut off is gone on with by `--resume`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, bail};

use crate::measured::{commit, today};
use crate::run::{Cmd, say};
use crate::suite::root_on_linux;
use crate::{fault_tools, workspace};

/// How fault tests are named, after their modules.
const NAMED: &str = "faults_";
/// Read by the tests.
const SOAK: &str = "ONLY1MCP_SOAK";
const KILLS: &str = "ONLY1MCP_SOAK_KILLS";
const MINUTES: &str = "ONLY1MCP_SOAK_MINUTES";
const REPORT: &str = "ONLY1MCP_SOAK_REPORT";

/// What was asked for.
pub struct FaultSoak<'a> {
    /// Wins over `kills`.
    pub minutes: Option<u64>,
    pub kills: u64,
    /// With the build that the tests use.
    pub debug: bool,
    /// Those that held at this commit already are not run again.
    pub resume: bool,
    /// A part of the names of those to be run.
    pub only: Option<&'a str>,
    /// Passed to the tests as it is.
    pub more: &'a [String],
}

/// What became of one test.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Ran {
    name: String,
    held: bool,
    seconds: u64,
    commit: String,
    build: String,
}

impl Ran {
    fn line(&self) -> String {
        format!("{} {} {} {} {}", self.name, self.held, self.seconds, self.commit, self.build)
    }

    fn of_line(line: &str) -> Option<Self> {
        let [name, held, seconds, commit, build] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Self {
            name: name.to_owned(),
            held: held.parse().ok()?,
            seconds: seconds.parse().ok()?,
            commit: commit.to_owned(),
            build: build.to_owned(),
        })
    }
}

impl FaultSoak<'_> {
    /// Errors: no root, no tools, no build.
    pub fn run(&self) -> Result<ExitCode> {
        root_on_linux()?;
        fault_tools::ensure()?;
        let told = folder()?;
        fs::create_dir_all(&told)?;
        let (date, commit) = (today()?, commit()?);
        let build = if self.debug { "debug" } else { "release" };
        let list = self.test().args(["--list", "--ignored"]).read()?;
        let mut all_held = true;
        for name in names(&list, self.only) {
            let place = told.join(name.replace("::", "-"));
            let before = fs::read_to_string(&place).ok().and_then(|line| Ran::of_line(&line));
            if self.resume && before.is_some_and(|ran| ran.held && ran.commit == commit && ran.build == build)
            {
                say(&format!("{name} held already"));
                continue;
            }
            let measured = place.with_extension("md");
            // An older one must not be taken for this run's.
            let _ = fs::remove_file(&measured);
            let began = seconds_now();
            let held = self.one(&name).env(REPORT, &measured).status()?.success();
            let seconds = seconds_now().saturating_sub(began);
            all_held &= held;
            let ran = Ran { name, held, seconds, commit: commit.clone(), build: build.to_owned() };
            fs::write(&place, ran.line())?;
            let page = workspace::root()?.join("chaos/results").join(format!("{date}-faults.md"));
            fs::write(&page, report(&date, &collected()?))
                .with_context(|| format!("cannot write {}", page.display()))?;
            say(&format!("{}; written to {}", ran.line(), page.display()));
        }
        Ok(if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn test(&self) -> Cmd {
        // The whole workspace in debug mode, as in `test`: a part of it would be built anew with other features.
        let build: &[&str] =
            if self.debug { &["--workspace"] } else { &["--release", "--package", "only1mcp"] };
        Cmd::new(workspace::cargo()).args(["test"]).args(build).args(["--test", "it", "--"])
    }

    fn one(&self, name: &str) -> Cmd {
        let exactly = ["--exact", name, "--ignored", "--nocapture", "--test-threads", "1"];
        let test = self.test().args(exactly).args(self.more).env(SOAK, "1");
        match self.minutes {
            Some(minutes) => test.env(MINUTES, minutes.to_string()),
            None => test.env(KILLS, self.kills.to_string()),
        }
    }
}

fn seconds_now() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// Where it is kept what became of each test, and what it measured.
fn folder() -> Result<PathBuf> {
    Ok(workspace::root()?.join("target/soak-faults"))
}

/// The fault tests of a runner's list.
fn names(list: &str, only: Option<&str>) -> Vec<String> {
    let all = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let faults = all.filter(|name| name.rsplit("::").next().is_some_and(|last| last.starts_with(NAMED)));
    let mut names: Vec<String> =
        faults.filter(|name| only.is_none_or(|only| name.contains(only))).map(str::to_owned).collect();
    names.sort();
    names
}

/// What became of each test, and its table where it measured.
fn collected() -> Result<Vec<(Ran, Option<String>)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder()?)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "md") {
            continue;
        }
        let line = fs::read_to_string(&path)?;
        let Some(ran) = Ran::of_line(&line) else { bail!("{} is not from here", path.display()) };
        let table = fs::read_to_string(path.with_extension("md")).ok();
        all.push((ran, table));
    }
    all.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    Ok(all)
}

fn report(date: &str, all: &[(Ran, Option<String>)]) -> String {
    let mut page = format!(
        "# Real processes under real faults ({date})\n\n\
         Three nodes and more, most of them in network namespaces of one machine, default timeouts where nothing else is \
         said, callers that never pause for long; in the end every receipt, write and charge is held against every \
         node's chain. Written by `cargo xtask soak --faults`.\n\n| test | came out | seconds | build |\n|---|---|---|---|\n"
    );
    for (ran, _) in all {
        let came_out = if ran.held { "held" } else { "FAILED" };
        page +=
            &format!("| `{}` | {came_out} | {} | {} of {} |\n", ran.name, ran.seconds, ran.build, ran.commit);
    }
    for (ran, table) in all {
        if let Some(table) = table {
            page += &format!("\n## {}\n\n{}", ran.name.rsplit("::").next().unwrap_or_default(), table);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(name: &str, held: bool) -> Ran {
        Ran {
            name: name.to_owned(),
            held,
            seconds: 7,
            commit: "abc1234".to_owned(),
            build: "debug".to_owned(),
        }
    }

    #[test]
    fn fault_tests_are_told_from_others_by_their_names() {
        let list = "\
            upgrade::faults_soak_up: test\nfaults::net::faults_cut: test\nfaults::of_no_such_name: test\n\n3 tests, 0 benchmarks";
        assert_eq!(names(list, None), ["faults::net::faults_cut", "upgrade::faults_soak_up"]);
        assert_eq!(names(list, Some("soak")), ["upgrade::faults_soak_up"]);
    }

    #[test]
    fn what_became_of_a_test_reads_back() {
        let one = ran("faults::net::faults_cut", true);
        assert_eq!(Ran::of_line(&one.line()), Some(one));
        assert_eq!(Ran::of_line("anything else"), None);
    }

    #[test]
    fn a_page_tells_what_held_and_what_was_measured() {
        let all = [
            (ran("a::faults_cut", true), None),
            (ran("b::faults_soak_die", false), Some("| a |\n".to_owned())),
        ];
        let page = report("2026-01-02", &all);
        assert!(page.starts_with("# Real processes under real faults (2026-01-02)"));
        assert!(page.contains("| `a::faults_cut` | held | 7 | debug of abc1234 |\n"));
        assert!(page.contains("| `b::faults_soak_die` | FAILED | 7 |"));
        assert!(page.ends_with("\n## faults_soak_die\n\n| a |\n"));
    }
}
