//! A development cluster of the product's own binary, with the echo server behind it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{Guard, pick_ports};
use crate::load::{Client, Target};

const BINARY: &str = env!("CARGO_BIN_EXE_only1mcp");
const READY: Duration = Duration::from_secs(60);

pub struct Cluster {
    /// `dev.json`.
    pub about: Value,
    pub addresses: Vec<SocketAddr>,
    /// Clients with a session each, spread over the nodes. Made once: a principal may not have many.
    pub targets: Vec<Target>,
    process: Guard,
}

impl Cluster {
    pub async fn start(folder: &Path, nodes: u16, upstream: SocketAddr, clients: usize) -> Self {
        let dir: PathBuf = folder.join(format!("cluster-{nodes}"));
        let log = folder.join(format!("cluster-{nodes}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let process = Guard::start(
            Command::new(BINARY)
                .args(["dev", "--nodes", &nodes.to_string(), "--base-port", &pick_ports(41).to_string()])
                .arg("--dir")
                .arg(&dir)
                .stdin(Stdio::null())
                .stdout(file.try_clone().unwrap())
                .stderr(file),
        );
        let mut cluster = Self { about: Value::Null, addresses: Vec::new(), targets: Vec::new(), process };
        let until = tokio::time::Instant::now() + READY;
        while cluster.about.is_null() {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(!cluster.process.ended(), "only1mcp dev ended: {}", said());
            assert!(tokio::time::Instant::now() < until, "only1mcp dev is not ready: {}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
            if let Ok(bytes) = std::fs::read(dir.join("dev.json")) {
                cluster.about = serde_json::from_slice(&bytes).unwrap();
            }
        }
        let nodes = cluster.about["nodes"].as_array().unwrap();
        let address = |node: &Value| {
            let url = node["http_url"].as_str().unwrap();
            url.trim_start_matches("http://").parse().unwrap()
        };
        cluster.addresses = nodes.iter().map(address).collect();
        let url = format!("http://{upstream}/mcp");
        let shared = ["--tenant", "system", "--shared-stateless", "--concurrency", "1000"];
        cluster.ctl(&[&["upstream", "add", "bench", "--url", &url], shared.as_slice()].concat());
        cluster.targets = cluster.sessions(clients).await;
        cluster
    }

    pub fn ctl(&self, args: &[&str]) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let output = Command::new(BINARY)
            .arg("ctl")
            .args(args)
            .env("ONLY1MCP_ENDPOINT", text(&self.about["nodes"][0]["admin_url"]))
            .env("ONLY1MCP_CA", text(&self.about["ca"]))
            .env("ONLY1MCP_KEY", text(&self.about["root_key"]))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "ctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn pids(&self) -> Vec<u32> {
        let nodes = self.about["nodes"].as_array().unwrap();
        nodes.iter().map(|node| u32::try_from(node["pid"].as_u64().unwrap()).unwrap()).collect()
    }

    /// Switches the tenant, and returns when answers on every node carry a receipt of that mode.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub async fn seal_mode(&self, mode: &str) {
        let tenant = self.about["tenants"][0]["id"].as_str().unwrap();
        self.ctl(&[
            "tenant",
            "update",
            tenant,
            "--seal-mode",
            mode,
            "--quota",
            "max_requests_per_minute=unlimited",
            "--quota",
            "max_concurrent_requests=unlimited",
        ]);
        for target in self.targets.iter().take(self.addresses.len()) {
            let mut client = Client::connect(target.clone()).await;
            let until = tokio::time::Instant::now() + READY;
            loop {
                let answer = client.show().await.unwrap();
                let meta = answer["result"]["_meta"].as_object();
                let mut said =
                    meta.into_iter().flat_map(|meta| meta.values()).filter_map(|value| value.get("mode"));
                if said.any(|said| said == mode) {
                    break;
                }
                assert!(tokio::time::Instant::now() < until, "no answer says {mode}: {answer}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn sessions(&self, count: usize) -> Vec<Target> {
        self.sessions_of(0, count).await
    }

    /// Sessions of a tenant's administrator, in turn on each node.
    pub async fn sessions_of(&self, tenant: usize, count: usize) -> Vec<Target> {
        let key = self.about["tenants"][tenant]["keys"]["admin"].as_str().unwrap();
        let mut targets = Vec::new();
        for address in self.addresses.iter().cycle().take(count) {
            let key = Some(key.to_owned());
            let mut target = Target { address: *address, tool: "bench__echo", key, session: None };
            target.session = Some(Client::connect(target.clone()).await.initialize().await.unwrap());
            targets.push(target);
        }
        targets
    }

    /// The value of a metric without labels, on the first node.
    #[allow(dead_code, reason = "not every benchmark looks at the log")]
    pub async fn metric(&self, name: &str) -> f64 {
        let text = metrics(self.addresses[0], self.about["root_key"].as_str().unwrap()).await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }

    /// Admissions committed so far and the seconds they took together, as the nodes' own metrics tell.
    #[allow(dead_code, reason = "not every benchmark asks")]
    pub async fn commits(&self) -> (f64, f64) {
        let mut total = (0.0, 0.0);
        for address in &self.addresses {
            let text = metrics(*address, self.about["root_key"].as_str().unwrap()).await;
            let value = |name: &str| {
                let line = text.lines().find(|line| line.contains(name)).unwrap_or_default();
                line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
            };
            total.0 += value("commit_seconds_count");
            total.1 += value("commit_seconds_sum");
        }
        total
    }
}

async fn metrics(address: SocketAddr, key: &str) -> String {
    use http_body_util::{BodyExt as _, Empty};
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("/metrics").header("host", address.to_string());
    let request = request.header("authorization", format!("Bearer {key}"));
    let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
