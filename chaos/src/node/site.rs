//! What of a node outlives its crashes: its disk, its clock's error, its randomness; and the life it leads now.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use only1mcp_consensus::{Handle, Timing};
use only1mcp_domain::ids::NodeId;
use only1mcp_enforcer::{Clock, Enforcer, Entropy};
use only1mcp_storage::{MemCopy, MemDisk, MemOptions};

use super::hurry::Hurry;
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
    pub timing: Timing,
    pub mutant: Mutant,
    lives: AtomicU64,
    live: Mutex<Option<Live>>,
    /// Until then nothing is written to the disk, and admitted calls are not sent. Units: simulated milliseconds.
    pub paused_until_ms: AtomicU64,
    /// A copy of the folder, as an earlier crash left it.
    pub backup: Mutex<Option<MemCopy>>,
    /// Runs; a spare does once it is to join.
    wanted: AtomicBool,
    /// Is being removed from the cluster: may end by itself.
    dismissed: AtomicBool,
    /// Becomes a voter by itself once it may.
    promotes: AtomicBool,
    /// Its disk fails, or may soon.
    failing: AtomicBool,
    /// The process has ended; the world takes what is left of it away.
    exited: AtomicBool,
    /// Which batches are sent twice, and when.
    pub repeats: Mutex<Rng>,
    /// How far this node's monotonic clock is to be moved ahead of the others'.
    pub hurry: Hurry,
    /// How long this disk takes.
    pub disk_times: Mutex<Rng>,
}

impl Site {
    pub fn new(node: NodeId, stage: Arc<Stage>, mutant: Mutant, lead_ms: u64, rng: &mut Rng) -> Self {
        let clock = SkewedClock {
            time: stage.time.clone(),
            lead_ms: lead_ms.saturating_add(rng.between(0, 400)),
            rate_per_mille: rng.between(950, 1_050),
            jump_ms: AtomicI64::new(0),
            asleep_ms: AtomicU64::new(0),
        };
        Self {
            node,
            name: scene::node_name(node),
            disk: MemDisk::new(MemOptions { unsynced_until_pump: true }),
            clock: Arc::new(clock),
            entropy: Arc::new(SimEntropy(Mutex::new(rng.fork()))),
            stage,
            timing: Timing::default(),
            mutant,
            lives: AtomicU64::new(0),
            live: Mutex::new(None),
            paused_until_ms: AtomicU64::new(0),
            backup: Mutex::new(None),
            wanted: AtomicBool::new(true),
            dismissed: AtomicBool::new(false),
            promotes: AtomicBool::new(true),
            failing: AtomicBool::new(false),
            exited: AtomicBool::new(false),
            repeats: Mutex::new(rng.fork()),
            hurry: Hurry::default(),
            disk_times: Mutex::new(rng.fork()),
        }
    }

    /// Waits to join.
    pub fn spare(self) -> Self {
        self.wanted.store(false, Ordering::Relaxed);
        self
    }

    /// Until it is promoted.
    pub fn stay_learner(&self) {
        self.promotes.store(false, Ordering::Relaxed);
    }

    pub fn promotes(&self) -> bool {
        self.promotes.load(Ordering::Relaxed)
    }

    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub fn fails(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    pub fn exit(&self) {
        self.exited.store(true, Ordering::Relaxed);
    }

    pub fn take_exit(&self) -> bool {
        self.exited.swap(false, Ordering::Relaxed)
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    pub fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }

    pub fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
    }

    /// Found something wrong with its disk.
    pub fn noticed(&self, kind: &'static str) {
        self.stage.trace.line(&self.name, format_args!("notices: {kind}"));
        locked(&self.stage.oracle).noticed(kind);
    }

    pub fn begin_life(&self) -> Life {
        let number = self.lives.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Life { node: self.node, number }
    }

    /// The latest.
    pub fn life(&self) -> Life {
        Life { node: self.node, number: self.lives.load(Ordering::Relaxed) }
    }

    pub fn is_paused(&self) -> bool {
        self.stage.time.ms() < self.paused_until_ms.load(Ordering::Relaxed)
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

/// A wall clock: simulated time at this node's rate, its constant error, and where it was set to by mistake.
pub struct SkewedClock {
    time: SimTime,
    lead_ms: u64,
    rate_per_mille: u64,
    jump_ms: AtomicI64,
    asleep_ms: AtomicU64,
}

impl SkewedClock {
    fn read_ms(&self) -> u64 {
        let passed = self.time.ms().saturating_mul(self.rate_per_mille) / 1_000;
        let right = scene::BEGIN_MS.saturating_add(self.lead_ms).saturating_add(passed);
        right.saturating_add_signed(self.jump_ms.load(Ordering::Relaxed))
    }

    /// The host has slept for so long, as its clocks tell.
    pub fn slept(&self, ms: u64) {
        self.asleep_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Wrong by `jump_ms` from now on.
    pub fn jump(&self, jump_ms: i64) {
        self.jump_ms.store(jump_ms, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        self.read_ms()
    }

    fn asleep_ms(&self) -> u64 {
        self.asleep_ms.load(Ordering::Relaxed)
    }
}

impl only1mcp_consensus::Clock for SkewedClock {
    fn now_ms(&self) -> u64 {
        self.read_ms()
    }

    fn asleep_ms(&self) -> u64 {
        self.asleep_ms.load(Ordering::Relaxed)
    }
}

/// Goes on where it was across crashes, as an operating system's would not repeat itself.
pub struct SimEntropy(Mutex<Rng>);

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        locked(&self.0).fill(bytes);
    }
}
