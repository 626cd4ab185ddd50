//! Webhooks: set, changed, deleted. Each has a duty, which begins and ends with it.

use std::net::IpAddr;

use crate::apply::audit::Report;
use crate::apply::change::Change;
use crate::apply::describe;
use crate::apply::tenant::{not_found, open};
use crate::apply::validate::{Check, at_most, description, distinct, ensure, revision, url};
use crate::ids::{TenantId, WebhookId};
use crate::limits;
use crate::lookup::of_tenant;
use crate::model::{Duty, DutyId, Webhook};
use crate::outcome::Rejection;

/// With `keep_key` the stored key stays, whatever the command holds: two changes at one time cannot bring an old one back.
pub(super) fn put(
    change: &mut Change<'_>,
    webhook: &Webhook,
    keep_key: bool,
    if_revision: Option<u64>,
) -> Result<Report, Rejection> {
    let (state, tenant) = (&*change.state, &webhook.tenant);
    open(state, tenant)?;
    let old = state.webhooks.get(&(tenant.clone(), webhook.id.clone())).cloned();
    revision(if_revision, old.as_ref().map_or(0, |old| old.revision))?;
    check(webhook)?;
    let mut webhook = webhook.clone();
    match &old {
        Some(old) => {
            if keep_key {
                webhook.key = old.value.key.clone();
            }
            webhook.created_at = old.value.created_at;
            webhook.created_by.clone_from(&old.value.created_by);
        }
        None if keep_key => return Err(not_found("webhook", webhook.id.as_str())),
        None => {
            let count = of_tenant(&state.webhooks, tenant).count();
            at_most(count + 1, limits::WEBHOOKS_PER_TENANT_MAX, "webhooks in one tenant")?;
        }
    }
    let key_changed = old.as_ref().is_none_or(|old| old.value.key != webhook.key);
    let before = old.as_ref().map(|old| describe::webhook(&old.value));
    let report = Report::changed(before, Some(describe::webhook(&webhook)))
        .detail("key", if key_changed { "new" } else { "kept" });
    if old.is_none() {
        // It is told what happens from now on.
        let id = DutyId::Webhook { tenant: tenant.clone(), webhook: webhook.id.clone() };
        let duty = Duty {
            node: None,
            assigned_at: change.log_index,
            cursor: state.chain.index,
            attempts: 0,
            last_error: String::new(),
            told_at: change.now(),
        };
        change.put_duty(id, duty);
    }
    change.put_webhook(webhook);
    Ok(report)
}

fn check(webhook: &Webhook) -> Check {
    url("url", &webhook.url)?;
    let plain = webhook.url.strip_prefix("http://").map(host);
    let safe = plain.is_none_or(is_loopback);
    ensure(safe, "url", "is http to another host: what is sent must be under TLS, use https")?;
    ensure(!webhook.events.is_empty(), "events", "names none: it would never be told anything")?;
    distinct("events", &webhook.events)?;
    description(&webhook.description)
}

/// Of an address without its scheme.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What was not told yet is not told any more.
pub(super) fn delete(
    change: &mut Change<'_>,
    tenant: &TenantId,
    id: &WebhookId,
) -> Result<Report, Rejection> {
    open(change.state, tenant)?;
    let old = change.state.webhooks.get(&(tenant.clone(), id.clone())).cloned();
    let old = old.ok_or_else(|| not_found("webhook", id.as_str()))?;
    change.remove_webhook(tenant, id);
    change.remove_duty(&DutyId::Webhook { tenant: tenant.clone(), webhook: id.clone() });
    Ok(Report::changed(Some(describe::webhook(&old.value)), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_addresses() {
        for own in ["localhost", "LOCALHOST:80/x", "127.0.0.1", "127.9.9.9:1/?x", "[::1]:8080/hook", "[::1]"]
        {
            assert!(is_loopback(host(own)), "{own}");
        }
        for other in
            ["localhost.example.com", "10.0.0.1", "127.0.0.1.example.com", "[::2]", "example.com:80", ""]
        {
            assert!(!is_loopback(host(other)), "{other}");
        }
    }
}
