//! Between openraft's values, the store's positions and the wire's messages.

use std::collections::{BTreeMap, BTreeSet};

use only1mcp_proto::{log, peer};
use only1mcp_storage::{LogPosition, SavedVote};
use openraft::EntryPayload;
use prost::Message as _;

use crate::types::{
    EntryBytes, LeaderId, LogId, Member, RaftEntry, RaftMembership, RaftVote, SnapshotMeta, StoredMembership,
};

/// A message or record that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct Malformed {
    pub what: &'static str,
    pub problem: String,
}

pub fn malformed(what: &'static str, problem: impl ToString) -> Malformed {
    Malformed { what, problem: problem.to_string() }
}

fn present<T>(what: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| malformed(what, "missing"))
}

fn leader(term: u64, node: u64) -> LeaderId {
    LeaderId { term, node_id: node }
}

pub fn log_id(position: LogPosition) -> LogId {
    LogId::new(leader(position.term, position.node), position.index)
}

pub fn position(id: &LogId) -> LogPosition {
    LogPosition { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub fn vote(saved: SavedVote) -> RaftVote {
    RaftVote { leader_id: leader(saved.term, saved.node), committed: saved.committed }
}

pub fn saved_vote(vote: &RaftVote) -> SavedVote {
    SavedVote { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub fn log_id_to_wire(id: &LogId) -> log::LogId {
    log::LogId { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

pub fn log_id_from_wire(id: log::LogId) -> LogId {
    LogId::new(leader(id.term, id.node), id.index)
}

pub fn vote_to_wire(vote: &RaftVote) -> log::Vote {
    log::Vote { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

pub fn vote_from_wire(vote: Option<log::Vote>) -> Result<RaftVote, Malformed> {
    let vote = present("vote", vote)?;
    Ok(RaftVote { leader_id: leader(vote.term, vote.node), committed: vote.committed })
}

pub fn membership_to_wire(membership: &RaftMembership) -> log::Membership {
    log::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|set| log::VoterSet { nodes: set.iter().copied().collect() })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, member)| log::MemberNode {
                id: *id,
                name: member.name.clone(),
                peer_address: member.peer_address.clone(),
            })
            .collect(),
    }
}

pub fn membership_from_wire(membership: log::Membership) -> Result<RaftMembership, Malformed> {
    let configs: Vec<BTreeSet<u64>> =
        membership.configs.into_iter().map(|set| set.nodes.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Member> = membership
        .nodes
        .into_iter()
        .map(|node| (node.id, Member { name: node.name, peer_address: node.peer_address }))
        .collect();
    if configs.is_empty() && nodes.is_empty() {
        return Ok(RaftMembership::default());
    }
    RaftMembership::new(configs, nodes).map_err(|error| malformed("membership", error))
}

pub fn stored_membership_to_wire(stored: &StoredMembership) -> log::StoredMembership {
    log::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_wire),
        membership: Some(membership_to_wire(stored.membership())),
    }
}

pub fn stored_membership_from_wire(
    stored: Option<log::StoredMembership>,
) -> Result<StoredMembership, Malformed> {
    let Some(stored) = stored else {
        return Ok(StoredMembership::default());
    };
    let membership = membership_from_wire(present("membership", stored.membership)?)?;
    Ok(StoredMembership::new(stored.log_id.map(log_id_from_wire), membership))
}

pub fn meta_to_wire(meta: &SnapshotMeta) -> log::SnapshotMeta {
    log::SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_to_wire),
        last_membership: Some(stored_membership_to_wire(&meta.last_membership)),
    }
}

pub fn meta_from_wire(meta: log::SnapshotMeta) -> Result<SnapshotMeta, Malformed> {
    Ok(SnapshotMeta {
        last_log_id: meta.last_log_id.map(log_id_from_wire),
        last_membership: stored_membership_from_wire(meta.last_membership)?,
    })
}

pub fn payload_to_wire(entry: &RaftEntry) -> log::Payload {
    let kind = match &entry.payload {
        EntryPayload::Blank => log::payload::Kind::Blank(log::Nothing {}),
        EntryPayload::Normal(bytes) => log::payload::Kind::Entry(bytes.0.clone()),
        EntryPayload::Membership(membership) => {
            log::payload::Kind::Membership(membership_to_wire(membership))
        }
    };
    log::Payload { kind: Some(kind) }
}

fn entry_of(id: LogId, payload: log::Payload) -> Result<RaftEntry, Malformed> {
    let payload = match present("payload kind", payload.kind)? {
        log::payload::Kind::Blank(_) => EntryPayload::Blank,
        log::payload::Kind::Entry(bytes) => EntryPayload::Normal(EntryBytes(bytes)),
        log::payload::Kind::Membership(membership) => {
            EntryPayload::Membership(membership_from_wire(membership)?)
        }
    };
    Ok(RaftEntry { log_id: id, payload })
}

pub fn entry_from_record(record: only1mcp_storage::LogRecord) -> Result<RaftEntry, Malformed> {
    let payload = log::Payload::decode(record.payload).map_err(|error| malformed("log record", error))?;
    entry_of(log_id(record.position), payload)
}

pub fn entry_to_record(entry: &RaftEntry) -> only1mcp_storage::LogRecord {
    only1mcp_storage::LogRecord {
        position: position(&entry.log_id),
        payload: payload_to_wire(entry).encode_to_vec().into(),
    }
}

pub fn entry_to_wire(entry: &RaftEntry) -> peer::LogEntry {
    peer::LogEntry { id: Some(log_id_to_wire(&entry.log_id)), payload: Some(payload_to_wire(entry)) }
}

pub fn entry_from_wire(entry: peer::LogEntry) -> Result<RaftEntry, Malformed> {
    entry_of(log_id_from_wire(present("log id", entry.id)?), present("payload", entry.payload)?)
}
