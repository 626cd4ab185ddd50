//! What is played on a world: the storm of random faults, and one pinned scenario per danger that was once real.

mod replacement;
mod storm;
mod vote_gate;

use crate::world::World;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scenario {
    #[default]
    Storm,
    VoteGate,
}

impl Scenario {
    const ALL: [(Self, &'static str); 2] = [(Self::Storm, "storm"), (Self::VoteGate, "vote-gate")];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map(|(scenario, _)| scenario)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(scenario, _)| *scenario == self).map_or("storm", |(_, name)| name)
    }

    pub(crate) fn play(self, world: &mut World) {
        match self {
            Self::Storm => storm::play(world),
            Self::VoteGate => vote_gate::play(world),
        }
    }
}
