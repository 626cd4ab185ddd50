//! The host's clock and randomness: the only place that reads either.

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
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
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
}

impl only1mcp_enforcer::Entropy for HostEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        (*self).fill(bytes);
    }
}
