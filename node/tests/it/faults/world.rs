//! A cluster as an operator sets it up, on three hosts that are network namespaces: own PKI, `init`, join tokens, and
//! everything else through `ctl`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::{BINARY, PATIENCE, eventually};
use crate::faults::net::Net;
use crate::http;
use crate::mcp::Client;

pub const NODES: usize = 3;
/// Its answers are sealed.
pub const TENANT: &str = "acme";
/// Its answers leave once they are on the node's own disk: no quorum stands between a stale decision and the caller.
pub const JOURNALED: &str = "hasty";
/// How old the state may be that a node admits on, and how long a request may wait for a fresher one (the defaults).
pub const BOUND: Duration = Duration::from_millis(2_000);
pub const STALE_WAIT: Duration = Duration::from_millis(5_000);
/// What a busy machine may add to a bound.
pub const SLACK: Duration = Duration::from_millis(1_500);
const POLL: Duration = Duration::from_millis(20);
const HTTP_PORT: u16 = 7_400;
const PEER_PORT: u16 = 7_401;
const ADMIN_PORT: u16 = 7_402;
const DEMO_PORT: u16 = 9_440;

pub struct World {
    nodes: Vec<Option<Child>>,
    demos: Vec<Child>,
    root_key: String,
    folder: TempDir,
    // Last: dropped when no process lives in it any more.
    pub net: Net,
}

/// Plays one scenario on a cluster of its own; every scenario has its own subnet.
pub fn play(subnet: u8, scenario: impl AsyncFnOnce(&mut World)) {
    let net = Net::make(subnet, NODES);
    net.enter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World {
            nodes: Vec::new(),
            demos: Vec::new(),
            root_key: String::new(),
            folder: tempfile::tempdir().unwrap(),
            net,
        };
        world.form().await;
        scenario(&mut world).await;
    });
}

impl World {
    async fn form(&mut self) {
        let pki = self.path("pki");
        let pki = pki.to_str().unwrap();
        self.run(&["pki", "ca", "--dir", pki]).await;
        for number in 1..=NODES {
            let (name, address) = (format!("node-{number}"), self.net.address(number));
            self.run(&["pki", "node", &name, "--dir", pki, "--ip", &address]).await;
            std::fs::write(self.path(&format!("{name}.yaml")), self.config(number)).unwrap();
            let demo = self.start(
                number,
                &["demo", "--until-stdin-closes", "--port", &DEMO_PORT.to_string()],
                "demo",
            );
            self.demos.push(demo);
            self.nodes.push(None);
        }
        self.spawn(1);
        let socket = self.path("node-1/control.sock");
        eventually("node 1 can be asked to form a cluster", async || socket.exists()).await;
        let config = self.path("node-1.yaml");
        self.root_key = self.run(&["init", "--config", config.to_str().unwrap()]).await.trim().to_owned();
        self.wait_ready(1).await;
        for number in 2..=NODES {
            let made = self.ctl(1, &["cluster", "join-token"]).await;
            std::fs::write(self.path(&format!("join-{number}.token")), made["token"].as_str().unwrap())
                .unwrap();
            self.spawn(number);
            self.wait_voters(number).await;
        }
        for number in 1..=NODES {
            self.wait_ready(number).await;
        }
        let url = format!("http://127.0.0.1:{DEMO_PORT}/mcp");
        self.ctl(
            1,
            &["upstream", "add", "demo", "--tenant", "system", "--url", &url, "--concurrency", "256"],
        )
        .await;
        self.ctl(1, &["tenant", "create", TENANT, "--seal-mode", "sealed"]).await;
        self.ctl(1, &["tenant", "create", JOURNALED, "--seal-mode", "journaled"]).await;
    }

    fn config(&self, number: usize) -> String {
        let (name, at) = (format!("node-{number}"), self.net.address(number));
        let tls = format!("tls: {{ cert: pki/{name}.pem, key: pki/{name}-key.pem, ca: pki/ca.pem }}");
        let join = match number {
            1 => String::new(),
            _ => {
                let first = self.net.address(1);
                format!("join: {{ peers: ['{first}:{PEER_PORT}'], token_file: join-{number}.token }}\n")
            }
        };
        format!(
            "name: {name}\n\
             data_dir: {name}\n\
             peer: {{ listen: '{at}:{PEER_PORT}', {tls} }}\n\
             admin: {{ listen: '{at}:{ADMIN_PORT}', {tls} }}\n\
             http: {{ listen: '{at}:{HTTP_PORT}', plain_http_beyond_loopback: true }}\n\
             keys: {{ plaintext: true }}\n\
             {join}"
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, number: usize, args: &[&str], what: &str) -> Child {
        let log = self.path(&format!("{what}-{number}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = self.net.command(number, BINARY);
        command.args(args).stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    pub fn spawn(&mut self, number: usize) {
        let config = self.path(&format!("node-{number}.yaml"));
        let args = ["serve", "--until-stdin-closes", "--config", config.to_str().unwrap()];
        let child = self.start(number, &args, "node");
        assert!(self.nodes[number - 1].replace(child).is_none(), "node {number} runs");
    }

    /// As a power cut of that node would.
    pub fn kill(&mut self, number: usize) {
        let mut child = self.nodes[number - 1].take().expect("a node that runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Has the process stand still; returns when every thread of it does.
    pub async fn stop(&self, number: usize) {
        self.signal(number, "STOP");
        let tasks = format!("/proc/{}/task", self.pid(number));
        eventually(&format!("node {number} stands still"), async || {
            std::fs::read_dir(&tasks).unwrap().flatten().all(|task| {
                // A thread that has just ended stands still, too.
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                stat.rsplit(") ").next().is_some_and(|rest| rest.is_empty() || rest.starts_with('T'))
            })
        })
        .await;
    }

    /// Has a stopped process go on, which does not know that it ever stopped.
    pub fn wake(&self, number: usize) {
        self.signal(number, "CONT");
    }

    fn pid(&self, number: usize) -> u32 {
        self.nodes[number - 1].as_ref().expect("a node that runs").id()
    }

    fn signal(&self, number: usize, name: &str) {
        let pid = self.pid(number).to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(done.success(), "kill -{name} {pid}");
    }

    /// `only1mcp ARGS…`, which must succeed: what it printed.
    pub async fn run(&self, args: &[&str]) -> String {
        let output =
            tokio::process::Command::new(BINARY).args(args).kill_on_drop(true).output().await.unwrap();
        let (told, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "only1mcp {args:?}: {complained}{told}");
        told.into_owned()
    }

    pub async fn try_ctl(&self, number: usize, args: &[&str]) -> Result<Value, String> {
        let output = tokio::process::Command::new(BINARY)
            .args(["ctl", "--output", "json"])
            .args(args)
            .env("ONLY1MCP_ENDPOINT", format!("https://{}:{ADMIN_PORT}", self.net.address(number)))
            .env("ONLY1MCP_CA", self.path("pki/ca.pem"))
            .env("ONLY1MCP_KEY", &self.root_key)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// `only1mcp ctl ARGS…` as the operator, who must succeed.
    pub async fn ctl(&self, number: usize, args: &[&str]) -> Value {
        match self.try_ctl(number, args).await {
            Ok(value) => value,
            Err(error) => panic!("ctl {args:?} on node {number}: {error}"),
        }
    }

    /// A service account that may call tools, as often as it likes, through a grant of the same name; its key.
    pub async fn developer(&self, tenant: &str, name: &str) -> String {
        let lifted = ["tenant", "update", tenant, "--quota", "max_requests_per_minute=unlimited"];
        self.ctl(1, &lifted).await;
        let role = ["role", "put", "caller", "--tenant", tenant, "--permission", "ToolAll"];
        self.ctl(1, &role).await;
        self.ctl(1, &["principal", "create", name, "--tenant", tenant, "--kind", "service"]).await;
        let grant =
            ["grant", "create", "--tenant", tenant, "--principal", name, "--role", "caller", "--id", name];
        self.ctl(1, &grant).await;
        let made = self.ctl(1, &["key", "create", "--tenant", tenant, "--principal", name, "--wait"]).await;
        made["key"].as_str().unwrap_or_else(|| panic!("no key in {made}")).to_owned()
    }

    fn url(&self, number: usize, path: &str) -> String {
        format!("http://{}:{HTTP_PORT}{path}", self.net.address(number))
    }

    pub fn client(&self, number: usize, key: &str) -> Client {
        Client::new(&self.url(number, "/mcp"), key)
    }

    pub async fn is_ready(&self, number: usize) -> bool {
        let answer = http::get(&self.url(number, "/health/ready"), None).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until the node says that it takes no requests, and says so as it should.
    pub async fn wait_unready(&self, number: usize) {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = http::get(&self.url(number, "/health/ready"), None).await.unwrap();
            if answer.status == 503 {
                assert!(answer.text().contains("stale"), "{}", answer.text());
                return;
            }
            assert!(Instant::now() < until, "node {number} stays ready");
            sleep(POLL).await;
        }
    }

    pub async fn wait_ready(&self, number: usize) {
        eventually(&format!("node {number} is ready"), async || self.is_ready(number).await).await;
    }

    pub async fn wait_voters(&self, count: usize) {
        eventually(&format!("there are {count} voters"), async || {
            let status = self.try_ctl(1, &["cluster", "status"]).await.unwrap_or_default();
            let members = status["members"].as_array().cloned().unwrap_or_default();
            members.iter().filter(|member| member["role"] == "voter").count() == count
        })
        .await;
    }

    /// The node that leads, as these nodes know it.
    pub async fn leader_of(&self, asked: &[usize]) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            for number in asked {
                let status = self.try_ctl(*number, &["cluster", "status"]).await.unwrap_or_default();
                // Ids are given in the order of joining.
                if let Some(leader) = status["leader"].as_u64() {
                    return leader as usize;
                }
            }
            assert!(Instant::now() < until, "no leader was elected");
            sleep(POLL).await;
        }
    }

    /// The node that leads while all is well.
    pub async fn leader(&self) -> usize {
        self.leader_of(&[1, 2, 3]).await
    }

    /// All nodes but that one.
    pub fn others(&self, number: usize) -> Vec<usize> {
        (1..=NODES).filter(|other| *other != number).collect()
    }

    /// The end of every node's log: a failed test without them tells nothing.
    fn show_logs(&self) {
        for number in 1..=NODES {
            let log = std::fs::read_to_string(self.path(&format!("node-{number}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- node {number} ---\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for child in self.nodes.iter_mut().flatten().chain(&mut self.demos) {
            // Ends a stopped process, too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
