//! What the home node holds of one MCP session: its upstream connections, streams, and questions put to its client.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use only1mcp_domain::ids::{McpSessionId, TenantId, UpstreamId};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::ports::{CallerInfo, SessionPermit};
use crate::protocol::Version;
use crate::session::{Bounds, EventLog};
use crate::upstream::{Connection, Slot};

/// Questions of upstreams that a session's client has not answered yet.
pub(crate) const CLIENT_REQUESTS_MAX: usize = 64;
/// A question not answered within this is forgotten.
const CLIENT_REQUEST_AGE: Duration = Duration::from_secs(3_600);

/// A request that an upstream put to the client: where the answer goes, and under which id.
pub(crate) struct Asked {
    pub(crate) connection: Weak<Connection>,
    pub(crate) id: Box<RawValue>,
    pub(crate) progress_token: Option<Box<RawValue>>,
    /// The stream of the call that it was put in; with that call it ends.
    stream: Option<u64>,
    at: Instant,
}

impl Asked {
    pub(crate) fn new(
        connection: &Arc<Connection>,
        id: Box<RawValue>,
        progress_token: Option<Box<RawValue>>,
        stream: Option<u64>,
    ) -> Self {
        Self { connection: Arc::downgrade(connection), id, progress_token, stream, at: Instant::now() }
    }
}

#[derive(Default)]
struct Parts {
    slots: HashMap<(TenantId, UpstreamId), Arc<Slot>>,
    asked: BTreeMap<u64, Asked>,
    streams: VecDeque<Arc<EventLog>>,
    log_level: Option<Box<RawValue>>,
}

pub(crate) struct Session {
    pub(crate) id: McpSessionId,
    /// As of its start: who, from where.
    pub(crate) caller: CallerInfo,
    pub(crate) version: Version,
    /// The client's capabilities as it stated them; upstreams of this session are told the same.
    pub(crate) capabilities: Box<RawValue>,
    pub(crate) expires_at_ms: u64,
    /// Carries what belongs to no request; read by GET.
    pub(crate) stream: Arc<EventLog>,
    pub(crate) closed: CancellationToken,
    next: AtomicU64,
    /// Moves with policy: an admission of an earlier epoch no longer says what the caller may use.
    epoch: AtomicU64,
    /// What the session's client can list may have changed, and it was not told yet.
    relist: AtomicBool,
    used: Mutex<Instant>,
    notified: Mutex<Notified>,
    parts: Mutex<Parts>,
    /// Given back as the session ends, whoever still has a hand on it then.
    permit: Mutex<Option<SessionPermit>>,
}

/// Notifications passed on in the second that began at `since`.
struct Notified {
    since: Instant,
    count: u32,
}

impl Session {
    pub(crate) fn new(
        id: McpSessionId,
        caller: CallerInfo,
        version: Version,
        capabilities: Box<RawValue>,
        expires_at_ms: u64,
        permit: SessionPermit,
        config: &Config,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            caller,
            version,
            capabilities,
            expires_at_ms,
            stream: EventLog::new(0, Bounds::of_session(config)),
            closed: CancellationToken::new(),
            next: AtomicU64::new(1),
            epoch: AtomicU64::new(1),
            relist: AtomicBool::new(false),
            used: Mutex::new(Instant::now()),
            notified: Mutex::new(Notified { since: Instant::now(), count: 0 }),
            parts: Mutex::default(),
            permit: Mutex::new(Some(permit)),
        })
    }

    pub(crate) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(crate) fn idle_for(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Policy moved: admissions so far count no more for what follows them, and lists may look different.
    pub(crate) fn policy_moved(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.relist.store(true, Ordering::Release);
    }

    /// True once after each change of what can be listed.
    pub(crate) fn take_relist(&self) -> bool {
        self.relist.swap(false, Ordering::AcqRel)
    }

    /// False when the session has passed on as many notifications in this second as it may.
    pub(crate) fn may_notify(&self, per_second_max: u32) -> bool {
        let mut notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        if notified.since.elapsed() >= Duration::from_secs(1) {
            *notified = Notified { since: Instant::now(), count: 0 };
        }
        let may = notified.count < per_second_max;
        notified.count += u32::from(may);
        may
    }

    /// A stream for the answer to one request, kept for resumption while there is room.
    pub(crate) fn open_stream(&self, config: &Config) -> Arc<EventLog> {
        let log = EventLog::new(self.next.fetch_add(1, Ordering::Relaxed), Bounds::of_request(config));
        let mut parts = self.lock();
        parts.streams.push_back(log.clone());
        let mut over = parts
            .streams
            .iter()
            .filter(|log| log.is_finished())
            .count()
            .saturating_sub(config.finished_streams_max);
        parts.streams.retain(|log| {
            let goes = over > 0 && log.is_finished();
            over -= usize::from(goes);
            !goes
        });
        log
    }

    pub(crate) fn stream(&self, number: u64) -> Option<Arc<EventLog>> {
        if number == 0 {
            return Some(self.stream.clone());
        }
        self.lock().streams.iter().find(|log| log.stream == number).cloned()
    }

    /// Answered without a stream: nothing to resume.
    pub(crate) fn forget_stream(&self, number: u64) {
        self.lock().streams.retain(|log| log.stream != number);
    }

    /// The slot for an upstream, made by `make` where there is none or its definition has changed.
    pub(crate) fn slot(
        &self,
        key: (TenantId, UpstreamId),
        fits: impl Fn(&Slot) -> bool,
        make: impl FnOnce() -> Arc<Slot>,
    ) -> Arc<Slot> {
        let mut parts = self.lock();
        if let Some(slot) = parts.slots.get(&key).filter(|slot| fits(slot)) {
            return slot.clone();
        }
        let slot = make();
        if let Some(old) = parts.slots.insert(key, slot.clone()) {
            old.close();
        }
        if self.closed.is_cancelled() {
            slot.close();
        }
        slot
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.lock().slots.values().cloned().collect()
    }

    /// Takes out and closes the slots that `stays` does not want.
    pub(crate) fn close_slots(&self, stays: impl Fn(&Slot) -> bool) {
        self.lock().slots.retain(|_, slot| {
            let stays = stays(slot);
            if !stays {
                slot.close();
            }
            stays
        });
    }

    /// Remembers a question; `None` when too many are open.
    pub(crate) fn ask(&self, make: impl FnOnce() -> Asked) -> Option<u64> {
        let mut parts = self.lock();
        parts.asked.retain(|_, asked| asked.at.elapsed() < CLIENT_REQUEST_AGE);
        if parts.asked.len() >= CLIENT_REQUESTS_MAX {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        parts.asked.insert(number, make());
        Some(number)
    }

    pub(crate) fn answered(&self, number: u64) -> Option<Asked> {
        self.lock().asked.remove(&number)
    }

    /// A call is over, and nobody waits for the answers to what it asked.
    pub(crate) fn end_questions(&self, stream: u64) {
        self.lock().asked.retain(|_, asked| asked.stream != Some(stream));
    }

    /// The connection and the upstream's own progress token of an open question.
    pub(crate) fn asked_token(&self, number: u64) -> Option<(Weak<Connection>, Box<RawValue>)> {
        let parts = self.lock();
        let asked = parts.asked.get(&number)?;
        Some((asked.connection.clone(), asked.progress_token.clone()?))
    }

    /// The number of the open question that `connection` put under `id`.
    pub(crate) fn asked_by(&self, connection: &Arc<Connection>, id: &RawValue) -> Option<u64> {
        let parts = self.lock();
        let mut found = parts.asked.iter().filter(|(_, asked)| {
            asked.id.get() == id.get() && std::ptr::eq(asked.connection.as_ptr(), Arc::as_ptr(connection))
        });
        found.next().map(|(number, _)| *number)
    }

    pub(crate) fn set_log_level(&self, level: Box<RawValue>) {
        self.lock().log_level = Some(level);
    }

    pub(crate) fn log_level(&self) -> Option<Box<RawValue>> {
        self.lock().log_level.clone()
    }

    /// Ends streams and connections; processes are killed and reaped by their owners.
    pub(crate) fn close(&self) {
        self.closed.cancel();
        self.stream.finish();
        let mut parts = self.lock();
        for (_, slot) in parts.slots.drain() {
            slot.close();
        }
        for log in parts.streams.drain(..) {
            log.finish();
        }
        parts.asked.clear();
        drop(parts);
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
