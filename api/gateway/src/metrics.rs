//! Counters for the node to export. Labels are bounded: outcomes and bucket bounds only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use only1mcp_domain::activity::CallOutcome;

/// Upper bounds of the latency buckets; the last bucket has none.
/// Units: milliseconds.
pub const LATENCY_BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

const OUTCOMES: [(CallOutcome, &str); 8] = [
    (CallOutcome::Success, "success"),
    (CallOutcome::ToolError, "tool_error"),
    (CallOutcome::UpstreamError, "upstream_error"),
    (CallOutcome::UpstreamFailed, "upstream_failed"),
    (CallOutcome::TimedOut, "timed_out"),
    (CallOutcome::Cancelled, "cancelled"),
    (CallOutcome::Withheld, "withheld"),
    (CallOutcome::Unknown, "unknown"),
];

#[derive(Default)]
pub(crate) struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    latency: [AtomicU64; LATENCY_BUCKETS_MS.len() + 1],
    latency_sum_us: AtomicU64,
    refused: AtomicU64,
    unauthenticated: AtomicU64,
    forwarded: AtomicU64,
    streams_open: AtomicU64,
    sessions_opened: AtomicU64,
}

/// The counters at one moment; totals since the node's start unless named otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetricsSnapshot {
    /// Admitted calls by how they ended.
    pub calls: Vec<(&'static str, u64)>,
    /// Admitted calls by latency bucket, not cumulative; see [`LATENCY_BUCKETS_MS`].
    pub latency_buckets: Vec<u64>,
    /// Units: microseconds.
    pub latency_sum_us: u64,
    pub refused: u64,
    pub unauthenticated: u64,
    /// Requests passed on to another node: to a session's home, or cancellations to all.
    pub forwarded: u64,
    pub sessions_opened: u64,
    /// Now.
    pub sessions_open: u64,
    /// Now: event streams being read.
    pub streams_open: u64,
    /// Now: requests being worked on.
    pub requests_in_flight: u64,
}

impl Metrics {
    pub(crate) fn ended(&self, outcome: CallOutcome, took: Duration) {
        let at = OUTCOMES.iter().position(|(known, _)| *known == outcome);
        add(at.and_then(|at| self.outcomes.get(at)));
        let ms = took.as_millis();
        let bucket = LATENCY_BUCKETS_MS.iter().position(|max| ms <= u128::from(*max));
        add(self.latency.get(bucket.unwrap_or(LATENCY_BUCKETS_MS.len())));
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        add(Some(&self.refused));
    }

    pub(crate) fn unauthenticated(&self) {
        add(Some(&self.unauthenticated));
    }

    pub(crate) fn forwarded(&self) {
        add(Some(&self.forwarded));
    }

    pub(crate) fn session_opened(&self) {
        add(Some(&self.sessions_opened));
    }

    pub(crate) fn stream_opened(&self) {
        add(Some(&self.streams_open));
    }

    pub(crate) fn stream_closed(&self) {
        self.streams_open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, sessions_open: usize, requests_in_flight: usize) -> MetricsSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MetricsSnapshot {
            calls: OUTCOMES
                .iter()
                .zip(&self.outcomes)
                .map(|((_, name), count)| (*name, read(count)))
                .collect(),
            latency_buckets: self.latency.iter().map(read).collect(),
            latency_sum_us: read(&self.latency_sum_us),
            refused: read(&self.refused),
            unauthenticated: read(&self.unauthenticated),
            forwarded: read(&self.forwarded),
            sessions_opened: read(&self.sessions_opened),
            sessions_open: sessions_open as u64,
            streams_open: read(&self.streams_open),
            requests_in_flight: requests_in_flight as u64,
        }
    }
}

fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
