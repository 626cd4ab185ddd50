//! Upstreams over https: a real rustls server, trusted by the authority the operator names, and by no other.

use std::net::SocketAddr;
use std::sync::Arc;

use only1mcp_domain::activity::CallOutcome;
use only1mcp_domain::model::{Transport, Upstream};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::client::request;
use crate::real::serve;
use crate::world::{World, upstream};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// TLS under a certificate for `name`, before the server at `behind`.
    async fn terminate(&self, name: &str, behind: SocketAddr) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let (acceptor, listener) = (
            TlsAcceptor::from(Arc::new(config)),
            tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let mut inside = tokio::net::TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        addr
    }
}

fn https(addr: SocketAddr) -> Upstream {
    upstream("up", Transport::Http { url: format!("https://localhost:{}/mcp", addr.port()) })
}

#[tokio::test]
async fn an_https_upstream_under_a_named_authority_lists_calls_and_streams() {
    let (authority, (plain, _)) = (Authority::new("ours"), serve().await);
    let addr = authority.terminate("localhost", plain).await;
    let world =
        World::with(1, vec![https(addr)], |config| config.upstream_authorities = vec![authority.der()]).await;
    let client = world.ann().await;
    assert!(client.names("tools/list", "tools").await.contains(&"up__echo".to_owned()));
    let params = json!({"name": "up__progress", "_meta": {"progressToken": 7}});
    let mut answer = client.post(&request(1, "tools/call", params)).await;
    for step in 1..=3 {
        assert_eq!(answer.message().await["params"]["progress"].as_f64(), Some(f64::from(step)));
    }
    assert_eq!(answer.message().await["result"]["content"][0]["text"], "done");
    world.shutdown().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_named_as_the_reason() {
    let (authority, (plain, _)) = (Authority::new("ours"), serve().await);
    let (stranger, namesake) = (Authority::new("theirs"), Authority::new("ours"));
    let named = authority.terminate("elsewhere.example", plain).await;
    let good = authority.terminate("localhost", plain).await;
    let cases = [
        (good, vec![namesake.der()], "no trusted authority signed its certificate"),
        (good, vec![stranger.der()], "no trusted authority signed its certificate"),
        (good, vec![], "no trusted authority signed its certificate"),
        (named, vec![authority.der()], "its certificate is for another name"),
        (plain, vec![authority.der()], "no TLS connection"),
    ];
    for (addr, authorities, why) in cases {
        let world =
            World::with(1, vec![https(addr)], |config| config.upstream_authorities = authorities).await;
        let client = world.ann().await;
        let error = client.call(1, "up__echo", json!({})).await["error"].clone();
        assert_eq!(error["message"], format!("upstream up cannot be reached ({why})"));
        assert_eq!(error["data"]["code"], "upstream_failed");
        assert_eq!(world.fake.completed_once().await.outcome, CallOutcome::UpstreamFailed);
        world.shutdown().await;
    }
}
