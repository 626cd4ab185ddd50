//! A small network of this test's own: a namespace for each node, one with the bridge and the callers, and rules that
//! drop packets. Nothing of it is seen from outside, and all of it goes when it is dropped.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Names of namespaces begin so; the process id that follows tells whose they are.
const PREFIX: &str = "o1f";
const NAMESPACES: &str = "/run/netns";
const HUB: usize = 0;
const INPUT: &str = "type filter hook input priority 0;";
const OUTPUT: &str = "type filter hook output priority 0;";

/// Which packets a cut takes away, as the cut-off node sees them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Both,
    /// What it sends arrives; nothing reaches it.
    Incoming,
    /// It hears everything; nothing that it sends arrives.
    Outgoing,
}

pub struct Net {
    tag: String,
    subnet: u8,
    nodes: usize,
}

impl Net {
    /// The addresses are `10.77.SUBNET.1` and so on; callers live at `.254`.
    pub fn make(subnet: u8, nodes: usize) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        remove_orphans();
        let tag = format!("{PREFIX}{}x{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // Made before anything in it, so that a failure half way removes the other half.
        let net = Self { tag, subnet, nodes };
        let hub = net.namespace(HUB);
        ip(&["netns", "add", &hub]);
        ip(&["-n", &hub, "link", "set", "lo", "up"]);
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        ip(&["-n", &hub, "address", "add", &format!("10.77.{subnet}.254/24"), "dev", "br0"]);
        ip(&["-n", &hub, "link", "set", "br0", "up"]);
        for number in 1..=nodes {
            let (space, port) = (net.namespace(number), format!("to-{number}"));
            ip(&["netns", "add", &space]);
            ip(&["-n", &space, "link", "set", "lo", "up"]);
            let pair = ["name", "eth0", "type", "veth", "peer", "name", &port, "netns", &hub];
            ip(&[["-n", &space, "link", "add"].as_slice(), &pair].concat());
            ip(&["-n", &space, "address", "add", &format!("{}/24", net.address(number)), "dev", "eth0"]);
            ip(&["-n", &space, "link", "set", "eth0", "up"]);
            ip(&["-n", &hub, "link", "set", &port, "master", "br0"]);
            ip(&["-n", &hub, "link", "set", &port, "up"]);
        }
        net
    }

    fn namespace(&self, number: usize) -> String {
        if number == HUB { format!("{}-b", self.tag) } else { format!("{}-{number}", self.tag) }
    }

    pub fn address(&self, number: usize) -> String {
        format!("10.77.{}.{number}", self.subnet)
    }

    /// Of the callers, and of whatever stands between the nodes.
    pub fn hub_address(&self) -> String {
        format!("10.77.{}.254", self.subnet)
    }

    /// Moves this thread, and whatever it starts from now on, to the callers' namespace.
    pub fn enter(&self) {
        let space = File::open(Path::new(NAMESPACES).join(self.namespace(HUB))).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// A program that will run beside node `number`; its process id is the started one's.
    pub fn command(&self, number: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(number), program]);
        command
    }

    /// Takes the packets between a node and its peers away; its callers still reach it.
    pub fn cut(&self, number: usize, cut: Cut) {
        let peers = (1..=self.nodes).filter(|peer| *peer != number).map(|peer| self.address(peer));
        let peers = peers.collect::<Vec<_>>().join(", ");
        let mut chains = String::new();
        if cut != Cut::Outgoing {
            chains += &format!("chain in {{ {INPUT} ip saddr {{ {peers} }} drop; }}\n");
        }
        if cut != Cut::Incoming {
            chains += &format!("chain out {{ {OUTPUT} ip daddr {{ {peers} }} drop; }}\n");
        }
        self.rules(number, &chains);
    }

    /// Takes away the packets from one node to another, and no others.
    pub fn cut_way(&self, from: usize, to: usize) {
        self.rules(to, &format!("chain in {{ {INPUT} ip saddr {} drop; }}\n", self.address(from)));
    }

    /// Takes the packets between two nodes away, both ways; a third one hears both.
    pub fn cut_pair(&self, one: usize, other: usize) {
        self.cut_way(one, other);
        self.cut_way(other, one);
    }

    /// Has every node lose this share of the packets that come to it over the network.
    pub fn lose(&self, percent: u8) {
        for number in 1..=self.nodes {
            let rule = format!("iifname \"eth0\" numgen random mod 100 < {percent} drop;");
            self.rules(number, &format!("chain in {{ {INPUT} {rule} }}\n"));
        }
    }

    pub fn heal(&self) {
        for number in 1..=self.nodes {
            self.rules(number, "");
        }
    }

    /// Replaces the rules of one node.
    fn rules(&self, number: usize, chains: &str) {
        let text =
            format!("table inet faults {{}}\ndelete table inet faults\ntable inet faults {{\n{chains}}}\n");
        let mut nft = self.command(number, "nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refuses:\n{text}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for number in HUB..=self.nodes {
            remove(&self.namespace(number));
        }
    }
}

/// What a test that was killed left behind.
fn remove_orphans() {
    let Ok(spaces) = std::fs::read_dir(NAMESPACES) else { return };
    for space in spaces.flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x')).map(|(pid, _)| pid);
        let Some(pid) = pid.filter(|pid| pid.parse::<u32>().is_ok()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            remove(&name);
        }
    }
}

/// A pair of links goes with either of its ends, a bridge with its namespace.
fn remove(namespace: &str) {
    if Path::new(NAMESPACES).join(namespace).exists() {
        let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
    }
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).output().unwrap();
    assert!(done.status.success(), "ip {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
}
