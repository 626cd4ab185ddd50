//! One event stream: what it carried lately, what nobody has read yet, and where its reader stands.
//!
//! A stream has at most one reader; a new one (after a reconnect) takes over. What is unread is bounded: past the
//! bound the stream is lost, its memory given back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::config::Config;

#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// From 1 within its stream.
    pub(crate) seq: u64,
    pub(crate) message: Bytes,
    pub(crate) last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overflow {
    /// The stream is lost: its reader is too slow or gone.
    Lose,
    /// The oldest unread event goes: nobody may ever come to read.
    DropOldest,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    unread_events_max: usize,
    unread_bytes_max: usize,
    kept_events_max: usize,
    kept_bytes_max: usize,
    overflow: Overflow,
}

impl Bounds {
    /// For the answer to one request.
    pub(crate) fn of_request(config: &Config) -> Self {
        Self {
            unread_events_max: config.stream_unread_events_max,
            unread_bytes_max: config.stream_unread_bytes_max,
            kept_events_max: config.stream_kept_events_max,
            kept_bytes_max: config.stream_kept_bytes_max,
            overflow: Overflow::Lose,
        }
    }

    /// For a session's own stream, which its client may never open.
    pub(crate) fn of_session(config: &Config) -> Self {
        Self {
            unread_events_max: config.stream_kept_events_max,
            unread_bytes_max: config.stream_kept_bytes_max,
            overflow: Overflow::DropOldest,
            ..Self::of_request(config)
        }
    }
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    unread_bytes: usize,
    /// Sequence of the newest event.
    newest: u64,
    /// Sequence up to which a reader took them.
    read: u64,
    reader: u64,
    finished: bool,
    /// A client was told how to come back to it.
    resumable: bool,
}

pub(crate) struct EventLog {
    /// Number within the session: the first half of an event id. 0 is the session's own stream.
    pub(crate) stream: u64,
    bounds: Bounds,
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl EventLog {
    pub(crate) fn new(stream: u64, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { stream, bounds, state: Mutex::default(), changed: watch::Sender::new(()) })
    }

    /// Appends a message. False when the stream is over or lost.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        self.append(message, false)
    }

    /// Appends the last message and ends the stream.
    pub(crate) fn push_last(&self, message: Bytes) -> bool {
        self.append(message, true)
    }

    fn append(&self, message: Bytes, last: bool) -> bool {
        let taken = self.lock().append(message, last, self.bounds);
        self.changed.send_replace(());
        taken
    }

    /// Ends the stream; what it holds can still be read.
    pub(crate) fn finish(&self) {
        self.lock().finished = true;
        self.changed.send_replace(());
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// From now on a client may come back to it.
    pub(crate) fn make_resumable(&self) {
        self.lock().resumable = true;
    }

    /// Resolves when its reader, which must be there before this is asked, is gone and none can follow. Of a stream
    /// that a client may come back to, never: to disconnect is not to cancel.
    pub(crate) async fn abandoned(&self) {
        self.changed.closed().await;
        if self.lock().resumable {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn has_reader(&self) -> bool {
        self.changed.receiver_count() > 0
    }

    /// Reads on from where the last reader stood, or from after `seen`; an older reader ends.
    pub(crate) fn reader(self: &Arc<Self>, seen: Option<u64>) -> Reader {
        let mut state = self.lock();
        state.reader += 1;
        let (seen, number) = (seen.unwrap_or(state.read).min(state.newest), state.reader);
        drop(state);
        self.changed.send_replace(());
        Reader { log: self.clone(), seen, number, changed: self.changed.subscribe() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, message: Bytes, last: bool, bounds: Bounds) -> bool {
        if self.finished {
            return false;
        }
        self.newest += 1;
        self.bytes += message.len();
        self.unread_bytes += message.len();
        self.finished = last;
        self.events.push_back(Event { seq: self.newest, message, last });
        let unread = |state: &Self| usize::try_from(state.newest - state.read).unwrap_or(usize::MAX);
        // The newest event always finds room, whatever its size: messages are bounded on their own.
        while unread(self) > 1
            && (unread(self) > bounds.unread_events_max || self.unread_bytes > bounds.unread_bytes_max)
        {
            if bounds.overflow == Overflow::Lose {
                self.events.clear();
                (self.bytes, self.unread_bytes, self.finished) = (0, 0, true);
                return false;
            }
            self.read += 1;
            let skipped = self.events.iter().find(|e| e.seq == self.read).map_or(0, |e| e.message.len());
            self.unread_bytes = self.unread_bytes.saturating_sub(skipped);
        }
        self.trim(bounds);
        true
    }

    /// Forgets the oldest of what was read.
    fn trim(&mut self, bounds: Bounds) {
        let mut kept = self.events.iter().filter(|event| event.seq <= self.read).count();
        while kept > 0
            && (kept > bounds.kept_events_max || self.bytes - self.unread_bytes > bounds.kept_bytes_max)
        {
            if let Some(gone) = self.events.pop_front() {
                self.bytes -= gone.message.len();
            }
            kept -= 1;
        }
    }
}

pub(crate) struct Reader {
    log: Arc<EventLog>,
    seen: u64,
    number: u64,
    changed: watch::Receiver<()>,
}

impl Reader {
    pub(crate) fn stream(&self) -> u64 {
        self.log.stream
    }

    pub(crate) fn make_resumable(&self) {
        self.log.make_resumable();
    }

    /// Sequence up to which everything was taken before `ready`, which was taken but not written yet.
    pub(crate) fn seen_before(&self, ready: &Option<Event>) -> u64 {
        ready.as_ref().map_or(self.seen, |event| event.seq.saturating_sub(1))
    }

    /// The next event; `None` when the stream is over, lost, taken over, or no longer holds what comes next.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            self.changed.mark_unchanged();
            if let Some(ready) = self.take() {
                return ready;
            }
            // The sender lives in `self.log`.
            self.changed.changed().await.ok()?;
        }
    }

    /// `None`: wait. `Some(None)`: over.
    fn take(&mut self) -> Option<Option<Event>> {
        let mut state = self.log.lock();
        if state.reader != self.number {
            return Some(None);
        }
        let next = state.events.iter().find(|event| event.seq > self.seen).cloned();
        let Some(event) = next else { return state.finished.then_some(None) };
        // An answer with a gap is no answer; a session's own stream may have dropped what nobody came to read.
        if event.seq > self.seen + 1 && self.log.bounds.overflow == Overflow::Lose {
            return Some(None);
        }
        self.seen = event.seq;
        if event.seq > state.read {
            state.read = event.seq;
            state.unread_bytes =
                state.events.iter().filter(|e| e.seq > event.seq).map(|e| e.message.len()).sum();
            state.trim(self.log.bounds);
        }
        Some(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bounds(unread: usize, kept: usize, overflow: Overflow) -> Bounds {
        Bounds {
            unread_events_max: unread,
            unread_bytes_max: 1 << 20,
            kept_events_max: kept,
            kept_bytes_max: 1 << 20,
            overflow,
        }
    }

    fn message(n: u64) -> Bytes {
        Bytes::from(n.to_string())
    }

    #[tokio::test]
    async fn a_reader_gets_all_in_order_and_then_the_end() {
        let log = EventLog::new(1, bounds(8, 8, Overflow::Lose));
        let mut reader = log.reader(None);
        log.push(message(1));
        log.push_last(message(2));
        assert!(!log.push(message(3)));
        let first = reader.next().await.unwrap();
        assert_eq!((first.seq, first.last), (1, false));
        assert!(reader.next().await.unwrap().last);
        assert!(reader.next().await.is_none());
    }

    #[tokio::test]
    async fn a_new_reader_takes_over_and_replays_from_what_was_seen() {
        let log = EventLog::new(1, bounds(8, 8, Overflow::Lose));
        let mut first = log.reader(None);
        for n in 1..=3 {
            log.push(message(n));
        }
        first.next().await.unwrap();
        first.next().await.unwrap();
        let mut second = log.reader(Some(1));
        assert!(first.next().await.is_none());
        assert_eq!(second.next().await.unwrap().seq, 2);
        assert_eq!(second.next().await.unwrap().seq, 3);
    }

    #[tokio::test]
    async fn unread_past_the_bound_loses_a_request_stream() {
        let log = EventLog::new(1, bounds(2, 2, Overflow::Lose));
        assert!(log.push(message(1)) && log.push(message(2)));
        assert!(!log.push(message(3)));
        assert!(log.reader(None).next().await.is_none());
        assert_eq!(log.lock().bytes, 0);
    }

    #[tokio::test]
    async fn unread_past_the_bound_drops_the_oldest_of_a_session_stream() {
        let log = EventLog::new(0, bounds(2, 2, Overflow::DropOldest));
        for n in 1..=100 {
            assert!(log.push(message(n)));
        }
        assert!(log.lock().events.len() <= 4);
        let mut reader = log.reader(None);
        assert_eq!(reader.next().await.unwrap().seq, 99);
    }

    #[tokio::test]
    async fn kept_events_are_bounded() {
        let log = EventLog::new(1, bounds(8, 2, Overflow::Lose));
        let mut reader = log.reader(None);
        for n in 1..=50 {
            log.push(message(n));
            reader.next().await.unwrap();
        }
        assert_eq!(log.lock().events.len(), 2);
    }

    #[tokio::test]
    async fn a_stream_is_abandoned_when_nobody_reads_it_and_nobody_can_come_back() {
        let log = EventLog::new(1, bounds(8, 8, Overflow::Lose));
        let reader = log.reader(None);
        assert!(tokio::time::timeout(Duration::ZERO, log.abandoned()).await.is_err(), "it is read");
        drop(reader);
        log.abandoned().await;
        let reader = log.reader(None);
        reader.make_resumable();
        drop(reader);
        assert!(tokio::time::timeout(Duration::ZERO, log.abandoned()).await.is_err(), "it may be resumed");
    }
}
