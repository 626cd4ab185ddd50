//! Looks at a node from within, again and again: what the invariants of Raft are checked on, and the trace's picture.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_consensus::{Handle, Status};
use tokio::time::Instant;

use super::Site;
use crate::invariants::election;
use crate::oracle::Life;
use crate::stage::locked;

const EVERY: Duration = Duration::from_millis(10);
const LEASE_READ_EVERY: Duration = Duration::from_millis(2);
/// A digest costs a pass over the whole state.
const DIGEST_EVERY: u32 = 25;
const TOLD_EVERY_ENTRIES: u64 = 100;

pub async fn observe(site: Arc<Site>, life: Life, handle: Handle) {
    let stage = site.stage.clone();
    let mut told: Option<Status> = None;
    let mut rounds: u32 = 0;
    loop {
        let status = handle.status();
        let (grown, elected, members) = {
            let mut watch = locked(&stage.watch);
            watch.committed.seen(status.committed, stage.time.ms());
            let members = watch.members.seen(&status);
            (watch.monotonic.seen(life, &status), election::check(&watch.votes, &status), members)
        };
        stage.check("members", members);
        stage.check("monotonic", grown);
        stage.check("election safety", elected);
        if rounds.is_multiple_of(DIGEST_EVERY) {
            let digest = handle.state_digest();
            let same = locked(&stage.watch).digests.seen(site.node, digest);
            stage.check("state machine safety", same);
        }
        let news = told.as_ref().is_none_or(|told| {
            (told.role, told.term, told.leader, &told.fatal)
                != (status.role, status.term, status.leader, &status.fatal)
                || status.applied >= told.applied.saturating_add(TOLD_EVERY_ENTRIES)
        });
        if news {
            stage.trace.line(&site.name, words(&status));
            told = Some(status);
        }
        rounds = rounds.wrapping_add(1);
        tokio::time::sleep(EVERY).await;
    }
}

pub fn words(status: &Status) -> String {
    let leader = status.leader.map_or("-".to_owned(), |leader| leader.to_string());
    let fatal = status.fatal.as_ref().map(|why| format!(", stopped: {why}")).unwrap_or_default();
    format!(
        "{} term {} leader {leader} log {} committed {} applied {} audit {}{fatal}",
        status.role.name(),
        status.term,
        status.last_log,
        status.committed,
        status.applied,
        status.audit_index.0
    )
}

/// Reads from the lease while this node is the one that is asked to. A read that goes to a quorum after all does not
/// come back in time, cut off as that node is.
pub async fn read_lease(site: Arc<Site>, handle: Handle) {
    loop {
        let asked = locked(&site.stage.oracle).lease_reader == Some(site.node.0);
        if asked {
            let sent = site.stage.time.ms();
            if handle.read_lease(Instant::now() + EVERY).await.is_ok() {
                locked(&site.stage.oracle).lease_read_sent_ms = Some(sent);
            }
        }
        tokio::time::sleep(if asked { LEASE_READ_EVERY } else { EVERY }).await;
    }
}
