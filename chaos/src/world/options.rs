//! What a world is made of.

use crate::scenarios::Scenario;

/// A part that lies, to show that the invariants notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mutant {
    #[default]
    None,
    /// The Raft log acknowledges entries before they are synced.
    LogBeforeSync,
    /// The journal acknowledges records before they are synced.
    JournalBeforeSync,
    /// The journal acknowledges every third record and keeps nothing of it.
    JournalDrops,
}

impl Mutant {
    const ALL: [(Self, &'static str); 4] = [
        (Self::None, "none"),
        (Self::LogBeforeSync, "log-before-sync"),
        (Self::JournalBeforeSync, "journal-before-sync"),
        (Self::JournalDrops, "journal-drops"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(mutant, _)| mutant)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(mutant, _)| *mutant == self).map_or("none", |(_, name)| name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    pub seed: u64,
    pub scenario: Scenario,
    pub mutant: Mutant,
}

impl Options {
    /// As the fuzz binary takes them.
    pub fn arguments(&self) -> String {
        let mut text = format!("--reproduce {}", self.seed);
        if self.scenario != Scenario::default() {
            text.push_str(&format!(" --scenario {}", self.scenario.name()));
        }
        if self.mutant != Mutant::None {
            text.push_str(&format!(" --mutant {}", self.mutant.name()));
        }
        text
    }
}
