//! What happened, in order, stamped with simulated time: the same bytes for the same seed.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::stage::locked;

/// Simulated time since the world began, moved on by whoever drives it.
#[derive(Clone, Debug, Default)]
pub struct SimTime(Arc<AtomicU64>);

impl SimTime {
    pub fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set_ms(&self, ms: u64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub struct Trace {
    time: SimTime,
    lines: Mutex<Vec<String>>,
}

impl Trace {
    pub fn new(time: SimTime) -> Self {
        Self { time, lines: Mutex::new(Vec::new()) }
    }

    pub fn line(&self, who: impl Display, what: impl Display) {
        let ms = self.time.ms();
        locked(&self.lines).push(format!("{:>4}.{:03} {who:<4} {what}", ms / 1_000, ms % 1_000));
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.lines))
    }
}
