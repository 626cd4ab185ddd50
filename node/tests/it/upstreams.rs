//! Upstreams as a cluster uses them: shared ones on any node, and those over https under an authority of the operator's.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Cluster, eventually};

fn demo_port(cluster: &Cluster) -> usize {
    cluster.http_port(0)
}

async fn add(cluster: &Cluster, id: &str, url: &str, more: &[&str]) {
    let args = ["upstream", "add", "--tenant", "acme", id, "--url", url, "--wait"];
    cluster.ctl(1, &[args.as_slice(), more].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_on_one_node_is_cancelled_through_another_also_without_the_sessions_home() {
    let mut cluster = Cluster::start(26).await;
    let url = format!("http://127.0.0.1:{}/mcp", demo_port(&cluster));
    add(&cluster, "all", &url, &["--shared-stateless"]).await;
    let home = cluster.client(1, &cluster.key("admin")).await;
    let teller = home.at(&cluster.mcp_url(3));
    for home_lives in [true, false] {
        if !home_lives {
            cluster.kill(1);
        }
        let mut caller = home.at(&cluster.mcp_url(2));
        let call = tokio::spawn(async move { caller.call("all__slow", json!({"ms": 60_000})).await });
        eventually("the call runs", async || cluster.metric(2, "only1mcp_requests_in_flight").await == 1.0)
            .await;
        // Whichever id it has: the client counts from 1.
        for id in 1..=3 {
            let cancel =
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
            assert_eq!(teller.post(&cancel.to_string()).await.unwrap().status, 202);
        }
        let exchange = call.await.unwrap();
        assert_eq!(exchange.answer["error"]["code"], -32800, "{exchange:?}");
        assert_eq!(cluster.metric(2, "only1mcp_requests_in_flight").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_upstream_is_trusted_by_the_node_whose_configuration_names_its_authority() {
    let mut cluster = Cluster::start(27).await;
    let port = terminate(&cluster).await;
    cluster.kill(1);
    let path = cluster.path("node-1.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.clone() + "upstreams: { ca: pki/absent.pem }\n").unwrap();
    cluster.spawn(1);
    assert_eq!(cluster.exit_code(1).await, Some(1));
    assert!(cluster.log("node-1.log").contains("upstreams.ca"), "{}", cluster.log("node-1.log"));
    std::fs::write(&path, text + "upstreams: { ca: pki/ca.pem }\n").unwrap();
    cluster.restart(1).await;
    add(&cluster, "far", &format!("https://localhost:{port}/mcp"), &[]).await;
    let mut trusting = cluster.client(1, &cluster.key("admin")).await;
    assert_eq!(trusting.call("far__echo", json!({"text": "safe"})).await.text(), Some("safe"));
    let mut wary = cluster.client(2, &cluster.key("admin")).await;
    let refused = wary.call("far__echo", json!({"text": "safe"})).await;
    assert_eq!(refused.refusal(), Some("upstream_failed"));
    let why = "upstream far cannot be reached (no trusted authority signed its certificate)";
    assert_eq!(refused.answer["error"]["message"], why);
    assert!(wary.tools().await.contains(&"demo__echo".to_owned()), "the others are not hidden by it");
}

/// TLS under node 3's certificate, before the demo server: the port it is at.
async fn terminate(cluster: &Cluster) -> u16 {
    let pem = |name: &str| std::fs::read(cluster.path(&format!("pki/{name}.pem"))).unwrap();
    let chain = CertificateDer::pem_slice_iter(&pem("node-3")).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem("node-3-key")).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (acceptor, behind) = (TlsAcceptor::from(Arc::new(config)), demo_port(cluster) as u16);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(stream).await else { return };
                let mut inside = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}
