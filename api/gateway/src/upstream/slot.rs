//! A place for one connection, made when first needed and anew after it broke: one per session and upstream, or one
//! per node for a shared upstream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::json::Message;
use crate::ports::AdmittedCall;
use crate::session::EventLog;
use crate::upstream::{Connection, Hello, Parts, Standing, UpstreamError};

/// Resources one session may watch at one upstream.
const SUBSCRIPTIONS_MAX: usize = 256;

/// A call that runs on the slot's connection: what it causes is held back by its admission.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) admitted: Arc<dyn AdmittedCall>,
    pub(crate) sink: Arc<EventLog>,
    /// Its id at the upstream, and its progress token there.
    pub(crate) request: u64,
    /// The client's own progress token.
    pub(crate) progress: Option<Box<RawValue>>,
}

pub(crate) struct Slot {
    pub(crate) standing: Arc<Standing>,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// The same one, for those who will not wait while another is being made.
    open: Mutex<Weak<Connection>>,
    active: Mutex<BTreeMap<u64, Active>>,
    /// Numbers calls over all connections of the slot.
    entered: AtomicU64,
    /// The session's epoch when a call through this slot was last admitted; 0 before the first.
    admitted_in: AtomicU64,
    watched: Mutex<BTreeSet<String>>,
    closed: CancellationToken,
}

impl Slot {
    pub(crate) fn new(standing: Arc<Standing>) -> Arc<Self> {
        Arc::new(Self {
            standing,
            connection: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            active: Mutex::default(),
            entered: AtomicU64::new(0),
            admitted_in: AtomicU64::new(0),
            watched: Mutex::default(),
            closed: CancellationToken::new(),
        })
    }

    /// The connection; opened, by one caller for all that wait, where there is none that works.
    /// `opened` gets each new connection with what it says outside of exchanges.
    pub(crate) async fn connection(
        &self,
        parts: &Parts,
        hello: &Hello,
        opened: impl FnOnce(Arc<Connection>, mpsc::Receiver<Message>),
    ) -> Result<Arc<Connection>, UpstreamError> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = place.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        *place = None;
        if self.closed.is_cancelled() {
            return Err(UpstreamError::Closed);
        }
        self.standing.may_try()?;
        let upstream = self.standing.upstream.clone();
        match Connection::open(upstream, parts, hello, self.closed.child_token()).await {
            Ok((connection, stray)) => {
                self.standing.succeeded();
                opened(connection.clone(), stray);
                *lock(&self.open) = Arc::downgrade(&connection);
                *place = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                self.standing.failed(&error);
                Err(error)
            }
        }
    }

    /// The connection if there is one that works, without waiting.
    pub(crate) fn open_connection(&self) -> Option<Arc<Connection>> {
        lock(&self.open).upgrade().filter(|connection| !connection.is_closed())
    }

    pub(crate) fn enter(self: &Arc<Self>, active: Active) -> ActivePlace {
        let id = self.entered.fetch_add(1, Ordering::Relaxed);
        lock(&self.active).insert(id, active);
        ActivePlace { slot: self.clone(), id }
    }

    /// Calls in flight, oldest first.
    pub(crate) fn active(&self) -> Vec<Active> {
        lock(&self.active).values().cloned().collect()
    }

    pub(crate) fn admitted_in(&self, epoch: u64) {
        self.admitted_in.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Whether the session's client was let through to this upstream under the policy of `epoch`.
    pub(crate) fn is_admitted_in(&self, epoch: u64) -> bool {
        self.admitted_in.load(Ordering::Acquire) == epoch
    }

    /// False when there are too many.
    pub(crate) fn watch(&self, uri: &str) -> bool {
        let mut watched = lock(&self.watched);
        watched.contains(uri) || (watched.len() < SUBSCRIPTIONS_MAX && watched.insert(uri.to_owned()))
    }

    pub(crate) fn unwatch(&self, uri: &str) {
        lock(&self.watched).remove(uri);
    }

    pub(crate) fn watched(&self) -> Vec<String> {
        lock(&self.watched).iter().cloned().collect()
    }

    pub(crate) fn close(&self) {
        self.closed.cancel();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the slot's calls in flight when dropped.
pub(crate) struct ActivePlace {
    slot: Arc<Slot>,
    id: u64,
}

impl Drop for ActivePlace {
    fn drop(&mut self) {
        lock(&self.slot.active).remove(&self.id);
    }
}
