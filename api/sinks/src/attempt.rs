//! One request to a webhook. Only an answer of 2xx means that the event was taken.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use only1mcp_domain::limits;
use only1mcp_domain::model::Webhook;
use tokio::time::{Instant, timeout_at};

use crate::message::Message;
use crate::ports::HttpPort;
use crate::sign::signature;

/// A request that was not answered within this has failed.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);
const AGENT: &str = concat!("only1mcp/", env!("CARGO_PKG_VERSION"));

/// Errors: why it was not taken, or not known to be; no secret and no address.
pub(crate) async fn attempt(
    http: &dyn HttpPort,
    webhook: &Webhook,
    message: &Message,
    now_ms: u64,
) -> Result<(), String> {
    let until = Instant::now() + WITHIN;
    let request = request(webhook, message, now_ms)?;
    let late = |_| format!("did not answer within {} s", WITHIN.as_secs());
    let answer = timeout_at(until, http.send(request)).await.map_err(late)??;
    let status = answer.status();
    // What it says is of no use, but a connection whose answer was read can be used again.
    let body = Limited::new(answer.into_body(), limits::WEBHOOK_ANSWER_BYTES_MAX);
    let _ = timeout_at(until, body.collect()).await;
    match status {
        taken if taken.is_success() => Ok(()),
        StatusCode::GONE => {
            Err("answered HTTP 410: it says that it is gone; delete the webhook if so".to_owned())
        }
        other if other.is_redirection() => {
            Err(format!("answered HTTP {}: redirects are not followed", other.as_u16()))
        }
        other => Err(format!("answered HTTP {}", other.as_u16())),
    }
}

fn request(webhook: &Webhook, message: &Message, now_ms: u64) -> Result<Request<Full<Bytes>>, String> {
    let timestamp_s = now_ms / 1_000;
    Request::builder()
        .method(Method::POST)
        .uri(&webhook.url)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, AGENT)
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", timestamp_s)
        .header("webhook-signature", signature(&webhook.key, &message.id, timestamp_s, &message.body))
        .body(Full::new(message.body.clone()))
        .map_err(|_| "has an address that no request can be sent to".to_owned())
}
