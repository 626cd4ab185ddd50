//! A real cluster in a folder of its own: started by `only1mcp dev`, spoken to by `ctl`, broken by signals, and ended
//! whatever becomes of the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::http::{self, Answer};
use crate::mcp::Client;

pub const BINARY: &str = env!("CARGO_BIN_EXE_only1mcp");
/// Deadlines are there to end a test that hangs; none measures speed.
pub const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(30);

/// Numbers of nodes start at 1, as in their names.
pub struct Cluster {
    folder: TempDir,
    base_port: u16,
    /// `dev.json`, as it was when the cluster was ready.
    pub file: Value,
    dev: Option<Child>,
    nodes: Vec<Node>,
    demo: Option<Child>,
}

struct Node {
    pid: u32,
    runs: bool,
    /// `None` while it is a child of `dev`.
    own: Option<Child>,
}

impl Cluster {
    /// Three nodes on ports from `20000 + 100 x number`; every test has its own number.
    pub async fn start(number: u16) -> Self {
        Self::start_with(number, &[]).await
    }

    pub async fn start_with(number: u16, args: &[&str]) -> Self {
        Self::start_in(number, args, &[]).await
    }

    /// With environment variables that the nodes inherit.
    pub async fn start_in(number: u16, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base_port = 20_000 + 100 * number;
        let log = std::fs::File::create(folder.path().join("dev.log")).unwrap();
        let dev = Command::new(BINARY)
            .args(["dev", "--base-port", &base_port.to_string(), "--dir"])
            .arg(folder.path())
            .args(args)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut cluster =
            Self { folder, base_port, file: Value::Null, dev: Some(dev), nodes: Vec::new(), demo: None };
        cluster.wait_for_file().await;
        cluster
    }

    async fn wait_for_file(&mut self) {
        let path = self.path("dev.json");
        let until = Instant::now() + PATIENCE;
        while !path.exists() {
            if let Some(how) = self.dev.as_mut().unwrap().try_wait().unwrap() {
                panic!("dev ended ({how}):\n{}", self.log("dev.log"));
            }
            assert!(Instant::now() < until, "dev is not ready:\n{}", self.log("dev.log"));
            sleep(POLL).await;
        }
        self.file = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for node in self.file["nodes"].as_array().unwrap() {
            self.nodes.push(Node { pid: node["pid"].as_u64().unwrap() as u32, runs: true, own: None });
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn pid(&self, number: usize) -> u32 {
        self.nodes[number - 1].pid
    }

    /// The next one is for peers, the one after for administration.
    pub fn http_port(&self, number: usize) -> usize {
        self.base_port as usize + 10 * number
    }

    pub fn http_url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.http_port(number))
    }

    pub fn mcp_url(&self, number: usize) -> String {
        format!("{}/mcp", self.http_url(number))
    }

    pub fn root_key(&self) -> String {
        self.file["root_key"].as_str().unwrap().to_owned()
    }

    /// A key of the first tenant, `acme`.
    pub fn key(&self, role: &str) -> String {
        self.file["tenants"][0]["keys"][role].as_str().unwrap().to_owned()
    }

    /// A client with an open MCP session.
    pub async fn client(&self, number: usize, key: &str) -> Client {
        let mut client = Client::new(&self.mcp_url(number), key);
        let answer = client.initialize().await;
        assert_eq!(answer.status, 200, "initialize on node {number}: {}", answer.text());
        client
    }

    /// `only1mcp ctl ARGS… --output json` against a node: what it printed, or what it complained of.
    pub async fn try_ctl(&self, number: usize, key: &str, args: &[&str]) -> Result<Value, String> {
        self.try_ctl_in(number, key, args, &[]).await
    }

    /// The same with environment variables besides.
    pub async fn try_ctl_in(
        &self,
        number: usize,
        key: &str,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Value, String> {
        let output = tokio::process::Command::new(BINARY)
            .args(["ctl", "--output", "json"])
            .args(args)
            .envs(environment.iter().copied())
            .env("ONLY1MCP_ENDPOINT", format!("https://127.0.0.1:{}", self.http_port(number) + 2))
            .env("ONLY1MCP_CA", self.path("pki/ca.pem"))
            .env("ONLY1MCP_KEY", key)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)));
        }
        Err(format!("{}{text}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The same as the operator, who must succeed.
    pub async fn ctl(&self, number: usize, args: &[&str]) -> Value {
        match self.try_ctl(number, &self.root_key(), args).await {
            Ok(value) => value,
            Err(error) => panic!("ctl {args:?} on node {number}: {error}"),
        }
    }

    /// `only1mcp ARGS…`: whether it succeeded, and what it printed on both streams.
    pub async fn run(&self, args: &[&str]) -> (bool, String) {
        run(args).await
    }

    pub async fn get(&self, number: usize, path: &str, key: Option<&str>) -> Answer {
        http::get(&format!("{}{path}", self.http_url(number)), key).await.unwrap()
    }

    pub async fn is_ready(&self, number: usize) -> bool {
        let answer = http::get(&format!("{}/health/ready", self.http_url(number)), None).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    pub async fn wait_ready(&self, number: usize) {
        let until = Instant::now() + PATIENCE;
        while !self.is_ready(number).await {
            let log = self.log(&format!("node-{number}.log"));
            assert!(Instant::now() < until, "node {number} does not become ready:\n{log}");
            sleep(POLL).await;
        }
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, number: usize, name: &str) -> f64 {
        let text = self.get(number, "/metrics", Some(&self.root_key())).await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in:\n{text}")).parse().unwrap()
    }

    /// Number of the leader's node, asked on a node that runs.
    pub async fn leader(&self) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            for number in (1..=self.nodes.len()).filter(|number| self.nodes[number - 1].runs) {
                let status = self.try_ctl(number, &self.root_key(), &["cluster", "status"]).await;
                let leader = status.ok().and_then(|status| status["leader"].as_u64());
                // Ids are given in the order of joining, and no node of these tests joins anew before it is asked.
                if let Some(leader) = leader.filter(|leader| self.nodes[*leader as usize - 1].runs) {
                    return leader as usize;
                }
            }
            assert!(Instant::now() < until, "no leader was elected");
            sleep(POLL).await;
        }
    }

    /// As a power cut of that node would.
    pub fn kill(&mut self, number: usize) {
        self.signal(number, "KILL");
        let node = &mut self.nodes[number - 1];
        node.runs = false;
        if let Some(mut child) = node.own.take() {
            child.wait().unwrap();
        }
        // Its files stay locked until it is quite gone.
        while is_alive(node.pid) {
            std::thread::sleep(POLL);
        }
    }

    pub fn signal(&self, number: usize, name: &str) {
        signal(self.pid(number), name);
    }

    /// After the process was told to end: waits until it is gone.
    pub async fn wait_gone(&mut self, number: usize) {
        let until = Instant::now() + PATIENCE;
        while is_alive(self.pid(number)) {
            assert!(
                Instant::now() < until,
                "node {number} does not end:\n{}",
                self.log(&format!("node-{number}.log"))
            );
            sleep(POLL).await;
        }
        self.nodes[number - 1].runs = false;
    }

    /// Ends a node that this test started itself, and gives its exit code.
    pub async fn end(&mut self, number: usize) -> Option<i32> {
        self.signal(number, "TERM");
        self.exit_code(number).await
    }

    /// Waits for a node that this test started itself.
    pub async fn exit_code(&mut self, number: usize) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        let mut child = self.nodes[number - 1].own.take().expect("a child of this test");
        self.nodes[number - 1].runs = false;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() >= until {
                let _ = child.kill();
                let _ = child.wait();
                panic!("node {number} does not end:\n{}", self.log(&format!("node-{number}.log")));
            }
            sleep(POLL).await;
        }
    }

    /// Starts a node from its configuration, as an operator would; a new number is a further node.
    pub fn spawn(&mut self, number: usize) {
        self.spawn_in(number, &[]);
    }

    /// The same with more in its environment.
    pub fn spawn_in(&mut self, number: usize, environment: &[(&str, &str)]) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(&format!("node-{number}.log")))
            .unwrap();
        let child = Command::new(BINARY)
            .args(["serve", "--until-stdin-closes", "--config"])
            .arg(self.path(&format!("node-{number}.yaml")))
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = Node { pid: child.id(), runs: true, own: Some(child) };
        if number > self.nodes.len() {
            assert_eq!(number, self.nodes.len() + 1);
            self.nodes.push(node);
        } else {
            assert!(!self.nodes[number - 1].runs, "node {number} runs");
            self.nodes[number - 1] = node;
        }
    }

    pub async fn restart(&mut self, number: usize) {
        self.spawn(number);
        self.wait_ready(number).await;
    }

    /// Has `dev` stand still: otherwise it would end, and the demo server with it, when the last node that it started has.
    pub fn keep_demo(&self) {
        signal(self.dev.as_ref().unwrap().id(), "STOP");
    }

    /// Starts the demo server, which ends with `dev`.
    pub async fn restart_demo(&mut self) {
        let until = Instant::now() + PATIENCE;
        if let Some(mut dev) = self.dev.take() {
            while dev.try_wait().unwrap().is_none() {
                assert!(Instant::now() < until, "dev does not end though no node is left");
                sleep(POLL).await;
            }
        }
        let child = Command::new(BINARY)
            .args(["demo", "--until-stdin-closes", "--port", &self.base_port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.demo = Some(child);
        while tokio::net::TcpStream::connect(("127.0.0.1", self.base_port)).await.is_err() {
            assert!(Instant::now() < until, "the demo server does not start");
            sleep(POLL).await;
        }
    }

    /// Prints the end of every node's log: a failed test without them tells nothing.
    fn show_logs(&self) {
        for number in 1..=self.nodes.len() {
            let log = self.log(&format!("node-{number}.log"));
            let lines: Vec<&str> = log.lines().collect();
            let start = lines.iter().position(|line| line.contains("panicked at")).unwrap_or(lines.len());
            let start = start.min(lines.len().saturating_sub(25));
            eprintln!("--- node {number} ---\n{}", lines[start..].join("\n"));
        }
        eprintln!("--- dev ---\n{}", self.log("dev.log"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for node in &mut self.nodes {
            // A child of `dev` that has ended is reaped by it; its pid must not be signalled any more.
            match &mut node.own {
                Some(child) => {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                None if node.runs && is_alive(node.pid) => signal(node.pid, "KILL"),
                None => {}
            }
        }
        for child in [&mut self.dev, &mut self.demo].into_iter().flatten() {
            signal(child.id(), "TERM");
            signal(child.id(), "CONT");
            let _ = child.wait();
        }
    }
}

/// `only1mcp ARGS…`: whether it succeeded, and what it printed on both streams.
pub async fn run(args: &[&str]) -> (bool, String) {
    run_in(args, &[]).await
}

/// The same with environment variables besides.
pub async fn run_in(args: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = tokio::process::Command::new(BINARY);
    command.args(args).envs(environment.iter().copied());
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn signal(pid: u32, name: &str) {
    let done = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(done.success() || name == "KILL", "kill -{name} {pid}");
}

/// Neither gone nor a zombie. A process whose first thread has ended lives on, with its files, while others have not.
pub fn is_alive(pid: u32) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
    let threads = std::fs::read_dir(process.join("task")).map_or(0, Iterator::count);
    threads > 1 || stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}

/// Waits until `holds`; `what` names what was awaited.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "it did not come about: {what}");
        sleep(POLL).await;
    }
}
