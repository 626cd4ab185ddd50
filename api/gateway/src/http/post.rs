//! POST: messages of a client, and what answers them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use http::header::HeaderValue;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use only1mcp_domain::decide::Reason;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::config::ms;
use crate::dispatch::{From, Reply};
use crate::http::access::{check_version, random_id, session_gone, session_refused};
use crate::http::answer::{Answer, empty, error, json};
use crate::http::headers::{SESSION, accepts, is_json};
use crate::http::incoming::{Incoming, IncomingBody};
use crate::http::stream::{Events, Shape, events, streamed};
use crate::inner::Inner;
use crate::json::{BadMessage, Kind, Message, RequestId, RpcError, code, response, too_deep};
use crate::ports::CallerInfo;
use crate::protocol::{InitializeRequest, initialize_result};
use crate::session::{Reader, Session, TokenText};

fn bad(status: StatusCode, code: i64, why: &str) -> Answer {
    error(status, &RpcError::new(code, why), None)
}

/// A body: one message, or an old client's batch.
enum Posted {
    One(Message),
    Batch(Vec<Message>),
}

impl Inner {
    pub(crate) async fn post(self: &Arc<Self>, mut incoming: Incoming) -> Result<Answer, Answer> {
        let mut caller = self.caller(&incoming)?;
        if !is_json(&incoming.headers) {
            let why = "Content-Type must be application/json";
            return Err(bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::BAD_REQUEST, why));
        }
        if !accepts(&incoming.headers, &["application/json", "text/event-stream"]) {
            let why = "Accept must name application/json and text/event-stream";
            return Err(bad(StatusCode::NOT_ACCEPTABLE, code::BAD_REQUEST, why));
        }
        check_version(&incoming)?;
        let body = self.body(&mut incoming).await?;
        let posted = self.parse(&body)?;
        if let Posted::One(message) = &posted
            && let Kind::Request { id, method } = &message.kind
            && method == "initialize"
        {
            return self.initialize(caller, id, message).await;
        }
        let token = self.session(&incoming, &mut caller)?;
        let (messages, batch) = match posted {
            Posted::One(message) => (vec![message], false),
            Posted::Batch(messages) if token.version.has_batches() => (messages, true),
            Posted::Batch(_) => {
                let why = "batches are not part of this protocol version";
                return Err(bad(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, why));
            }
        };
        let here = token.home == self.enforcement.node();
        let session = if here { self.sessions.get(token.session) } else { None };
        if session.is_none() && messages.iter().any(|m| self.needs_home(&caller, m)) {
            return if here { Err(session_gone()) } else { self.forward(token.home, incoming, body).await };
        }
        if let Some(session) = &session {
            session.touch();
        }
        let held = |named: &RequestId| self.flights.holds(token.session, named);
        let elsewhere: Vec<&Message> =
            messages.iter().filter(|m| m.cancels().is_some_and(|named| !held(&named))).collect();
        if incoming.copy && !elsewhere.is_empty() {
            // Not run here either: the one that asks around looks on.
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        let spread: Vec<_> = elsewhere.into_iter().map(|message| self.spread(&incoming, message)).collect();
        join_all(spread).await;
        let from = From { caller, id: token.session, session };
        self.reply(&from, &token, messages, batch).await
    }

    async fn reply(
        self: &Arc<Self>,
        from: &From,
        token: &TokenText,
        mut messages: Vec<Message>,
        batch: bool,
    ) -> Result<Answer, Answer> {
        let shape = Shape { ids: from.session.is_some(), primed: token.version.primes_streams() };
        let one = if batch { None } else { messages.pop() };
        if let Some(message) = one {
            return match self.dispatch(from, message).await {
                Reply::Accepted => Ok(empty(StatusCode::ACCEPTED)),
                Reply::Now(answer) => Ok(json(StatusCode::OK, answer)),
                Reply::Later(reader) => self.answer_of(from, reader, &shape).await,
                Reply::Refused(status, problem) => Err(error(status, &problem, None)),
            };
        }
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for message in messages {
            match self.dispatch(from, message).await {
                Reply::Accepted => {}
                Reply::Now(answer) => now.push(answer),
                Reply::Later(reader) => later.push(reader),
                Reply::Refused(_, problem) => now.push(problem.to_response(None)),
            }
        }
        if later.is_empty() {
            return Ok(if now.is_empty() {
                empty(StatusCode::ACCEPTED)
            } else {
                json(StatusCode::OK, array(&now))
            });
        }
        let ready = now.into_iter().map(|answer| {
            let text = [b"data: ".as_slice(), &answer, b"\n\n"].concat();
            Ok(Bytes::from(text))
        });
        let made: Vec<Events> = later.into_iter().map(|reader| events(self, reader, None, &shape)).collect();
        Ok(streamed(stream::iter(ready).chain(stream::select_all(made)).boxed()))
    }

    /// Plain JSON where the answer is the first thing to say and comes soon; else an event stream.
    async fn answer_of(
        self: &Arc<Self>,
        from: &From,
        mut reader: Reader,
        shape: &Shape,
    ) -> Result<Answer, Answer> {
        let first = match timeout(ms(self.config.stream_after_ms), reader.next()).await {
            Ok(None) => {
                // Not every session that ends under a call was closed: say so if authority was withdrawn.
                let lost = self.enforcement.check_session(&from.caller).err();
                return Err(lost.map_or_else(session_gone, |refused| session_refused(&refused)));
            }
            Ok(Some(event)) if event.last => {
                if let Some(session) = &from.session {
                    session.forget_stream(reader.stream());
                }
                return Ok(json(StatusCode::OK, event.message));
            }
            Ok(Some(event)) => Some(event),
            Err(_) => None,
        };
        Ok(streamed(events(self, reader, first, shape)))
    }

    async fn initialize(
        &self,
        mut caller: CallerInfo,
        id: &RequestId,
        message: &Message,
    ) -> Result<Answer, Answer> {
        let busy = |problem: &RpcError| error(StatusCode::SERVICE_UNAVAILABLE, problem, Some(&id.raw));
        if self.is_draining() {
            return Err(busy(&RpcError::reason(Reason::Draining)));
        }
        let read =
            message.params().ok_or("a parameter is named twice").and_then(|p| InitializeRequest::read(&p));
        let asked = match read {
            Ok(asked) => asked,
            Err(why) => {
                let problem = RpcError::new(code::INVALID_PARAMS, why);
                return Ok(json(StatusCode::OK, problem.to_response(Some(&id.raw))));
            }
        };
        let session = random_id().ok_or_else(|| busy(&RpcError::reason(Reason::Overloaded)))?;
        caller.session = Some(session);
        let check = || self.enforcement.check_session(&caller).map_err(|refused| session_refused(&refused));
        check()?;
        let permit = self.enforcement.permit_session(&caller).await;
        let permit = permit.map_err(|refused| busy(&RpcError::refused(&refused)))?;
        // INVARIANT: P4 (what was withdrawn while it waited has ended no session that is not there yet)
        check()?;
        let issued_at_ms = self.enforcement.now_ms();
        let token = TokenText {
            session,
            identity: caller.identity.clone(),
            tenant: caller.tenant.clone(),
            home: self.enforcement.node(),
            version: asked.version,
            capabilities: asked.capabilities,
            issued_at_ms,
            expires_at_ms: issued_at_ms.saturating_add(self.config.session_ms_max),
        };
        let text = self.token_key()?.seal(&token).map_err(|_| busy(&RpcError::reason(Reason::Overloaded)))?;
        let opened = Session::new(
            session,
            caller.clone(),
            asked.version,
            asked.stated,
            token.expires_at_ms,
            permit,
            &self.config,
        );
        self.sessions
            .insert(opened, &self.config)
            .map_err(|_| busy(&RpcError::overloaded("sessions", self.config.sessions_per_principal_max)))?;
        self.metrics.session_opened();
        let version = asked.version.text();
        self.enforcement.session_opened(&caller, &asked.client_name, &asked.client_version, version);
        let mut answer = json(StatusCode::OK, response(&id.raw, initialize_result(asked.version)));
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.headers_mut().insert(SESSION, value);
        }
        Ok(answer)
    }

    /// The whole body, bounded in size and time.
    async fn body(&self, incoming: &mut Incoming) -> Result<Bytes, Answer> {
        let empty_body = IncomingBody::Whole(Bytes::new());
        let body = match std::mem::replace(&mut incoming.body, empty_body) {
            IncomingBody::Whole(body) => return Ok(body),
            IncomingBody::Streamed(body) => body,
        };
        let too_large = || {
            let why = format!("a body is at most {} bytes long", self.config.body_bytes_max);
            bad(StatusCode::PAYLOAD_TOO_LARGE, code::INVALID_REQUEST, &why)
        };
        let read = Limited::new(body, self.config.body_bytes_max).collect();
        match timeout(ms(self.config.body_read_ms_max), read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(problem)) if problem.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(bad(StatusCode::BAD_REQUEST, code::PARSE, "the body broke off")),
            Err(_) => Err(bad(StatusCode::REQUEST_TIMEOUT, code::PARSE, "the body did not arrive in time")),
        }
    }

    fn parse(&self, body: &Bytes) -> Result<Posted, Answer> {
        let broken = || bad(StatusCode::BAD_REQUEST, code::PARSE, "the body is not JSON");
        let text = std::str::from_utf8(body).map_err(|_| broken())?;
        if too_deep(text, self.config.json_depth_max) {
            let why = format!("JSON is nested at most {} deep", self.config.json_depth_max);
            return Err(bad(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, &why));
        }
        let message = |text: &str| {
            Message::parse(text).map_err(|problem| match problem {
                BadMessage::Syntax => broken(),
                BadMessage::Invalid { id, why } => {
                    let problem = RpcError::new(code::INVALID_REQUEST, why);
                    error(StatusCode::BAD_REQUEST, &problem, id.as_ref().map(|id| &*id.raw))
                }
            })
        };
        if !text.trim_start().starts_with('[') {
            return Ok(Posted::One(message(text)?));
        }
        let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| broken())?;
        if parts.is_empty() || parts.len() > self.config.batch_messages_max {
            let why = format!("a batch holds 1 to {} messages", self.config.batch_messages_max);
            return Err(bad(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, &why));
        }
        Ok(Posted::Batch(parts.into_iter().map(|part| message(part.get())).collect::<Result<_, _>>()?))
    }
}

fn array(answers: &[Bytes]) -> Bytes {
    let mut out = vec![b'['];
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(answer);
    }
    out.push(b']');
    out.into()
}
