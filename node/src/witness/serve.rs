//! `POST /add-checkpoint`. Source: C2SP tlog-witness. Nobody is authenticated but by the signatures of the checkpoint.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use only1mcp_domain::limits;
use only1mcp_proofs::Witness;
use tokio::sync::Mutex;

use super::store::Store;
use crate::host::HostClock;

pub struct Serving {
    pub witness: Witness,
    /// Held while one checkpoint is judged and remembered: none may slip in between.
    pub store: Mutex<Store>,
}

pub fn router(serving: Arc<Serving>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(limits::NOTE_BYTES_MAX.saturating_mul(2)))
        .with_state(serving)
}

async fn add_checkpoint(State(serving): State<Arc<Serving>>, body: Bytes) -> Response {
    let Ok(body) = std::str::from_utf8(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let mut store = serving.store.lock().await;
    let answer =
        serving.witness.add_checkpoint(body, |origin| store.known(origin), HostClock.now_ms() / 1_000);
    if let Some((origin, head)) = answer.remember
        && let Err(error) = store.remember(origin, head)
    {
        tracing::error!(error = format!("{error:#}"), "a checkpoint could not be kept: not signed");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if matches!(answer.status, 409 | 422) {
        tracing::warn!(status = answer.status, "a checkpoint was refused");
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static(answer.content_type);
    (status, [(header::CONTENT_TYPE, kind)], answer.body).into_response()
}
