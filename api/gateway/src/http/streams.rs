//! GET: a session's own stream, or a broken one resumed. DELETE: the end of a session.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::http::access::{check_version, session_gone, session_refused};
use crate::http::answer::{Answer, empty, error};
use crate::http::headers::{LAST_EVENT_ID, accepts, single};
use crate::http::incoming::Incoming;
use crate::http::stream::{Shape, events, parse_event_id, streamed};
use crate::inner::Inner;
use crate::json::{RpcError, code};
use crate::session::Ended;

impl Inner {
    pub(crate) async fn get(self: &Arc<Self>, incoming: Incoming) -> Result<Answer, Answer> {
        let bad = |status, why: &str| error(status, &RpcError::new(code::BAD_REQUEST, why), None);
        let mut caller = self.caller(&incoming)?;
        if !accepts(&incoming.headers, &["text/event-stream"]) {
            return Err(bad(StatusCode::NOT_ACCEPTABLE, "Accept must name text/event-stream"));
        }
        check_version(&incoming)?;
        let token = self.session(&incoming, &mut caller)?;
        if token.home != self.enforcement.node() {
            return self.forward(token.home, incoming, Bytes::new()).await;
        }
        let session = self.sessions.get(token.session).ok_or_else(session_gone)?;
        session.touch();
        let unknown = || bad(StatusCode::BAD_REQUEST, "Last-Event-ID names no stream that can be resumed");
        let reader = match single(&incoming.headers, &LAST_EVENT_ID).map_err(|_| unknown())? {
            None => session.stream.reader(None),
            Some(text) => {
                let (stream, seen) = parse_event_id(text).ok_or_else(unknown)?;
                session.stream(stream).ok_or_else(unknown)?.reader(Some(seen))
            }
        };
        let shape = Shape { ids: true, primed: token.version.primes_streams() };
        Ok(streamed(events(self, reader, None, &shape)))
    }

    /// Any node can: the tombstone tells all others, the session's home among them.
    pub(crate) async fn delete(self: &Arc<Self>, incoming: Incoming) -> Result<Answer, Answer> {
        let mut caller = self.caller(&incoming)?;
        check_version(&incoming)?;
        let token = self.session(&incoming, &mut caller)?;
        self.close_session(token.session, &Ended::SessionClosed);
        let closed = self.enforcement.close_session(caller, token.session).await;
        closed.map_err(|refused| session_refused(&refused))?;
        Ok(empty(StatusCode::NO_CONTENT))
    }
}
