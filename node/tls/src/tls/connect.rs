//! Reaching another node: by its name in the certificate, not by the address it happens to have.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsError;
use super::files::{TlsFiles, provider};
use super::keeper::Keeper;
use crate::pki::CertIdentity;

/// Which node must answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// The one of that name.
    Node(String),
    /// Any node of this cluster's authority: for joining, when only an address is known.
    AnyNode,
}

/// Connects to peer ports with this node's own certificate.
#[derive(Clone, Debug)]
pub struct NodeConnector {
    keeper: Arc<Keeper>,
    connect_ms_max: u64,
}

impl NodeConnector {
    pub fn new(keeper: Arc<Keeper>, connect_ms_max: u64) -> Self {
        Self { keeper, connect_ms_max }
    }

    /// Connects to `address` (host and port) and proves that the expected node answers; speaks HTTP/2.
    /// Errors: `Handshake` when it is another, or certified by nobody we trust. Nothing was sent to it then.
    pub async fn connect(&self, address: &str, expect: &Expect) -> Result<TlsStream<TcpStream>, TlsError> {
        let config = self.config(expect)?;
        // The name is not looked at by our verifier; TLS just wants one.
        let name = ServerName::try_from("node.only1mcp.internal").map_err(|_| TlsError::NoRoots)?;
        let connecting = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|source| TlsError::Connect { address: address.to_owned(), source })?;
            stream
                .set_nodelay(true)
                .map_err(|source| TlsError::Connect { address: address.to_owned(), source })?;
            TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
                .map_err(|source| TlsError::Handshake { address: address.to_owned(), source })
        };
        timeout(Duration::from_millis(self.connect_ms_max), connecting).await.map_err(|_| {
            TlsError::ConnectTimeout { address: address.to_owned(), deadline_ms: self.connect_ms_max }
        })?
    }

    fn config(&self, expect: &Expect) -> Result<ClientConfig, TlsError> {
        let material = self.keeper.current();
        let verifier = NodeVerifier {
            roots: material.roots.clone().ok_or(TlsError::NoRoots)?,
            expect: expect.clone(),
            algorithms: provider().signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.certified))));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Checks the chain as always, and the node's name where a browser would check the host's.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<RootCertStore>,
    expect: Expect,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let wrong_name = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        match (CertIdentity::of_der(end_entity), &self.expect) {
            (Ok(CertIdentity::Node { .. }), Expect::AnyNode) => Ok(ServerCertVerified::assertion()),
            (Ok(CertIdentity::Node { name }), Expect::Node(expected)) if name == *expected => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(wrong_name),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A client that checks the server's host name against the roots in `ca`, and shows the certificate in
/// `identity` where the server asks for one: for `ctl` and other callers from outside.
/// Errors: as `Keeper::load`.
pub fn client_config(
    ca: &std::path::Path,
    identity: Option<(&std::path::Path, &std::path::Path)>,
    alpn: &[&str],
) -> Result<ClientConfig, TlsError> {
    let bytes = std::fs::read(ca).map_err(|source| TlsError::Read { path: ca.to_path_buf(), source })?;
    let roots = super::files::roots(ca, &bytes)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let files = TlsFiles { certificate: certificate.to_path_buf(), key: key.to_path_buf(), ca: None };
            let material = files.parse(&files.read()?, 0)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(material.certified)))
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}
