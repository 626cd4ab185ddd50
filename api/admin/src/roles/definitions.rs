//! Roles: the built-in four, and a tenant's own.

use only1mcp_domain::command::Command;
use only1mcp_domain::ids::{RoleId, TenantId};
use only1mcp_domain::model::{BUILT_IN_ROLES, Role, built_in_roles};
use only1mcp_domain::state::{State, Versioned};
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

type Roles = imbl::OrdMap<(TenantId, RoleId), Versioned<Role>>;

/// A tenant's roles with the built-in ones among them.
fn visible(state: &State, tenant: &TenantId) -> Roles {
    let mut roles = state.roles.clone();
    for role in built_in_roles() {
        let stored = state.roles.get(&(role.tenant.clone(), role.id.clone())).cloned();
        let record = stored.unwrap_or(Versioned { revision: 0, value: role });
        roles.insert((tenant.clone(), record.value.id.clone()), record);
    }
    roles
}

fn shown(record: &Versioned<Role>) -> pb::RoleRecord {
    pb::RoleRecord {
        role: Some((&record.value).into()),
        revision: record.revision,
        built_in: BUILT_IN_ROLES.contains(&record.value.id.as_str()),
    }
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutRoleRequest,
) -> Result<pb::PutRoleResponse, AdminError> {
    let asked = message.role.clone().map(|mut role| {
        if role.tenant.is_empty() {
            role.tenant = call.identity.tenant.to_string();
        }
        role.constraints.get_or_insert_default();
        role
    });
    let mut role: Role = wire::record("role", asked)?;
    role.permissions.sort();
    role.permissions.dedup();
    let key = (role.tenant.clone(), role.id.clone());
    let write = core.write(call, &message, key.0.clone(), |draft, view| {
        wire::check_zone("role.constraints", &role.constraints, view, &*core.ports.zones)?;
        let stored = view.state.roles.get(&key);
        role.created_at = stored.map_or(draft.now, |stored| stored.value.created_at);
        role.created_by = match stored {
            Some(stored) => stored.value.created_by.clone(),
            None => format!("{}/{}", call.identity.tenant, call.identity.principal),
        };
        Ok(Command::PutRole { role, if_revision: draft.if_revision })
    });
    Ok(pb::PutRoleResponse { result: write.await? })
}

pub(super) async fn get(
    core: &Core,
    call: &Call,
    message: pb::GetRoleRequest,
) -> Result<pb::GetRoleResponse, AdminError> {
    let key = (call.tenant(&message.tenant)?, wire::id("role", &message.role)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let roles = visible(&view.state, &key.0);
    let record = roles.get(&key).ok_or_else(|| AdminError::not_found("role", &key.1))?;
    Ok(pb::GetRoleResponse { read: core.read_info(&view), record: Some(shown(record)) })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListRolesRequest,
) -> Result<pb::ListRolesResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let roles = visible(&list.view.state, &tenant);
    let (rows, next_page_token) =
        list.take(&core.pins, &roles, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListRolesResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeleteRoleRequest,
) -> Result<pb::DeleteRoleResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let role = wire::id("role", &message.role)?;
    let write = core.write(call, &message, tenant.clone(), |draft, _| {
        Ok(Command::DeleteRole { tenant, role, if_revision: draft.if_revision })
    });
    Ok(pb::DeleteRoleResponse { result: write.await? })
}
