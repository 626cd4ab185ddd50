//! Whether nodes still agree: at every so many entries each node takes a digest of its state and asks the others for
//! theirs. The odd one out stops: whatever made it differ, nothing it says may be believed.

use std::collections::BTreeMap;
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

/// Digests that others may still ask for: nodes come to an index at different times.
const KEPT: usize = 8;
/// Rows between two chances for others.
const STEP: usize = 512;
const ASK: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(500);
/// A member that has not come so far by then is compared at a later index.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state at an index at which every node takes its digest.
#[derive(Clone, Debug)]
pub struct Mark {
    pub index: u64,
    pub state: Arc<State>,
}

type Kept = BTreeMap<u64, Digest>;

/// What this node found.
#[derive(Debug, Default)]
pub struct Digests {
    kept: Mutex<Kept>,
    agreed: AtomicU64,
}

impl Digests {
    fn keep(&self, index: u64, digest: Digest) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(index, digest);
        while kept.len() > KEPT {
            kept.pop_first();
        }
    }

    fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        // A state is held no longer than its digest takes.
        drop(mark);
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(handle) = weak.upgrade() else { return };
            if handle.stopped_because().is_some() {
                return;
            }
            handle.digests().keep(index, digest);
            let told = ask(&handle).await;
            judge(&handle, &told);
            let settled = handle.digests().agreed() >= index;
            drop(handle);
            if settled || Instant::now() >= until || marks.has_changed().unwrap_or(true) {
                break;
            }
            sleep(AGAIN).await;
        }
    }
}

/// As [`State::digest`], giving way to others in between.
async fn digest_of(state: &State) -> Digest {
    let mut digest = StateHasher::default();
    for (number, row) in state.each_row().enumerate() {
        digest.add(&row, codec::encode_row);
        if number.is_multiple_of(STEP) {
            yield_now().await;
        }
    }
    digest.finish()
}

/// What voters have at which index. One that does not answer, or writes rows in another version, has nothing.
type Told = Vec<(NodeId, Kept)>;

async fn ask(handle: &Handle) -> Told {
    let state = handle.state();
    let records = state.nodes.values().map(|record| &record.value);
    let voters: Vec<NodeId> =
        records.filter(|record| record.role == NodeRole::Voter).map(|record| record.id).collect();
    drop(state);
    let mut told = Vec::with_capacity(voters.len());
    for node in voters {
        let kept = if node == handle.node() { Some(handle.digests().kept()) } else { of(handle, node).await };
        told.push((node, kept.unwrap_or_default()));
    }
    told
}

async fn of(handle: &Handle, node: NodeId) -> Option<Kept> {
    let target = handle.target(node)?;
    let mut client = handle.links().client(&target, Lane::Calls);
    let request = peer::CompareStateRequest { from: handle.node().0 };
    let answer = timeout(ASK, client.compare_state(request)).await.ok()?.ok()?.into_inner();
    if answer.version != env!("CARGO_PKG_VERSION") {
        return None;
    }
    let digests = answer.digests.into_iter().filter_map(|told| {
        let digest: [u8; 32] = told.digest.as_ref().try_into().ok()?;
        Some((told.index, Digest(digest)))
    });
    Some(digests.take(KEPT).collect())
}

/// At every index that this node knows of: whether most voters have what it has, or something else.
fn judge(handle: &Handle, told: &Told) {
    let majority = told.len() / 2 + 1;
    for (index, own) in handle.digests().kept() {
        let at = || told.iter().filter_map(move |(node, kept)| Some((*node, *kept.get(&index)?)));
        let count = |digest: Digest| at().filter(|(_, theirs)| *theirs == digest).count();
        if count(own) >= majority {
            handle.digests().agreed.fetch_max(index, Ordering::Relaxed);
        }
        let Some((node, _)) = at().find(|(_, theirs)| *theirs != own) else { continue };
        tracing::error!(code = "STATE_DIVERGED", index, %node, "a node's state differs from this one's");
        if at().any(|(_, theirs)| theirs != own && count(theirs) >= majority) {
            handle.fail(format!(
                "STATE_DIVERGED: after entry {index} this node's state is not that of most voters. Keep a copy of its \
                 folder, then move `state` away and start it: it makes its rows again"
            ));
            return;
        }
    }
}

/// This node's answer to another's question.
pub fn answer(handle: &Handle) -> peer::CompareStateResponse {
    let digests = handle.digests().kept().into_iter();
    let digests =
        digests.map(|(index, digest)| peer::StateDigest { index, digest: Bytes::copy_from_slice(&digest.0) });
    peer::CompareStateResponse { digests: digests.collect(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
