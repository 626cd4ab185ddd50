//! One gateway on loopback over a set of upstreams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use only1mcp_domain::ids::{TenantId, UpstreamId};
use only1mcp_domain::model::{HeaderSecret, SessionMode, Transport, Upstream};
use only1mcp_domain::time::TimestampMs;
use only1mcp_gateway::{Config, Gateway};
use tokio::time::Instant;

use crate::client::Client;
use crate::fake::{Fake, Homes};

pub struct World {
    pub fake: Arc<Fake>,
    pub homes: Arc<Homes>,
    pub gateway: Gateway,
    pub addr: SocketAddr,
}

impl World {
    pub async fn new(upstreams: Vec<Upstream>) -> Self {
        Self::with(1, upstreams, |_| {}).await
    }

    pub async fn with(node: u64, upstreams: Vec<Upstream>, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { reap_ms: 50, ..Config::default() };
        change(&mut config);
        let (fake, homes) = (Fake::new(node, upstreams), Arc::new(Homes::default()));
        let gateway = Gateway::new(fake.clone(), homes.clone(), config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let service = gateway.router().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { fake, homes, gateway, addr }
    }

    pub fn client(&self, key: &str) -> Client {
        Client::new(self.addr, key)
    }

    /// A client of ann's with an open session of the newest version.
    pub async fn ann(&self) -> Client {
        let mut client = self.client("key-ann");
        client.initialize("2025-11-25").await;
        client
    }

    pub async fn shutdown(&self) {
        self.gateway.shutdown(Instant::now() + Duration::from_secs(5)).await;
    }
}

pub fn upstream(id: &str, transport: Transport) -> Upstream {
    Upstream {
        tenant: TenantId::new("acme").unwrap(),
        id: UpstreamId::new(id).unwrap(),
        description: String::new(),
        transport,
        session_mode: SessionMode::PerSession,
        headers: vec![HeaderSecret { name: "x-secret".into(), value: "hush".into() }],
        enabled: true,
        disabled_tools: Vec::new(),
        concurrency_max: 16,
        call_timeout_ms: 20_000,
        created_at: TimestampMs(0),
        updated_at: TimestampMs(0),
    }
}

pub fn http(id: &str, addr: SocketAddr) -> Upstream {
    upstream(id, Transport::Http { url: format!("http://{addr}/mcp") })
}

pub fn shared(mut upstream: Upstream) -> Upstream {
    upstream.session_mode = SessionMode::SharedStateless;
    upstream
}

/// This very test binary, as an MCP server on its standard streams: see `real::stdio_upstream`.
pub fn stdio(id: &str) -> Upstream {
    let command = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    // Two threads: with one, the harness writes a test's name before the test, on the same line.
    let args =
        ["--exact", "real::stdio_upstream", "--nocapture", "--test-threads=2"].map(str::to_owned).into();
    let env = BTreeMap::from([("ONLY1MCP_TEST_STDIO".to_owned(), "1".to_owned())]);
    upstream(id, Transport::Stdio { command, args, env })
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
