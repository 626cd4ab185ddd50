//! How long payloads of audit events are kept, and which of them were dropped. The spine, every event's index and
//! digest, is kept for ever.

use crate::audit::{DropRule, RetentionClass};
use crate::ids::{AuditIndex, Digest};
use crate::time::TimestampMs;

/// Days for each class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetentionDays {
    pub default: u32,
    pub authentication: u32,
    pub data_access: u32,
    pub configuration: u32,
    pub security: u32,
    pub compliance: u32,
}

impl Default for RetentionDays {
    /// Source: specification, `retention`.
    fn default() -> Self {
        Self {
            default: 2_555,
            authentication: 365,
            data_access: 2_555,
            configuration: 1_095,
            security: 2_555,
            compliance: 3_650,
        }
    }
}

impl RetentionDays {
    pub fn of(&self, class: RetentionClass) -> u32 {
        match class {
            RetentionClass::Default => self.default,
            RetentionClass::Authentication => self.authentication,
            RetentionClass::DataAccess => self.data_access,
            RetentionClass::Configuration => self.configuration,
            RetentionClass::Security => self.security,
            RetentionClass::Compliance => self.compliance,
        }
    }

    pub fn set(&mut self, class: RetentionClass, days: u32) {
        let own = match class {
            RetentionClass::Default => &mut self.default,
            RetentionClass::Authentication => &mut self.authentication,
            RetentionClass::DataAccess => &mut self.data_access,
            RetentionClass::Configuration => &mut self.configuration,
            RetentionClass::Security => &mut self.security,
            RetentionClass::Compliance => &mut self.compliance,
        };
        *own = days;
    }

    /// Whether a payload of `class` that was recorded at `at` is past its days. INVARIANT: P6
    pub fn is_past(&self, class: RetentionClass, at: TimestampMs, now: TimestampMs) -> bool {
        const DAY_MS: u64 = 24 * 3_600_000;
        let kept_ms = u64::from(self.of(class)).saturating_mul(DAY_MS);
        at.0.checked_add(kept_ms).is_some_and(|until| until <= now.0)
    }
}

/// The settings, and whether somebody asked for a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// Log index of the last change of the days; 0 before the first.
    pub revision: u64,
    pub days: RetentionDays,
    pub wanted: bool,
}

/// One sealed segment's payloads of some classes go: all nodes make the same file of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PayloadDrop {
    /// The segment's first and last event.
    pub first: AuditIndex,
    pub last: AuditIndex,
    /// From 1, in each segment.
    pub number: u32,
    /// The segment's address before and after, and its bytes after.
    pub from: Digest,
    pub address: Digest,
    pub bytes: u64,
    pub rule: DropRule,
    /// Log time of the segment's newest event.
    pub newest: TimestampMs,
    /// How many payloads go, and SHA3-256 over index (8 bytes, big-endian) and digest of each, ascending.
    pub dropped: u32,
    pub digest: Digest,
}

/// A drop that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    pub drop: PayloadDrop,
    /// The event that records it; 0 where nothing went, which leaves no event.
    pub record: AuditIndex,
}
