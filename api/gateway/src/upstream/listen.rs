//! The GET stream of an HTTP upstream: what it says outside of any request.

use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::json::Message;
use crate::upstream::wire::{Events, Wire, is_event_stream, parse_messages};

const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Listens until the connection closes; returns early where the upstream offers no such stream. A session that the
/// upstream has ended (404) closes the connection.
pub(crate) async fn listen(wire: &Wire, stray: mpsc::Sender<Message>, closed: &CancellationToken) {
    let (mut last_event_id, mut wait) = (None::<String>, RETRY_MIN);
    loop {
        match wire.get(last_event_id.as_deref()).await {
            Ok(response) if response.status() == StatusCode::OK && is_event_stream(&response) => {
                let mut events = Events::new(response, wire.message_bytes_max);
                while let Ok(Some(event)) = events.next().await {
                    wait = RETRY_MIN;
                    if event.id.is_some() {
                        last_event_id = event.id;
                    }
                    let Some(data) = event.data.filter(|data| !data.trim().is_empty()) else { continue };
                    for message in parse_messages(&data).unwrap_or_default() {
                        if stray.send(message).await.is_err() {
                            return;
                        }
                    }
                }
            }
            Ok(response) if response.status() == StatusCode::NOT_FOUND && wire.session.get().is_some() => {
                return closed.cancel();
            }
            // Not offered: 405 by the specification, but any refusal stays one.
            Ok(response) if response.status().is_client_error() || response.status().is_success() => return,
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}
