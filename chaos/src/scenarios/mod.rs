//! What is played on a world: the storm of random faults, and one pinned scenario per danger that was once real.

mod lease_clocks;
mod leases;
mod storm;
mod vote_gate;

use crate::world::World;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scenario {
    #[default]
    Storm,
    VoteGate,
    LeaseDrift,
    LeaseSleep,
}

impl Scenario {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Storm, "storm"),
        (Self::VoteGate, "vote-gate"),
        (Self::LeaseDrift, "lease-drift"),
        (Self::LeaseSleep, "lease-sleep"),
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

    /// Where a fault put into the product shows; the storm where nothing else is told.
    pub fn of_mutant(name: &str) -> Self {
        match name {
            "no-vote-gate" => Self::VoteGate,
            "whole-lease" => Self::LeaseDrift,
            "sleep-not-counted" => Self::LeaseSleep,
            _ => Self::Storm,
        }
    }

    pub(crate) fn play(self, world: &mut World) {
        match self {
            Self::Storm => storm::play(world),
            Self::VoteGate => vote_gate::play(world),
            Self::LeaseDrift => lease_clocks::drift(world),
            Self::LeaseSleep => lease_clocks::sleep(world),
        }
    }
}
