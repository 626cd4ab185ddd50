//! The house rules no linter knows: how long a file may be, and which rooms the house has.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::Cmd;

/// A file longer than this holds a second idea: split it.
const FILE_LINES_MAX: usize = 700;

/// The rooms of the architecture. A new one is a decision about the architecture, not a convenience.
const FOLDERS: [&str; 7] = ["api", "chaos", "deploy", "node", "proto", "raft", "storage"];

/// Everything else that may lie at the top, dot files aside.
const FILES: [&str; 4] = ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md"];

/// Files whose length nobody chose: made by tools, or by lawyers.
const ANY_LENGTH: [&str; 3] = ["Cargo.lock", "LICENSE", "package-lock.json"];

/// One sentence for each broken rule; files that git ignores are not looked at.
pub fn broken_rules(root: &Path) -> Result<Vec<String>> {
    let listed = Cmd::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).read()?;
    let mut broken = Vec::new();
    let mut tops = BTreeSet::new();
    for name in listed.lines() {
        tops.insert(name.split_once('/').map_or((name, false), |(top, _)| (top, true)));
        let path = root.join(name);
        // A file that was deleted but not yet committed is still listed.
        if !path.is_file() || ANY_LENGTH.contains(&name.rsplit('/').next().unwrap_or(name)) {
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        broken.extend(too_long(name, &bytes));
    }
    broken.extend(tops.into_iter().filter_map(|(name, folder)| stranger(name, folder)));
    Ok(broken)
}

fn too_long(name: &str, bytes: &[u8]) -> Option<String> {
    // Binary fixtures have no lines.
    let text = std::str::from_utf8(bytes).ok()?;
    let lines = text.lines().count();
    (lines > FILE_LINES_MAX)
        .then(|| format!("{name} has {lines} lines; split it, {FILE_LINES_MAX} is the most a file may have"))
}

fn stranger(top: &str, folder: bool) -> Option<String> {
    let known = if folder { FOLDERS.contains(&top) } else { FILES.contains(&top) };
    (!known && !top.starts_with('.'))
        .then(|| format!("{top} does not belong at the top level; the folders are {}", FOLDERS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_700_lines_and_no_more() {
        assert_eq!(too_long("a.rs", "x\n".repeat(FILE_LINES_MAX).as_bytes()), None);
        assert!(too_long("a.rs", "x\n".repeat(FILE_LINES_MAX + 1).as_bytes()).unwrap().contains("701 lines"));
        assert_eq!(too_long("a.bin", &[0xff; 2_000]), None);
    }

    #[test]
    fn only_the_rooms_of_the_house_and_dot_files_lie_at_the_top() {
        assert_eq!(stranger("raft", true), None);
        assert_eq!(stranger(".ci", true), None);
        assert_eq!(stranger("README.md", false), None);
        assert!(stranger("utils", true).is_some());
        assert!(stranger("raft", false).is_some(), "a file named like a room is not the room");
        assert!(stranger("notes.txt", false).is_some());
    }
}
