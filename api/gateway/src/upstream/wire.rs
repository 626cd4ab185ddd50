//! One HTTP request to an upstream, and its answer as messages.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use only1mcp_domain::model::HeaderSecret;

use crate::json::{BadMessage, Message};
use crate::upstream::sse::{SseError, SseEvent, SseParser};
use crate::upstream::{HttpClient, UpstreamError};

pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where an upstream is and what every request to it carries.
pub(crate) struct Wire {
    client: HttpClient,
    uri: Uri,
    secrets: Vec<(HeaderName, HeaderValue)>,
    pub(crate) session: OnceLock<HeaderValue>,
    pub(crate) version: OnceLock<HeaderValue>,
    pub(crate) message_bytes_max: usize,
}

impl Wire {
    pub(crate) fn new(
        client: HttpClient,
        url: &str,
        secrets: &[HeaderSecret],
        message_bytes_max: usize,
    ) -> Result<Self, UpstreamError> {
        let uri: Uri = url.parse().map_err(|_| UpstreamError::Connect { why: "its URL is not valid" })?;
        let mut headers = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let why = "one of its headers is not valid";
            let name =
                HeaderName::from_bytes(secret.name.as_bytes()).map_err(|_| UpstreamError::Connect { why })?;
            let mut value =
                HeaderValue::from_str(&secret.value).map_err(|_| UpstreamError::Connect { why })?;
            value.set_sensitive(true);
            headers.push((name, value));
        }
        let (session, version) = (OnceLock::new(), OnceLock::new());
        Ok(Self { client, uri, secrets: headers, session, version, message_bytes_max })
    }

    pub(crate) async fn post(&self, body: Bytes) -> Result<Response<Incoming>, UpstreamError> {
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        let json = HeaderValue::from_static("application/json");
        self.send(Method::POST, body, [(ACCEPT, accept), (CONTENT_TYPE, json)]).await
    }

    pub(crate) async fn get(&self, last_event_id: Option<&str>) -> Result<Response<Incoming>, UpstreamError> {
        let accept = (ACCEPT, HeaderValue::from_static("text/event-stream"));
        match last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            Some(id) => self.send(Method::GET, Bytes::new(), [accept, (LAST_EVENT_ID, id)]).await,
            None => self.send(Method::GET, Bytes::new(), [accept]).await,
        }
    }

    pub(crate) async fn delete(&self) -> Result<Response<Incoming>, UpstreamError> {
        self.send(Method::DELETE, Bytes::new(), []).await
    }

    async fn send<const N: usize>(
        &self,
        method: Method,
        body: Bytes,
        headers: [(HeaderName, HeaderValue); N],
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        let standing = [(SESSION, self.session.get()), (VERSION, self.version.get())];
        let standing = standing.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
        let target = request.headers_mut();
        for (name, value) in headers.into_iter().chain(standing).chain(self.secrets.iter().cloned()) {
            target.insert(name, value);
        }
        self.client.send(request).await
    }

    /// The whole of a bounded JSON body: one message, or a batch of an old server.
    pub(crate) async fn messages(&self, response: Response<Incoming>) -> Result<Vec<Message>, UpstreamError> {
        let bytes_max = self.message_bytes_max;
        let body = Limited::new(response.into_body(), bytes_max).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                UpstreamError::TooLarge { bytes_max }
            } else {
                UpstreamError::Closed
            }
        })?;
        let body = body.to_bytes();
        let text = std::str::from_utf8(&body).map_err(|_| UpstreamError::Protocol { why: "not UTF-8" })?;
        parse_messages(text)
    }
}

/// One message, or the array of them that 2025-03-26 allows.
pub(crate) fn parse_messages(text: &str) -> Result<Vec<Message>, UpstreamError> {
    let parse = |text: &str| {
        Message::parse(text).map_err(|bad| match bad {
            BadMessage::Syntax => UpstreamError::Protocol { why: "not JSON" },
            BadMessage::Invalid { why, .. } => UpstreamError::Protocol { why },
        })
    };
    if !text.trim_start().starts_with('[') {
        return Ok(vec![parse(text)?]);
    }
    let parts: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(text).map_err(|_| UpstreamError::Protocol { why: "not JSON" })?;
    parts.into_iter().map(|part| parse(part.get())).collect()
}

pub(crate) fn is_event_stream(response: &Response<Incoming>) -> bool {
    media_type(response).is_some_and(|kind| kind.eq_ignore_ascii_case("text/event-stream"))
}

pub(crate) fn is_json(response: &Response<Incoming>) -> bool {
    media_type(response).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

fn media_type(response: &Response<Incoming>) -> Option<&str> {
    Some(response.headers().get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim())
}

/// What an unsuccessful status means.
pub(crate) fn status_error(wire: &Wire, status: StatusCode) -> UpstreamError {
    match (status, wire.session.get()) {
        (StatusCode::NOT_FOUND, Some(_)) => UpstreamError::SessionLost,
        _ => UpstreamError::Status { status: status.as_u16() },
    }
}

/// A response body read as events.
pub(crate) struct Events {
    body: Incoming,
    parser: SseParser,
    bytes_max: usize,
}

impl Events {
    pub(crate) fn new(response: Response<Incoming>, bytes_max: usize) -> Self {
        Self { body: response.into_body(), parser: SseParser::new(bytes_max), bytes_max }
    }

    /// The next event; `None` at the end, whether clean or broken: either may be resumed.
    pub(crate) async fn next(&mut self) -> Result<Option<SseEvent>, UpstreamError> {
        loop {
            let found = self.parser.next().map_err(|error| match error {
                SseError::TooLarge => UpstreamError::TooLarge { bytes_max: self.bytes_max },
                SseError::NotText => UpstreamError::Protocol { why: "not UTF-8" },
            })?;
            if found.is_some() {
                return Ok(found);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.parser.push(data);
                    }
                }
                Some(Err(_)) | None => return Ok(None),
            }
        }
    }
}
