//! What the state machine shows the rest of the node: the state last applied, its index, and a note per entry.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use only1mcp_domain::State;
use only1mcp_domain::ids::{Incarnation, NodeId};
use only1mcp_domain::limits;
use only1mcp_domain::outcome::{Effect, Outcome, Rejection};
use tokio::sync::{broadcast, watch};

use crate::compare::Mark;

/// What applying one entry meant.
#[derive(Clone, PartialEq, Debug)]
pub struct AppliedNote {
    pub log_index: u64,
    pub effects: Vec<Effect>,
    /// Set for activity batches, of whichever node.
    pub batch: Option<BatchNote>,
    /// The whole state was replaced by a snapshot: notes of the entries it covers were never sent, so read the state.
    pub resync: bool,
}

/// The result of an activity batch.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchNote {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub sequence: u64,
    pub outcome: Result<Outcome, Rejection>,
}

#[derive(Debug)]
pub struct Published {
    state: ArcSwap<State>,
    applied: watch::Sender<u64>,
    notes: broadcast::Sender<Arc<AppliedNote>>,
    /// The latest state that is compared with those of others.
    marks: watch::Sender<Option<Mark>>,
    /// Why applying stopped for good.
    fault: OnceLock<String>,
}

impl Published {
    pub fn new() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::default()),
            applied: watch::Sender::new(0),
            notes: broadcast::Sender::new(limits::APPLIED_NOTES_MAX),
            marks: watch::Sender::new(None),
            fault: OnceLock::new(),
        }
    }

    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub fn notes(&self) -> broadcast::Receiver<Arc<AppliedNote>> {
        self.notes.subscribe()
    }

    /// State first, then index, then notes: whoever is woken by an index or a note finds at least that state.
    pub fn publish(&self, state: &State, index: u64, notes: Vec<AppliedNote>) {
        self.state.store(Arc::new(state.clone()));
        self.applied.send_replace(index);
        for note in notes {
            // No receiver is no error: nobody listens yet.
            let _ = self.notes.send(Arc::new(note));
        }
    }

    pub fn mark(&self, mark: Mark) {
        self.marks.send_replace(Some(mark));
    }

    pub fn marks(&self) -> watch::Receiver<Option<Mark>> {
        self.marks.subscribe()
    }

    pub fn fail(&self, why: String) {
        tracing::error!(why, "applying stopped");
        let _ = self.fault.set(why);
    }

    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }
}
