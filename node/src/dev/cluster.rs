//! The processes of a development cluster: how they are set up, started, killed and ended.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use only1mcp_domain::time::TimestampMs;
use tokio::time::{Instant, sleep};

use crate::config::NodeConfig;
use crate::dev::child::Process;
use crate::dev::summary::{self, DevFile, DevNode, DevTenant};
use crate::dev::{DevArgs, seed};
use crate::serve::control::{self, ControlAnswer, ControlRequest};
use crate::{pki, print};

/// How long a node may take to come up.
const READY: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(12);
const POLL: Duration = Duration::from_millis(20);
const CERTIFICATE_DAYS: u32 = 365;

/// One node's process and addresses.
pub struct Node {
    pub file: DevNode,
    config_path: PathBuf,
    /// `None` after it was killed.
    process: Option<Process>,
}

pub struct Cluster {
    pub dir: PathBuf,
    pub ca: PathBuf,
    pub root_key: String,
    pub nodes: Vec<Node>,
    pub tenants: Vec<DevTenant>,
    pub ready_after_ms: u128,
    demo: Process,
}

impl Cluster {
    /// Starts everything and writes `dev.json` last, when all nodes are ready.
    pub(super) async fn start(args: &DevArgs) -> anyhow::Result<Self> {
        let began = Instant::now();
        std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make {}", args.dir.display()))?;
        let dir = args.dir.canonicalize()?;
        let upstreams = seed::parse_upstreams(&args.upstream)?;
        let file_path = dir.join("dev.json");
        let earlier =
            summary::read(&file_path).with_context(|| format!("{} is not readable", file_path.display()))?;
        if let Some(earlier) = &earlier {
            ensure!(
                earlier.nodes.len() == usize::from(args.nodes),
                "{} holds a cluster of {} nodes: give --nodes {} or another --dir",
                dir.display(),
                earlier.nodes.len(),
                earlier.nodes.len()
            );
            // Programs wait for the file: it must not be there before the nodes are ready again.
            std::fs::remove_file(&file_path)?;
        }
        let ca = dir.join("pki").join(pki::CA_BUNDLE_FILE);
        let demo_port = port(args.base_port, u16::MAX)?;
        let demo = demo(&dir, demo_port)?;
        let mut cluster = Self {
            nodes: Vec::new(),
            root_key: earlier.as_ref().map(|e| e.root_key.clone()).unwrap_or_default(),
            tenants: earlier.as_ref().map(|e| e.tenants.clone()).unwrap_or_default(),
            ca,
            ready_after_ms: 0,
            demo,
            dir,
        };
        if earlier.is_none() {
            cluster.make_files(args)?;
        }
        match cluster.bring_up(args, earlier.is_some(), demo_port, &upstreams).await {
            Ok(()) => {}
            Err(error) => {
                cluster.stop().await;
                return Err(error);
            }
        }
        cluster.ready_after_ms = began.elapsed().as_millis();
        summary::write(&file_path, &cluster.file())?;
        Ok(cluster)
    }

    async fn bring_up(
        &mut self,
        args: &DevArgs,
        restart: bool,
        demo_port: u16,
        upstreams: &[seed::NamedUpstream],
    ) -> anyhow::Result<()> {
        print::progress(format!("starting {} nodes in {} …", args.nodes, self.dir.display()));
        if restart {
            for number in 1..=args.nodes {
                self.start_node(number, args.base_port)?;
            }
        } else {
            self.start_node(1, args.base_port)?;
            self.root_key = self.init().await?;
            for number in 2..=args.nodes {
                let token = seed::join_token(self).await?;
                write_secret(&self.dir.join(format!("join-{number}.token")), &token)?;
                self.start_node(number, args.base_port)?;
                // Ids are given in the order of joining.
                seed::wait_for_member(self, &format!("node-{number}")).await?;
            }
        }
        self.wait_demo(demo_port).await?;
        for index in 0..self.nodes.len() {
            self.wait_ready(index).await?;
        }
        if restart {
            seed::upstreams(self, demo_port, upstreams).await
        } else {
            self.tenants = seed::everything(self, demo_port, upstreams).await?;
            seed::wait_for_voters(self).await
        }
    }

    /// CA, certificates, key files and configurations.
    fn make_files(&self, args: &DevArgs) -> anyhow::Result<()> {
        let names: Vec<String> = (1..=args.nodes).map(|n| format!("node-{n}")).collect();
        make_certificates(&self.dir.join("pki"), &names)?;
        let keys = self.dir.join("keys");
        std::fs::create_dir_all(&keys)?;
        for name in &names {
            // Kept from an attempt that did not get as far as a cluster: nothing but its own folders may need it.
            let path = keys.join(format!("{name}.json"));
            if !path.exists() {
                only1mcp_keys::KeyFile::create(&path)?;
            }
        }
        for number in 1..=args.nodes {
            let config = self.node_config(number, args.base_port)?;
            std::fs::write(self.dir.join(format!("node-{number}.yaml")), serde_norway::to_string(&config)?)?;
        }
        Ok(())
    }

    fn node_config(&self, number: u16, base: u16) -> anyhow::Result<NodeConfig> {
        let name = format!("node-{number}");
        let zone = format!("zone-{}", char::from(b'a' + u8::try_from(number.saturating_sub(1) % 3)?));
        let join = if number == 1 {
            String::new()
        } else {
            format!(
                "join: {{ peers: ['127.0.0.1:{}'], token_file: join-{number}.token }}\n",
                peer_port(base, 1)?
            )
        };
        let text = format!(
            "name: {name}\n\
             data_dir: {name}\n\
             region: local\n\
             zone: {zone}\n\
             peer: {{ listen: '127.0.0.1:{}', tls: {{ cert: pki/{name}.pem, key: pki/{name}-key.pem, ca: pki/ca.pem }} }}\n\
             admin: {{ listen: '127.0.0.1:{}', tls: {{ cert: pki/{name}.pem, key: pki/{name}-key.pem, ca: pki/ca.pem }} }}\n\
             http: {{ listen: '127.0.0.1:{}' }}\n\
             keys: {{ file: keys/{name}.json }}\n\
             form: {{ cluster_name: dev }}\n\
             shutdown_ms: 3000\n\
             {join}",
            peer_port(base, number)?,
            admin_port(base, number)?,
            http_port(base, number)?,
        );
        Ok(serde_norway::from_str(&text)?)
    }

    fn start_node(&mut self, number: u16, base: u16) -> anyhow::Result<()> {
        let config_path = self.dir.join(format!("node-{number}.yaml"));
        let process = start_process(&self.dir, number, &config_path)?;
        let http = http_port(base, number)?;
        self.nodes.push(Node {
            file: DevNode {
                id: u64::from(number),
                pid: process.pid,
                mcp_url: format!("http://127.0.0.1:{http}/mcp"),
                http_url: format!("http://127.0.0.1:{http}"),
                admin_url: format!("https://127.0.0.1:{}", admin_port(base, number)?),
                peer_addr: format!("127.0.0.1:{}", peer_port(base, number)?),
            },
            config_path,
            process: Some(process),
        });
        Ok(())
    }

    /// Forms the cluster on the first node, as an operator would on its host.
    async fn init(&mut self) -> anyhow::Result<String> {
        let socket = self.dir.join("node-1").join("control.sock");
        let until = Instant::now() + READY;
        while !socket.exists() {
            self.check_alive(0)?;
            ensure!(Instant::now() < until, "node 1 did not start; see {}", self.log_of(1).display());
            sleep(POLL).await;
        }
        let request = ControlRequest::Init { administrator: "root".to_owned() };
        loop {
            match control::request(&socket, &request).await? {
                ControlAnswer::AdministratorKey { key, .. } => return Ok(key),
                // It opens its folder first.
                ControlAnswer::Failed { code, .. } if code == "NOT_READY" && Instant::now() < until => {
                    sleep(POLL).await;
                }
                ControlAnswer::Failed { code, message } => anyhow::bail!("init: {message} ({code})"),
                other => anyhow::bail!("init: unexpected answer {other:?}"),
            }
        }
    }

    async fn wait_ready(&mut self, index: usize) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        let url = self.node(index)?.file.http_url.clone();
        let mut last = String::new();
        while Instant::now() < until {
            self.check_alive(index)?;
            match crate::dev::mcp_client::get(&format!("{url}/health/ready")).await {
                Ok((200, _)) => return Ok(()),
                Ok((_, text)) => last = text,
                Err(_) => {}
            }
            sleep(POLL).await;
        }
        anyhow::bail!("node {} is {}; see {}", index + 1, last.trim(), self.log_of(index + 1).display())
    }

    async fn wait_demo(&mut self, port: u16) -> anyhow::Result<()> {
        let until = Instant::now() + READY;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let log = self.dir.join("demo.log");
            if let Some(how) = self.demo.ended() {
                anyhow::bail!("the demo server ended ({how}); the end of {}:\n{}", log.display(), tail(&log));
            }
            ensure!(Instant::now() < until, "the demo server did not start; see {}", log.display());
            sleep(POLL).await;
        }
        Ok(())
    }

    fn check_alive(&mut self, index: usize) -> anyhow::Result<()> {
        let log = self.log_of(index + 1);
        let node = self.nodes.get_mut(index).context("no such node")?;
        if let Some(how) = node.process.as_mut().and_then(Process::ended) {
            let tail = tail(&log);
            anyhow::bail!("node {} ended ({how}); the end of {}:\n{tail}", index + 1, log.display());
        }
        Ok(())
    }

    fn log_of(&self, number: usize) -> PathBuf {
        self.dir.join(format!("node-{number}.log"))
    }

    pub(super) fn node(&self, index: usize) -> anyhow::Result<&Node> {
        self.nodes.get(index).with_context(|| format!("there is no node {}", index + 1))
    }

    pub(super) fn mcp_url(&self, index: usize) -> anyhow::Result<String> {
        Ok(self.node(index.min(self.nodes.len().saturating_sub(1)))?.file.mcp_url.clone())
    }

    pub(super) fn pid(&self, index: usize) -> anyhow::Result<u32> {
        Ok(self.node(index)?.file.pid)
    }

    /// A node that runs.
    pub(super) fn alive(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.process.is_some())
    }

    pub(super) fn other_than(&self, index: usize) -> Option<usize> {
        (0..self.nodes.len()).find(|i| *i != index && self.nodes.get(*i).is_some_and(|n| n.process.is_some()))
    }

    pub(super) async fn kill(&mut self, index: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(index).context("no such node")?;
        match node.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    pub(super) async fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        let dir = self.dir.clone();
        let node = self.nodes.get_mut(index).context("no such node")?;
        let number = u16::try_from(index + 1)?;
        let process = start_process(&dir, number, &node.config_path)?;
        node.file.pid = process.pid;
        node.process = Some(process);
        self.wait_ready(index).await?;
        summary::write(&self.dir.join("dev.json"), &self.file())
    }

    /// Index of the leader's node, as a running node sees it.
    pub(super) async fn leader(&self) -> anyhow::Result<usize> {
        let until = Instant::now() + READY;
        loop {
            let index = self.alive().context("no node runs")?;
            if let Ok(Some(leader)) = seed::leader(self, index).await {
                let leader = usize::try_from(leader.saturating_sub(1))?;
                if self.nodes.get(leader).is_some_and(|node| node.process.is_some()) {
                    return Ok(leader);
                }
            }
            ensure!(Instant::now() < until, "no leader was elected");
            sleep(POLL).await;
        }
    }

    /// Runs `only1mcp ctl ARGS…` against a node, as the operator.
    pub(super) async fn ctl(&self, index: usize, args: &[&str]) -> anyhow::Result<String> {
        let index = index.min(self.nodes.len().saturating_sub(1));
        println!("  $ only1mcp ctl {}   (on node {})", args.join(" "), index + 1);
        let output = tokio::process::Command::new(std::env::current_exe()?)
            .arg("ctl")
            .args(args)
            .env("ONLY1MCP_ENDPOINT", &self.node(index)?.file.admin_url)
            .env("ONLY1MCP_CA", &self.ca)
            .env("ONLY1MCP_KEY", &self.root_key)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "it failed: {}{text}", String::from_utf8_lossy(&output.stderr));
        Ok(text)
    }

    fn file(&self) -> DevFile {
        DevFile {
            ca: self.ca.display().to_string(),
            root_key: self.root_key.clone(),
            nodes: self.nodes.iter().map(|node| node.file.clone()).collect(),
            tenants: self.tenants.clone(),
        }
    }

    /// Resolves when there is nothing left to look at. One node that ends is told and leaves the others running: that
    /// they go on is what a cluster is for.
    pub(super) async fn nobody_left(&mut self) -> String {
        loop {
            for (index, node) in self.nodes.iter_mut().enumerate() {
                if let Some(how) = node.process.as_mut().and_then(Process::ended) {
                    node.process = None;
                    let config = node.config_path.display();
                    print::progress(format!(
                        "node {} ended ({how}); start it again with `only1mcp serve --config {config}`",
                        index + 1
                    ));
                }
            }
            if self.alive().is_none() {
                return "every node ended".to_owned();
            }
            if let Some(how) = self.demo.ended() {
                return format!("the demo server ended ({how})");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends all processes, each as SIGTERM would.
    pub(super) async fn stop(self) {
        let mut stopping = tokio::task::JoinSet::new();
        for process in self.nodes.into_iter().filter_map(|node| node.process) {
            stopping.spawn(process.stop(PATIENCE));
        }
        stopping.join_all().await;
        self.demo.stop(PATIENCE).await;
    }
}

/// A CA for this cluster alone, and a certificate for each node.
fn make_certificates(folder: &Path, names: &[String]) -> anyhow::Result<()> {
    let validity = pki::Validity::new(TimestampMs(crate::host::HostClock.now_ms()), CERTIFICATE_DAYS)?;
    let root = pki::Authority::create(validity)?;
    pki::PkiFolder::new(folder).save_authority(&root, pki::Overwrite::Refuse)?;
    let authority = pki::PkiFolder::new(folder).authority()?;
    for name in names {
        let subject = pki::NodeSubject {
            name: name.clone(),
            dns: vec!["localhost".to_owned()],
            ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        };
        let issued = authority.issue_node(&subject, validity)?;
        pki::PkiFolder::save_issued(folder, name, &issued, pki::Overwrite::Refuse)?;
    }
    Ok(())
}

fn start_process(dir: &Path, number: u16, config: &Path) -> anyhow::Result<Process> {
    let args =
        [OsStr::new("serve"), OsStr::new("--until-stdin-closes"), OsStr::new("--config"), config.as_os_str()];
    Process::start(&format!("node {number}"), &args, &dir.join(format!("node-{number}.log")))
}

fn demo(dir: &Path, port: u16) -> anyhow::Result<Process> {
    let port = port.to_string();
    let args =
        [OsStr::new("demo"), OsStr::new("--until-stdin-closes"), OsStr::new("--port"), OsStr::new(&port)];
    Process::start("the demo server", &args, &dir.join("demo.log"))
}

/// Ports of node `number` (from 1): ten apart. `u16::MAX` asks for the demo server's, which is the base itself.
fn port(base: u16, number: u16) -> anyhow::Result<u16> {
    let offset = if number == u16::MAX { 0 } else { number.checked_mul(10).context("too many nodes")? };
    base.checked_add(offset).context("--base-port is too high")
}

fn peer_port(base: u16, number: u16) -> anyhow::Result<u16> {
    port(base, number).map(|port| port.saturating_add(1))
}

fn admin_port(base: u16, number: u16) -> anyhow::Result<u16> {
    port(base, number).map(|port| port.saturating_add(2))
}

fn http_port(base: u16, number: u16) -> anyhow::Result<u16> {
    port(base, number)
}

fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The last lines of a log, for an error message.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
