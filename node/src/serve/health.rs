//! `GET /health/live`, `/health/ready`, `/health`: for load balancers and people. They tell no secrets and need none.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::serve::readiness::{Phase, Readiness};

pub fn router(readiness: Readiness) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health", get(summary))
        .with_state(readiness)
}

/// The process works; a node that has failed should be restarted.
async fn live(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.phase() {
        Phase::Failed(_) => (StatusCode::SERVICE_UNAVAILABLE, "failed\n"),
        _ => (StatusCode::OK, "live\n"),
    }
}

/// The node takes requests: it is a member, fresh, and not shutting down.
async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    match readiness.why_not() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn summary(State(readiness): State<Readiness>) -> impl IntoResponse {
    let why_not = readiness.why_not();
    let status = if why_not.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "phase": readiness.phase().name(),
        "ready": why_not.is_none(),
        "why_not": why_not,
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status, Json(body))
}
