//! A proxy between nodes, link by link and way by way: it delays, lets connections overtake one another, slows down,
//! holds back one way, and breaks connections. Whatever it does, bytes of one connection keep their order, as TCP's do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep, sleep_until};

const CHUNK_BYTES: usize = 16 << 10;
/// Chunks on their way on one connection; past that its sender feels it.
const CHUNKS_MAX: usize = 1_024;

/// What becomes of the bytes that one node sends another.
#[derive(Clone, Copy, Default)]
pub struct Way {
    pub delay: Duration,
    /// Each connection is delayed by a further part of this, another one each.
    pub spread: Duration,
    pub bytes_per_second: Option<u32>,
    /// Nothing passes; what was sent arrives when this ends.
    pub held: bool,
}

#[derive(Clone, Default)]
struct Rules {
    /// By sender and receiver; the others are as quick as they can be.
    ways: BTreeMap<(usize, usize), Way>,
    /// Connections of an earlier one are broken.
    generation: u64,
}

impl Rules {
    fn way(&self, from: usize, to: usize) -> Way {
        self.ways.get(&(from, to)).copied().unwrap_or_default()
    }
}

pub struct Proxy {
    rules: watch::Sender<Rules>,
}

impl Proxy {
    /// For each node, where its peers are to reach it, and where it really is. Told apart by the last number of their
    /// addresses, which is their own.
    pub async fn start(ways_in: &[(String, String)]) -> Self {
        let proxy = Self { rules: watch::Sender::default() };
        for (at, (outside, inside)) in ways_in.iter().enumerate() {
            let listener = TcpListener::bind(outside).await.unwrap();
            tokio::spawn(serve(listener, at + 1, inside.clone(), proxy.rules.subscribe()));
        }
        proxy
    }

    /// Sets these ways, each by sender and receiver, and frees all others.
    pub fn set(&self, ways: impl IntoIterator<Item = ((usize, usize), Way)>) {
        let ways = ways.into_iter().collect();
        self.rules.send_modify(|rules| rules.ways = ways);
    }

    /// The same between any two of the nodes.
    pub fn set_all(&self, nodes: usize, way: Way) {
        let pairs = (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
        self.set(pairs.map(|pair| (pair, way)));
    }

    pub fn calm(&self) {
        self.set([]);
    }

    /// Breaks every connection there is; new ones are let through.
    pub fn break_all(&self) {
        self.rules.send_modify(|rules| rules.generation += 1);
    }
}

async fn serve(listener: TcpListener, to: usize, inside: String, rules: watch::Receiver<Rules>) {
    let mut number = 0_u64;
    while let Ok((outer, from)) = listener.accept().await {
        let IpAddr::V4(from) = from.ip() else { continue };
        let from = usize::from(from.octets()[3]);
        number += 1;
        let (inside, rules) = (inside.clone(), rules.clone());
        let lot = number.wrapping_mul(6_364_136_223_846_793_005) >> 33;
        tokio::spawn(async move {
            let Ok(inner) = TcpStream::connect(&inside).await else { return };
            let _ = (outer.set_nodelay(true), inner.set_nodelay(true));
            let ((outer_in, outer_out), (inner_in, inner_out)) = (outer.into_split(), inner.into_split());
            let link = |from, to| Link { from, to, lot, rules: rules.clone() };
            // Either end's end is the end of both, as when a box between them forgets a connection.
            tokio::select! {
                () = link(from, to).carry(outer_in, inner_out) => {}
                () = link(to, from).carry(inner_in, outer_out) => {}
                () = broken(rules.clone()) => {}
            }
        });
    }
}

async fn broken(mut rules: watch::Receiver<Rules>) {
    let began = rules.borrow().generation;
    let _ = rules.wait_for(|rules| rules.generation != began).await;
}

/// One way of one connection.
struct Link {
    from: usize,
    to: usize,
    lot: u64,
    rules: watch::Receiver<Rules>,
}

impl Link {
    fn way(&self) -> Way {
        self.rules.borrow().way(self.from, self.to)
    }

    fn due(&self) -> Instant {
        let way = self.way();
        let spread = u64::try_from(way.spread.as_micros()).unwrap();
        Instant::now() + way.delay + Duration::from_micros(self.lot % spread.max(1))
    }

    async fn carry(self, from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        tokio::select! {
            () = self.take(from, sender) => {}
            () = self.give(receiver, to) => {}
        }
    }

    async fn take(&self, mut from: impl AsyncRead + Unpin, sender: mpsc::Sender<(Instant, Vec<u8>)>) {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            if sender.send((self.due(), chunk[..count].to_vec())).await.is_err() {
                return;
            }
        }
        // What is on its way arrives.
        drop(sender);
        std::future::pending::<()>().await;
    }

    async fn give(&self, mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: impl AsyncWrite + Unpin) {
        while let Some((due, chunk)) = receiver.recv().await {
            sleep_until(due).await;
            let mut rules = self.rules.clone();
            let free = rules.wait_for(|rules| !rules.way(self.from, self.to).held);
            if free.await.is_err() {
                return;
            }
            if let Some(rate) = self.way().bytes_per_second {
                sleep(Duration::from_secs_f64(chunk.len() as f64 / f64::from(rate))).await;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    }
}
