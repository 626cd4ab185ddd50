//! Callers that go on through every fault, and remember what they were told, where, and when.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::json;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Duration, Instant, sleep};

use crate::cluster::eventually;
use crate::faults::world::World;
use crate::faults::writer::Writer;
use crate::mcp::{Client, Receipt};

/// Leaves the processors to the nodes: the faults are the point here, not throughput.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_BROKEN: Duration = Duration::from_millis(50);

/// What a node without a quorum may say: that its state is too old, or that an admission was not recorded in time.
/// And that what it was lent of the budget is spent.
pub const CUT_OFF: [&str; 3] = ["stale", "audit_unavailable", "budget_unavailable"];

pub struct Told {
    pub node: usize,
    pub sent: Instant,
    pub answered: Instant,
    /// The receipt of a sealed answer, or what came instead.
    pub what: Result<Receipt, String>,
}

#[derive(Default)]
struct Shared {
    stop: Cell<bool>,
    told: RefCell<Vec<Told>>,
}

pub struct Load {
    shared: Rc<Shared>,
    clients: JoinSet<()>,
    writer: Writer,
}

impl Load {
    /// `clients` on each node, each with a session of its own, and an operator who writes. To be called within a `LocalSet`.
    pub async fn start(world: &World, key: &str, clients: usize) -> Self {
        let shared = Rc::new(Shared::default());
        let mut tasks = JoinSet::new();
        for node in 1..=3 {
            for number in 0..clients {
                let client = world.client(node, key);
                tasks.spawn_local(keep_calling(shared.clone(), client, node, format!("{node}/{number}")));
            }
        }
        let load = Self { shared, clients: tasks, writer: Writer::start(world) };
        let began = Instant::now();
        for node in 1..=3 {
            load.sealed(node, began, 10).await;
        }
        load
    }

    /// Sealed answers of a node to calls that were sent after `since`; the earliest answer first.
    fn found(&self, node: usize, since: Instant) -> Vec<Instant> {
        let told = self.shared.told.borrow();
        let sealed = told.iter().filter(|told| told.node == node && told.sent >= since && told.what.is_ok());
        sealed.map(|told| told.answered).collect()
    }

    /// Waits for so many sealed answers of a node to calls that were sent after `since`: when the first one came.
    pub async fn sealed(&self, node: usize, since: Instant, count: usize) -> Instant {
        eventually(&format!("node {node} gives {count} sealed answers"), async || {
            self.found(node, since).len() >= count
        })
        .await;
        *self.found(node, since).iter().min().unwrap()
    }

    pub async fn end(mut self) -> Vec<Told> {
        self.shared.stop.set(true);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        self.writer.end().await;
        self.shared.told.take()
    }
}

async fn keep_calling(shared: Rc<Shared>, mut client: Client, node: usize, name: String) {
    let mut count = 0;
    while !shared.stop.get() {
        if client.session.is_none() && !client.try_initialize().await.is_ok_and(|answer| answer.status == 200)
        {
            sleep(PAUSE_BROKEN).await;
            continue;
        }
        count += 1;
        let said = format!("{name}, call {count}");
        let sent = Instant::now();
        // A connection that breaks told the caller nothing.
        let Ok(exchange) = client.try_call("demo__echo", json!({"text": said})).await else {
            client.session = None;
            sleep(PAUSE_BROKEN).await;
            continue;
        };
        if exchange.status == 404 {
            // The session went with its home: the protocol has the client start anew.
            client.session = None;
            continue;
        }
        let what = match exchange.receipt() {
            Some(receipt) => {
                assert_eq!(exchange.text(), Some(said.as_str()), "another call's answer");
                Ok(receipt)
            }
            None => Err(exchange
                .refusal()
                .map_or_else(|| format!("{} {}", exchange.status, exchange.answer), str::to_owned)),
        };
        shared.told.borrow_mut().push(Told { node, sent, answered: Instant::now(), what });
        sleep(PAUSE).await;
    }
}

/// Runs what starts callers on this thread.
pub async fn locally<T>(work: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(work).await
}

pub fn receipts(told: &[Told]) -> Vec<Receipt> {
    told.iter().filter_map(|told| told.what.as_ref().ok()).cloned().collect()
}

/// What these nodes said instead of a sealed answer, each kind once.
pub fn refusals(told: &[Told], nodes: &[usize]) -> Vec<String> {
    let refused = told.iter().filter(|told| nodes.contains(&told.node));
    let mut kinds: Vec<String> = refused.filter_map(|told| told.what.as_ref().err()).cloned().collect();
    kinds.sort();
    kinds.dedup();
    kinds
}
