//! The HTTP client all upstreams share: HTTP/1.1, rustls, the system's roots.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs::default_provider;

const POOL_IDLE_PER_HOST_MAX: usize = 32;
const POOL_IDLE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct HttpClient(pub(crate) Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(connect: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        let builder = HttpsConnectorBuilder::new();
        let connector = match builder.with_provider_and_native_roots(default_provider()) {
            Ok(builder) => builder.https_or_http().enable_http1().wrap_connector(tcp),
            Err(error) => {
                // No trust anchors: every https upstream is refused, http ones go on.
                tracing::warn!(%error, "no system certificates: https upstreams cannot be reached");
                let roots = rustls::RootCertStore::empty();
                let tls = rustls::ClientConfig::builder_with_provider(default_provider().into())
                    .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12]);
                return Self::without_roots(tcp, tls.map(|t| t.with_root_certificates(roots).with_no_client_auth()));
            }
        };
        Self::with(connector)
    }

    fn without_roots(tcp: HttpConnector, tls: Result<rustls::ClientConfig, rustls::Error>) -> Self {
        let tls = tls.unwrap_or_else(|_| {
            rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        });
        Self::with(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp))
    }

    fn with(connector: HttpsConnector<HttpConnector>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
            .build(connector);
        Self(client)
    }
}
