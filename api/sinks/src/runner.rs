//! This node's share of the duties: a task for each that the log gives it, from that assignment to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use only1mcp_domain::model::DutyId;
use only1mcp_domain::outcome::Effect;
use only1mcp_domain::state::State;
use tokio::task::{AbortHandle, JoinSet};

use crate::metrics::{Metrics, MetricsSnapshot};
use crate::places::Places;
use crate::ports::{DutyPort, HttpPort};
use crate::signals::Signals;
use crate::worker::Worker;

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) port: Arc<dyn DutyPort>,
    pub(crate) http: Arc<dyn HttpPort>,
    pub(crate) signals: Signals,
    pub(crate) metrics: Metrics,
    pub(crate) places: Places,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").finish_non_exhaustive()
    }
}

/// A task, and what it was started for: it ends where either changes.
struct Running {
    fence: u64,
    revision: u64,
    task: AbortHandle,
}

impl Runner {
    /// Whoever calls [`Runner::note`] must listen to notes before this.
    pub fn new(port: Arc<dyn DutyPort>, http: Arc<dyn HttpPort>) -> Self {
        let signals = Signals::new(port.state().last_applied);
        let (metrics, places) = (Metrics::default(), Places::default());
        Self { shared: Arc::new(Shared { port, http, signals, metrics, places }) }
    }

    /// An entry was applied here.
    pub fn note(&self, log_index: u64, effects: &[Effect]) {
        self.shared.signals.note(log_index, effects);
    }

    /// Notes were lost, or the state was replaced by a snapshot.
    pub fn notes_missed(&self) {
        self.shared.signals.missed(self.shared.port.state().last_applied);
    }

    pub fn metrics(&self) -> MetricsSnapshot {
        self.shared.metrics.snapshot(self.shared.port.state().chain.index.0)
    }

    /// Does this node's duties until dropped, or until the state machine ends.
    pub async fn run(self) {
        let (mut applied, mut tasks, mut running) =
            (self.shared.port.applied(), JoinSet::new(), BTreeMap::new());
        let mut known = None;
        loop {
            applied.borrow_and_update();
            let state = self.shared.port.state();
            let same = known.as_ref().is_some_and(|(duties, webhooks)| {
                state.duties.ptr_eq(duties) && state.webhooks.ptr_eq(webhooks)
            });
            if !same {
                self.follow(&state, &mut tasks, &mut running);
                known = Some((state.duties.clone(), state.webhooks.clone()));
            }
            drop(state);
            while tasks.try_join_next().is_some() {}
            if applied.changed().await.is_err() {
                return;
            }
        }
    }

    fn follow(&self, state: &State, tasks: &mut JoinSet<()>, running: &mut BTreeMap<DutyId, Running>) {
        let me = self.shared.port.node();
        let mut before = std::mem::take(running);
        for (id, duty) in state.duties.iter().filter(|(_, duty)| duty.node == Some(me)) {
            let DutyId::Webhook { tenant, webhook } = id else { continue };
            let record = state.webhooks.get(&(tenant.clone(), webhook.clone()));
            let Some(record) = record.filter(|record| record.value.enabled) else { continue };
            let (fence, revision) = (duty.assigned_at, record.revision);
            let old = before.remove(id);
            if let Some(old) = old {
                if (old.fence, old.revision) == (fence, revision) {
                    running.insert(id.clone(), old);
                    continue;
                }
                old.task.abort();
            }
            let worker = Worker::new(self.shared.clone(), id.clone(), duty, record.value.clone());
            let task = tasks.spawn(worker.run());
            running.insert(id.clone(), Running { fence, revision, task });
        }
        before.into_values().for_each(|old| old.task.abort());
    }
}
