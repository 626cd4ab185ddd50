//! The duty of retention on this node: once a day, or when somebody asks, it looks which segments of the audit trail are
//! past their days and proposes that their payloads go. What goes is decided by the log, and done on every node there.

use std::sync::Arc;

use only1mcp_consensus::Handle;
use only1mcp_domain::State;
use only1mcp_domain::command::{Command, DutyProgress};
use only1mcp_domain::ids::{AuditIndex, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Duty, DutyId};
use only1mcp_enforcer::Enforcer;
use tokio::time::{Duration, sleep};

use crate::serve::admin_port::propose_own;

/// How often this node looks whether there is something to do.
const LOOK: Duration = Duration::from_secs(2);
/// Between two runs, in milliseconds of log time.
const EVERY_MS: u64 = 24 * 3_600_000;
/// After a run that failed.
const AGAIN_MS: u64 = 10 * 60_000;
/// After one that failed though somebody waits for it.
const ASKED_AGAIN_MS: u64 = 30_000;
/// One word to the log.
const TELL: Duration = Duration::from_secs(10);

/// Runs as long as the node.
pub async fn run(handle: Handle, enforcer: Arc<Enforcer>) {
    loop {
        sleep(LOOK).await;
        let state = handle.state();
        let Some(duty) = mine(&state, handle.node()).filter(|duty| is_time(&state, duty)) else { continue };
        if enforcer.is_disk_low() {
            continue;
        }
        let looked = pass(&handle, duty.assigned_at).await;
        let (attempts, last_error) = match &looked {
            Ok(payloads) => {
                tracing::info!(payloads, "retention: everything that is past its days was looked at");
                (0, String::new())
            }
            Err(error) => {
                tracing::warn!(code = "RETENTION_FAILED", %error, "retention: not everything could be looked at");
                (duty.attempts.saturating_add(1), cut(error))
            }
        };
        let progress = DutyProgress {
            duty: DutyId::Retention,
            fence: duty.assigned_at,
            cursor: handle.state().chain.index,
            attempts,
            last_error,
        };
        match propose_own(&handle, Command::AdvanceDuty(progress), TELL).await {
            Ok(told) if told.outcome.is_ok() => {}
            Ok(told) => tracing::info!(refused = ?told.outcome, "retention: the duty is another node's"),
            Err(error) => tracing::info!(%error, "retention: the log was not told of it yet"),
        }
    }
}

fn mine(state: &State, node: NodeId) -> Option<Duty> {
    state.duties.get(&DutyId::Retention).filter(|duty| duty.node == Some(node)).cloned()
}

fn is_time(state: &State, duty: &Duty) -> bool {
    let (asked, failed) = (state.retention.wanted, duty.attempts > 0);
    let never = duty.cursor.0 == 0;
    let pause_ms = match (asked || never, failed) {
        (true, false) => return true,
        (true, true) => ASKED_AGAIN_MS,
        (false, true) => AGAIN_MS,
        (false, false) => EVERY_MS,
    };
    state.log_time >= duty.told_at.plus_ms(pause_ms)
}

fn cut(error: &str) -> String {
    error.chars().filter(|c| !c.is_control()).take(limits::DUTY_ERROR_BYTES_MAX / 4).collect()
}

/// How many payloads go.
async fn pass(handle: &Handle, fence: u64) -> Result<u64, String> {
    let (mut payloads, mut from) = (0_u64, AuditIndex(1));
    loop {
        let due = handle.retention_due(from).await.map_err(|error| error.to_string())?;
        let Some(due) = due else { return Ok(payloads) };
        from = AuditIndex(due.drop.last.0.saturating_add(1));
        payloads = payloads.saturating_add(due.drop.dropped.into());
        let command = Command::DropPayloads { fence, drop: Box::new(due.drop) };
        let told = propose_own(handle, command, TELL).await.map_err(|error| error.to_string())?;
        told.outcome.map_err(|refused| refused.to_string())?;
    }
}

#[cfg(test)]
mod tests {
    use only1mcp_domain::time::TimestampMs;

    use super::*;

    #[test]
    fn once_a_day_or_when_asked_or_after_a_failure() {
        let at = |log_time: u64| State { log_time: TimestampMs(log_time), ..State::default() };
        let new = Duty::unassigned();
        assert!(is_time(&at(0), &new), "it never looked");
        let looked = Duty { cursor: AuditIndex(9), told_at: TimestampMs(1_000), ..new };
        assert!(!is_time(&at(1_000 + EVERY_MS - 1), &looked));
        assert!(is_time(&at(1_000 + EVERY_MS), &looked));
        let failed = Duty { attempts: 1, ..looked.clone() };
        assert!(!is_time(&at(1_000 + AGAIN_MS - 1), &failed));
        assert!(is_time(&at(1_000 + AGAIN_MS), &failed));
        let asked = |log_time| {
            let mut state = at(log_time);
            state.retention.wanted = true;
            state
        };
        assert!(is_time(&asked(1_001), &looked));
        assert!(!is_time(&asked(1_000 + ASKED_AGAIN_MS - 1), &failed), "not over and over");
        assert!(is_time(&asked(1_000 + ASKED_AGAIN_MS), &failed));
    }

    #[test]
    fn a_reason_fits_the_log() {
        let long = cut(&"é\n".repeat(limits::DUTY_ERROR_BYTES_MAX));
        assert!(long.len() <= limits::DUTY_ERROR_BYTES_MAX && !long.contains('\n'));
    }
}
