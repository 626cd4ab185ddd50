//! The HTTP client all upstreams share: HTTP/1.1, rustls, the system's roots and those the operator adds.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::upstream::UpstreamError;

const POOL_IDLE_PER_HOST_MAX: usize = 32;
const POOL_IDLE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct HttpClient {
    /// `None` where not even an empty TLS configuration can be made.
    client: Option<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

impl HttpClient {
    pub(crate) fn new(connect: Duration, authorities: &[CertificateDer<'static>]) -> Self {
        let client = tls(authorities).map(|tls| {
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(connect));
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
                .build(builder.https_or_http().enable_http1().wrap_connector(tcp))
        });
        Self { client }
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let client = self.client.as_ref().ok_or(UpstreamError::Connect { why: "TLS is not available" })?;
        client.request(request).await.map_err(|error| {
            let broken = if error.is_connect() { "no connection" } else { "the connection broke" };
            UpstreamError::Connect { why: tls_error(&error).map_or(broken, why_not_trusted) }
        })
    }
}

/// Without trust anchors every https upstream is refused, http ones go on.
fn tls(authorities: &[CertificateDer<'static>]) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::warn!(%error, "some of the system's certificates cannot be read");
    }
    // The system's store may hold what rustls does not take.
    roots.add_parsable_certificates(native.certs);
    let (_, unusable) = roots.add_parsable_certificates(authorities.iter().cloned());
    if unusable > 0 {
        tracing::error!(unusable, "some of the authorities for upstreams cannot be used");
    }
    if roots.is_empty() {
        tracing::warn!("no trusted authorities: https upstreams cannot be reached");
    }
    let builder = ClientConfig::builder_with_provider(default_provider().into());
    let made = builder.with_safe_default_protocol_versions();
    made.map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .inspect_err(|error| tracing::error!(%error, "no TLS: upstreams over HTTP cannot be reached"))
        .ok()
}

/// The TLS error beneath a failed request; connectors wrap it in I/O errors, whose own `source` passes it by.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// For callers and operators, who must know which side to look at.
fn why_not_trusted(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;

    match error {
        // A bad signature is what an authority that was made anew under its old name looks like.
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "no trusted authority signed its certificate"
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another name"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        rustls::Error::InvalidCertificate(_) => "its certificate is not valid",
        _ => "no TLS connection",
    }
}
