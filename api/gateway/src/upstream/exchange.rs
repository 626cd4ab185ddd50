//! One request to an upstream and all that comes back for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::json::Message;
use crate::upstream::UpstreamError;

/// Messages of one exchange that wait to be taken.
pub(crate) const INBOUND_MAX: usize = 256;

pub(crate) enum Inbound {
    /// A notification or a request that belongs to the exchange.
    Interim(Message),
    /// The answer; nothing follows.
    Answer(Message),
    Failed(UpstreamError),
}

/// Dropping it gives up: nothing more is read for it.
pub(crate) struct Exchange {
    received: mpsc::Receiver<Inbound>,
    _place: Place,
}

/// What dropping an exchange frees.
pub(crate) enum Place {
    Task(#[expect(dead_code, reason = "ends the reading task when dropped")] DropGuard),
    Pending(#[expect(dead_code, reason = "leaves the table when dropped")] PendingPlace),
}

impl Exchange {
    pub(crate) fn new(received: mpsc::Receiver<Inbound>, place: Place) -> Self {
        Self { received, _place: place }
    }

    pub(crate) async fn next(&mut self) -> Inbound {
        self.received.recv().await.unwrap_or(Inbound::Failed(UpstreamError::Closed))
    }

    /// Waits for the answer and drops what comes before it.
    pub(crate) async fn answer(mut self) -> Result<Message, UpstreamError> {
        loop {
            match self.next().await {
                Inbound::Interim(_) => {}
                Inbound::Answer(message) => return Ok(message),
                Inbound::Failed(error) => return Err(error),
            }
        }
    }
}

/// Exchanges of a connection that carries all of them on one stream (stdio), by request id.
#[derive(Clone, Default)]
pub(crate) struct Pending(Arc<Mutex<HashMap<u64, mpsc::Sender<Inbound>>>>);

pub(crate) struct PendingPlace {
    pending: Pending,
    id: u64,
}

impl Pending {
    pub(crate) fn enter(&self, id: u64) -> Exchange {
        let (sender, receiver) = mpsc::channel(INBOUND_MAX);
        self.with(|table| table.insert(id, sender));
        Exchange::new(receiver, Place::Pending(PendingPlace { pending: self.clone(), id }))
    }

    /// Never waits, so that one slow exchange does not hold up the others on the stream. One place is kept for the
    /// answer. False when the exchange is gone or behind.
    pub(crate) fn deliver(&self, id: u64, inbound: Inbound) -> bool {
        let sender = self.with(|table| table.get(&id).cloned());
        let kept = usize::from(matches!(inbound, Inbound::Interim(_)));
        sender.is_some_and(|sender| sender.capacity() > kept && sender.try_send(inbound).is_ok())
    }

    pub(crate) fn fail_all(&self, error: &UpstreamError) {
        let senders = self.with(std::mem::take);
        for sender in senders.into_values() {
            let _ = sender.try_send(Inbound::Failed(error.clone()));
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<u64, mpsc::Sender<Inbound>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for PendingPlace {
    fn drop(&mut self) {
        self.pending.with(|table| table.remove(&self.id));
    }
}
