//! Requests that only a session's home node can answer: passed on, and taken in.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use only1mcp_domain::ids::{NodeId, TenantId};
use tokio::time::timeout;

use crate::config::ms;
use crate::http::access::session_gone;
use crate::http::answer::{Answer, empty};
use crate::http::incoming::{Incoming, IncomingBody};
use crate::http::routes::handle;
use crate::inner::Inner;
use crate::json::Message;
use crate::ports::{Forwarded, ForwardedAnswer};

/// Belong to one connection only.
const HOP_BY_HOP: [HeaderName; 4] = [CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH, UPGRADE];

impl Inner {
    /// Passes a request on. A home that is gone took the session with it: the client starts anew.
    pub(crate) async fn forward(
        &self,
        home: NodeId,
        incoming: Incoming,
        body: Bytes,
    ) -> Result<Answer, Answer> {
        if incoming.forwarded {
            return Err(session_gone());
        }
        let request = self.passed_on(&incoming, body, false);
        let answer = self.homes.forward(home, request).await.map_err(|_| session_gone())?;
        let mut response = Response::new(Body::from_stream(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in answer.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_maybe_shared(value);
            match (name, value) {
                (Ok(name), Ok(value)) if !HOP_BY_HOP.contains(&name) => {
                    response.headers_mut().append(name, value);
                }
                _ => {}
            }
        }
        Ok(response)
    }

    /// Tells all other members that a request is cancelled: any of them may run it, and only that one knows. Done when
    /// one says that it does, when all have answered, or when the time is up; a cancellation that came too late is
    /// none.
    pub(crate) fn spread<'a>(
        &'a self,
        incoming: &Incoming,
        cancellation: &Message,
    ) -> impl Future<Output = ()> + Send + use<'a> {
        let body = cancellation.object.to_line();
        let others = self.homes.others().into_iter();
        let mut told: FuturesUnordered<_> = others
            .map(|node| self.homes.forward(node, self.passed_on(incoming, body.clone(), true)))
            .collect();
        async move {
            let until_found = async {
                while let Some(answer) = told.next().await {
                    if answer.is_ok_and(|answer| answer.status == StatusCode::ACCEPTED.as_u16()) {
                        return;
                    }
                }
            };
            let _ = timeout(ms(self.config.spread_ms_max), until_found).await;
        }
    }

    fn passed_on(&self, incoming: &Incoming, body: Bytes, copy: bool) -> Forwarded {
        self.metrics.forwarded();
        let mut headers: Vec<(String, Bytes)> = incoming
            .headers
            .iter()
            .filter(|(name, _)| !HOP_BY_HOP.contains(name))
            .map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        // Over HTTP/2 the host stands in the target: the home node must see it, too.
        if let (false, Some(authority)) = (incoming.headers.contains_key("host"), incoming.uri.authority()) {
            headers.push(("host".to_owned(), Bytes::copy_from_slice(authority.as_str().as_bytes())));
        }
        let tenant = incoming.path_tenant.as_deref().and_then(|tenant| TenantId::new(tenant).ok());
        let method = incoming.method.as_str().to_owned();
        Forwarded { method, headers, body, source: incoming.source, tenant, copy }
    }
}

pub(crate) async fn handle_forwarded(inner: Arc<Inner>, request: Forwarded) -> ForwardedAnswer {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_maybe_shared(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let answer = match Method::from_bytes(request.method.as_bytes()) {
        Ok(method) => {
            let incoming = Incoming {
                method,
                headers,
                uri: Uri::default(),
                body: IncomingBody::Whole(request.body),
                source: request.source,
                path_tenant: request.tenant.map(|tenant| tenant.to_string()),
                forwarded: true,
                copy: request.copy,
            };
            handle(inner, incoming).await
        }
        Err(_) => empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    let (parts, body) = answer.into_parts();
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    ForwardedAnswer {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: body.into_data_stream().map(|chunk| chunk.map_err(std::io::Error::other)).boxed(),
    }
}
