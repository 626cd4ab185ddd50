//! The upstreams' HTTP client, for the node's other requests to the outside: the same TLS, the same authorities.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;

use crate::upstream::HttpClient;

/// Follows no redirect. Cheap to clone.
#[derive(Clone)]
pub struct Outbound(HttpClient);

impl Outbound {
    /// Trusts the system's authorities and these.
    pub fn new(connect: Duration, authorities: &[CertificateDer<'static>]) -> Self {
        Self(HttpClient::new(connect, authorities))
    }

    /// The answer's head, its body still to be read. Errors: what failed, without address or header.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, String> {
        self.0.send(request).await.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}
