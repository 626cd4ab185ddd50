//! Consensus, as the enforcer's port asks for it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use only1mcp_consensus::{AppliedNote, Handle, ProposeError};
use only1mcp_domain::State;
use only1mcp_domain::command::Entry;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::limits;
use only1mcp_domain::outcome::{Outcome, Rejection};
use only1mcp_enforcer::{BatchNote, ClusterPort, Note, ProposeFailure};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

/// The cluster of this node's consensus.
pub struct ConsensusPort {
    handle: Handle,
    notes: broadcast::Sender<Arc<Note>>,
}

impl ConsensusPort {
    /// Translates notes as long as consensus runs.
    pub fn new(handle: Handle) -> Arc<Self> {
        let port = Arc::new(Self { notes: broadcast::Sender::new(limits::APPLIED_NOTES_MAX), handle });
        let (mut from, to) = (port.handle.notes(), port.notes.clone());
        tokio::spawn(async move {
            loop {
                let note = match from.recv().await {
                    Ok(note) => translate(&note),
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        Note { log_index: 0, effects: Vec::new(), batch: None, resync: true }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                // Nobody listens before the enforcer starts.
                let _ = to.send(Arc::new(note));
            }
        });
        port
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

fn translate(note: &AppliedNote) -> Note {
    Note {
        log_index: note.log_index,
        effects: note.effects.clone(),
        batch: note.batch.as_ref().map(|batch| BatchNote {
            node: batch.node,
            incarnation: batch.incarnation,
            sequence: batch.sequence,
            outcome: batch.outcome.clone(),
        }),
        resync: note.resync,
    }
}

impl ClusterPort for ConsensusPort {
    fn node(&self) -> NodeId {
        self.handle.node()
    }

    fn state(&self) -> Arc<State> {
        self.handle.state()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.handle.applied()
    }

    fn notes(&self) -> broadcast::Receiver<Arc<Note>> {
        self.notes.subscribe()
    }

    fn propose(
        &self,
        entry: Entry,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ProposeFailure>> {
        Box::pin(async move {
            match self.handle.propose(entry, deadline).await {
                Ok(committed) => Ok(committed.outcome),
                Err(ProposeError::NotReady) => Err(ProposeFailure::NotReady),
                Err(ProposeError::Unknown { .. }) => Err(ProposeFailure::Unknown),
                Err(error @ (ProposeError::Stopped { .. } | ProposeError::TooLarge { .. })) => {
                    Err(ProposeFailure::Stopped(error.to_string()))
                }
            }
        })
    }

    fn read_index(&self, deadline: Instant) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async move { self.handle.read_index(deadline).await.ok() })
    }
}
