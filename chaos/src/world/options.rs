//! What a world is made of.

use crate::scenarios::Scenario;

/// A part that lies, to show that the invariants notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mutant {
    #[default]
    None,
    /// The Raft log acknowledges entries before they are synced.
    LogBeforeSync,
    /// A vote is given and not kept.
    VoteNotSaved,
    /// The journal acknowledges records before they are synced.
    JournalBeforeSync,
    /// The journal acknowledges every third record and keeps nothing of it.
    JournalDrops,
    /// A fault in the product itself, in builds that have them.
    Inside(&'static str),
}

impl Mutant {
    const ALL: [(Self, &'static str); 5] = [
        (Self::None, "none"),
        (Self::LogBeforeSync, "log-before-sync"),
        (Self::VoteNotSaved, "vote-not-saved"),
        (Self::JournalBeforeSync, "journal-before-sync"),
        (Self::JournalDrops, "journal-drops"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        let outside = Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(mutant, _)| mutant);
        outside.or_else(|| inside().into_iter().find(|name| *name == text).map(Self::Inside))
    }

    /// All that are wrong, by name.
    pub fn names() -> Vec<&'static str> {
        let outside = Self::ALL.into_iter().filter(|(mutant, _)| *mutant != Self::None);
        outside.map(|(_, name)| name).chain(inside()).collect()
    }

    /// For the whole process.
    pub(crate) fn choose(self) {
        #[cfg(feature = "mutants")]
        if let Self::Inside(name) = self
            && let Some(mutant) = only1mcp_domain::mutants::Mutant::parse(name)
        {
            only1mcp_domain::mutants::choose(mutant);
        }
    }

    pub fn name(self) -> &'static str {
        if let Self::Inside(name) = self {
            return name;
        }
        Self::ALL.into_iter().find(|(mutant, _)| *mutant == self).map_or("none", |(_, name)| name)
    }
}

/// Faults in the product that this build has.
fn inside() -> Vec<&'static str> {
    #[cfg(feature = "mutants")]
    return only1mcp_domain::mutants::Mutant::ALL.into_iter().map(|(_, name)| name).collect();
    #[cfg(not(feature = "mutants"))]
    Vec::new()
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
