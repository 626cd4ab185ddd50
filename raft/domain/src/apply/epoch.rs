//! A new epoch: the cluster goes on, or begins again, without members it had. What they were lent counts as spent.

use crate::apply::activity_event::{by_node, detail};
use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::validate::{ensure, invalid};
use crate::apply::{cost, describe, duty, member, subject};
use crate::audit::{AuditEvent, EventKind, EventOutcome, Severity};
use crate::command::{BackupNote, BeginEpoch, EpochCause, Restored};
use crate::ids::{ApiKeyId, NodeId};
use crate::ledger::{Forfeit, ForfeitReason};
use crate::limits;
use crate::model::{NodeRecord, NodeRole};
use crate::outcome::{Effect, Rejection};
use crate::state::Cluster;

/// Accounts that one event names; further ones are in the cost records, and only counted here.
const TOLD_MAX: usize = 64;

/// The id of the first node of a cluster that is made of a backup of this one: above all ids that the old cluster may
/// have given since.
pub fn first_node_of_next_epoch(cluster: &Cluster) -> NodeId {
    let block = cluster.next_node.0.div_ceil(limits::EPOCH_NODE_IDS);
    NodeId(block.saturating_mul(limits::EPOCH_NODE_IDS).saturating_add(1))
}

/// Everything is checked before anything is told: events cannot be taken back.
pub(super) fn begin(change: &mut Change<'_>, begin: &BeginEpoch) -> Result<Report, Rejection> {
    let Some(cluster) = change.state.cluster.clone() else { return Err(Rejection::NotFormed {}) };
    ensure(begin.epoch == cluster.epoch.saturating_add(1), "epoch", "does not follow the cluster's")?;
    match &begin.cause {
        EpochCause::Restored(restored) => self::restored(change, begin.epoch, restored, cluster),
        EpochCause::MajorityLost { node } => alone(change, begin.epoch, *node, cluster),
    }
}

fn restored(
    change: &mut Change<'_>,
    epoch: u64,
    restored: &Restored,
    cluster: Cluster,
) -> Result<Report, Rejection> {
    member::check(&restored.node)?;
    ensure(restored.node.token.is_none(), "node.token", "is given, but nobody could have made it")?;
    ensure(restored.cluster_id != cluster.id, "cluster_id", "is the old cluster's")?;
    let id = first_node_of_next_epoch(&cluster);
    let (old_id, old_epoch) = (cluster.id, cluster.epoch);
    let lost = lose_members(change, None, ForfeitReason::UnattributedRestart);
    let known: Vec<NodeId> = change.state.nodes.keys().copied().collect();
    known.into_iter().for_each(|old| change.forget_node(old));
    let node = member::record(change, id, NodeRole::Voter, &restored.node);
    let told = describe::node(&node);
    change.put_node(node);
    change.put_clock(id, change.entry.observed_at);
    change.put_cluster(Cluster {
        id: restored.cluster_id,
        session_key: restored.session_key.clone(),
        next_node: NodeId(id.0.saturating_add(1)),
        epoch,
        ..cluster
    });
    subject::restored(change);
    begun(change);
    Ok(report(change, lost)
        .detail("epoch", epoch.to_string())
        .detail("epoch_before", old_epoch.to_string())
        .detail("backup", restored.backup.to_string())
        .detail("cluster_id", restored.cluster_id.to_string())
        .detail("cluster_id_before", old_id.to_string())
        .detail("node", told))
    .map(|report| member::signers(change, report))
}

fn alone(change: &mut Change<'_>, epoch: u64, node: NodeId, cluster: Cluster) -> Result<Report, Rejection> {
    let record = change.state.nodes.get(&node).map(|record| record.value.clone());
    let record = record.ok_or_else(|| member::not_found(node))?;
    if record.role == NodeRole::Removed {
        return Err(Rejection::NodeBarred { name: record.name });
    }
    let mut others = change.state.nodes.values().map(|other| &other.value);
    if !others.any(|other| other.id != node && other.role != NodeRole::Removed) {
        return Err(invalid("node", "is the only member"));
    }
    let old_epoch = cluster.epoch;
    let lost = lose_members(change, Some(node), ForfeitReason::NodeRemoved);
    change.put_node(NodeRecord { role: NodeRole::Voter, ..record.clone() });
    change.put_clock(node, change.entry.observed_at);
    change.put_cluster(Cluster { epoch, ..cluster });
    begun(change);
    Ok(report(change, lost)
        .detail("epoch", epoch.to_string())
        .detail("epoch_before", old_epoch.to_string())
        .detail("node", describe::node(&record)))
    .map(|report| member::signers(change, report))
}

fn report(change: &Change<'_>, lost: usize) -> Report {
    Report::changed(None, None)
        .severity(Severity::Critical)
        .detail("log_index", change.log_index.to_string())
        .detail("members_lost", lost.to_string())
}

fn begun(change: &mut Change<'_>) {
    let tokens: Vec<ApiKeyId> = change.state.join_tokens.keys().cloned().collect();
    tokens.iter().for_each(|token| change.remove_join_token(token));
    // Revisions that clients hold may be of a past that is no more.
    change.policy_changed(None);
    change.effect(Effect::NodesChanged);
    change.effect(Effect::SettingsChanged);
}

/// Bars every member but `keep` and posts in full what each was lent, in an event of its own. INVARIANT: P1
fn lose_members(change: &mut Change<'_>, keep: Option<NodeId>, reason: ForfeitReason) -> usize {
    let members = change.state.nodes.values().map(|record| record.value.clone());
    let lost: Vec<NodeRecord> =
        members.filter(|node| Some(node.id) != keep && node.role != NodeRole::Removed).collect();
    for node in &lost {
        change.state.lent_to(node.id).iter().for_each(|key| change.touch(key));
        let forfeits = change.state.forfeit_all(node.id, reason);
        cost::forfeited(change, node.id, &forfeits, change.next_audit_index());
        let event = told(change, node, reason, &forfeits);
        change.seal(&event);
        duty::released(change, node.id);
        subject::released(change, node.id);
        change.put_node(NodeRecord { role: NodeRole::Removed, ..node.clone() });
        change.remove_settled(node.id);
        change.remove_clock(node.id);
        change.remove_activity(node.id);
    }
    lost.len()
}

fn told(change: &Change<'_>, node: &NodeRecord, reason: ForfeitReason, forfeits: &[Forfeit]) -> AuditEvent {
    let activity = change.state.activity.get(&node.id);
    let last_sequence = activity.map_or(0, |activity| activity.last_sequence);
    let posted = forfeits.iter().take(TOLD_MAX);
    let posted = posted.map(|f| detail(&format!("posted in full {}", f.account), f.amount.to_string()));
    let mut details = vec![
        detail("accounts", forfeits.len().to_string()),
        detail("last_sequence", last_sequence.to_string()),
        detail("name", &*node.name),
    ];
    details.extend(posted);
    AuditEvent {
        kind: EventKind::AnomalyDetected,
        severity: Severity::Critical,
        action: "node.lost".to_owned(),
        outcome: EventOutcome::Unknown,
        reason: reason.text().to_owned(),
        details,
        before_state: Some(describe::node(node)),
        ..by_node(change, node.id, change.entry.observed_at)
    }
}

pub(super) fn note_backup(change: &mut Change<'_>, note: &BackupNote) -> Result<Report, Rejection> {
    if !change.state.is_member(note.node) {
        return Err(member::not_found(note.node));
    }
    let epoch = change.state.cluster.as_ref().map_or(0, |cluster| cluster.epoch);
    Ok(Report::changed(None, None)
        .detail("node", note.node.to_string())
        .detail("epoch", epoch.to_string())
        .detail("log_index", change.log_index.to_string()))
}
