//! HTTP answers.

use axum::body::Body;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::value::RawValue;

use crate::json::RpcError;

pub(crate) type Answer = Response<Body>;

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

pub(crate) fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A refusal by the transport, told as a JSON-RPC error.
pub(crate) fn error(status: StatusCode, error: &RpcError, id: Option<&RawValue>) -> Answer {
    let mut answer = json(status, error.to_response(id));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// Without saying whether a key was presented at all, was unknown, or is no more.
pub(crate) fn unauthenticated(problem: &RpcError) -> Answer {
    let mut answer = error(StatusCode::UNAUTHORIZED, problem, None);
    let challenge = HeaderValue::from_static("Bearer realm=\"only1mcp\", error=\"invalid_token\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

pub(crate) fn no_such_method() -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    answer
}
