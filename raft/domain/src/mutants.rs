//! Wrong on purpose, for proving that the simulator notices: chosen by name when a program starts, in builds with the
//! feature `mutants` only. Nothing that serves has it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A fault put into the product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mutant {
    /// A restarted voter votes at once.
    NoVoteGate = 1,
    /// What is lent to a node that was not heard of for a while goes back to the account.
    TtlReclaim,
    /// What a restarted node spent and had not reported is given back to it.
    RefundAtRestart,
    /// A call whose end is unknown costs nothing.
    ReleaseUnknown,
    /// A batch that was applied is applied again.
    BatchTwice,
    /// A lowered limit does not bind what is lent.
    GrantPastDecrease,
    /// Reads are answered from the whole of the lease, which leaves clocks no room.
    WholeLease,
    /// The time a host was suspended is not counted.
    SleepNotCounted,
    /// Who is given no read index takes the last one it was given.
    ReadIndexReused,
    /// Any later batch is taken, whatever came before it; and nodes have several on their way.
    GapAccepted,
    /// A snapshot does not say who the members are.
    SnapshotWithoutMembership,
    /// A node counts as fresh from when it was answered, not from when it asked.
    FreshnessAtReceipt,
    /// What an entry makes of the state depends on when it is applied.
    ApplyReadsClock,
    /// Log time is the latest of the voters' clocks.
    LogTimeMaximum,
    /// Authority withdrawn while a call was on its way is not looked at.
    NoRevokedInFlight,
}

impl Mutant {
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::NoVoteGate, "no-vote-gate"),
        (Self::TtlReclaim, "ttl-reclaim"),
        (Self::RefundAtRestart, "refund-at-restart"),
        (Self::ReleaseUnknown, "release-unknown"),
        (Self::BatchTwice, "batch-twice"),
        (Self::GrantPastDecrease, "grant-past-decrease"),
        (Self::WholeLease, "whole-lease"),
        (Self::SleepNotCounted, "sleep-not-counted"),
        (Self::ReadIndexReused, "read-index-reused"),
        (Self::GapAccepted, "gap-accepted"),
        (Self::SnapshotWithoutMembership, "snapshot-without-membership"),
        (Self::FreshnessAtReceipt, "freshness-at-receipt"),
        (Self::ApplyReadsClock, "apply-reads-clock"),
        (Self::LogTimeMaximum, "log-time-maximum"),
        (Self::NoRevokedInFlight, "no-revoked-in-flight"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(mutant, _)| mutant)
    }
}

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// For this process, from now on.
pub fn choose(mutant: Mutant) {
    CHOSEN.store(mutant as u8, Ordering::Relaxed);
}

pub fn is(mutant: Mutant) -> bool {
    CHOSEN.load(Ordering::Relaxed) == mutant as u8
}

/// This machine's clock, which nothing that is applied may look at.
pub(crate) fn clock_ms() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
