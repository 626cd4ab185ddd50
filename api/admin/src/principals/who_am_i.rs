//! Who the credentials are, and what administrative rights they carry here and now.

use only1mcp_domain::model::Permission;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::subjects::opened_principal;

pub(super) async fn who_am_i(core: &Core, call: &Call) -> Result<pb::WhoAmIResponse, AdminError> {
    let identity = &call.identity;
    let view = core.read(call, None, &identity.tenant).await?;
    let principal = view.state.principals.get(&(identity.tenant.clone(), identity.principal.clone()));
    let start = crate::wire::start(&identity.tenant, None)?;
    let grants = view.state.grants.range((start, std::ops::Bound::Unbounded));
    let grants =
        grants.take_while(|((tenant, _), _)| *tenant == identity.tenant).map(|(_, grant)| &grant.value);
    let held = grants.filter(|grant| {
        grant.principal == identity.principal && grant.expires_at.is_none_or(|at| at > view.now)
    });
    let mut roles: Vec<String> = held.map(|grant| grant.role.to_string()).collect();
    roles.sort();
    roles.dedup();
    let allowed = |permission: &Permission| core.decide(call, &view, &identity.tenant, permission).is_allow();
    let permissions = Permission::PLAIN.iter().filter(|permission| allowed(permission));
    Ok(pb::WhoAmIResponse {
        tenant: identity.tenant.to_string(),
        principal: identity.principal.to_string(),
        via: if identity.key.is_some() { "api_key" } else { "client_certificate" }.to_owned(),
        key_id: identity.key.as_ref().map(ToString::to_string).unwrap_or_default(),
        display_name: principal
            .map(|record| opened_principal(core, &view.state, &record.value).display_name)
            .unwrap_or_default(),
        roles,
        permissions: permissions.map(|permission| permission.name().to_owned()).collect(),
        read: core.read_info(&view),
    })
}
