//! Tool restrictions and explicit denies.

use only1mcp_domain::command::Command;
use only1mcp_domain::model::{DenyRule, ToolRestriction};
use only1mcp_domain::state::Versioned;
use only1mcp_proto::admin as pb;

use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::wire;

pub(super) async fn put_restriction(
    core: &Core,
    call: &Call,
    message: pb::PutRestrictionRequest,
) -> Result<pb::PutRestrictionResponse, AdminError> {
    let asked = message.restriction.clone().map(|mut rule| {
        if rule.tenant.is_empty() {
            rule.tenant = call.identity.tenant.to_string();
        }
        rule
    });
    let rule: ToolRestriction = wire::record("restriction", asked)?;
    let write = core.write(call, &message, rule.tenant.clone(), |draft, _| {
        Ok(Command::PutRestriction { rule, if_revision: draft.if_revision })
    });
    Ok(pb::PutRestrictionResponse { result: write.await? })
}

pub(super) async fn list_restrictions(
    core: &Core,
    call: &Call,
    message: pb::ListRestrictionsRequest,
) -> Result<pb::ListRestrictionsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let rules = &list.view.state.restrictions;
    let (rows, next_page_token) =
        list.take(&core.pins, rules, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let shown = |record: &Versioned<ToolRestriction>| pb::RestrictionRecord {
        restriction: Some((&record.value).into()),
        revision: record.revision,
    };
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListRestrictionsResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete_restriction(
    core: &Core,
    call: &Call,
    message: pb::DeleteRestrictionRequest,
) -> Result<pb::DeleteRestrictionResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let rule = wire::id("rule", &message.rule)?;
    let write =
        core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeleteRestriction { tenant, rule }));
    Ok(pb::DeleteRestrictionResponse { result: write.await? })
}

pub(super) async fn put_deny(
    core: &Core,
    call: &Call,
    message: pb::PutDenyRequest,
) -> Result<pb::PutDenyResponse, AdminError> {
    let asked = message.deny.clone().map(|mut rule| {
        if rule.tenant.is_empty() {
            rule.tenant = call.identity.tenant.to_string();
        }
        rule
    });
    let rule: DenyRule = wire::record("deny", asked)?;
    let write = core.write(call, &message, rule.tenant.clone(), |draft, _| {
        Ok(Command::PutDeny { rule, if_revision: draft.if_revision })
    });
    Ok(pb::PutDenyResponse { result: write.await? })
}

pub(super) async fn list_denies(
    core: &Core,
    call: &Call,
    message: pb::ListDeniesRequest,
) -> Result<pb::ListDeniesResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let rules = &list.view.state.denies;
    let (rows, next_page_token) =
        list.take(&core.pins, rules, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let shown = |record: &Versioned<DenyRule>| pb::DenyRecord {
        deny: Some((&record.value).into()),
        revision: record.revision,
    };
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListDeniesResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete_deny(
    core: &Core,
    call: &Call,
    message: pb::DeleteDenyRequest,
) -> Result<pb::DeleteDenyResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let rule = wire::id("rule", &message.rule)?;
    let write = core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeleteDeny { tenant, rule }));
    Ok(pb::DeleteDenyResponse { result: write.await? })
}
