//! Grants: a role given to a principal, under conditions, for a time.

use only1mcp_domain::command::Command;
use only1mcp_domain::model::Grant;
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

/// Stands in for an id that the server makes; replaced before the command is built.
const UNNAMED: &str = "unnamed";

pub(super) async fn create(
    core: &Core,
    call: &Call,
    message: pb::CreateGrantRequest,
) -> Result<pb::CreateGrantResponse, AdminError> {
    let mut unnamed = false;
    let asked = message.grant.clone().map(|mut grant| {
        if grant.tenant.is_empty() {
            grant.tenant = call.identity.tenant.to_string();
        }
        unnamed = grant.id.is_empty();
        if unnamed {
            grant.id = UNNAMED.to_owned();
        }
        grant.conditions.get_or_insert_default();
        grant
    });
    let mut grant: Grant = wire::record("grant", asked)?;
    let tenant = grant.tenant.clone();
    let named = (!unnamed).then(|| grant.id.to_string());
    let write = core.write(call, &message, tenant.clone(), |draft, view| {
        wire::check_zone("grant.conditions", &grant.conditions, view, &*core.ports.zones)?;
        if unnamed {
            grant.id = wire::id("grant.id", &draft.generated_id('g'))?;
        }
        grant.created_at = draft.now;
        grant.created_by = format!("{}/{}", call.identity.tenant, call.identity.principal);
        Ok(Command::CreateGrant(grant))
    });
    let result = write.await?;
    // A made id follows from the command's, so a retry tells the same one.
    let made = || result.as_ref().map(|r| crate::hex::encode(&r.command_id)).unwrap_or_default();
    let grant_id = named.unwrap_or_else(|| format!("g{}", made()));
    Ok(pb::CreateGrantResponse { grant_id, result })
}

fn shown(record: &Versioned<Grant>, now: TimestampMs) -> pb::GrantRecord {
    let grant = &record.value;
    pb::GrantRecord {
        grant: Some(grant.into()),
        revision: record.revision,
        expired: grant.expires_at.is_some_and(|at| at <= now),
    }
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListGrantsRequest,
) -> Result<pb::ListGrantsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str(), &message.principal, &message.role];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let wanted = |record: &Versioned<Grant>| {
        let grant = &record.value;
        (message.principal.is_empty() || grant.principal.as_str() == message.principal)
            && (message.role.is_empty() || grant.role.as_str() == message.role)
    };
    let grants = &list.view.state.grants;
    let (rows, next_page_token) =
        list.take(&core.pins, grants, start, |(t, _)| *t == tenant, wanted, |(_, id)| id.to_string());
    let records = rows.into_iter().map(|record| shown(record, list.view.now)).collect();
    Ok(pb::ListGrantsResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn revoke(
    core: &Core,
    call: &Call,
    message: pb::RevokeGrantRequest,
) -> Result<pb::RevokeGrantResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let grant = wire::id("grant", &message.grant)?;
    let write = core.write(call, &message, tenant.clone(), |_, _| Ok(Command::RevokeGrant { tenant, grant }));
    Ok(pb::RevokeGrantResponse { result: write.await? })
}
