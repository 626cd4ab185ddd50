//! A node that runs out of disk space stops taking work before it has none: calls, sessions and what administration
//! would add are refused as `disk_low`, readiness is withdrawn and leadership given away, while what is under way and
//! what the others replicate still finds room. Where even that ends, the log cannot be written and the node stops (P6).

use std::path::PathBuf;
use std::sync::Arc;

use only1mcp_consensus::Handle;
use only1mcp_domain::activity::NoticeKind;
use only1mcp_domain::command::Command;
use only1mcp_enforcer::Enforcer;
use only1mcp_storage::free_bytes;
use tokio::time::{Duration, Instant, sleep};

use crate::serve::member::hand_over;

const LOOK: Duration = Duration::from_millis(500);
const HAND_OVER: Duration = Duration::from_secs(2);

/// Below `low` bytes space is low; it is enough again a quarter above.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub low: u64,
}

impl Mark {
    /// Whether it is low now, as it `was`.
    fn is_low(self, was: bool, free: u64) -> bool {
        let enough = self.low.saturating_add(self.low / 4);
        free < if was { enough } else { self.low }
    }
}

/// Looks until the node ends.
pub async fn run(handle: Handle, enforcer: Arc<Enforcer>, folder: PathBuf, mark: Mark) {
    let mut was = false;
    loop {
        // Space that cannot be asked for is not taken for lost: a write will tell.
        let free = free_bytes(&folder).unwrap_or(u64::MAX);
        let low = mark.is_low(was, free);
        if low != was {
            enforcer.set_disk_low(low);
            tell(&enforcer, low, free);
        }
        if low && !was {
            // Once: where the others are no better off, it may well lead again.
            hand_over(&handle, Instant::now() + HAND_OVER).await;
        }
        was = low;
        sleep(LOOK).await;
    }
}

fn tell(enforcer: &Enforcer, low: bool, free: u64) {
    if low {
        tracing::error!(free, "disk space is low: calls and new settings are refused until there is more");
        enforcer.notice(NoticeKind::Alarm, format!("disk space is low: {free} bytes are free"));
    } else {
        tracing::info!(free, "there is enough disk space again");
    }
}

/// What administration may still write while space is low: what takes something away, for that cannot wait.
pub fn is_let_through(command: &Command) -> bool {
    matches!(
        command,
        Command::RevokeGrant { .. }
            | Command::RevokeApiKey { .. }
            | Command::RecoverAdmin { .. }
            | Command::DeletePrincipal { .. }
            | Command::DeleteRole { .. }
            | Command::PutDeny { .. }
            | Command::SetTenantStatus { .. }
            | Command::SetUpstreamEnabled { .. }
            | Command::SetToolEnabled { .. }
            | Command::DeleteUpstream { .. }
            | Command::DeleteWebhook { .. }
            | Command::DeleteBudget { .. }
            | Command::RemoveNode { .. }
            | Command::ForceClose { .. }
            | Command::CloseMcpSession { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_more_than_was_too_little_is_enough() {
        let mark = Mark { low: 1_000 };
        assert!(!mark.is_low(false, 1_000) && mark.is_low(false, 999));
        assert!(mark.is_low(true, 1_249) && !mark.is_low(true, 1_250));
        assert!(!Mark { low: u64::MAX }.is_low(true, u64::MAX), "nothing overflows");
    }
}
