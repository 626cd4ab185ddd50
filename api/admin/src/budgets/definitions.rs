//! Budgets themselves: put, get, list, delete.

use only1mcp_domain::command::Command;
use only1mcp_domain::model::{Budget, Measure, PeriodKind};
use only1mcp_domain::state::Versioned;
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use only1mcp_proto::model as m;

use super::amount;
use crate::call::Call;
use crate::core::Core;
use crate::error::AdminError;
use crate::page::Listing;
use crate::ports::View;
use crate::wire;

/// Whose calendar counts where the request leaves it open.
const ZONE_DEFAULT: &str = "UTC";

fn asked(call: &Call, message: Option<pb::Budget>) -> Result<Budget, AdminError> {
    let asked = message.ok_or_else(|| AdminError::invalid("budget", "is missing"))?;
    let measure = match asked.measure() {
        m::Measure::Cost => Measure::Cost,
        m::Measure::Tokens => Measure::Tokens,
        m::Measure::Calls => Measure::Calls,
        m::Measure::Unspecified => return Err(AdminError::invalid("budget.measure", "is missing")),
    };
    let amount = amount::parse(measure, &asked.amount);
    let amount = amount.map_err(|problem| AdminError::invalid("budget.amount", problem))?;
    let wire = m::Budget {
        tenant: if asked.tenant.is_empty() { call.identity.tenant.to_string() } else { asked.tenant },
        id: asked.id,
        scope: Some(asked.scope.unwrap_or_default()),
        per: asked.per,
        measure: asked.measure,
        period: asked.period,
        zone: asked.zone,
        amount: amount.to_be_bytes().to_vec().into(),
        hard: !asked.soft,
        description: asked.description,
        created_at_ms: 0,
        created_by: String::new(),
    };
    let mut budget: Budget = wire::record("budget", Some(wire))?;
    if has_calendar(budget.period) && budget.zone.is_empty() {
        ZONE_DEFAULT.clone_into(&mut budget.zone);
    }
    Ok(budget)
}

fn has_calendar(period: PeriodKind) -> bool {
    !matches!(period, PeriodKind::Minute | PeriodKind::Hour | PeriodKind::Total)
}

/// As for time windows: apply knows no zone tables.
fn check_zone(core: &Core, budget: &Budget, at: TimestampMs) -> Result<(), AdminError> {
    if budget.zone.is_empty() || core.ports.zones.local(&budget.zone, at).is_some() {
        return Ok(());
    }
    Err(AdminError::invalid("budget.zone", format!("{:?} is no known time zone", budget.zone)))
}

pub(super) async fn put(
    core: &Core,
    call: &Call,
    message: pb::PutBudgetRequest,
) -> Result<pb::PutBudgetResponse, AdminError> {
    let mut budget = asked(call, message.budget.clone())?;
    let write = core.write(call, &message, budget.tenant.clone(), |draft, view: &View| {
        check_zone(core, &budget, view.now)?;
        budget.created_at = draft.now;
        budget.created_by = format!("{}/{}", call.identity.tenant, call.identity.principal);
        Ok(Command::PutBudget { budget: Box::new(budget), if_revision: draft.if_revision })
    });
    Ok(pb::PutBudgetResponse { result: write.await? })
}

fn shown(record: &Versioned<Budget>) -> pb::BudgetRecord {
    let wire = m::Budget::from(&record.value);
    let budget = pb::Budget {
        tenant: wire.tenant,
        id: wire.id,
        scope: wire.scope,
        per: wire.per,
        measure: wire.measure,
        period: wire.period,
        zone: wire.zone,
        amount: amount::text(record.value.measure, record.value.amount),
        soft: !wire.hard,
        description: wire.description,
        created_at_ms: wire.created_at_ms,
        created_by: wire.created_by,
    };
    pb::BudgetRecord { budget: Some(budget), revision: record.revision }
}

pub(super) async fn get(
    core: &Core,
    call: &Call,
    message: pb::GetBudgetRequest,
) -> Result<pb::GetBudgetResponse, AdminError> {
    let key = (call.tenant(&message.tenant)?, wire::id("budget", &message.budget)?);
    let view = core.read(call, message.consistency, &key.0).await?;
    let record = view.state.budgets.get(&key).ok_or_else(|| AdminError::not_found("budget", &key.1))?;
    Ok(pb::GetBudgetResponse { read: core.read_info(&view), record: Some(shown(record)) })
}

pub(super) async fn list(
    core: &Core,
    call: &Call,
    message: pb::ListBudgetsRequest,
) -> Result<pb::ListBudgetsResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let view = core.read(call, message.consistency, &tenant).await?;
    let filters = [tenant.as_str()];
    let list = Listing::start(&core.pins, call, view, message.page_size, &message.page_token, &filters)?;
    let start = wire::start(&tenant, list.after.as_deref())?;
    let budgets = &list.view.state.budgets;
    let (rows, next_page_token) =
        list.take(&core.pins, budgets, start, |(t, _)| *t == tenant, |_| true, |(_, id)| id.to_string());
    let records = rows.into_iter().map(shown).collect();
    Ok(pb::ListBudgetsResponse { read: core.read_info(&list.view), records, next_page_token })
}

pub(super) async fn delete(
    core: &Core,
    call: &Call,
    message: pb::DeleteBudgetRequest,
) -> Result<pb::DeleteBudgetResponse, AdminError> {
    let tenant = call.tenant(&message.tenant)?;
    let budget = wire::id("budget", &message.budget)?;
    let write =
        core.write(call, &message, tenant.clone(), |_, _| Ok(Command::DeleteBudget { tenant, budget }));
    Ok(pb::DeleteBudgetResponse { result: write.await? })
}
