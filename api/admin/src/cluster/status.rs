//! Members as the log knows them, joined with what this node observes of them.

use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::NodeRole;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

/// Judged on this node's own state, whatever its age: it is asked for when there is no quorum.
pub(super) async fn status(core: &Core, call: &Call) -> Result<pb::StatusResponse, AdminError> {
    let view = core.ports.cluster.view();
    core.authorize(call, &view, &TenantId::system())?;
    let observed = core.ports.cluster.status(call.deadline).await;
    let view = core.ports.cluster.view();
    let state = &view.state;
    let members = state.nodes.values().map(|record| {
        let node = &record.value;
        let seen = observed.members.iter().find(|member| member.node == node.id);
        pb::MemberStatus {
            id: node.id.0,
            name: node.name.clone(),
            role: role_name(node.role).to_owned(),
            leader: observed.leader == Some(node.id),
            region: node.region.clone(),
            zone: node.zone.clone(),
            version: node.version.clone(),
            peer_address: node.peer_address.clone(),
            admin_address: node.admin_address.clone(),
            http_address: node.http_address.clone(),
            applied_index: seen.and_then(|member| member.applied_index),
            lag_entries: seen.and_then(|member| member.lag_entries),
            freshness_ms: seen.and_then(|member| member.freshness_ms),
            disk_free_bytes: seen.and_then(|member| member.disk_free_bytes),
            clock_offset_ms: seen.and_then(|member| member.clock_offset_ms),
            reachable: seen.and_then(|member| member.reachable),
            joined_at_ms: node.joined_at.0,
            feature_level_max: seen.and_then(|member| member.feature_level_max),
            timed: seen.and_then(|member| member.timed),
        }
    });
    let cluster = state.cluster.as_ref();
    Ok(pb::StatusResponse {
        cluster_id: cluster.map(|c| c.id.0.to_vec()).unwrap_or_default().into(),
        cluster_name: cluster.map(|c| c.settings.value.cluster_name.clone()).unwrap_or_default(),
        node: core.ports.cluster.node().0,
        leader: observed.leader.map(|leader| leader.0),
        term: observed.term,
        applied_index: observed.applied_index,
        committed_index: observed.committed_index,
        log_time_ms: state.log_time.0,
        audit_index: state.chain.index.0,
        audit_hash: state.chain.hash.0.to_vec().into(),
        policy_revision: state.policy_revision.0,
        feature_level: cluster.map(|c| c.settings.value.feature_level).unwrap_or_default(),
        members: members.collect(),
        scrub: Some(pb::ScrubStatus {
            rounds: observed.scrub.rounds,
            bytes: observed.scrub.bytes,
            faults: observed.scrub.faults,
            part: observed.scrub.part.to_owned(),
        }),
        agreed_index: observed.agreed_index,
        epoch: cluster.map(|c| c.epoch).unwrap_or_default(),
    })
}

fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Learner => "learner",
        NodeRole::Voter => "voter",
        NodeRole::Removed => "removed",
    }
}
