//! Three members of etcd, each its own process with its defaults, which sync every commit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Guard, pick_ports, program};
use crate::wire::Client;

pub struct Etcd {
    members: Vec<Guard>,
    clients: Vec<String>,
}

impl Etcd {
    pub fn start(folder: &Path) -> Self {
        let first = pick_ports(6);
        let client = |number: u16| format!("127.0.0.1:{}", first + 2 * number);
        let peer = |number: u16| format!("http://127.0.0.1:{}", first + 2 * number + 1);
        let cluster: Vec<String> = (0..3).map(|number| format!("m{number}={}", peer(number))).collect();
        let start = |number: u16| {
            let log = std::fs::File::create(folder.join(format!("etcd-{number}.log"))).unwrap();
            Guard::start(
                Command::new(program("etcd"))
                    .args(["--name", &format!("m{number}"), "--data-dir"])
                    .arg(folder.join(format!("etcd-{number}")))
                    .args(["--listen-client-urls", &format!("http://{}", client(number))])
                    .args(["--advertise-client-urls", &format!("http://{}", client(number))])
                    .args([
                        "--listen-peer-urls",
                        &peer(number),
                        "--initial-advertise-peer-urls",
                        &peer(number),
                    ])
                    .args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"])
                    .args(["--logger", "zap", "--log-level", "warn"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(log),
            )
        };
        Self { members: (0..3).map(start).collect(), clients: (0..3).map(client).collect() }
    }

    /// Where the leader takes requests, once there is one.
    pub async fn leader(&mut self) -> String {
        for _ in 0..500 {
            assert!(!self.members.iter_mut().any(Guard::ended), "a member of etcd ended");
            for address in &self.clients {
                if let Ok(mut client) = Client::connect(address).await
                    && client.leads().await.unwrap_or(false)
                {
                    return address.clone();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd elects no leader");
    }

    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Guard::pid).collect()
    }
}
