//! HTTP over accepted connections.

use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::Duration;

use super::*;

fn router(open: Arc<Notify>) -> Router {
    Router::new()
        .route("/who", get(async |Extension(info): Extension<ConnectionInfo>| format!("{:?}", info.identity)))
        .route(
            "/slow",
            get(async move || {
                open.notify_one();
                tokio::time::sleep(Duration::from_millis(300)).await;
                "done"
            }),
        )
}

struct Site {
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    /// Told when a slow request has begun.
    open: Arc<Notify>,
}

async fn site(tls: Option<Arc<ServerTls>>, limits: HttpLimits) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, open) = (CancellationToken::new(), Arc::new(Notify::new()));
    let incoming = accept(listener, tls, anyone(), AcceptLimits::default(), stop.clone());
    let served = tokio::spawn(serve_http(incoming, router(Arc::clone(&open)), limits, stop.clone()));
    Site { address, stop, served, open }
}

async fn fetch(io: impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static, path: &str) -> String {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request =
        hyper::Request::get(path).header("host", "localhost").body(axum::body::Body::empty()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let bytes = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1 << 16).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn tls_stream(
    site: &Site,
    files: &TlsFiles,
    identity: &TlsFiles,
    alpn: &str,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let identity = Some((identity.certificate.as_path(), identity.key.as_path()));
    let config = client_config(files.ca.as_deref().unwrap(), identity, &[alpn]).unwrap();
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn every_request_knows_who_sent_it_over_both_versions_of_http() {
    let cluster = Cluster::new();
    let (files, admin) = (cluster.node("n1"), cluster.admin("ana"));
    let tls = ServerTls::new(keeper(&files), ClientCertificate::Optional, &["h2", "http/1.1"]).unwrap();
    let site = site(Some(tls), HttpLimits::default()).await;

    let stream = tls_stream(&site, &files, &admin, "http/1.1").await;
    let said = fetch(TokioIo::new(stream), "/who").await;
    assert_eq!(said, "Some(Admin { tenant: system, principal: ana })");

    let stream = tls_stream(&site, &files, &admin, "h2").await;
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("https://localhost/who").body(axum::body::Body::empty()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.version(), hyper::Version::HTTP_2);
    let bytes = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1 << 16).await.unwrap();
    assert_eq!(bytes, said.as_bytes());
}

#[tokio::test]
async fn plain_connections_are_anonymous() {
    let site = site(None, HttpLimits::default()).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    assert_eq!(fetch(TokioIo::new(stream), "/who").await, "None");
}

#[tokio::test]
async fn an_open_request_is_answered_before_the_port_closes() {
    let site = site(None, HttpLimits::default()).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let answer = tokio::spawn(fetch(TokioIo::new(stream), "/slow"));
    site.open.notified().await;
    site.stop.cancel();
    assert_eq!(answer.await.unwrap(), "done");
    site.served.await.unwrap();
    TcpStream::connect(site.address).await.unwrap_err();
}

#[tokio::test]
async fn a_request_that_outlives_the_drain_time_is_cut() {
    let limits = HttpLimits { drain_ms_max: 50, ..HttpLimits::default() };
    let site = site(None, limits).await;
    let stream = TcpStream::connect(site.address).await.unwrap();
    let answer = tokio::spawn(fetch(TokioIo::new(stream), "/slow"));
    site.open.notified().await;
    site.stop.cancel();
    site.served.await.unwrap();
    assert!(answer.await.is_err(), "the connection was cut");
}

#[tokio::test]
async fn a_client_that_does_not_send_its_headers_is_dropped() {
    let limits = HttpLimits { headers_ms_max: 200, ..HttpLimits::default() };
    let site = site(None, limits).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(b"GET /who HTTP/1.1\r\nhost: ").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection was left open");
}
