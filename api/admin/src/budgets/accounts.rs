//! What is consumed: one account for each limit, subject and period that was used.

use std::ops::Bound;
use std::time::Duration;

use only1mcp_domain::ids::{BudgetId, NodeId, TenantId};
use only1mcp_domain::ledger::{Account, AccountKey, Lent, Limit, LimitId, Period, amount_of};
use only1mcp_domain::limits;
use only1mcp_domain::model::NodeRole;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use tokio::time::Instant;

use super::amount;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::ports::{ClusterStatus, View};
use crate::wire;

/// How long a listing waits to learn which nodes are reached.
const REACHED_WITHIN: Duration = Duration::from_millis(500);

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListAccountsRequest,
) -> Result<pb::ListAccountsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let limit = optional_limit("limit", &message.limit)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let closed = if message.include_closed { "closed" } else { "" };
    let filters = [tenant.as_str(), message.limit.as_str(), message.subject.as_str(), closed];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let view = &list.view;
    let start = match &list.after {
        Some(after) => Bound::Excluded(parse_place(&tenant, after)?),
        None => Bound::Included(first(&tenant, limit.as_ref())?),
    };
    let (rows, next_page_token) = list.take_entries(
        &core.pins,
        &view.state.ledger.accounts,
        start,
        |key| key.tenant == tenant && limit.as_ref().is_none_or(|limit| key.limit == *limit),
        |key, account| {
            (message.include_closed || account.end > view.now)
                && (message.subject.is_empty() || *key.subject == *message.subject)
        },
        place,
    );
    let lent = rows.iter().any(|(_, account)| account.lent.iter().any(|(_, lent)| lent.outstanding > 0));
    let observed = if lent { Some(observe(core, call).await) } else { None };
    let shown = |(key, account): &(&AccountKey, &Account)| shown(view, key, account, observed.as_ref());
    let accounts = rows.iter().map(shown).collect();
    Ok(pb::ListAccountsResponse { read: core.read_info(view), accounts, next_page_token })
}

async fn observe(core: &Core, call: &Call) -> ClusterStatus {
    core.ports.cluster.status(call.deadline.min(Instant::now() + REACHED_WITHIN)).await
}

pub(super) fn optional_limit(field: &str, text: &str) -> Result<Option<LimitId>, AdminError> {
    if text.is_empty() { Ok(None) } else { limit_id(field, text).map(Some) }
}

fn limit_id(field: &str, text: &str) -> Result<LimitId, AdminError> {
    text.parse().map_err(|error| AdminError::invalid(field, error))
}

/// The account that a request names. No account has another subject than one that fits; and it goes into the log.
pub(super) fn named(name: &pb::AccountName) -> Result<AccountKey, AdminError> {
    let subject = &name.subject;
    if subject.len() > limits::SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
        let problem = format!("has no control characters and at most {} bytes", limits::SUBJECT_BYTES_MAX);
        return Err(AdminError::invalid("account.subject", problem));
    }
    Ok(AccountKey {
        tenant: wire::id("account.tenant", &name.tenant)?,
        limit: limit_id("account.limit", &name.limit)?,
        subject: name.subject.as_str().into(),
        start: TimestampMs(name.period_start_ms),
    })
}

/// Not above any key of the tenant, or of its limit.
fn first(tenant: &TenantId, limit: Option<&LimitId>) -> Result<AccountKey, AdminError> {
    // Budgets come first, and no id is less than `0`.
    let limit = match limit {
        Some(limit) => limit.clone(),
        None => LimitId::Budget(wire::id::<BudgetId>("page_token", "0")?),
    };
    Ok(AccountKey { tenant: tenant.clone(), limit, subject: "".into(), start: TimestampMs(0) })
}

/// A key within its tenant, as a page token keeps it. A subject may hold spaces, the other two parts hold none.
fn place(key: &AccountKey) -> String {
    format!("{} {} {}", key.start.0, key.limit, key.subject)
}

fn parse_place(tenant: &TenantId, text: &str) -> Result<AccountKey, AdminError> {
    let parsed = || {
        let (start, rest) = text.split_once(' ')?;
        let (limit, subject) = rest.split_once(' ')?;
        Some(AccountKey {
            tenant: tenant.clone(),
            limit: limit.parse().ok()?,
            subject: subject.into(),
            start: TimestampMs(start.parse().ok()?),
        })
    };
    parsed().ok_or(AdminError::PageTokenInvalid)
}

fn shown(view: &View, key: &AccountKey, account: &Account, observed: Option<&ClusterStatus>) -> pb::Account {
    let state = &view.state;
    let limit = amount_of(state, key);
    let measure = limit.as_ref().map(|limit| limit.measure);
    let text =
        |value: i128| measure.map_or_else(|| value.to_string(), |measure| amount::text(measure, value));
    let members = state.nodes.iter().filter(|(_, record)| record.value.role != NodeRole::Removed);
    let members = members.map(|(node, _)| *node);
    let lent = account.lent.iter().filter(|(_, lent)| lent.outstanding > 0);
    let lent = lent.map(|(node, Lent { outstanding, .. })| pb::AccountLent {
        node: node.0,
        outstanding: text(*outstanding),
        reachable: reachable(observed, *node),
    });
    pb::Account {
        name: Some(pb::AccountName {
            tenant: key.tenant.to_string(),
            limit: key.limit.to_string(),
            subject: key.subject.to_string(),
            period_start_ms: key.start.0,
        }),
        period: limit.as_ref().map(|limit| period(key, limit).to_owned()).unwrap_or_default(),
        period_end_ms: (account.end != Period::TOTAL.end).then_some(account.end.0),
        measure: measure.map(|measure| measure.text().to_owned()).unwrap_or_default(),
        zone: limit.as_ref().map(|limit| limit.zone.clone()).unwrap_or_default(),
        amount: limit.as_ref().map(|limit| text(limit.amount)),
        posted: text(account.posted),
        outstanding: text(account.outstanding()),
        available: limit.as_ref().map(|limit| text(account.available(limit.amount))),
        overrun: text(account.overrun),
        level: account.level.into(),
        lent: lent.collect(),
        provisional: state.ledger.is_provisional(account, members),
        closed: account.end <= view.now,
        hard: limit.is_some_and(|limit| limit.hard),
    }
}

/// Permits have none: what is shown as outstanding is in the nodes' hands at this moment, in use or ready to be.
fn period<'l>(key: &AccountKey, limit: &'l Limit) -> &'l str {
    if key.limit.is_standing() { "at once" } else { limit.period.text() }
}

fn reachable(observed: Option<&ClusterStatus>, node: NodeId) -> Option<bool> {
    observed?.members.iter().find(|member| member.node == node)?.reachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_whatever_the_subject() {
        let tenant = TenantId::new("acme").unwrap();
        for subject in ["", "ann", "two words", " ", "budget/x y"] {
            let key = AccountKey {
                tenant: tenant.clone(),
                limit: "grant-requests/g1".parse().unwrap(),
                subject: subject.into(),
                start: TimestampMs(5),
            };
            assert_eq!(parse_place(&tenant, &place(&key)), Ok(key));
        }
        assert_eq!(parse_place(&tenant, "5 nonsense"), Err(AdminError::PageTokenInvalid));
    }

    #[test]
    fn a_named_accounts_subject_fits() {
        let with = |subject: String| {
            let limit = "quota/concurrent".to_owned();
            named(&pb::AccountName { tenant: "acme".into(), limit, subject, period_start_ms: 0 })
        };
        assert!(with("x".repeat(limits::SUBJECT_BYTES_MAX)).is_ok());
        for bad in ["x".repeat(limits::SUBJECT_BYTES_MAX + 1), "a\0b".to_owned(), "a\nb".to_owned()] {
            assert!(with(bad).is_err());
        }
    }

    #[test]
    fn nothing_comes_before_the_first_place() {
        let tenant = TenantId::new("acme").unwrap();
        let first = first(&tenant, None).unwrap();
        for limit in ["budget/0", "budget/a", "quota/requests", "rule-rate/0"] {
            let limit = limit.parse().unwrap();
            let key = AccountKey { tenant: tenant.clone(), limit, subject: "".into(), start: TimestampMs(0) };
            assert!(first <= key, "{key}");
        }
    }
}
