//! A cost on record. INVARIANT: P1 (the records of an account add up to what is posted on it).

use crate::cost::Cost;
use crate::ids::{AuditIndex, CallId, NodeId, TenantId};
use crate::ledger::{AccountKey, ForfeitReason};
use crate::model::Measure;
use crate::time::TimestampMs;

/// Why something was posted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CostKind {
    Call,
    /// Lent to a node that came back without the whole memory of what it had done.
    UnattributedRestart,
    NodeRemoved,
    ForceClosed,
    /// Takes back what an earlier record posted.
    Correction,
}

impl CostKind {
    pub const ALL: [Self; 5] =
        [Self::Call, Self::UnattributedRestart, Self::NodeRemoved, Self::ForceClosed, Self::Correction];

    pub fn text(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::UnattributedRestart => ForfeitReason::UnattributedRestart.text(),
            Self::NodeRemoved => ForfeitReason::NodeRemoved.text(),
            Self::ForceClosed => ForfeitReason::ForceClosed.text(),
            Self::Correction => "correction",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }
}

impl From<ForfeitReason> for CostKind {
    fn from(reason: ForfeitReason) -> Self {
        match reason {
            ForfeitReason::UnattributedRestart => Self::UnattributedRestart,
            ForfeitReason::NodeRemoved => Self::NodeRemoved,
            ForfeitReason::ForceClosed => Self::ForceClosed,
        }
    }
}

/// Where a cost record stands among those of its tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CostPlace {
    pub at: TimestampMs,
    pub index: AuditIndex,
    pub part: u32,
}

impl CostPlace {
    pub fn of(record: &CostRecord) -> Self {
        Self { at: record.log_time, index: record.audit_index, part: record.part }
    }

    /// The least place behind this one.
    pub fn following(self) -> Self {
        match self.part.checked_add(1) {
            Some(part) => Self { part, ..self },
            None => Self { index: AuditIndex(self.index.0.saturating_add(1)), part: 0, ..self },
        }
    }
}

/// What was posted on one account; negative in a correction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CostCharge {
    pub account: AccountKey,
    /// `None` where the limit was gone when it was posted.
    pub measure: Option<Measure>,
    /// Units: those of the measure.
    pub amount: i128,
}

/// One row for each, for ever; found by tenant and time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CostRecord {
    /// Who pays.
    pub tenant: TenantId,
    /// Of the entry that posted it. Ascending with `audit_index`.
    pub log_time: TimestampMs,
    /// The event beside which it was posted: a call's completion, a node's restart, an operator's command.
    pub audit_index: AuditIndex,
    /// From 0, of several records of one event.
    pub part: u32,
    pub kind: CostKind,
    pub node: NodeId,
    pub call: Option<CallId>,
    /// By the clock of the node that ran the call.
    pub observed_at: TimestampMs,
    /// What the call cost and why; of a call only, and only where it had a price.
    pub cost: Option<Box<Cost>>,
    /// What was posted on accounts of money and tokens.
    pub charges: Vec<CostCharge>,
    /// The record that is corrected.
    pub corrects: Option<CostPlace>,
}
