//! The way to the server: where it is, what proves who we are, how new an answer must be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use hyper_util::rt::TokioIo;
use only1mcp_proto::admin as pb;
use only1mcp_proto::admin::audit_client::AuditClient;
use only1mcp_proto::admin::backups_client::BackupsClient;
use only1mcp_proto::admin::budgets_client::BudgetsClient;
use only1mcp_proto::admin::cluster_client::ClusterClient;
use only1mcp_proto::admin::costs_client::CostsClient;
use only1mcp_proto::admin::decisions_client::DecisionsClient;
use only1mcp_proto::admin::prices_client::PricesClient;
use only1mcp_proto::admin::principals_client::PrincipalsClient;
use only1mcp_proto::admin::roles_client::RolesClient;
use only1mcp_proto::admin::subjects_client::SubjectsClient;
use only1mcp_proto::admin::tenants_client::TenantsClient;
use only1mcp_proto::admin::upstreams_client::UpstreamsClient;
use only1mcp_proto::admin::webhooks_client::WebhooksClient;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

use super::output::{Output, Printer};
use super::parse;

const CONNECT: Duration = Duration::from_secs(5);
/// An answer larger than this is refused; pages stay far below.
const ANSWER_BYTES_MAX: usize = 32 << 20;

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The admin address of any node, as https://HOST:PORT (http:// on loopback).
    #[arg(long, global = true, env = "ONLY1MCP_ENDPOINT", default_value = "https://127.0.0.1:7402")]
    pub endpoint: String,
    /// Certificates of the authority that certified the nodes.
    #[arg(long, global = true, value_name = "FILE", env = "ONLY1MCP_CA")]
    pub ca: Option<PathBuf>,
    /// API key. Better in the environment or a file: arguments are seen by every process of the host.
    #[arg(long, global = true, env = "ONLY1MCP_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// A file that holds the API key.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// Client certificate, instead of a key.
    #[arg(long, global = true, value_name = "FILE", requires = "cert_key", env = "ONLY1MCP_CERT")]
    pub cert: Option<PathBuf>,
    /// The client certificate's private key.
    #[arg(long, global = true, value_name = "FILE", env = "ONLY1MCP_CERT_KEY")]
    pub cert_key: Option<PathBuf>,
    /// How long one request may take, as 500ms, 10s or 2m.
    #[arg(long, global = true, value_parser = parse::duration_ms, default_value = "10s")]
    pub timeout: u64,
    /// How new the state that a read is answered from must be.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub consistency: Level,
    /// With `--consistency local`: how old the state may be, as 500ms or 10s.
    #[arg(long, global = true, value_parser = parse::duration_ms)]
    pub staleness_max: Option<u64>,
    /// With `--consistency local`: the log index the state must have reached.
    #[arg(long, global = true)]
    pub revision_min: Option<u64>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    #[default]
    Linearizable,
    Lease,
    Local,
}

/// Adds credentials and deadline to each request.
#[derive(Clone)]
pub struct Credentials {
    bearer: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        // A stream's own deadline, where it has one, is longer.
        if request.metadata().get("grpc-timeout").is_none() {
            request.set_timeout(self.timeout);
        }
        Ok(request)
    }
}

pub type Api = InterceptedService<Channel, Credentials>;

/// One open connection and how its answers are shown.
pub struct Session {
    api: Api,
    pub(super) printer: Printer,
    pub(super) timeout: Duration,
    consistency: pb::Consistency,
}

macro_rules! clients {
    ($($name:ident $client:ident;)*) => {
        impl Session {
            $(pub(super) fn $name(&self) -> $client<Api> {
                $client::new(self.api.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
            })*
        }
    };
}

clients! {
    cluster ClusterClient;
    tenants TenantsClient;
    principals PrincipalsClient;
    roles RolesClient;
    decisions DecisionsClient;
    upstreams UpstreamsClient;
    budgets BudgetsClient;
    webhooks WebhooksClient;
    subjects SubjectsClient;
    prices PricesClient;
    costs CostsClient;
    audit AuditClient;
    backups BackupsClient;
}

impl Session {
    pub(super) async fn open(connection: &Connection, output: Output) -> anyhow::Result<Self> {
        Ok(Self {
            api: connection.api().await?,
            printer: Printer::new(output),
            timeout: Duration::from_millis(connection.timeout),
            consistency: connection.wanted()?,
        })
    }

    pub(super) fn consistency(&self) -> Option<pb::Consistency> {
        Some(self.consistency)
    }
}

impl Connection {
    /// As `--endpoint`, `--ca` and `--key` would make it.
    pub fn with_key(endpoint: &str, ca: &Path, key: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            ca: Some(ca.to_owned()),
            key: Some(key.to_owned()),
            key_file: None,
            cert: None,
            cert_key: None,
            timeout: 10_000,
            consistency: Level::default(),
            staleness_max: None,
            revision_min: None,
        }
    }

    /// Connects. Errors: say what of endpoint, files or network is wrong.
    pub async fn api(&self) -> anyhow::Result<Api> {
        let credentials =
            Credentials { bearer: self.bearer()?, timeout: Duration::from_millis(self.timeout) };
        Ok(InterceptedService::new(self.channel().await?, credentials))
    }

    fn bearer(&self) -> anyhow::Result<Option<MetadataValue<Ascii>>> {
        let key = match (&self.key, &self.key_file) {
            (Some(key), _) => key.clone(),
            (None, Some(file)) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
            }
            (None, None) => return Ok(None),
        };
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", key.trim())
            .parse()
            .context("the API key holds characters that no key has")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn wanted(&self) -> anyhow::Result<pb::Consistency> {
        use pb::consistency::Level as Wire;
        if self.consistency != Level::Local && (self.staleness_max.is_some() || self.revision_min.is_some()) {
            bail!("--staleness-max and --revision-min go with --consistency local");
        }
        let level = match self.consistency {
            Level::Linearizable => Wire::Linearizable,
            Level::Lease => Wire::Lease,
            Level::Local => Wire::Local,
        };
        Ok(pb::Consistency {
            level: level.into(),
            staleness_ms_max: self.staleness_max.unwrap_or_default(),
            revision_min: self.revision_min.unwrap_or_default(),
        })
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        let uri: Uri = self.endpoint.parse().with_context(|| format!("{} is no address", self.endpoint))?;
        let host = uri.host().with_context(|| format!("{} names no host", self.endpoint))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => Some(self.tls(&host)?),
            Some("http") if is_loopback(&host) => None,
            Some("http") => {
                bail!("http:// is for loopback addresses only: the API key would be sent in the clear")
            }
            _ => bail!("{} begins neither with https:// nor with http://", self.endpoint),
        };
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let endpoint = Endpoint::from(uri).connect_timeout(CONNECT);
        let connector = tower::service_fn(move |_: Uri| {
            let (host, tls) = (host.clone(), tls.clone());
            async move { connect(&host, port, tls).await }
        });
        let connecting = endpoint.connect_with_connector(connector).await;
        connecting.with_context(|| format!("cannot connect to {}", self.endpoint))
    }

    fn tls(&self, host: &str) -> anyhow::Result<(TlsConnector, ServerName<'static>)> {
        let ca: &Path =
            self.ca.as_deref().context("--ca (or ONLY1MCP_CA) is needed to know the server by")?;
        let identity = self.cert.as_deref().zip(self.cert_key.as_deref());
        let config = only1mcp_tls::tls::client_config(ca, identity, &["h2"])?;
        let name =
            ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no host name"))?;
        Ok((TlsConnector::from(Arc::new(config)), name))
    }
}

type Stream = Box<dyn Duplex>;

/// Bytes in both directions, plain or under TLS.
trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Duplex for T {}

async fn connect(
    host: &str,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
) -> std::io::Result<TokioIo<Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let stream: Stream = match tls {
        None => Box::new(stream),
        Some((connector, name)) => Box::new(connector.connect(name, stream).await?),
    };
    Ok(TokioIo::new(stream))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
