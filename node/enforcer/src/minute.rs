//! Remembers which keys were used within the current minute, so that a use is recorded once a minute.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use only1mcp_domain::ids::ApiKeyId;

/// More keys than this in one minute: further uses are recorded in the next.
const KEYS_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct UsedThisMinute {
    inner: Mutex<(u64, BTreeSet<ApiKeyId>)>,
}

impl UsedThisMinute {
    /// True the first time in the minute of `now_ms`.
    pub(crate) fn first_use(&self, key: &ApiKeyId, now_ms: u64) -> bool {
        let minute = now_ms / 60_000;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.0 != minute {
            *inner = (minute, BTreeSet::new());
        }
        inner.1.len() < KEYS_MAX && !inner.1.contains(key) && inner.1.insert(key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute() {
        let used = UsedThisMinute::default();
        let key = ApiKeyId::new("k1").unwrap();
        assert!(used.first_use(&key, 59_999));
        assert!(!used.first_use(&key, 59_999));
        assert!(used.first_use(&key, 60_000));
    }
}
