//! Event streams to clients.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tokio::time::timeout;

use crate::config::ms;
use crate::http::answer::Answer;
use crate::inner::Inner;
use crate::session::{Event, Reader};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// How a stream is written.
pub(crate) struct Shape {
    /// Events bear ids: the session's home can replay them.
    pub(crate) ids: bool,
    /// It opens with an id that a client can resume from before anything came.
    pub(crate) primed: bool,
}

/// Counts an open stream until it is dropped.
struct Counted(Arc<Inner>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics.stream_closed();
    }
}

struct State {
    reader: Reader,
    ready: Option<Event>,
    over: bool,
    ids: bool,
    keep_alive: Duration,
    _counted: Counted,
}

pub(crate) type Events = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// What `reader` gives, after `ready`, as it is written.
pub(crate) fn events(inner: &Arc<Inner>, reader: Reader, ready: Option<Event>, shape: &Shape) -> Events {
    inner.metrics.stream_opened();
    if shape.ids {
        reader.make_resumable();
    }
    let first = (shape.ids && shape.primed).then(|| {
        Ok(Bytes::from(format!("id: {}-{}\ndata: \n\n", reader.stream(), reader.seen_before(&ready))))
    });
    let state = State {
        reader,
        ready,
        over: false,
        ids: shape.ids,
        keep_alive: ms(inner.config.keep_alive_ms),
        _counted: Counted(inner.clone()),
    };
    stream::iter(first).chain(stream::unfold(state, next)).boxed()
}

async fn next(mut state: State) -> Option<(Result<Bytes, std::io::Error>, State)> {
    if state.over {
        return None;
    }
    let event = match state.ready.take() {
        Some(event) => event,
        None => match timeout(state.keep_alive, state.reader.next()).await {
            Ok(event) => event?,
            Err(_) => return Some((Ok(KEEP_ALIVE), state)),
        },
    };
    state.over = event.last;
    let id = state.ids.then(|| state.reader.stream());
    Some((Ok(written(id, &event)), state))
}

fn written(stream: Option<u64>, event: &Event) -> Bytes {
    let mut out = BytesMut::with_capacity(event.message.len() + 48);
    if let Some(stream) = stream {
        out.put_slice(format!("id: {stream}-{}\n", event.seq).as_bytes());
    }
    // Messages are of one line each.
    out.put_slice(b"data: ");
    out.put_slice(&event.message);
    out.put_slice(b"\n\n");
    out.freeze()
}

pub(crate) fn streamed(events: Events) -> Answer {
    let mut answer = Response::new(Body::from_stream(events));
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Proxies must not wait for more.
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    answer
}

/// Stream and sequence in an event id of ours.
pub(crate) fn parse_event_id(text: &str) -> Option<(u64, u64)> {
    let (stream, seq) = text.split_once('-')?;
    Some((stream.parse().ok()?, seq.parse().ok()?))
}
