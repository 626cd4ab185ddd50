//! Ignored tests that measure: run by name, what they print after their mark becomes a dated page of `chaos/results`.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::run::{self, Cmd};
use crate::workspace;

/// One test of one's own, and the page that is made of what it tells.
pub struct Measured<'a> {
    /// With its modules.
    pub test: &'a str,
    /// Before each line that it tells.
    pub mark: &'a str,
    /// Read by the test.
    pub variable: (&'a str, &'a str),
    /// Of the page: the file's name after the date, the title, what stands before and after the lines, the command.
    pub name: &'a str,
    pub title: &'a str,
    pub before: &'a str,
    pub after: &'a str,
    pub command: &'a str,
}

impl Measured<'_> {
    /// Errors: the test failed, or told nothing.
    pub fn run(&self) -> Result<ExitCode> {
        let (date, commit) = (today()?, commit()?);
        // The whole workspace, as in `test`: a part of it would be built anew with other features.
        let fixed = ["test", "--workspace", "--test", "it", "--", "--ignored", "--exact", "--nocapture"];
        let (variable, value) = self.variable;
        let test = Cmd::new(workspace::cargo()).args(fixed).args([self.test]).env(variable, value);
        let said = test.read()?;
        let Some(told) = told(&said, self.mark) else { bail!("the test told nothing:\n{said}") };
        let path = workspace::root()?.join("chaos/results").join(format!("{date}-{}.md", self.name));
        fs::write(&path, self.page(&date, &commit, &told))
            .with_context(|| format!("cannot write {}", path.display()))?;
        run::say(&format!("{told}\nwritten to {}", path.display()));
        Ok(ExitCode::SUCCESS)
    }

    fn page(&self, date: &str, commit: &str, told: &str) -> String {
        format!(
            "# {} ({date})\n\n{}{told}\n\nMade with a debug build of commit {commit}: `{}`. {}\n",
            self.title, self.before, self.command, self.after
        )
    }
}

/// The lines after the mark, if there are any.
fn told(said: &str, mark: &str) -> Option<String> {
    let lines: Vec<&str> =
        said.lines().filter_map(|line| line.split_once(mark).map(|(_, told)| told)).collect();
    if lines.is_empty() { None } else { Some(lines.join("\n")) }
}

pub fn today() -> Result<String> {
    Cmd::new("date").args(["-u", "+%F"]).read()
}

/// Of what is built now, whatever is committed meanwhile.
pub fn commit() -> Result<String> {
    Cmd::new("git").args(["rev-parse", "--short", "HEAD"]).read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_what_was_told_after_the_mark() {
        assert_eq!(
            told("running\ntest a ... join: | 1 |\nnoise\njoin: | 2 |\n", "join: ").unwrap(),
            "| 1 |\n| 2 |"
        );
        assert_eq!(told("running\n", "join: "), None);
        let measured = Measured {
            test: "a::b",
            mark: "join: ",
            variable: ("A", "1"),
            name: "join",
            title: "Joins",
            before: "| n |\n|---|\n",
            after: "So it was.",
            command: "cargo xtask soak --join",
        };
        let page = measured.page("2026-01-02", "abc1234", "| 1 |");
        assert!(page.starts_with(
            "# Joins (2026-01-02)\n\n| n |\n|---|\n| 1 |\n\nMade with a debug build of commit abc1234"
        ));
        assert!(page.ends_with("`cargo xtask soak --join`. So it was.\n"));
    }
}
