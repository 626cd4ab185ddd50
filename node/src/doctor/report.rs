//! What was found, for people and for programs.

use serde::Serialize;

/// A kind of thing in a data folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The folder as such, and the version of its form.
    Folder,
    /// What the folder is encrypted with.
    Keys,
    /// Who the node is: its id, and what it remembers of its cluster.
    Identity,
    /// What the node signs with, and what it has signed.
    Proofs,
    /// Raft's log and vote.
    Log,
    /// What the node did and had not seen applied.
    Journal,
    /// The replicated state.
    Rows,
    /// The sealed part of the audit trail.
    Segments,
    /// The audit chain, recomputed to its head.
    Chain,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Keys => "keys",
            Self::Identity => "identity",
            Self::Proofs => "proofs",
            Self::Log => "log",
            Self::Journal => "journal",
            Self::Rows => "rows",
            Self::Segments => "segments",
            Self::Chain => "chain",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Sound,
    /// Nothing is lost by it: the node deals with it at its next start.
    Note,
    Damaged,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Note => "note",
            Self::Damaged => "DAMAGED",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub part: Part,
    pub verdict: Verdict,
    pub detail: String,
    /// What to do about it; empty where nothing has to be done.
    pub advice: &'static str,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn sound(&mut self, part: Part, detail: impl Into<String>) {
        self.put(part, Verdict::Sound, detail, "");
    }

    pub fn note(&mut self, part: Part, detail: impl Into<String>, advice: &'static str) {
        self.put(part, Verdict::Note, detail, advice);
    }

    pub fn damaged(&mut self, part: Part, detail: impl Into<String>, advice: &'static str) {
        self.put(part, Verdict::Damaged, detail, advice);
    }

    fn put(&mut self, part: Part, verdict: Verdict, detail: impl Into<String>, advice: &'static str) {
        self.findings.push(Finding { part, verdict, detail: detail.into(), advice });
    }

    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Damaged)
    }

    /// A line for each finding, its advice below it.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let (part, verdict) = (finding.part.name(), finding.verdict.name());
            text.push_str(&format!("{part:<9} {verdict:<8} {}\n", finding.detail));
            if !finding.advice.is_empty() {
                text.push_str(&format!("{:<18} -> {}\n", "", finding.advice));
            }
        }
        let end = if self.is_sound() { "The folder is sound." } else { "The folder is damaged." };
        text.push_str(end);
        text
    }

    pub fn as_json(&self) -> serde_json::Value {
        serde_json::json!({ "sound": self.is_sound(), "findings": self.findings })
    }
}
