//! Webhooks over https: a receiver under the operator's own authority is told, and one under an unknown authority is
//! told nothing while the webhook says why.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Cluster, eventually};
use crate::webhooks::{LEVELS, Receiver, delivery, set_at, spend};

/// An authority and a certificate of its for 127.0.0.1, made as an operator can make them.
async fn authority(cluster: &Cluster, folder: &Path) {
    let folder = folder.to_str().unwrap();
    for args in
        [&["pki", "ca", "--dir", folder][..], &["pki", "node", "hook", "--dir", folder, "--ip", "127.0.0.1"]]
    {
        let (made, said) = cluster.run(args).await;
        assert!(made, "{args:?}: {said}");
    }
}

/// A receiver with the certificate of that folder; its port.
async fn listen(receiver: &Receiver, folder: &Path) -> u16 {
    let chain = CertificateDer::pem_file_iter(folder.join("hook.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("hook-key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let receiver = receiver.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, receiver) = (acceptor.clone(), receiver.clone());
            tokio::spawn(async move { receiver.take(acceptor.accept(stream).await.ok()?).await });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_is_told_once_the_operator_trusts_its_authority_and_nothing_before() {
    let mut cluster = Cluster::start(103).await;
    let folder = cluster.path("hooks");
    authority(&cluster, &folder).await;
    let receiver = Receiver::default();
    let port = listen(&receiver, &folder).await;
    let secret = set_at(&cluster, &format!("https://127.0.0.1:{port}/budgets")).await;
    spend(&cluster, 2).await;
    for node in 1..=3 {
        eventually(&format!("node {node} says why"), async || {
            let shown = delivery(&cluster, node).await;
            let why = shown["last_error"].as_str().unwrap_or_default().to_owned();
            shown["attempts"] != 0 && why.contains("no trusted authority signed its certificate")
        })
        .await;
    }
    assert_eq!(receiver.count(), 0, "a stranger is sent nothing");

    // As the operator puts it right: one node after the other.
    for node in 1..=3 {
        let config = cluster.path(&format!("node-{node}.yaml"));
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}webhooks: {{ ca: hooks/ca.pem }}\n")).unwrap();
        cluster.kill(node);
        cluster.restart(node).await;
    }
    eventually("every level arrives", async || receiver.levels(&secret) == LEVELS).await;
    eventually("nothing fails any more", async || {
        let shown = delivery(&cluster, 1).await;
        shown["attempts"] == 0 && shown["last_error"] == ""
    })
    .await;
}
