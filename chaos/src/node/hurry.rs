//! Monotonic clocks that do not agree. Every simulated host has a clock of its own; all are moved a millisecond a step,
//! and one that is to be ahead of the others is moved further from within.
//!
//! That another host slept, by its own clock, is the same as that this one went on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Site;

const EVERY: Duration = Duration::from_millis(1);

#[derive(Default)]
pub struct Hurry {
    allowed: AtomicBool,
    once_ms: AtomicU64,
    /// Of a millisecond, each millisecond.
    per_mille: AtomicU64,
}

impl Hurry {
    /// To be said before the node starts. Without it no task runs, so that no other world changes.
    pub fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }

    /// By so much, once.
    pub fn jump(&self, ms: u64) {
        self.once_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// 250: a quarter faster than the others, from now on.
    pub fn run(&self, per_mille: u64) {
        self.per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// At each start of the node.
    pub fn begin(&self, site: &Arc<Site>) {
        if self.allowed.load(Ordering::Relaxed) {
            tokio::spawn(keep(site.clone()));
        }
    }
}

async fn keep(site: Arc<Site>) {
    let mut ahead_per_mille = 0_u64;
    let mut seen_ms = site.stage.time.ms();
    loop {
        tokio::time::sleep(EVERY).await;
        let now_ms = site.stage.time.ms();
        let rate = site.hurry.per_mille.load(Ordering::Relaxed);
        ahead_per_mille = ahead_per_mille.saturating_add(rate.saturating_mul(now_ms.saturating_sub(seen_ms)));
        seen_ms = now_ms;
        let ms = site.hurry.once_ms.swap(0, Ordering::Relaxed).saturating_add(ahead_per_mille / 1_000);
        ahead_per_mille %= 1_000;
        if ms > 0 {
            // The step this happens in waits only until its millisecond is over, and that it is now.
            tokio::time::advance(Duration::from_millis(ms).saturating_add(EVERY)).await;
        }
    }
}
