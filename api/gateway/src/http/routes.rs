//! The axum side: routes, and what is read off a request.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::routing::any;
use http::Method;

use crate::http::answer::{Answer, no_such_method};
use crate::http::incoming::{Incoming, IncomingBody};
use crate::inner::Inner;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    Router::new().route("/mcp", any(plain)).route("/t/{tenant}/mcp", any(for_tenant)).with_state(inner)
}

async fn plain(State(inner): State<Arc<Inner>>, request: Request) -> Answer {
    handle(inner, read(request, None)).await
}

async fn for_tenant(State(inner): State<Arc<Inner>>, Path(tenant): Path<String>, request: Request) -> Answer {
    handle(inner, read(request, Some(tenant))).await
}

fn read(request: Request, path_tenant: Option<String>) -> Incoming {
    let (parts, body) = request.into_parts();
    let source = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    Incoming {
        method: parts.method,
        headers: parts.headers,
        uri: parts.uri,
        body: IncomingBody::Streamed(body),
        source,
        path_tenant,
        forwarded: false,
        copy: false,
    }
}

pub(crate) async fn handle(inner: Arc<Inner>, incoming: Incoming) -> Answer {
    let answered = match incoming.method {
        Method::POST => inner.post(incoming).await,
        Method::GET => inner.get(incoming).await,
        Method::DELETE => inner.delete(incoming).await,
        _ => Err(no_such_method()),
    };
    answered.unwrap_or_else(|refusal| refusal)
}
