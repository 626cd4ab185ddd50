//! A node whose wall clock strays from the cluster's does not lead, and says so in the audit. That it is not ready
//! meanwhile is `readiness.rs`.

use std::sync::Arc;

use only1mcp_consensus::Handle;
use only1mcp_domain::activity::NoticeKind;
use only1mcp_enforcer::Enforcer;
use tokio::time::{Duration, Instant, sleep};

use crate::serve::member::hand_over;
use crate::serve::readiness::{CLOCK_OFFSET_MS_MAX, clock_offset_ms};

const LOOK: Duration = Duration::from_secs(1);
const HAND_OVER: Duration = Duration::from_secs(2);
/// One odd reading may come of a pause; this many in a row do not.
const READINGS: u32 = 3;

pub async fn run(handle: Handle, enforcer: Arc<Enforcer>) {
    let mut strayed = 0;
    loop {
        sleep(LOOK).await;
        let offset = clock_offset_ms(&enforcer);
        // Without a quorum log time stands still, and proves nothing.
        if offset.abs() <= CLOCK_OFFSET_MS_MAX || !enforcer.is_fresh() {
            strayed = 0;
            continue;
        }
        strayed += 1;
        if strayed == READINGS {
            tracing::error!(offset_ms = offset, "this host's clock strays from the cluster's");
            let detail = format!("the host's clock is {offset} ms from the cluster's");
            enforcer.notice(NoticeKind::Alarm, detail);
        }
        if strayed >= READINGS {
            hand_over(&handle, Instant::now() + HAND_OVER).await;
        }
    }
}
