//! The key table, page by page: persons' keys as the generation in force wraps them, and who is erased. That it is read
//! stands in the trail, as a backup does, before its first page leaves.

use std::ops::Bound;

use only1mcp_domain::command::{BackupNote, Command};
use only1mcp_domain::ids::{PrincipalId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::SubjectKey;
use only1mcp_proto::admin as pb;
use only1mcp_proto::codec;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;

pub(super) async fn page(
    core: &Core,
    call: &Call,
    message: pb::ReadKeyTableRequest,
) -> Result<pb::ReadKeyTableResponse, AdminError> {
    let mut after = Bound::Unbounded;
    if message.page_token.is_empty() {
        let node = core.ports.cluster.node();
        let command = Command::NoteBackup(BackupNote { node });
        core.write(call, &message, TenantId::system(), |_, _| Ok(command)).await?;
    } else {
        after = Bound::Excluded(parse(&message.page_token)?);
    }
    let view = core.read(call, None, &TenantId::system()).await?;
    let state = &view.state;
    let copy = core.ports.personal.generation_for(state, &message.recovery_public);
    let copy = copy.map_err(|problem| AdminError::invalid("recovery_public", problem))?;
    let (mut keys, mut erased, mut next_page_token) = (Vec::new(), Vec::new(), String::new());
    for ((tenant, principal), subject) in state.subjects.range((after, Bound::Unbounded)) {
        if let Some(key) = &subject.key {
            let (tenant, principal, key) = (tenant.clone(), principal.clone(), key.clone());
            if key.generation != copy.generation {
                let problem =
                    "keys are being wrapped anew: try again when `ctl erasure status` shows none behind";
                return Err(AdminError::invalid("key table", problem));
            }
            keys.push((&SubjectKey { tenant, principal, key }).into());
        }
        erased.extend(subject.erased.map(|at| codec::write_erased(tenant, principal, &at)));
        if keys.len() + erased.len() >= limits::SUBJECT_KEYS_MAX {
            next_page_token = format!("{tenant}/{principal}");
            break;
        }
    }
    Ok(pb::ReadKeyTableResponse {
        generation: copy.generation,
        check: state.erasure.check.map(|check| check.0.to_vec()).unwrap_or_default().into(),
        wrapped_generation: copy.wrapped.into(),
        keys,
        erased,
        next_page_token,
        cluster_id: state.cluster.as_ref().map(|cluster| cluster.id.0.to_vec()).unwrap_or_default().into(),
    })
}

fn parse(token: &str) -> Result<(TenantId, PrincipalId), AdminError> {
    let (tenant, principal) = token.split_once('/').ok_or(AdminError::PageTokenInvalid)?;
    let tenant = TenantId::new(tenant).map_err(|_| AdminError::PageTokenInvalid)?;
    Ok((tenant, PrincipalId::new(principal).map_err(|_| AdminError::PageTokenInvalid)?))
}
