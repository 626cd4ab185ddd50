//! Budgets.

use only1mcp_domain::model::{Budget, BudgetScope, Dimension, Measure, PeriodKind};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{
    Text as _, enumeration, money, optional_text, record, text, wire_enum, write_money, write_text,
};
use crate::model;

wire_enum!(Measure, model::Measure, "Measure", [Cost, Tokens, Calls]);
wire_enum!(
    PeriodKind,
    model::PeriodKind,
    "PeriodKind",
    [Minute, Hour, Day, Week, Month, Quarter, Year, Total]
);
wire_enum!(Dimension, model::Dimension, "Dimension", [Principal, Project, Tool, Upstream, Model, CostCenter]);

impl From<&BudgetScope> for model::BudgetScope {
    fn from(scope: &BudgetScope) -> Self {
        Self {
            project: write_text(scope.project.as_ref()),
            principal: write_text(scope.principal.as_ref()),
            tools: write_text(scope.tools.as_ref()),
            upstream: write_text(scope.upstream.as_ref()),
            model: scope.model.clone(),
            cost_center: scope.cost_center.clone(),
        }
    }
}

impl TryFrom<model::BudgetScope> for BudgetScope {
    type Error = DecodeError;

    fn try_from(wire: model::BudgetScope) -> Result<Self, DecodeError> {
        Ok(Self {
            project: optional_text("BudgetScope.project", wire.project.as_deref())?,
            principal: optional_text("BudgetScope.principal", wire.principal.as_deref())?,
            tools: optional_text("BudgetScope.tools", wire.tools.as_deref())?,
            upstream: optional_text("BudgetScope.upstream", wire.upstream.as_deref())?,
            model: wire.model,
            cost_center: wire.cost_center,
        })
    }
}

impl From<&Budget> for model::Budget {
    fn from(budget: &Budget) -> Self {
        Self {
            tenant: budget.tenant.written(),
            id: budget.id.written(),
            scope: Some((&budget.scope).into()),
            per: budget.per.map(|per| model::Dimension::from(per).into()),
            measure: model::Measure::from(budget.measure).into(),
            period: model::PeriodKind::from(budget.period).into(),
            zone: budget.zone.clone(),
            amount: write_money(budget.amount),
            hard: budget.hard,
            description: budget.description.clone(),
            created_at_ms: budget.created_at.0,
            created_by: budget.created_by.clone(),
        }
    }
}

impl TryFrom<model::Budget> for Budget {
    type Error = DecodeError;

    fn try_from(wire: model::Budget) -> Result<Self, DecodeError> {
        let per = wire.per.map(|per| enumeration::<model::Dimension, _>("Budget.per", per));
        Ok(Self {
            tenant: text("Budget.tenant", &wire.tenant)?,
            id: text("Budget.id", &wire.id)?,
            scope: record("Budget.scope", wire.scope)?,
            per: per.transpose()?,
            measure: enumeration::<model::Measure, _>("Budget.measure", wire.measure)?,
            period: enumeration::<model::PeriodKind, _>("Budget.period", wire.period)?,
            zone: wire.zone,
            amount: money("Budget.amount", &wire.amount)?,
            hard: wire.hard,
            description: wire.description,
            created_at: TimestampMs(wire.created_at_ms),
            created_by: wire.created_by,
        })
    }
}
