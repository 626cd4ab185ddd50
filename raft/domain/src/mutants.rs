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
}

impl Mutant {
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::NoVoteGate, "no-vote-gate"),
        (Self::TtlReclaim, "ttl-reclaim"),
        (Self::RefundAtRestart, "refund-at-restart"),
        (Self::ReleaseUnknown, "release-unknown"),
        (Self::BatchTwice, "batch-twice"),
        (Self::GrantPastDecrease, "grant-past-decrease"),
        (Self::WholeLease, "whole-lease"),
        (Self::SleepNotCounted, "sleep-not-counted"),
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
