//! The audit trail of this node: sealed segments, then rows. Readers see one chain.
//!
//! `whole.rs` knows which segments there are and which of them this node lacks; `seal.rs` moves rows into segments;
//! `expire.rs` drops payloads that are past their days, and `due.rs` finds them;
//! `fetch.rs` gets what is lacking from other members; `tree.rs` keeps the Merkle tree over it; `names.rs` is how
//! segments are named in rows and snapshots.
//!
//! Boundaries follow from the chain alone, every so many events, so every node makes the same segments, whatever it
//! was doing meanwhile.

mod due;
mod expire;
#[cfg(test)]
mod expire_tests;
mod fetch;
mod names;
mod seal;
mod tree;
mod whole;

pub use due::Due;
pub use names::{segment_from_wire, segment_row, segment_to_wire, segments};
pub use tree::{Tree, TreeError};
pub use whole::{Trail, TrailError};

use only1mcp_storage::{SegmentCheck, SegmentCopy, SegmentName, Segments, StorageError};
use tokio::task::JoinSet;

use crate::handle::Handle;

/// Starts what keeps the trail: these tasks end with the node.
pub fn keep(tasks: &mut JoinSet<()>, handle: &Handle) {
    tasks.spawn(seal::run(handle.downgrade()));
    tasks.spawn(tree::run(handle.downgrade()));
    tasks.spawn(expire::run(handle.downgrade()));
    tasks.spawn(fetch::run(handle.downgrade()));
}

/// Checks a copy whole, giving way to others in between.
pub async fn check(
    files: &dyn Segments,
    name: SegmentName,
    before: only1mcp_domain::ids::Digest,
    copy: SegmentCopy,
) -> Result<(), StorageError> {
    let mut check = SegmentCheck::of(name, before, copy);
    while check.step(files)?.is_none() {
        tokio::task::yield_now().await;
    }
    Ok(())
}
