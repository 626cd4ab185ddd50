//! Whether this host slept. `Instant` stands still while a host is suspended, and the leases of the others run out
//! meanwhile: what was acknowledged before a nap proves nothing after it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::options::Clock;

/// The two clocks are not read at one moment: differences up to this are none.
const READ_APART_MS: u64 = 2;

pub struct Awake {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

struct Seen {
    asleep_ms: u64,
    naps: u64,
    woke_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Differs between two looks with a nap between them.
    pub naps: u64,
    /// Instants no longer ago than this are from after the latest nap.
    pub awake_for: Duration,
}

impl Awake {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let seen = Seen { asleep_ms: clock.asleep_ms(), naps: 0, woke_at: None };
        Self { clock, seen: Mutex::new(seen) }
    }

    // INVARIANT: P8, lease reads (the clock counts suspend)
    pub fn look(&self, now: Instant) -> Look {
        let asleep_ms = self.clock.asleep_ms();
        #[cfg(feature = "mutants")]
        let asleep_ms = if only1mcp_domain::mutants::is(only1mcp_domain::mutants::Mutant::SleepNotCounted) {
            0
        } else {
            asleep_ms
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if asleep_ms.abs_diff(seen.asleep_ms) > READ_APART_MS {
            seen.asleep_ms = asleep_ms;
            seen.naps = seen.naps.saturating_add(1);
            seen.woke_at = Some(now);
        }
        let awake_for = seen.woke_at.map_or(Duration::MAX, |woke_at| now.saturating_duration_since(woke_at));
        Look { naps: seen.naps, awake_for }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Sleepy(AtomicU64);

    impl Clock for Sleepy {
        fn now_ms(&self) -> u64 {
            0
        }

        fn asleep_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_was_before_a_nap_is_not_trusted_after_it() {
        let clock = Arc::new(Sleepy(AtomicU64::new(500)));
        let awake = Awake::new(clock.clone());
        let start = Instant::now();
        assert_eq!(awake.look(start), Look { naps: 0, awake_for: Duration::MAX });
        clock.0.store(500 + READ_APART_MS, Ordering::Relaxed);
        assert_eq!(awake.look(start).naps, 0, "read a moment apart");
        clock.0.store(501 + READ_APART_MS, Ordering::Relaxed);
        assert_eq!(awake.look(start), Look { naps: 1, awake_for: Duration::ZERO });
        let later = start + Duration::from_millis(300);
        assert_eq!(awake.look(later), Look { naps: 1, awake_for: Duration::from_millis(300) });
        clock.0.store(90_000, Ordering::Relaxed);
        assert_eq!(awake.look(later), Look { naps: 2, awake_for: Duration::ZERO });
    }
}
