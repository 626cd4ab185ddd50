//! Tenants: created, changed, suspended, closed for good.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::validate::{
    Check, at_most, constraints, distinct, domain, ensure, filled, list, list_of, revision, text,
};
use crate::apply::weigh::fits_row;
use crate::audit::Severity;
use crate::ids::TenantId;
use crate::limits;
use crate::model::{CostTags, IsolationMode, ResourceQuotas, Tenant, TenantStatus, is_tag_key};
use crate::outcome::Rejection;
use crate::state::{State, Versioned};

pub(super) fn create(change: &mut Change<'_>, tenant: &Tenant) -> Result<Report, Rejection> {
    if change.state.tenants.contains_key(&tenant.id) {
        return Err(already_exists("tenant", tenant.id.as_str()));
    }
    check(change.state, tenant)?;
    ensure(tenant.status != TenantStatus::Closed, "status", "is closed")?;
    at_most(change.state.tenants.len() + 1, limits::TENANTS_MAX, "tenants")?;
    let report = Report::changed(None, Some(describe::tenant(tenant)));
    change.put_tenant(tenant.clone());
    change.policy_changed(Some(&tenant.id));
    Ok(report)
}

/// Status and time of creation stay as they are.
pub(super) fn update(
    change: &mut Change<'_>,
    tenant: &Tenant,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let old = find(change.state, &tenant.id)?.clone();
    revision(if_revision, old.revision)?;
    refuse_closed(&old.value)?;
    let new = Tenant { status: old.value.status, created_at: old.value.created_at, ..tenant.clone() };
    check(change.state, &new)?;
    let report = Report::changed(Some(describe::tenant(&old.value)), Some(describe::tenant(&new)));
    change.put_tenant(new);
    change.policy_changed(Some(&tenant.id));
    Ok(report)
}

pub(super) fn set_status(
    change: &mut Change<'_>,
    id: &TenantId,
    status: TenantStatus,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let old = find(change.state, id)?.clone();
    revision(if_revision, old.revision)?;
    refuse_closed(&old.value)?;
    if id.is_system() {
        return Err(Rejection::BuiltIn { kind: "tenant".to_owned(), id: id.as_str().to_owned() });
    }
    let new = Tenant { status, updated_at: change.entry.observed_at, ..old.value.clone() };
    let report = Report::changed(Some(describe::tenant(&old.value)), Some(describe::tenant(&new)))
        .detail("status", describe::tenant_status(status))
        .severity(Severity::Warning);
    change.put_tenant(new);
    change.policy_changed(Some(id));
    Ok(report)
}

fn check(state: &State, tenant: &Tenant) -> Check {
    let label = |field, value: &str| text(field, value, limits::LABEL_BYTES_MAX);
    filled("name", &tenant.name, limits::LABEL_BYTES_MAX)?;
    match &tenant.isolation_mode {
        IsolationMode::Logical { namespace, database_schema } => {
            label("isolation_mode.namespace", namespace)?;
            label("isolation_mode.database_schema", database_schema)?;
        }
        IsolationMode::Hybrid { dedicated_nodes, .. } => {
            list("isolation_mode.dedicated_nodes", dedicated_nodes.len())?;
        }
        IsolationMode::Physical { dedicated_cluster, dedicated_database, dedicated_network } => {
            label("isolation_mode.dedicated_cluster", dedicated_cluster)?;
            label("isolation_mode.dedicated_database", dedicated_database)?;
            label("isolation_mode.dedicated_network", dedicated_network)?;
        }
    }
    let network = &tenant.network_config;
    list_of("network_config.ip_allowlist", network.ip_allowlist.len(), limits::NETWORKS_MAX)?;
    list("network_config.allowed_origins", network.allowed_origins.len())?;
    network
        .allowed_origins
        .iter()
        .try_for_each(|origin| filled("network_config.allowed_origins", origin, limits::LABEL_BYTES_MAX))?;
    label("data_region", &tenant.data_region)?;
    label("encryption_key_id", &tenant.encryption_key_id)?;
    if let Some(branding) = &tenant.branding {
        label("branding.display_name", &branding.display_name)?;
        text("branding.logo_url", &branding.logo_url, limits::DESCRIPTION_BYTES_MAX)?;
    }
    label("billing_account.id", &tenant.billing_account.id)?;
    label("billing_account.contact", &tenant.billing_account.contact)?;
    label("cost_center", &tenant.cost_center)?;
    list("tool_seal_modes", tenant.tool_seal_modes.len())?;
    let tools = tenant.tool_seal_modes.keys();
    tools.into_iter().try_for_each(|tool| filled("tool_seal_modes", tool, limits::TOOL_NAME_BYTES_MAX))?;
    cost_tags(&tenant.cost_tags)?;
    list("shared_upstreams", tenant.shared_upstreams.as_ref().map_or(0, Vec::len))?;
    constraints(&tenant.constraints)?;
    fits_row(tenant)?;
    own_domain(state, tenant)
}

fn cost_tags(tags: &CostTags) -> Check {
    let key = |field: &str, key: &str| ensure(is_tag_key(key), field, "holds what is no key of a tag");
    let (fixed, attributes, calls) = ("cost_tags.fixed", "cost_tags.attributes", "cost_tags.call_keys");
    list_of(fixed, tags.fixed.len(), limits::TAGS_MAX)?;
    for (name, value) in &tags.fixed {
        key(fixed, name)?;
        filled(fixed, value, limits::TAG_VALUE_BYTES_MAX)?;
    }
    for (field, names) in [(attributes, &tags.attributes), (calls, &tags.call_keys)] {
        list_of(field, names.len(), limits::TAGS_MAX)?;
        names.iter().try_for_each(|name| key(field, name))?;
        distinct(field, names)?;
    }
    Ok(())
}

fn own_domain(state: &State, tenant: &Tenant) -> Check {
    let Some(wanted) = &tenant.custom_domain else { return Ok(()) };
    domain("custom_domain", wanted)?;
    match state.lookup.domain(wanted) {
        Some(owner) if *owner != tenant.id => Err(already_exists("custom domain", wanted)),
        _ => Ok(()),
    }
}

fn find<'s>(state: &'s State, id: &TenantId) -> Result<&'s Versioned<Tenant>, Rejection> {
    state.tenants.get(id).ok_or_else(|| not_found("tenant", id.as_str()))
}

fn refuse_closed(tenant: &Tenant) -> Check {
    match tenant.status {
        TenantStatus::Active | TenantStatus::Suspended => Ok(()),
        TenantStatus::Closed => Err(Rejection::TenantClosed { tenant: tenant.id.as_str().to_owned() }),
    }
}

/// A tenant whose records may be changed: it is there, and not closed.
pub(super) fn open(state: &State, id: &TenantId) -> Check {
    find(state, id).and_then(|tenant| refuse_closed(&tenant.value))
}

pub(super) fn quotas<'s>(state: &'s State, id: &TenantId) -> Result<&'s ResourceQuotas, Rejection> {
    find(state, id).map(|tenant| &tenant.value.quotas)
}

pub(super) fn not_found(kind: &str, id: &str) -> Rejection {
    Rejection::NotFound { kind: kind.to_owned(), id: id.to_owned() }
}

pub(super) fn already_exists(kind: &str, id: &str) -> Rejection {
    Rejection::AlreadyExists { kind: kind.to_owned(), id: id.to_owned() }
}
