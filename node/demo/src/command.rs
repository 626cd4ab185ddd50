//! `only1mcp demo`: the demo server over Streamable HTTP on loopback, or over standard input and output.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use clap::Args;
use rmcp::RoleServer;
use rmcp::ServiceExt as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{IntoTransport, StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;

use super::DemoServer;

/// Where the server is found on its port.
pub const DEMO_PATH: &str = "/mcp";

/// How long open calls may go on after the end was asked for, in milliseconds.
const DRAIN_MS_MAX: u64 = 2_000;

/// The demo MCP server.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// The port on 127.0.0.1; 0 takes a free one. The address is printed when it is open.
    #[arg(long, default_value_t = 9440, conflicts_with = "stdio")]
    port: u16,
    /// Keeps no sessions: each request stands alone, and cancellation works by closing its stream only.
    #[arg(long, conflicts_with = "stdio")]
    stateless: bool,
    /// Speaks over standard input and output instead.
    #[arg(long)]
    stdio: bool,
}

/// Serves until `shutdown` resolves, or standard input closes. Boxed, so that its code is made in this package and once.
pub fn run(
    args: DemoArgs,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
    Box::pin(async move {
        if args.stdio {
            return serve_messages(rmcp::transport::io::stdio_pipes(), shutdown).await;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        println!("http://{}{DEMO_PATH}", listener.local_addr()?);
        serve_http(listener, args.stateless, shutdown).await
    })
}

/// Speaks newline-separated messages over one transport.
pub(super) async fn serve_messages<E, A>(
    transport: impl IntoTransport<RoleServer, E, A>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let stop = CancellationToken::new();
    let serving = async {
        let running = DemoServer::default().serve_with_ct(transport, stop.clone()).await?;
        running.waiting().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        ended = serving => ended,
        () = shutdown => {
            stop.cancel();
            Ok(())
        }
    }
}

/// Speaks Streamable HTTP on a listener.
pub(super) async fn serve_http(
    listener: TcpListener,
    stateless: bool,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(!stateless)
        .enforce_origin_validation()
        .with_cancellation_token(stop.child_token());
    let sessions = Arc::new(LocalSessionManager::default());
    let service = StreamableHttpService::new(|| Ok(DemoServer::default()), sessions, config);
    let router = axum::Router::new().nest_service(DEMO_PATH, service);
    // An answer goes out in several writes: the later ones must not wait until the first is acknowledged.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let closing = stop.clone();
    let serving =
        axum::serve(listener, router).with_graceful_shutdown(async move { closing.cancelled().await });
    let mut serving = std::pin::pin!(serving.into_future());
    tokio::select! {
        ended = &mut serving => return ended.context("the demo server ended"),
        () = shutdown => stop.cancel(),
    }
    match timeout(Duration::from_millis(DRAIN_MS_MAX), serving).await {
        Ok(ended) => ended.context("the demo server ended"),
        // What is still open is cut when the process ends.
        Err(_) => Ok(()),
    }
}
