//! A network that repeats: some batches are proposed again after a while, when others have overtaken them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use only1mcp_domain::State;
use only1mcp_domain::command::{Command, Entry};
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_enforcer::{ClusterPort, Note, ProposeFailure};
use tokio::sync::{broadcast, watch};
use tokio::time::{Duration, Instant, sleep};

use super::Site;
use super::cluster_port::ConsensusPort;
use crate::stage::locked;

const REPEATED_PERCENT: u64 = 4;
const REPEAT_WITHIN: Duration = Duration::from_secs(1);

pub struct RepeatingPort {
    pub inner: Arc<ConsensusPort>,
    pub site: Arc<Site>,
}

impl RepeatingPort {
    fn maybe_repeat(&self, entry: &Entry) {
        let Command::Activity(_) = &entry.command else { return };
        let (repeated, late) = {
            let mut rng = locked(&self.site.repeats);
            let often = if rng.percent(50) { rng.ms(0, 40) } else { rng.ms(40, 2_000) };
            (rng.percent(REPEATED_PERCENT), often)
        };
        if !repeated || locked(&self.site.stage.oracle).faults_over {
            return;
        }
        locked(&self.site.stage.oracle).struck("batch repeated");
        let (inner, entry) = (self.inner.clone(), entry.clone());
        tokio::spawn(async move {
            sleep(late).await;
            // Whatever comes of it: the batch's own sender waits for the first.
            let _ = inner.propose(entry, Instant::now() + REPEAT_WITHIN).await;
        });
    }
}

impl ClusterPort for RepeatingPort {
    fn node(&self) -> NodeId {
        self.inner.node()
    }

    fn state(&self) -> Arc<State> {
        self.inner.state()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied()
    }

    fn notes(&self) -> broadcast::Receiver<Arc<Note>> {
        self.inner.notes()
    }

    fn propose(
        &self,
        entry: Entry,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ProposeFailure>> {
        self.maybe_repeat(&entry);
        self.inner.propose(entry, deadline)
    }

    fn read_index(&self, deadline: Instant) -> BoxFuture<'_, Option<u64>> {
        self.inner.read_index(deadline)
    }
}
