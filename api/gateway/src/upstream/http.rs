//! An upstream over Streamable HTTP: every request is a POST of its own, answered by JSON or by an event stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::json::{Kind, Message, RawObject};
use crate::upstream::exchange::{INBOUND_MAX, Place};
use crate::upstream::listen::listen;
use crate::upstream::wire::{Events, SESSION, Wire, is_event_stream, is_json, parse_messages, status_error};
use crate::upstream::{Exchange, Inbound, UpstreamError};

/// Attempts to resume a broken stream that brought nothing new.
const RESUMES_MAX: u32 = 5;
const RESUME_AFTER: Duration = Duration::from_millis(250);
const RESUME_AFTER_MAX: Duration = Duration::from_secs(10);
/// The session's end is told within this, or not at all.
const DELETE_WITHIN: Duration = Duration::from_secs(2);
/// A notification is taken within this.
const NOTIFY_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct HttpLink {
    wire: Arc<Wire>,
    tasks: TaskTracker,
    closed: CancellationToken,
}

impl HttpLink {
    pub(crate) fn new(wire: Wire, tasks: TaskTracker, closed: CancellationToken) -> Self {
        Self { wire: Arc::new(wire), tasks, closed }
    }

    pub(crate) fn exchange(&self, id: u64, object: &RawObject) -> Exchange {
        let (sender, receiver) = mpsc::channel(INBOUND_MAX);
        let abort = self.closed.child_token();
        let (wire, body, closed) = (self.wire.clone(), object.to_line(), self.closed.clone());
        let stop = abort.clone();
        self.tasks.spawn(async move {
            let end = tokio::select! {
                end = post(&wire, id, body, &sender) => end,
                () = stop.cancelled() => Err(UpstreamError::Closed),
            };
            if let Err(error) = end {
                if error == UpstreamError::SessionLost {
                    closed.cancel();
                }
                let _ = sender.try_send(Inbound::Failed(error));
            }
        });
        Exchange::new(receiver, Place::Task(abort.drop_guard()))
    }

    /// A notification or an answer: taken or not, nothing comes back.
    pub(crate) async fn send(&self, object: &RawObject) -> Result<(), UpstreamError> {
        let sent = tokio::time::timeout(NOTIFY_WITHIN, self.wire.post(object.to_line())).await;
        let status = sent.map_err(|_| UpstreamError::TimedOut)??.status();
        if status.is_success() { Ok(()) } else { Err(status_error(&self.wire, status)) }
    }

    /// The protocol version that every further request states.
    pub(crate) fn agreed(&self, version: &str) {
        if let Ok(value) = http::HeaderValue::from_str(version) {
            let _ = self.wire.version.set(value);
        }
    }

    /// Reads what the upstream says of its own accord, and tells it when the session ends.
    pub(crate) fn stay(&self, stray: mpsc::Sender<Message>) {
        let (wire, closed) = (self.wire.clone(), self.closed.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = listen(&wire, stray, &closed) => closed.cancelled().await,
                () = closed.cancelled() => {}
            }
            if wire.session.get().is_some() {
                let _ = tokio::time::timeout(DELETE_WITHIN, wire.delete()).await;
            }
        });
    }
}

async fn post(wire: &Wire, id: u64, body: Bytes, to: &mpsc::Sender<Inbound>) -> Result<(), UpstreamError> {
    let response = wire.post(body).await?;
    if !response.status().is_success() {
        return refused(wire, id, response, to).await;
    }
    if let Some(session) = response.headers().get(SESSION) {
        let _ = wire.session.set(session.clone());
    }
    if is_event_stream(&response) {
        return stream(wire, id, Events::new(response, wire.message_bytes_max), to).await;
    }
    if !is_json(&response) {
        return Err(UpstreamError::Protocol {
            why: "answered a request with neither JSON nor an event stream",
        });
    }
    let messages = wire.messages(response).await?;
    if deliver(id, messages, to).await {
        Ok(())
    } else {
        Err(UpstreamError::Protocol { why: "no answer to the request" })
    }
}

/// A server may answer an error status with a JSON-RPC error in the body: that is its answer.
async fn refused(
    wire: &Wire,
    id: u64,
    response: hyper::Response<hyper::body::Incoming>,
    to: &mpsc::Sender<Inbound>,
) -> Result<(), UpstreamError> {
    let error = status_error(wire, response.status());
    let readable = is_json(&response) && error != UpstreamError::SessionLost;
    if readable
        && response.status() != StatusCode::UNAUTHORIZED
        && let Ok(messages) = wire.messages(response).await
    {
        let answered =
            |m: &Message| matches!(&m.kind, Kind::Response { id: Some(known) } if known.key == key(id));
        if messages.iter().any(answered) && deliver(id, messages, to).await {
            return Ok(());
        }
    }
    Err(error)
}

/// Reads events up to the answer, and resumes where the server gave event ids.
async fn stream(
    wire: &Wire,
    id: u64,
    mut events: Events,
    to: &mpsc::Sender<Inbound>,
) -> Result<(), UpstreamError> {
    let (mut last_event_id, mut retry, mut resumes) = (None, RESUME_AFTER, 0);
    loop {
        while let Some(event) = events.next().await? {
            if let Some(ms) = event.retry_ms {
                retry = Duration::from_millis(ms).min(RESUME_AFTER_MAX);
            }
            if event.id.is_some() {
                last_event_id = event.id;
                resumes = 0;
            }
            let Some(data) = event.data.filter(|data| !data.trim().is_empty()) else { continue };
            if deliver(id, parse_messages(&data)?, to).await {
                return Ok(());
            }
        }
        let Some(last) = last_event_id.as_deref().filter(|_| resumes < RESUMES_MAX) else {
            return Err(UpstreamError::Closed);
        };
        resumes += 1;
        tokio::time::sleep(retry).await;
        let response = wire.get(Some(last)).await?;
        // Whatever the refusal, the request itself was taken: it is never sent again.
        if !response.status().is_success() || !is_event_stream(&response) {
            return Err(UpstreamError::Closed);
        }
        events = Events::new(response, wire.message_bytes_max);
    }
}

fn key(id: u64) -> String {
    format!("n{id}")
}

/// Passes messages on; true once the answer was among them.
async fn deliver(id: u64, messages: Vec<Message>, to: &mpsc::Sender<Inbound>) -> bool {
    let mut answered = false;
    for message in messages {
        let inbound = match &message.kind {
            Kind::Response { id: Some(known) } if known.key == key(id) => {
                answered = true;
                Inbound::Answer(message)
            }
            // An answer to nothing that was asked.
            Kind::Response { .. } => continue,
            Kind::Request { .. } | Kind::Notification { .. } => Inbound::Interim(message),
        };
        if to.send(inbound).await.is_err() {
            return true;
        }
    }
    answered
}
