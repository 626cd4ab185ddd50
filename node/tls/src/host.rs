//! The host's clock and randomness: the only place that reads either.

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Wall clock of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostClock;

impl HostClock {
    /// Milliseconds since the Unix epoch; 0 for a clock set before it.
    #[expect(clippy::disallowed_methods, reason = "the one place where wall time enters the product")]
    pub fn now_ms(self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(ahead_ms())
    }
}

/// A build for tests may be told by its environment that so many days have gone by.
fn ahead_ms() -> u64 {
    const DAY_MS: u64 = 24 * 3_600_000;
    static DAYS: LazyLock<u64> = LazyLock::new(|| {
        let told = std::env::var("ONLY1MCP_TEST_DAYS_AHEAD").ok();
        told.and_then(|told| told.parse().ok()).unwrap_or(0)
    });
    if cfg!(debug_assertions) { DAYS.saturating_mul(DAY_MS) } else { 0 }
}

impl HostClock {
    /// How long this host has been suspended since it started: the clock that counts suspend less the one that does
    /// not. They cannot be read at one moment, so that is tried until they are read within one millisecond.
    #[cfg(target_os = "linux")]
    pub fn asleep_ms(self) -> u64 {
        use rustix::time::{ClockId, clock_gettime};
        let mut asleep_us = 0;
        for _ in 0..READINGS_MAX {
            let before = micros(clock_gettime(ClockId::Monotonic));
            let counting = micros(clock_gettime(ClockId::Boottime));
            let after = micros(clock_gettime(ClockId::Monotonic));
            asleep_us = counting.saturating_sub(before);
            if after.saturating_sub(before) < 1_000 {
                break;
            }
        }
        asleep_us / 1_000
    }

    /// Not known here: such a host is not to be suspended while it serves.
    #[cfg(not(target_os = "linux"))]
    pub fn asleep_ms(self) -> u64 {
        0
    }
}

/// A reading that was interrupted this often counts as it is.
#[cfg(target_os = "linux")]
const READINGS_MAX: usize = 8;

#[cfg(target_os = "linux")]
fn micros(time: rustix::time::Timespec) -> u64 {
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanos.unwrap_or(0) / 1_000)
}

/// Randomness of this host, from the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostEntropy;

impl HostEntropy {
    pub fn bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A host without randomness cannot keep any promise: the process ends.
    pub fn fill(self, bytes: &mut [u8]) {
        if SystemRandom::new().fill(bytes).is_err() {
            eprintln!("error: the operating system gives no random bytes");
            std::process::abort();
        }
    }
}

impl only1mcp_enforcer::Clock for HostClock {
    fn now_ms(&self) -> u64 {
        (*self).now_ms()
    }

    fn asleep_ms(&self) -> u64 {
        (*self).asleep_ms()
    }
}

impl only1mcp_enforcer::Entropy for HostEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        (*self).fill(bytes);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_does_not_sleep_has_slept_no_longer_than_before() {
        let first = HostClock.asleep_ms();
        for _ in 0..1_000 {
            assert!(HostClock.asleep_ms().abs_diff(first) <= 2);
        }
    }
}
