//! One person's key, and all generations.

use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::state::State;
use only1mcp_proto::admin as pb;
use only1mcp_proto::log;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::wire;

pub(super) async fn subject(
    core: &Core,
    call: &Call,
    message: pb::GetSubjectRequest,
) -> Result<pb::GetSubjectResponse, AdminError> {
    let key: (TenantId, PrincipalId) =
        (call.tenant(&message.tenant)?, wire::id("principal", &message.principal)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let subject = view.state.subjects.get(&key).cloned();
    if subject.is_none() && !view.state.principals.contains_key(&key) {
        return Err(AdminError::not_found("subject", &key.1));
    }
    let subject = subject.unwrap_or_default();
    let status = match (&subject.erased, &subject.key) {
        (Some(_), _) => "erased",
        (None, Some(_)) => "sealed",
        (None, None) => "clear",
    };
    let generation = subject.key.as_ref().map(|key| key.generation);
    let erased = subject.erased;
    Ok(pb::GetSubjectResponse {
        read: core.read_info(&view),
        tenant: key.0.to_string(),
        principal: key.1.to_string(),
        status: status.to_owned(),
        generation: generation.or(erased.map(|erased| erased.generation)).unwrap_or(0),
        hold: subject.hold,
        erased_at_ms: erased.map_or(0, |erased| erased.at.0),
        unrecoverable_since_ms: erased.and_then(|erased| erased.unrecoverable_since).map_or(0, |at| at.0),
    })
}

pub(super) async fn erasure(
    core: &Core,
    call: &Call,
    message: pb::GetErasureRequest,
) -> Result<pb::GetErasureResponse, AdminError> {
    let view = core.read(call, message.consistency, &TenantId::system()).await?;
    let state: &State = &view.state;
    let erasure = &state.erasure;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let keys = || state.subjects.values().filter_map(|subject| subject.key.as_ref());
    let erased = || state.subjects.values().filter_map(|subject| subject.erased);
    let held = erasure.held.iter().map(|(node, held)| log::GenerationsHeld {
        node: node.0,
        oldest: held.oldest,
        newest: held.newest,
        check: held.check.0.to_vec().into(),
        destroyed_at_ms: held.destroyed_at.0,
    });
    Ok(pb::GetErasureResponse {
        read: core.read_info(&view),
        generation: erasure.generation,
        since_ms: erasure.since.0,
        wanted: erasure.wanted || erasure.offer.is_some(),
        subjects: count(keys().count()),
        behind: count(keys().filter(|key| key.generation < erasure.generation).count()),
        erased: count(erased().count()),
        recoverable: count(erased().filter(|erased| erased.unrecoverable_since.is_none()).count()),
        held: held.collect(),
    })
}
