//! What a listening port does with the present TLS material.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;

use super::TlsError;
use super::files::{Material, provider};
use super::keeper::Keeper;

/// Whether clients of a port show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientCertificate {
    /// Not asked for.
    None,
    /// Asked for; a client without one is let in, one with a bad one is not.
    Optional,
    /// No connection without one.
    Required,
}

/// The server side of TLS on one port.
pub struct ServerTls {
    keeper: Arc<Keeper>,
    clients: ClientCertificate,
    alpn: Vec<Vec<u8>>,
    /// The configuration made from the newest material seen.
    built: ArcSwapOption<Built>,
}

struct Built {
    generation: u64,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// A port that speaks these protocols (ALPN names, best first).
    /// Errors: `NoRoots` when client certificates are to be checked but no CA file is set.
    pub fn new(
        keeper: Arc<Keeper>,
        clients: ClientCertificate,
        alpn: &[&str],
    ) -> Result<Arc<Self>, TlsError> {
        let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let port = Self { keeper, clients, alpn, built: ArcSwapOption::empty() };
        port.config()?;
        Ok(Arc::new(port))
    }

    /// The configuration for the next connection.
    pub fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let material = self.keeper.current();
        if let Some(built) = self.built.load().as_ref()
            && built.generation == material.generation
        {
            return Ok(Arc::clone(&built.config));
        }
        let config = Arc::new(self.build(&material)?);
        let built = Built { generation: material.generation, config: Arc::clone(&config) };
        self.built.store(Some(Arc::new(built)));
        Ok(config)
    }

    fn build(&self, material: &Material) -> Result<ServerConfig, TlsError> {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match self.clients {
            ClientCertificate::None => builder.with_no_client_auth(),
            ClientCertificate::Optional | ClientCertificate::Required => {
                let roots = material.roots.clone().ok_or(TlsError::NoRoots)?;
                let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                if self.clients == ClientCertificate::Optional {
                    verifier = verifier.allow_unauthenticated();
                }
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let resolver = SingleCertAndKey::from(Arc::clone(&material.certified));
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols.clone_from(&self.alpn);
        if self.clients != ClientCertificate::None {
            // A resumed session would not look at the client's certificate again, whatever became of it since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("keeper", &self.keeper)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}
