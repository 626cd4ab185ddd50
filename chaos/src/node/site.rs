//! What of a node outlives its crashes: its disk, its clock's error, its randomness; and the life it leads now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use only1mcp_consensus::Handle;
use only1mcp_domain::ids::NodeId;
use only1mcp_enforcer::{Clock, Enforcer, Entropy};
use only1mcp_storage::{MemDisk, MemOptions};

use crate::oracle::Life;
use crate::rng::Rng;
use crate::scene;
use crate::stage::{Stage, locked};
use crate::trace::SimTime;
use crate::world::Mutant;

/// A running node, as the world may look at it from outside.
#[derive(Clone)]
pub struct Live {
    pub life: Life,
    pub handle: Handle,
    /// Once it admits calls.
    pub enforcer: Option<Arc<Enforcer>>,
}

pub struct Site {
    pub node: NodeId,
    pub name: String,
    pub disk: MemDisk,
    pub clock: Arc<SkewedClock>,
    pub entropy: Arc<SimEntropy>,
    pub stage: Arc<Stage>,
    pub mutant: Mutant,
    lives: AtomicU64,
    live: Mutex<Option<Live>>,
    /// How long this disk takes.
    pub disk_times: Mutex<Rng>,
}

impl Site {
    pub fn new(node: NodeId, stage: Arc<Stage>, mutant: Mutant, rng: &mut Rng) -> Self {
        let skew_ms = rng.between(0, 400);
        Self {
            node,
            name: scene::node_name(node),
            disk: MemDisk::new(MemOptions { unsynced_until_pump: true }),
            clock: Arc::new(SkewedClock { time: stage.time.clone(), skew_ms }),
            entropy: Arc::new(SimEntropy(Mutex::new(rng.fork()))),
            stage,
            mutant,
            lives: AtomicU64::new(0),
            live: Mutex::new(None),
            disk_times: Mutex::new(rng.fork()),
        }
    }

    pub fn begin_life(&self) -> Life {
        let number = self.lives.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Life { node: self.node, number }
    }

    pub fn live(&self) -> Option<Live> {
        locked(&self.live).clone()
    }

    pub fn set_live(&self, live: Option<Live>) {
        let old = std::mem::replace(&mut *locked(&self.live), live);
        // After the lock: what goes with it may look at the site.
        drop(old);
    }
}

/// Simulated time plus this node's constant error.
pub struct SkewedClock {
    time: SimTime,
    skew_ms: u64,
}

impl SkewedClock {
    fn read_ms(&self) -> u64 {
        scene::BEGIN_MS.saturating_add(self.time.ms()).saturating_add(self.skew_ms)
    }
}

impl Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        self.read_ms()
    }
}

impl only1mcp_consensus::Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        self.read_ms()
    }
}

/// Goes on where it was across crashes, as an operating system's would not repeat itself.
pub struct SimEntropy(Mutex<Rng>);

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        locked(&self.0).fill(bytes);
    }
}
