//! The gateway as the node composes it.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::config::Config;
use crate::http::{handle_forwarded, router};
use crate::inner::Inner;
use crate::metrics::MetricsSnapshot;
use crate::ports::{Enforcement, Forwarded, ForwardedAnswer, HomeNodes};
use crate::revoke::{follow, reap};
use crate::session::Ended;
use crate::upstream::UpstreamHealth;

/// One node's MCP gateway. Cheap to clone; runs until [`Gateway::shutdown`].
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

impl Gateway {
    /// Starts the tasks that follow revocations and reap sessions; needs a tokio runtime.
    pub fn new(enforcement: Arc<dyn Enforcement>, homes: Arc<dyn HomeNodes>, config: Config) -> Self {
        let inner = Inner::new(enforcement, homes, config);
        // Subscribed here, not in the task: nothing sent after `new` returns is missed.
        let revocations = inner.enforcement.revocations();
        inner.tasks.spawn(follow(inner.clone(), revocations));
        inner.tasks.spawn(reap(inner.clone()));
        Self { inner }
    }

    /// `POST`, `GET`, `DELETE` on `/mcp` and `/t/{tenant}/mcp`. Reads the peer's address from axum's
    /// `ConnectInfo<SocketAddr>` where the server provides it. Header read timeouts are the server's.
    pub fn router(&self) -> axum::Router {
        router(self.inner.clone())
    }

    /// Answers a request that another node passed on because this one is its session's home.
    pub async fn handle_forwarded(&self, request: Forwarded) -> ForwardedAnswer {
        handle_forwarded(self.inner.clone(), request).await
    }

    /// What this node last saw of every upstream it used, ordered by owner and id.
    pub fn upstream_health(&self) -> Vec<UpstreamHealth> {
        let now_ms = self.inner.enforcement.now_ms();
        self.inner.standings().iter().map(|standing| standing.report(now_ms)).collect()
    }

    pub fn metrics(&self) -> MetricsSnapshot {
        self.inner.metrics.snapshot(self.inner.sessions.len(), self.inner.flights.count())
    }

    /// From now on takes no new sessions and calls; what runs goes on.
    pub fn drain(&self) {
        self.inner.drain();
    }

    /// Drains until `deadline`, then ends what still runs; closes sessions, streams and connections, and returns when
    /// every task has ended and every child process is reaped.
    pub async fn shutdown(&self, deadline: Instant) {
        let inner = &self.inner;
        inner.drain();
        inner.calls.close();
        if timeout_at(deadline, inner.calls.wait()).await.is_err() {
            inner.flights.end_all();
            inner.calls.wait().await;
        }
        for session in inner.sessions.all() {
            inner.close_session(session.id, &Ended::Shutdown);
        }
        inner.stop.cancel();
        inner.close_shared();
        inner.tasks.close();
        inner.tasks.wait().await;
    }
}
