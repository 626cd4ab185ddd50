//! MCP servers behind the gateway, and single tools of theirs.

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::tenant::{not_found, open, quotas};
use crate::apply::validate::{
    Check, at_most, description, distinct, ensure, filled, invalid, list, list_of, revision, url,
    within_quota,
};
use crate::apply::weigh::fits_row;
use crate::audit::EventKind;
use crate::ids::{TenantId, UpstreamId};
use crate::limits;
use crate::model::{Transport, Upstream};
use crate::outcome::{Effect, Rejection};

pub(super) fn put(
    change: &mut Change<'_>,
    upstream: &Upstream,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &upstream.tenant);
    open(state, tenant)?;
    let old = state.upstreams.get(&(tenant.clone(), upstream.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    check(upstream)?;
    if old.is_none() {
        let count = state.lookup.upstreams_in.get(tenant).copied().unwrap_or(0);
        at_most(count + 1, limits::UPSTREAMS_PER_TENANT_MAX, "upstreams in one tenant")?;
        let quota = quotas(state, tenant)?.max_backends;
        within_quota(count + 1, quota, tenant, "backends of this tenant by its quota")?;
    }
    let mut new = upstream.clone();
    if let Some(old) = &old {
        new.created_at = old.value.created_at;
    }
    let kind = if old.is_none() { EventKind::ServerAdded } else { EventKind::ServerModified };
    let before = old.map(|old| describe::upstream(&old.value));
    let report = Report::changed(before, Some(describe::upstream(&new))).kind(kind);
    store(change, new);
    Ok(report)
}

pub(super) fn delete(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &UpstreamId,
) -> Result<Report, Rejection> {
    let old = find(change, tenant, id)?;
    change.remove_upstream(tenant, id);
    changed(change, tenant);
    Ok(Report::changed(Some(describe::upstream(&old)), None))
}

pub(super) fn set_enabled(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &UpstreamId,
    enabled: bool,
) -> Result<Report, Rejection> {
    let old = find(change, tenant, id)?;
    let new = Upstream { enabled, updated_at: change.entry.observed_at, ..old.clone() };
    Ok(replace(change, &old, new))
}

pub(super) fn set_tool_enabled(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &UpstreamId,
    tool: &String,
    enabled: bool,
) -> Result<Report, Rejection> {
    filled("tool", tool, limits::TOOL_NAME_BYTES_MAX)?;
    let old = find(change, tenant, id)?;
    let mut new = Upstream { updated_at: change.entry.observed_at, ..old.clone() };
    new.disabled_tools.retain(|known| known != tool);
    if !enabled {
        new.disabled_tools.push(tool.clone());
    }
    check(&new)?;
    Ok(replace(change, &old, new))
}

fn replace(change: &mut Change<'_>, old: &Upstream, new: Upstream) -> Report {
    let report = Report::changed(Some(describe::upstream(old)), Some(describe::upstream(&new)));
    store(change, new);
    report
}

fn store(change: &mut Change<'_>, upstream: Upstream) {
    let tenant = upstream.tenant.clone();
    change.put_upstream(upstream);
    changed(change, &tenant);
}

/// What `system` shares, all tenants may see.
fn changed(change: &mut Change<'_>, tenant: &TenantId) {
    let concerned = if tenant.is_system() { None } else { Some(tenant) };
    change.policy_changed(concerned);
    change.effect(Effect::UpstreamsChanged { tenant: tenant.clone() });
}

fn find(change: &Change<'_>, tenant: &TenantId, id: &UpstreamId) -> Result<Upstream, Rejection> {
    open(change.state, tenant)?;
    let record = change.state.upstreams.get(&(tenant.clone(), id.clone()));
    record.map(|record| record.value.clone()).ok_or_else(|| not_found("upstream", id.as_str()))
}

fn check(upstream: &Upstream) -> Check {
    description(&upstream.description)?;
    match &upstream.transport {
        Transport::Http { url: address } => url("transport.url", address)?,
        Transport::Stdio { command, args, env } => {
            filled("transport.command", command, limits::ARGUMENT_BYTES_MAX)?;
            list_of("transport.args", args.len(), limits::UPSTREAM_ARGS_MAX)?;
            args.iter().try_for_each(|arg| argument("transport.args", arg))?;
            list_of("transport.env", env.len(), limits::UPSTREAM_ARGS_MAX)?;
            for (name, value) in env {
                filled("transport.env", name, limits::NAME_BYTES_MAX)?;
                ensure(!name.contains('='), "transport.env", "has a name with '=' in it")?;
                argument("transport.env", value)?;
            }
        }
    }
    list_of("headers", upstream.headers.len(), limits::UPSTREAM_HEADERS_MAX)?;
    for header in &upstream.headers {
        filled("headers.name", &header.name, limits::NAME_BYTES_MAX)?;
        let token = header.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        ensure(token, "headers.name", "holds a character that no header's name has")?;
        // A secret: its text appears in no message, not even by its length.
        let value = header.value.as_str();
        ensure(!value.is_empty(), "headers.value", "is empty")?;
        ensure(value.len() <= limits::HEADER_VALUE_BYTES_MAX, "headers.value", "is too long")?;
        let printable = value.chars().all(|c| matches!(c, ' '..='~' | '\t'));
        ensure(printable, "headers.value", "holds a character that no header's value has")?;
    }
    let names: Vec<String> = upstream.headers.iter().map(|header| header.name.to_ascii_lowercase()).collect();
    distinct("headers", &names)?;
    list("disabled_tools", upstream.disabled_tools.len())?;
    distinct("disabled_tools", &upstream.disabled_tools)?;
    upstream
        .disabled_tools
        .iter()
        .try_for_each(|tool| filled("disabled_tools", tool, limits::TOOL_NAME_BYTES_MAX))?;
    let calls = (1..=limits::UPSTREAM_CONCURRENCY_MAX).contains(&upstream.concurrency_max);
    ensure(calls, "concurrency_max", &format!("is not from 1 to {}", limits::UPSTREAM_CONCURRENCY_MAX))?;
    let time = (1..=limits::CALL_TIMEOUT_MS_MAX).contains(&upstream.call_timeout_ms);
    ensure(time, "call_timeout_ms", &format!("is not from 1 to {}", limits::CALL_TIMEOUT_MS_MAX))?;
    fits_row(upstream)
}

/// May hold what a text may not, but no zero byte: no process can be given one.
fn argument(field: &str, value: &str) -> Check {
    if value.len() > limits::ARGUMENT_BYTES_MAX {
        return Err(invalid(
            field,
            format!("has an entry of more than {} bytes", limits::ARGUMENT_BYTES_MAX),
        ));
    }
    ensure(!value.contains('\0'), field, "holds a zero byte")
}
