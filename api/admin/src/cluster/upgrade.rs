//! The feature level moves only when every member knows it: whoever does not would have to stop.

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::TenantId;
use only1mcp_domain::model::ClusterSettings;
use only1mcp_domain::outcome::Rejection;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::ports::{Consistency, MemberObservation};

const FIELD: &str = "feature_level";

/// Raises the level to the newest that all members know. Repeating it changes nothing.
pub(super) async fn finish(
    core: &Core,
    call: &Call,
    message: pb::FinishUpgradeRequest,
) -> Result<pb::FinishUpgradeResponse, AdminError> {
    let view = core.ports.cluster.consistent(Consistency::Linearizable, call.deadline).await?;
    core.authorize(call, &view, &TenantId::system())?;
    let formed = view.state.cluster.as_ref().ok_or(AdminError::Rejected(Rejection::NotFormed {}))?;
    let (settings, revision) = (formed.settings.value.clone(), formed.settings.revision);
    let members = core.ports.cluster.status(call.deadline).await.members;
    let known = members.iter().map(told).collect::<Result<Vec<_>, _>>()?;
    let feature_level = known.into_iter().min().unwrap_or(0).max(settings.feature_level);
    let settings = ClusterSettings { feature_level, ..settings };
    let write = core.write(call, &message, TenantId::system(), |_, _| {
        Ok(Command::SetSettings { settings, if_revision: Some(revision) })
    });
    Ok(pb::FinishUpgradeResponse { result: write.await?, feature_level })
}

/// Where `level` is above the one in force: every member says that it knows it.
pub(super) async fn all_know(core: &Core, call: &Call, level: u32) -> Result<(), AdminError> {
    let view = core.ports.cluster.view();
    let present = view.state.cluster.as_ref().map_or(0, |cluster| cluster.settings.value.feature_level);
    if level <= present {
        return Ok(());
    }
    core.authorize(call, &view, &TenantId::system())?;
    for member in core.ports.cluster.status(call.deadline).await.members {
        let known = told(&member)?;
        if known < level {
            let problem = format!("node {} knows levels up to {known}: upgrade it first", member.node);
            return Err(AdminError::invalid(FIELD, problem));
        }
    }
    Ok(())
}

fn told(member: &MemberObservation) -> Result<u32, AdminError> {
    let silent = || format!("node {} does not answer: start it or remove it first", member.node);
    member.feature_level_max.ok_or_else(|| AdminError::invalid(FIELD, silent()))
}
