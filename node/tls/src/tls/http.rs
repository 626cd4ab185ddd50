//! Serving an axum router over accepted connections, HTTP/1.1 and HTTP/2, with bounds and a clean end.

use std::io;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::time::{Duration, timeout};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::connection::Io;

/// Bounds on what clients of an HTTP port can occupy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpLimits {
    /// Connections at one time; further ones wait.
    pub connections_max: usize,
    /// A request whose headers take longer is dropped.
    pub headers_ms_max: u64,
    /// Streams of one HTTP/2 connection at one time.
    pub streams_max: u32,
    /// How long open requests may go on after the port was told to stop.
    pub drain_ms_max: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { connections_max: 10_000, headers_ms_max: 10_000, streams_max: 256, drain_ms_max: 10_000 }
    }
}

/// Serves `router` on every connection of `incoming`; each request carries the connection's `ConnectionInfo` as
/// an extension. Ends when `incoming` does, or at `stop`, after the open requests ended or the drain time is up.
pub async fn serve_http<S>(mut incoming: S, router: Router, limits: HttpLimits, stop: CancellationToken)
where
    S: Stream<Item = io::Result<Io>> + Unpin,
{
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.headers_ms_max));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .keep_alive_interval(Duration::from_secs(20));
    // Which one is decided by ALPN, not by the first bytes, for which a client could make us wait for ever.
    let (http1, http2) = (builder.clone().http1_only(), builder.http2_only());
    let cut = CancellationToken::new();
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, incoming.next().await)
        };
        let (slot, io) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => match next {
                (slot, Some(Ok(io))) => (slot, io),
                (_, Some(Err(error))) => {
                    tracing::debug!(%error, "connection failed before it was served");
                    continue;
                }
                (_, None) => break,
            },
        };
        let info = io.info().clone();
        let remote = info.remote;
        let builder = if io.speaks_http2() { &http2 } else { &http1 };
        let service = TowerToHyperService::new(router.clone().layer(axum::Extension(info)));
        let serving = builder.serve_connection(TokioIo::new(io), service).into_owned();
        let serving = graceful.watch(serving);
        let cut = cut.clone();
        tokio::spawn(async move {
            if let Some(Err(error)) = cut.run_until_cancelled(serving).await {
                tracing::debug!(%remote, %error, "connection ended with an error");
            }
            drop(slot);
        });
    }
    if timeout(Duration::from_millis(limits.drain_ms_max), graceful.shutdown()).await.is_err() {
        tracing::warn!(
            drain_ms_max = limits.drain_ms_max,
            "requests were still open when the drain time was up"
        );
    }
    cut.cancel();
}
