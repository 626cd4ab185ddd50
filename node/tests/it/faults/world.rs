//! A cluster as an operator sets it up, on three hosts that are network namespaces: own PKI, `init`, join tokens, and
//! everything else through `ctl`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::{BINARY, PATIENCE, eventually};
use crate::faults::disks::Disk;
use crate::faults::net::Net;
use crate::faults::proxy::Proxy;
use crate::http;
use crate::mcp::Client;

pub const NODES: usize = 3;
/// Its answers are sealed.
pub const TENANT: &str = "acme";
/// A hard limit of its that lasts for all calls there are; what is posted to it is every one of them.
pub const BUDGET: &str = "every-call";
const ENOUGH: &str = "1000000000calls";
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
/// The first node's is the next one.
const PROXY_PORT: u16 = 7_500;
/// The node that may have a small disk.
pub const SMALL: usize = 3;

/// What a scenario needs besides three nodes.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// Peers reach one another through a proxy.
    pub proxied: bool,
    /// The third node's data folder is a file system of so many bytes, and this is its low-water mark.
    pub small_disk: Option<(u64, u64)>,
    /// Every node's data folder is on a disk that forgets what was not synced.
    pub forgetful: bool,
}

/// Of a forgetful disk: the journal sets space aside, and so does sled.
const FORGETFUL_BYTES: u64 = 256 << 20;

pub struct World {
    setup: Setup,
    nodes: Vec<Option<Child>>,
    demos: Vec<Child>,
    root_key: String,
    /// Principals whose making the operator was told of; see `writer.rs`.
    pub written: Rc<RefCell<Vec<String>>>,
    proxy: Option<Proxy>,
    /// By node; dropped before the folder that they are mounted in.
    disks: BTreeMap<usize, Disk>,
    folder: TempDir,
    // Last: dropped when no process lives in it any more.
    pub net: Net,
}

/// Whether there is time for the long version of everything: `cargo xtask soak --faults`.
pub fn is_soak() -> bool {
    std::env::var_os("ONLY1MCP_SOAK").is_some()
}

/// Plays one scenario on a cluster of its own; every scenario has its own subnet.
pub fn play(subnet: u8, scenario: impl AsyncFnOnce(&mut World)) {
    play_with(subnet, Setup::default(), scenario);
}

pub fn play_with(subnet: u8, setup: Setup, scenario: impl AsyncFnOnce(&mut World)) {
    let net = Net::make(subnet, NODES);
    net.enter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World {
            setup,
            nodes: Vec::new(),
            demos: Vec::new(),
            root_key: String::new(),
            written: Rc::default(),
            proxy: None,
            disks: BTreeMap::new(),
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
        if self.setup.proxied {
            let ways_in: Vec<(String, String)> = (1..=NODES)
                .map(|number| {
                    (self.peer_address(number), format!("{}:{PEER_PORT}", self.net.address(number)))
                })
                .collect();
            self.proxy = Some(Proxy::start(&ways_in).await);
        }
        for number in 1..=NODES {
            let (name, address) = (format!("node-{number}"), self.net.address(number));
            self.run(&["pki", "node", &name, "--dir", pki, "--ip", &address]).await;
            std::fs::write(self.path(&format!("{name}.yaml")), self.config(number)).unwrap();
            self.mount(number);
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
        self.ctl(1, &["tenant", "update", TENANT, "--quota", "max_users=unlimited"]).await;
        self.ctl(1, &["tenant", "create", JOURNALED, "--seal-mode", "journaled"]).await;
        let budget =
            ["budget", "set", BUDGET, "--amount", ENOUGH, "--per-period", "total", "--tenant", TENANT];
        self.ctl(1, &[&budget[..], &["--wait"]].concat()).await;
    }

    fn config(&self, number: usize) -> String {
        let (name, at) = (format!("node-{number}"), self.net.address(number));
        let tls = format!("tls: {{ cert: pki/{name}.pem, key: pki/{name}-key.pem, ca: pki/ca.pem }}");
        let mut join = match number {
            1 => String::new(),
            _ => {
                let first = self.peer_address(1);
                format!("join: {{ peers: ['{first}'], token_file: join-{number}.token }}\n")
            }
        };
        if let Some((_, low)) = self.setup.small_disk.filter(|_| number == SMALL) {
            join += &format!("disk_low_bytes: {low}\n");
        } else if self.setup.forgetful {
            join += "disk_low_bytes: 8388608\n";
        }
        let advertise = self.peer_address(number);
        format!(
            "name: {name}\n\
             data_dir: {name}\n\
             peer: {{ listen: '{at}:{PEER_PORT}', advertise: '{advertise}', {tls} }}\n\
             admin: {{ listen: '{at}:{ADMIN_PORT}', {tls} }}\n\
             http: {{ listen: '{at}:{HTTP_PORT}', plain_http_beyond_loopback: true }}\n\
             keys: {{ plaintext: true }}\n\
             {join}"
        )
    }

    /// Where its peers are told to reach a node.
    fn peer_address(&self, number: usize) -> String {
        match self.setup.proxied {
            true => format!("{}:{}", self.net.hub_address(), PROXY_PORT + number as u16),
            false => format!("{}:{PEER_PORT}", self.net.address(number)),
        }
    }

    fn mount(&mut self, number: usize) {
        let folder = self.path(&format!("node-{number}"));
        let disk = match self.setup {
            Setup { small_disk: Some((bytes, _)), .. } if number == SMALL => Disk::small(&folder, bytes),
            Setup { forgetful: true, .. } => {
                let image = self.path(&format!("disk-{number}"));
                Disk::forgetful(&folder, &image, FORGETFUL_BYTES)
            }
            _ => return,
        };
        self.disks.insert(number, disk);
    }

    pub fn disk(&self, number: usize) -> &Disk {
        &self.disks[&number]
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a world with a proxy")
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

    /// Has a node end in order: what it holds in memory is on its disk then.
    pub async fn end(&mut self, number: usize) {
        self.signal(number, "TERM");
        let how = self.ended(number).await;
        assert!(how.success(), "node {number} ended with {how}");
    }

    /// How a node ended by itself; waits until it has.
    pub async fn ended(&mut self, number: usize) -> ExitStatus {
        let mut how = None;
        eventually(&format!("node {number} ends"), async || {
            let child = self.nodes[number - 1].as_mut().expect("a node that runs");
            how = child.try_wait().unwrap();
            how.is_some()
        })
        .await;
        self.nodes[number - 1] = None;
        how.unwrap()
    }

    /// Whether a node that was started has not ended.
    pub fn runs(&mut self, number: usize) -> bool {
        self.nodes[number - 1].as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// All of what a node has said in its lives.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.path(&format!("node-{number}.log"))).unwrap_or_default()
    }

    /// What a node says of whether it takes requests: the status and the words.
    pub async fn readiness(&self, number: usize) -> Option<(u16, String)> {
        let answer = http::get(&self.url(number, "/health/ready"), None).await.ok()?;
        Some((answer.status, answer.text()))
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

    /// The operator, who needs no world to go on.
    pub fn operator(&self) -> Operator {
        let endpoint = |number| format!("https://{}:{ADMIN_PORT}", self.net.address(number));
        Operator {
            endpoints: (1..=NODES).map(endpoint).collect(),
            ca: self.path("pki/ca.pem"),
            key: self.root_key.clone(),
        }
    }

    pub async fn try_ctl(&self, number: usize, args: &[&str]) -> Result<Value, String> {
        self.operator().try_ctl(number, args).await
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

    /// A metric without labels, of a node that answers.
    pub async fn metric(&self, number: usize, name: &str) -> Option<usize> {
        let answer = http::get(&self.url(number, "/metrics"), Some(&self.root_key)).await.ok()?;
        let text = answer.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse::<f64>().ok().map(|value| value as usize)
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
            let log = self.log(number);
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- node {number} ---\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// Who administers the cluster.
#[derive(Clone)]
pub struct Operator {
    endpoints: Vec<String>,
    ca: PathBuf,
    key: String,
}

impl Operator {
    /// `only1mcp ctl ARGS…` on a node.
    pub async fn try_ctl(&self, number: usize, args: &[&str]) -> Result<Value, String> {
        let output = tokio::process::Command::new(BINARY)
            .args(["ctl", "--output", "json"])
            .args(args)
            .env("ONLY1MCP_ENDPOINT", &self.endpoints[number - 1])
            .env("ONLY1MCP_CA", &self.ca)
            .env("ONLY1MCP_KEY", &self.key)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null));
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
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
