//! Requests in flight on this node: found by session and id to be cancelled, whoever's home the session has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use only1mcp_domain::ids::McpSessionId;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::json::RequestId;
use crate::ports::CallerInfo;

/// Why a request in flight is to end early.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// The client said so; its words are passed on.
    ByClient {
        reason: Option<Box<RawValue>>,
    },
    /// The session was closed.
    SessionClosed,
    /// The caller may not go on (P4).
    AuthorityLost,
    Shutdown,
}

struct Entry {
    caller: CallerInfo,
    ended: OnceLock<Ended>,
    token: CancellationToken,
}

#[derive(Default)]
struct Table {
    entries: HashMap<(McpSessionId, String), Arc<Entry>>,
    per_session: HashMap<McpSessionId, usize>,
}

#[derive(Default)]
pub(crate) struct Flights(Arc<Mutex<Table>>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InUse {
    /// The session has a request of that id in flight.
    Id,
    TooMany,
}

impl Flights {
    pub(crate) fn enter(
        &self,
        session: McpSessionId,
        id: &RequestId,
        caller: &CallerInfo,
        max: usize,
    ) -> Result<Flight, InUse> {
        let key = (session, id.key.clone());
        let mut table = lock(&self.0);
        if table.entries.contains_key(&key) {
            return Err(InUse::Id);
        }
        let count = table.per_session.entry(session).or_default();
        if *count >= max {
            return Err(InUse::TooMany);
        }
        *count += 1;
        let entry = Arc::new(Entry {
            caller: caller.clone(),
            ended: OnceLock::new(),
            token: CancellationToken::new(),
        });
        table.entries.insert(key.clone(), entry.clone());
        Ok(Flight { table: self.0.clone(), key, entry })
    }

    /// False when no such request is in flight here.
    pub(crate) fn cancel(
        &self,
        session: McpSessionId,
        id: &RequestId,
        reason: Option<Box<RawValue>>,
    ) -> bool {
        let found = lock(&self.0).entries.get(&(session, id.key.clone())).cloned();
        found.map(|entry| end(&entry, Ended::ByClient { reason })).is_some()
    }

    pub(crate) fn holds(&self, session: McpSessionId, id: &RequestId) -> bool {
        lock(&self.0).entries.contains_key(&(session, id.key.clone()))
    }

    pub(crate) fn has_session(&self, session: McpSessionId) -> bool {
        lock(&self.0).per_session.contains_key(&session)
    }

    pub(crate) fn close_session(&self, session: McpSessionId, ended: &Ended) {
        self.end_where(ended, |key| key.0 == session);
    }

    /// Ends every request whose caller `lost` says has lost its authority.
    pub(crate) fn recheck(&self, lost: impl Fn(&CallerInfo) -> bool) {
        let callers: Vec<_> = lock(&self.0).entries.values().cloned().collect();
        for entry in callers {
            if lost(&entry.caller) {
                end(&entry, Ended::AuthorityLost);
            }
        }
    }

    pub(crate) fn end_all(&self) {
        self.end_where(&Ended::Shutdown, |_| true);
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.0).entries.len()
    }

    fn end_where(&self, ended: &Ended, matches: impl Fn(&(McpSessionId, String)) -> bool) {
        let table = lock(&self.0);
        for (_, entry) in table.entries.iter().filter(|(key, _)| matches(key)) {
            end(entry, ended.clone());
        }
    }
}

fn end(entry: &Entry, ended: Ended) {
    // The first reason stands.
    let _ = entry.ended.set(ended);
    entry.token.cancel();
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request's place in the table; gives it back when dropped.
pub(crate) struct Flight {
    table: Arc<Mutex<Table>>,
    key: (McpSessionId, String),
    entry: Arc<Entry>,
}

impl Flight {
    /// Resolves when the request is to end early.
    pub(crate) async fn ended(&self) -> Ended {
        self.entry.token.cancelled().await;
        self.entry.ended.get().cloned().unwrap_or(Ended::Shutdown)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.entries.remove(&self.key);
        if let Some(count) = table.per_session.get_mut(&self.key.0) {
            *count -= 1;
            if *count == 0 {
                table.per_session.remove(&self.key.0);
            }
        }
    }
}
