//! The stores of a node that does not run, made those of a cluster of one: of an image from a backup, or of what a node
//! has left whose majority is lost. Started with [`NoPeers`] the node then leads, and the first entry it proposes says
//! what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use only1mcp_domain::State;
use only1mcp_domain::apply::first_node_of_next_epoch;
use only1mcp_domain::ids::NodeId;
use only1mcp_domain::model::NodeRole;
use only1mcp_storage::{LogPosition, SavedVote, SegmentName, StorageError, segment_is_here};
use openraft::EntryPayload;

use crate::convert;
use crate::network::{Connector, PeerIo, PeerTarget};
use crate::options::Stores;
use crate::received::Receiving;
use crate::snapshot::SnapshotError;
use crate::store::install_rows;
use crate::store::rows::{self, LoadError};
use crate::types::{Member, RaftEntry, RaftMembership, SnapshotMeta, StoredMembership};

/// Reaches nobody.
pub struct NoPeers;

impl Connector for NoPeers {
    fn connect(&self, _: PeerTarget) -> BoxFuture<'static, io::Result<Box<dyn PeerIo>>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// Why the stores are not what they were to be made. What is in them then must not be used.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error(transparent)]
    Image(#[from] SnapshotError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Rows(#[from] LoadError),
    #[error("{0}")]
    Refused(String),
}

fn refused<T>(why: impl Into<String>) -> Result<T, OfflineError> {
    Err(OfflineError::Refused(why.into()))
}

/// A node that begins where an image ends.
pub struct Planted {
    pub node: NodeId,
    /// That of the image: the old cluster's, until the node says what became of it.
    pub state: State,
    pub segments: Vec<SegmentName>,
}

/// Puts an image into stores that hold nothing yet but, perhaps, its segments.
pub fn plant(
    stores: &Stores,
    frames: impl Iterator<Item = Result<Bytes, String>>,
    name: &str,
    peer_address: &str,
) -> Result<Planted, OfflineError> {
    let log = stores.log.state()?;
    if (log.vote, log.last, log.purged) != (None, None, None) {
        return refused("the log is not empty");
    }
    let mut receiving = Receiving::begin(Arc::clone(&stores.segments))?;
    for frame in frames {
        receiving.take(&frame.map_err(OfflineError::Refused)?)?;
    }
    let verified = receiving.finish()?;
    let Some(cluster) = &verified.state.cluster else { return refused("the image is of no cluster") };
    let Some(last) = verified.meta.last_log_id else { return refused("the image stands nowhere") };
    let node = first_node_of_next_epoch(cluster);
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), alone(node, name, peer_address)?),
    };
    let at = convert::position(&last);
    stores.log.purge(at)?;
    // Later votes are of greater terms than that of the last entry.
    stores.log.save_vote(SavedVote { term: at.term, node: node.0, committed: false })?;
    install_rows(&*stores.engine, &meta, &verified)?;
    Ok(Planted { node, state: verified.state, segments: verified.segments })
}

fn alone(node: NodeId, name: &str, peer_address: &str) -> Result<RaftMembership, OfflineError> {
    let member = Member { name: name.to_owned(), peer_address: peer_address.to_owned() };
    let voters = vec![BTreeSet::from([node.0])];
    RaftMembership::new(voters, BTreeMap::from([(node.0, member)]))
        .map_err(|error| OfflineError::Refused(error.to_string()))
}

/// What a node has left.
pub struct Survey {
    /// As its rows tell it; entries of the log behind them are applied once it goes on.
    pub state: State,
    /// Last entry of its log: what others acknowledged after it is not here.
    pub last_index: u64,
    /// Last entry that it knew to be committed.
    pub committed_index: u64,
    /// Of the audit trail, and not on this node.
    pub lacking: Vec<SegmentName>,
}

impl Survey {
    /// Looks at the stores and changes nothing.
    pub fn of(stores: &Stores) -> Result<Self, OfflineError> {
        if !stores.engine.is_complete()? {
            return refused("its rows are not complete: an installation was interrupted");
        }
        let loaded = rows::load(&*stores.engine)?;
        let log = stores.log.state()?;
        let index = |position: Option<LogPosition>| position.map_or(0, |position| position.index);
        let lacking = loaded.segments.iter().filter(|name| !segment_is_here(&*stores.segments, name));
        let applied = loaded.state.last_applied;
        Ok(Self {
            last_index: index(log.last.max(log.purged)).max(applied),
            committed_index: index(log.committed).max(applied),
            lacking: lacking.copied().collect(),
            state: loaded.state,
        })
    }

    /// Members besides `node` that are not removed.
    pub fn others(&self, node: NodeId) -> Vec<NodeId> {
        let records = self.state.nodes.values().map(|record| &record.value);
        records.filter(|r| r.id != node && r.role != NodeRole::Removed).map(|record| record.id).collect()
    }
}

/// Makes `node` the only voter of its own log. Every entry that the log holds counts from then on: those that were not
/// known to be committed too, since they may have been.
pub fn strand(stores: &Stores, node: NodeId, name: &str, peer_address: &str) -> Result<(), OfflineError> {
    let log = stores.log.state()?;
    let Some(last) = log.last.max(log.purged) else { return refused("its log is empty") };
    let term = log.vote.map_or(0, |vote| vote.term).max(last.term).saturating_add(1);
    stores.log.save_vote(SavedVote { term, node: node.0, committed: false })?;
    let position = LogPosition { term, node: node.0, index: last.index.saturating_add(1) };
    let entry = RaftEntry {
        log_id: convert::log_id(position),
        payload: EntryPayload::Membership(alone(node, name, peer_address)?),
    };
    let (sender, flushed) = channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    stores.log.append(vec![convert::entry_to_record(&entry)], done)?;
    match flushed.recv() {
        Ok(result) => Ok(result?),
        Err(_) => refused("the log has ended"),
    }
}
