//! The purse as `benches/purse.rs` sees it: what is otherwise nobody's but this crate's. Built for that benchmark alone.

use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::State;
use only1mcp_domain::activity::{Hold, Record};
use only1mcp_domain::ids::{CallId, NodeId};
use only1mcp_domain::ledger::AccountKey;
use only1mcp_domain::time::TimestampMs;
use tokio::time::Instant;

use crate::purse::{Answer, Need, Posting, Purse};

const PATIENCE: Duration = Duration::from_secs(5);

/// A node's purse, open.
pub struct BenchPurse(Purse);

/// A call's turn.
pub struct Turn(Answer);

impl Turn {
    /// `None` while the call waits, and where it never gets what it needs.
    pub fn held(&mut self) -> Option<Vec<Hold>> {
        self.0.try_recv().ok()?.ok()
    }
}

impl BenchPurse {
    pub fn open(node: NodeId) -> Self {
        let purse = Purse::new(node, Arc::default());
        purse.open();
        Self(purse)
    }

    /// Asks for one unit on each account, as a call does that is let in at `now`. Returns the records that have to go
    /// out for that.
    pub fn hold(
        &self,
        state: &State,
        call: CallId,
        accounts: &[AccountKey],
        now: TimestampMs,
    ) -> (Turn, Vec<Record>) {
        let end = TimestampMs(u64::MAX);
        let needs =
            accounts.iter().map(|account| Need { account: account.clone(), end, amount: 1 }).collect();
        self.0.enter(call, now);
        let (answer, records) = self.0.hold(|| state, call, needs, (Instant::now() + PATIENCE, end));
        (Turn(answer), records)
    }

    /// A batch of this node was applied. Returns the records that have to go out.
    pub fn applied(&self, state: &State, batch: &[Record]) -> Vec<Record> {
        self.0.applied(state, &Posting::of(batch))
    }
}
