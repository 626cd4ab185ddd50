//! What is played on a world: the storm of random faults, and one pinned scenario per danger that was once real.

mod lease_clocks;
mod leases;
mod regions;
mod replacement;
mod rot;
mod staleness;
mod storm;
mod vote_gate;

use std::time::Duration;

use only1mcp_consensus::Timing;

use crate::world::World;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scenario {
    #[default]
    Storm,
    VoteGate,
    LeaseDrift,
    LeaseSleep,
    Regions,
    Staleness,
    Rot,
}

impl Scenario {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Storm, "storm"),
        (Self::VoteGate, "vote-gate"),
        (Self::LeaseDrift, "lease-drift"),
        (Self::LeaseSleep, "lease-sleep"),
        (Self::Regions, "regions"),
        (Self::Staleness, "staleness"),
        (Self::Rot, "rot"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(scenario, _)| scenario)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(scenario, _)| *scenario == self).map_or("storm", |(_, name)| name)
    }

    /// Where monotonic clocks are moved.
    pub(crate) fn hurries(self) -> bool {
        matches!(self, Self::LeaseDrift | Self::LeaseSleep)
    }

    /// How long a message takes, at least and at most, where `near` is the longest within one place.
    pub(crate) fn latencies(self, near: Duration) -> (Duration, Duration) {
        match self {
            Self::Regions => regions::LATENCIES,
            _ => (Duration::from_millis(1), near),
        }
    }

    /// How long the last completions take to the log, where they take `near` within one place.
    pub(crate) fn spent_ms(self, near: u64) -> u64 {
        if self == Self::Regions { near.saturating_mul(10) } else { near }
    }

    pub(crate) fn timing(self) -> Timing {
        if self == Self::Regions { regions::TIMING } else { Timing::default() }
    }

    /// Where a fault put into the product shows; the storm where nothing else is told.
    pub fn of_mutant(name: &str) -> Self {
        match name {
            "no-vote-gate" => Self::VoteGate,
            "whole-lease" => Self::LeaseDrift,
            "sleep-not-counted" => Self::LeaseSleep,
            "freshness-at-receipt" | "no-revoked-in-flight" => Self::Staleness,
            _ => Self::Storm,
        }
    }

    pub(crate) fn play(self, world: &mut World) {
        match self {
            Self::Storm => storm::play(world),
            Self::VoteGate => vote_gate::play(world),
            Self::LeaseDrift => lease_clocks::drift(world),
            Self::LeaseSleep => lease_clocks::sleep(world),
            Self::Regions => regions::play(world),
            Self::Staleness => staleness::play(world),
            Self::Rot => rot::play(world),
        }
    }
}
