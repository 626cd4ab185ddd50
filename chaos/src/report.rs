//! How a world ended, in words.

use std::fmt;

use crate::world::Options;

#[derive(Clone, Debug)]
pub struct Report {
    pub options: Options,
    pub trace: Vec<String>,
    /// Empty: everything held.
    pub violations: Vec<String>,
    /// What every node thought at the end.
    pub nodes: Vec<String>,
    /// What was done, in numbers.
    pub summary: String,
    /// Those that struck, by kind.
    pub faults: String,
    /// What nodes noticed of their disks, by kind.
    pub noticed: String,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        for node in &self.nodes {
            writeln!(f, "{node}")?;
        }
        writeln!(f, "faults: {}", self.faults)?;
        writeln!(f, "noticed: {}", self.noticed)?;
        writeln!(f, "{}", self.summary)?;
        for violation in &self.violations {
            writeln!(f, "VIOLATED {violation}")?;
        }
        if self.passed() {
            writeln!(f, "seed {} held", self.options.seed)
        } else {
            writeln!(f, "seed {} FAILED; run it again with:", self.options.seed)?;
            writeln!(f, "  cargo run -p only1mcp-chaos --bin fuzz -- {}", self.options.arguments())
        }
    }
}
