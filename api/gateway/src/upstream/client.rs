//! The HTTP client all upstreams share: HTTP/1.1, rustls, the system's roots.

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
    pub(crate) fn new(connect: Duration) -> Self {
        let client = tls().map(|tls| {
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
            let why = if error.is_connect() { "no connection" } else { "the connection broke" };
            UpstreamError::Connect { why }
        })
    }
}

fn tls() -> Option<ClientConfig> {
    use hyper_rustls::ConfigBuilderExt as _;

    let builder = ClientConfig::builder_with_provider(default_provider().into());
    let made =
        builder.with_safe_default_protocol_versions().and_then(|builder| match builder.with_native_roots() {
            Ok(builder) => Ok(builder.with_no_client_auth()),
            Err(error) => {
                // Without trust anchors every https upstream is refused, http ones go on.
                tracing::warn!(%error, "no system certificates: https upstreams cannot be reached");
                without_roots()
            }
        });
    made.inspect_err(|error| tracing::error!(%error, "no TLS: upstreams over HTTP cannot be reached")).ok()
}

fn without_roots() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}
