//! How large a world is, and how far apart its nodes are.

use std::time::Duration;

use only1mcp_domain::ids::NodeId;

use crate::rng::Rng;
use crate::scene;

/// One in so many worlds has five nodes: they take longer.
const FIVE_EVERY: u64 = 20;
/// Which of those.
const FIVE_AT: u64 = 10;

/// In one of so many worlds more than rows rots, and disks lie; in fewer of the normal run's, which are those below `LONG_FROM`.
const ROT_EVERY: u64 = 4;
/// Which of those.
const ROT_AT: u64 = 3;
const LONG_FROM: u64 = 1_000;
const ROT_SELDOM_EVERY: u64 = 20;
const ROT_SELDOM_AT: u64 = 11;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Nodes that form the cluster: 1 to this.
    pub founders: u64,
    /// How long a message takes within a zone, at least and at most.
    pub near: (Duration, Duration),
    /// What is added between two zones.
    pub zones: Duration,
    /// Members are added, promoted and removed meanwhile.
    pub changes: bool,
    /// Leadership is handed over now and then.
    pub transfers: bool,
    /// Segments, logs, votes and journals rot, and disks lose what they said they had.
    pub rots: bool,
}

impl Shape {
    pub fn draw(seed: u64, near: (Duration, Duration), rng: &mut Rng) -> Self {
        let far = rng.percent(30);
        Self {
            founders: if seed % FIVE_EVERY == FIVE_AT { 5 } else { 3 },
            near,
            zones: if far { rng.ms(5, 40) } else { Duration::ZERO },
            changes: rng.percent(50),
            transfers: rng.percent(50),
            rots: seed % ROT_SELDOM_EVERY == ROT_SELDOM_AT
                || (seed >= LONG_FROM && seed % ROT_EVERY == ROT_AT),
        }
    }

    /// Of a scenario that needs three nodes and nothing else to happen.
    pub fn plain(near: (Duration, Duration)) -> Self {
        Self { founders: 3, near, zones: Duration::ZERO, changes: false, transfers: false, rots: false }
    }

    /// The node that joins in the place of a founder, or as a learner.
    pub fn spare(&self) -> u64 {
        self.founders.saturating_add(1)
    }

    /// How long a message between two nodes takes, at least and at most.
    pub fn latency(&self, a: u64, b: u64) -> (Duration, Duration) {
        let apart = scene::zone(NodeId(a)) != scene::zone(NodeId(b));
        let more = if apart { self.zones } else { Duration::ZERO };
        (self.near.0.saturating_add(more), self.near.1.saturating_add(more))
    }
}
