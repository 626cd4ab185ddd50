//! The host's clock, as consensus asks for it: the trait lives in one package, the clock in another.

use only1mcp_consensus::Clock;

use crate::host::HostClock;

#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        HostClock.now_ms()
    }

    fn asleep_ms(&self) -> u64 {
        HostClock.asleep_ms()
    }
}
