//! Whether nodes still agree: at every so many entries each node takes a digest of its state and asks the others for
//! theirs. The odd one out stops: whatever made it differ, nothing it says may be believed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use only1mcp_domain::State;
use only1mcp_domain::apply::StateHasher;
use only1mcp_domain::ids::{Digest, NodeId};
use only1mcp_domain::model::NodeRole;
use only1mcp_proto::{codec, peer};
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::handle::{Handle, WeakHandle};
use crate::network::Lane;

/// Digests that others may still ask for.
const KEPT: usize = 4;
/// Rows between two chances for others.
const STEP: usize = 512;
const ASK: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(500);
/// A member that has not come so far by then is compared at the next index.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state at an index at which every node takes its digest.
#[derive(Clone, Debug)]
pub struct Mark {
    pub index: u64,
    pub state: Arc<State>,
}

/// What this node found.
#[derive(Debug, Default)]
pub struct Digests {
    kept: Mutex<VecDeque<(u64, Digest)>>,
    agreed: AtomicU64,
}

impl Digests {
    fn keep(&self, index: u64, digest: Digest) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back((index, digest));
        while kept.len() > KEPT {
            kept.pop_front();
        }
    }

    pub fn at(&self, index: u64) -> Option<Digest> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(at, _)| *at == index).map(|(_, digest)| *digest)
    }

    /// The last index at which a majority of the voters had this node's state; 0 before the first.
    pub fn agreed(&self) -> u64 {
        self.agreed.load(Ordering::Relaxed)
    }
}

/// Runs until Raft ends.
pub async fn run(weak: WeakHandle) {
    let Some(handle) = weak.upgrade() else { return };
    let mut marks = handle.marks();
    drop(handle);
    loop {
        if marks.changed().await.is_err() {
            return;
        }
        let Some(mark) = marks.borrow_and_update().clone() else { continue };
        let index = mark.index;
        let digest = digest_of(&mark.state).await;
        drop(mark);
        let Some(handle) = weak.upgrade() else { return };
        handle.digests().keep(index, digest);
        let until = Instant::now() + PATIENCE;
        let mut tally = Tally::of(&handle, digest);
        drop(handle);
        // The next index is not waited for: a state is held until its digest is taken.
        while !tally.is_whole() && Instant::now() < until && !marks.has_changed().unwrap_or(true) {
            let Some(handle) = weak.upgrade() else { return };
            if handle.stopped_because().is_some() {
                return;
            }
            tally.ask(&handle, index).await;
            drop(handle);
            if !tally.is_decided() {
                sleep(AGAIN).await;
            }
        }
        let Some(handle) = weak.upgrade() else { return };
        tally.judge(&handle, index);
    }
}

/// As [`State::digest`], giving way to others in between.
async fn digest_of(state: &State) -> Digest {
    let mut digest = StateHasher::default();
    for (number, row) in state.each_row().enumerate() {
        digest.add(&row, codec::encode_row);
        if number % STEP == 0 {
            yield_now().await;
        }
    }
    digest.finish()
}

/// What voters said.
struct Tally {
    own: Digest,
    this: NodeId,
    /// `None`: has not answered yet, or speaks of rows in another version.
    voters: Vec<(NodeId, Option<Digest>)>,
}

impl Tally {
    fn of(handle: &Handle, own: Digest) -> Self {
        let state = handle.state();
        let records = state.nodes.values().map(|record| &record.value);
        let voters = records.filter(|record| record.role == NodeRole::Voter).map(|record| record.id);
        let this = handle.node();
        Self { own, this, voters: voters.map(|id| (id, (id == this).then_some(own))).collect() }
    }

    fn is_whole(&self) -> bool {
        self.voters.iter().all(|(_, told)| told.is_some())
    }

    fn count(&self, digest: Digest) -> usize {
        self.voters.iter().filter(|(_, told)| *told == Some(digest)).count()
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// What most of them have.
    fn decided(&self) -> Option<Digest> {
        let mut told = self.voters.iter().filter_map(|(_, told)| *told);
        told.find(|digest| self.count(*digest) >= self.majority())
    }

    fn is_decided(&self) -> bool {
        self.decided().is_some_and(|digest| digest != self.own) || self.is_whole()
    }

    async fn ask(&mut self, handle: &Handle, index: u64) {
        for (node, told) in &mut self.voters {
            if told.is_some() || *node == self.this {
                continue;
            }
            let Some(target) = handle.target(*node) else { continue };
            let mut client = handle.links().client(&target, Lane::Calls);
            let request = peer::CompareStateRequest { from: handle.node().0, index };
            let answer = timeout(ASK, client.compare_state(request)).await;
            if let Ok(Ok(answer)) = answer {
                let answer = answer.into_inner();
                let digest: Result<[u8; 32], _> = answer.digest.as_ref().try_into();
                // Another version may write the same state in other bytes.
                if answer.version == env!("CARGO_PKG_VERSION") {
                    *told = digest.ok().map(Digest);
                }
            }
        }
    }

    fn judge(&self, handle: &Handle, index: u64) {
        match self.decided() {
            Some(digest) if digest == self.own => {
                handle.digests().agreed.fetch_max(index, Ordering::Relaxed);
            }
            Some(_) => handle.fail(format!(
                "STATE_DIVERGED: after entry {index} this node's state is not that of most voters. Keep a copy of its \
                 folder, then move `state` away and start it: it makes its rows again"
            )),
            None => {}
        }
        let others = self.voters.iter().filter(|(_, told)| told.is_some_and(|told| told != self.own));
        for (node, _) in others {
            tracing::error!(code = "STATE_DIVERGED", index, %node, "a node's state differs from this one's");
        }
    }
}

/// This node's answer to another's question.
pub fn answer(handle: &Handle, index: u64) -> peer::CompareStateResponse {
    let digest = handle.digests().at(index);
    peer::CompareStateResponse {
        digest: digest.map_or_else(Bytes::new, |digest| Bytes::copy_from_slice(&digest.0)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
