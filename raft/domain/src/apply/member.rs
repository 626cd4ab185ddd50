//! The cluster's members: registered by a token, promoted, updated, removed for good.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::duty;
use crate::apply::ledger;
use crate::apply::subject;
use crate::apply::validate::{Check, at_most, ensure, filled, invalid, text};
use crate::audit::{SIGNER_DETAIL, SIGNER_NONE, Severity};
use crate::command::{Command, RegisterNode};
use crate::ids::{NodeId, PrincipalId, PublicKey};
use crate::limits;
use crate::model::{NodeRecord, NodeRole};
use crate::outcome::{Effect, Outcome, Rejection};
use crate::state::Cluster;

pub(super) fn check(node: &RegisterNode) -> Check {
    let named = PrincipalId::new(&node.name).map(drop);
    named.map_err(|error| invalid("name", error.to_string()))?;
    check_told([
        &node.peer_address,
        &node.admin_address,
        &node.http_address,
        &node.region,
        &node.zone,
        &node.version,
    ])
}

fn check_told([peer, admin, http, region, zone, version]: [&String; 6]) -> Check {
    filled("peer_address", peer, limits::LABEL_BYTES_MAX)?;
    text("admin_address", admin, limits::LABEL_BYTES_MAX)?;
    text("http_address", http, limits::LABEL_BYTES_MAX)?;
    text("region", region, limits::NAME_BYTES_MAX)?;
    text("zone", zone, limits::NAME_BYTES_MAX)?;
    text("version", version, limits::NAME_BYTES_MAX)
}

pub(super) fn record(change: &Change<'_>, id: NodeId, role: NodeRole, node: &RegisterNode) -> NodeRecord {
    NodeRecord {
        id,
        name: node.name.clone(),
        peer_address: node.peer_address.clone(),
        admin_address: node.admin_address.clone(),
        http_address: node.http_address.clone(),
        region: node.region.clone(),
        zone: node.zone.clone(),
        version: node.version.clone(),
        role,
        joined_at: change.now(),
        signing_key: None,
    }
}

/// The token's MAC was checked by the proposer; here it is used up. The newcomer is a learner until promoted.
pub(super) fn register(change: &mut Change<'_>, node: &RegisterNode) -> Result<Report, Rejection> {
    check(node)?;
    let Some(cluster) = change.state.cluster.clone() else { return Err(Rejection::NotFormed {}) };
    let token = node.token.as_ref().and_then(|id| change.state.join_tokens.get(id)).cloned();
    let token = token.filter(|token| token.expires_at > change.now()).ok_or(Rejection::TokenInvalid {})?;
    refuse_known_name(change, &node.name)?;
    let live = change.state.nodes.values().filter(|record| record.value.role != NodeRole::Removed).count();
    at_most(live + 1, limits::NODES_MAX, "nodes")?;
    let id = cluster.next_node;
    let record = record(change, id, NodeRole::Learner, node);
    let after = describe::node(&record);
    change.put_cluster(Cluster { next_node: NodeId(id.0.saturating_add(1)), ..cluster });
    change.remove_join_token(&token.id);
    change.put_node(record);
    change.effect(Effect::NodesChanged);
    let report = Report::changed(None, Some(after)).detail("join_token", token.id.as_str());
    Ok(report.answering(Outcome::NodeRegistered { node: id }))
}

/// A name is in use while its node lives, and barred for ever after.
fn refuse_known_name(change: &Change<'_>, name: &str) -> Check {
    let mut nodes = change.state.nodes.values().map(|record| &record.value);
    match nodes.find(|known| known.name == name).map(|known| known.role) {
        None => Ok(()),
        Some(NodeRole::Removed) => Err(Rejection::NodeBarred { name: name.to_owned() }),
        Some(NodeRole::Learner | NodeRole::Voter) => {
            Err(Rejection::AlreadyExists { kind: "node".to_owned(), id: name.to_owned() })
        }
    }
}

pub(super) fn set_role(change: &mut Change<'_>, node: NodeId, role: NodeRole) -> Result<Report, Rejection> {
    ensure(role != NodeRole::Removed, "role", "is not set but follows from removal")?;
    let old = live(change, node)?;
    if role == NodeRole::Learner {
        keep_a_voter(change, &old)?;
    }
    let new = NodeRecord { role, ..old.clone() };
    let report = Report::changed(Some(describe::node(&old)), Some(describe::node(&new)));
    change.put_node(new);
    change.effect(Effect::NodesChanged);
    Ok(signers(change, report))
}

/// Who signs after this event, told in the event: so whoever follows the chain from a set of keys he trusts knows every
/// later one. INVARIANT: P3
pub(super) fn signers(change: &Change<'_>, report: Report) -> Report {
    if !signs(change) {
        return report;
    }
    let voters = change.state.nodes.values().map(|record| &record.value);
    voters.filter(|node| node.role == NodeRole::Voter).fold(report, |report, node| {
        let key = node.signing_key.map_or_else(|| SIGNER_NONE.to_owned(), |key| key.to_string());
        report.detail(&format!("{SIGNER_DETAIL}{}", node.id), key)
    })
}

pub(super) fn signs(change: &Change<'_>) -> bool {
    let level = change.state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
    level >= limits::FEATURE_LEVEL_SIGNING
}

pub(super) fn set_signing_key(
    change: &mut Change<'_>,
    node: NodeId,
    key: PublicKey,
) -> Result<Report, Rejection> {
    ensure(signs(change), "feature_level", "is below 3, which signing keys need")?;
    let old = live(change, node)?;
    if old.signing_key == Some(key) {
        return Ok(Report::silent());
    }
    let mut others = change.state.nodes.values().map(|record| &record.value);
    ensure(!others.any(|other| other.signing_key == Some(key)), "key", "is another node's")?;
    let mut report = Report::changed(None, None).detail("signing_key", key.to_string());
    if let Some(before) = old.signing_key {
        report = report.detail("signing_key_before", before.to_string());
    }
    change.put_node(NodeRecord { signing_key: Some(key), ..old });
    change.effect(Effect::NodesChanged);
    Ok(signers(change, report))
}

/// Says nothing when nothing changed.
pub(super) fn update(change: &mut Change<'_>, node: NodeId, command: &Command) -> Result<Report, Rejection> {
    let Command::UpdateNode { peer_address, admin_address, http_address, region, zone, version, .. } =
        command
    else {
        return Err(invalid("command", "is not an update of a node"));
    };
    let old = live(change, node)?;
    check_told([peer_address, admin_address, http_address, region, zone, version])?;
    let new = NodeRecord {
        peer_address: peer_address.clone(),
        admin_address: admin_address.clone(),
        http_address: http_address.clone(),
        region: region.clone(),
        zone: zone.clone(),
        version: version.clone(),
        ..old.clone()
    };
    if new == old {
        return Ok(Report::silent());
    }
    let report = Report::changed(Some(describe::node(&old)), Some(describe::node(&new)));
    change.put_node(new);
    change.effect(Effect::NodesChanged);
    Ok(report)
}

/// INVARIANT: P3: what a node has not handed in is lost only by name.
pub(super) fn remove(change: &mut Change<'_>, node: NodeId, lose_journal: bool) -> Result<Report, Rejection> {
    let old = live(change, node)?;
    keep_a_voter(change, &old)?;
    let activity = change.state.activity.get(&node);
    let last_sequence = activity.map_or(0, |activity| activity.last_sequence);
    let unposted = activity.is_some_and(|activity| !activity.journal_sealed);
    if unposted && !lose_journal {
        return Err(Rejection::JournalUnposted { node: node.0, last_sequence });
    }
    let new = NodeRecord { role: NodeRole::Removed, ..old.clone() };
    let mut report = Report::changed(Some(describe::node(&old)), Some(describe::node(&new)))
        .detail("name", &old.name)
        .detail("last_sequence", last_sequence.to_string());
    if unposted {
        report = report.detail("journal", "lost").severity(Severity::Critical);
    }
    report = ledger::removed(change, node, report);
    duty::released(change, node);
    change.put_node(new);
    subject::released(change, node);
    change.remove_clock(node);
    change.remove_activity(node);
    change.effect(Effect::NodesChanged);
    Ok(signers(change, report))
}

fn live(change: &Change<'_>, node: NodeId) -> Result<NodeRecord, Rejection> {
    let record = change.state.nodes.get(&node).map(|record| record.value.clone());
    let record = record.ok_or_else(|| not_found(node))?;
    if record.role == NodeRole::Removed {
        Err(Rejection::NodeBarred { name: record.name })
    } else {
        Ok(record)
    }
}

pub(super) fn not_found(node: NodeId) -> Rejection {
    Rejection::NotFound { kind: "node".to_owned(), id: node.to_string() }
}

/// Without a voter there is no log time and no cluster.
fn keep_a_voter(change: &Change<'_>, node: &NodeRecord) -> Check {
    let voters = change.state.nodes.values().filter(|record| record.value.role == NodeRole::Voter).count();
    if node.role == NodeRole::Voter && voters <= 1 {
        let by = "the cluster as its only voter".to_owned();
        return Err(Rejection::InUse { kind: "node".to_owned(), id: node.name.clone(), by });
    }
    Ok(())
}
