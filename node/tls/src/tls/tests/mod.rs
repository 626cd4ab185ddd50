//! Real handshakes on loopback: who gets in, who does not, and what a changed file does.

mod handshakes;
mod reloads;
mod serving;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::time::TimestampMs;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::host::HostClock;
use crate::pki::{Authority, CertIdentity, ClientSubject, NodeSubject, Overwrite, PkiFolder, Validity};

/// An authority in a folder of its own, with all it issues.
struct Cluster {
    dir: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self { dir: tempfile::tempdir().unwrap() };
        let root = Authority::create(validity()).unwrap();
        cluster.folder().save_authority(&root, Overwrite::Refuse).unwrap();
        cluster
    }

    fn folder(&self) -> PkiFolder {
        PkiFolder::new(self.dir.path())
    }

    /// (Re)issues a node's certificate.
    fn node(&self, name: &str) -> TlsFiles {
        let subject = NodeSubject {
            name: name.to_owned(),
            dns: vec!["localhost".to_owned()],
            ips: vec!["127.0.0.1".parse().unwrap()],
        };
        let issued = self.folder().authority().unwrap().issue_node(&subject, validity()).unwrap();
        PkiFolder::save_issued(self.dir.path(), name, &issued, Overwrite::Replace).unwrap();
        self.files(name)
    }

    fn admin(&self, principal: &str) -> TlsFiles {
        let subject = ClientSubject {
            tenant: TenantId::new("system").unwrap(),
            principal: PrincipalId::new(principal).unwrap(),
        };
        let issued = self.folder().authority().unwrap().issue_client(&subject, validity()).unwrap();
        PkiFolder::save_issued(self.dir.path(), principal, &issued, Overwrite::Replace).unwrap();
        self.files(principal)
    }

    fn files(&self, name: &str) -> TlsFiles {
        let at = |file: String| -> PathBuf { self.dir.path().join(file) };
        TlsFiles {
            certificate: at(format!("{name}.pem")),
            key: at(format!("{name}-key.pem")),
            ca: Some(at("ca.pem".to_owned())),
        }
    }
}

fn validity() -> Validity {
    Validity::new(TimestampMs(HostClock.now_ms()), 2).unwrap()
}

fn keeper(files: &TlsFiles) -> Arc<Keeper> {
    Keeper::load(files.clone()).unwrap()
}

/// A connector that gives up soon.
fn connector(keeper: &Arc<Keeper>) -> NodeConnector {
    NodeConnector::new(Arc::clone(keeper), 2_000)
}

fn named(name: &str) -> Expect {
    Expect::Node(name.to_owned())
}

fn anyone() -> Admit {
    Arc::new(|_| true)
}

fn nodes_only() -> Admit {
    Arc::new(|identity| matches!(identity, Some(CertIdentity::Node { .. })))
}

/// A port that greets every admitted client with what it knows of it.
struct Port {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Port {
    async fn open(
        keeper: &Arc<Keeper>,
        clients: ClientCertificate,
        admit: Admit,
        limits: AcceptLimits,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let tls = ServerTls::new(Arc::clone(keeper), clients, &["h2"]).unwrap();
        let mut incoming = accept(listener, Some(tls), admit, limits, stop.clone());
        tokio::spawn(async move {
            while let Some(Ok(mut io)) = incoming.next().await {
                let greeting = match &io.info().identity {
                    Some(who) => who.to_string(),
                    None => "anonymous".to_owned(),
                };
                let _ = io.write_all(greeting.as_bytes()).await;
                let _ = io.shutdown().await;
            }
        });
        Self { address, _stop: stop.drop_guard() }
    }

    async fn of_node(keeper: &Arc<Keeper>) -> Self {
        Self::open(keeper, ClientCertificate::Required, nodes_only(), AcceptLimits::default()).await
    }

    /// What the port says to a node that connects; with TLS 1.3 a refused client learns it when it reads.
    async fn greet(&self, connector: &NodeConnector, expect: &Expect) -> Result<String, String> {
        let mut stream =
            connector.connect(&self.address.to_string(), expect).await.map_err(|error| error.to_string())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
        if text.is_empty() { Err("closed without a word".to_owned()) } else { Ok(text) }
    }

    /// What it says to a client that checks the host name and shows `identity`.
    async fn greet_client(&self, ca: &TlsFiles, identity: Option<&TlsFiles>) -> Result<String, String> {
        let identity = identity.map(|files| (files.certificate.as_path(), files.key.as_path()));
        let config =
            client_config(ca.ca.as_deref().unwrap(), identity, &["h2"]).map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream);
        let mut stream = connecting.await.map_err(|error| error.to_string())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
        if text.is_empty() { Err("closed without a word".to_owned()) } else { Ok(text) }
    }
}
