//! The HTTP port: health at once, everything else once the node is a member.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceExt as _;

use crate::serve::health;
use crate::serve::readiness::Readiness;
use crate::tls::ConnectionInfo;

/// What is served once the node is a member.
pub type Later = Arc<OnceLock<Router>>;

pub fn router(readiness: Readiness, later: Later) -> Router {
    let health = health::router(readiness.clone());
    let member = move |request: Request<Body>| {
        let later = later.clone();
        let why_not = readiness_text(&readiness);
        async move {
            match later.get() {
                // The router's service cannot fail.
                Some(router) => router.clone().oneshot(request).await.into_response(),
                None => (StatusCode::SERVICE_UNAVAILABLE, why_not).into_response(),
            }
        }
    };
    health.fallback(member).layer(from_fn(source_address))
}

fn readiness_text(readiness: &Readiness) -> String {
    format!("not ready: the node {}\n", readiness.why_not().unwrap_or_else(|| "starts".to_owned()))
}

/// Hands the connection's address on under the name that axum's handlers know.
async fn source_address(mut request: Request<Body>, next: Next) -> Response {
    if let Some(info) = request.extensions().get::<ConnectionInfo>() {
        let remote = info.remote;
        request.extensions_mut().insert(ConnectInfo(remote));
    }
    next.run(request).await
}
