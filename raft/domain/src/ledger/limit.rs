//! What a limit allows, told from the records it stands in: nothing is copied, so a change of the record is a change
//! of the limit at that log index.

use crate::ids::TenantId;
use crate::ledger::{AccountKey, LimitId};
use crate::model::{Constraints, Measure, PeriodKind, Quota, RateLimit, RatePeriod};
use crate::state::State;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    pub measure: Measure,
    /// Units: those of the measure.
    pub amount: i128,
    pub period: PeriodKind,
    /// IANA name.
    pub zone: String,
    pub hard: bool,
}

const UTC: &str = "UTC";

impl Limit {
    pub(super) fn hard(measure: Measure, amount: impl Into<i128>, period: PeriodKind) -> Self {
        Self { measure, amount: amount.into(), period, zone: UTC.to_owned(), hard: true }
    }

    pub(super) fn of_quota(quota: Quota, measure: Measure, period: PeriodKind) -> Option<Self> {
        match quota {
            Quota::AtMost(max) => Some(Self::hard(measure, max, period)),
            Quota::Unlimited => None,
        }
    }

    pub(super) fn of_requests(constraints: &Constraints) -> Option<Self> {
        let count = constraints.max_requests_per_hour?;
        Some(Self::hard(Measure::Calls, count, PeriodKind::Hour))
    }

    pub(super) fn of_cost(constraints: &Constraints) -> Option<Self> {
        let amount = constraints.cost_limit_daily_pico_usd?;
        Some(Self::hard(Measure::Cost, amount, PeriodKind::Day))
    }

    pub(super) fn of_rate(rate: RateLimit) -> Self {
        let period = match rate.per {
            RatePeriod::Minute => PeriodKind::Minute,
            RatePeriod::Hour => PeriodKind::Hour,
            RatePeriod::Day => PeriodKind::Day,
        };
        Self::hard(Measure::Calls, rate.count, period)
    }
}

/// The limit an account stands under; `None` where its record is gone or sets none any more.
pub fn amount_of(state: &State, key: &AccountKey) -> Option<Limit> {
    of(state, &key.tenant, &key.limit)
}

pub(super) fn of(state: &State, tenant: &TenantId, limit: &LimitId) -> Option<Limit> {
    let record = || state.tenants.get(tenant).map(|record| &record.value);
    let role = |id| crate::apply::role_in(state, tenant, id).map(|role| &role.constraints);
    let grant = |id: &crate::ids::GrantId| {
        state.grants.get(&(tenant.clone(), id.clone())).map(|record| &record.value.conditions)
    };
    match limit {
        LimitId::Budget(id) => {
            let budget = &state.budgets.get(&(tenant.clone(), id.clone()))?.value;
            Some(Limit {
                measure: budget.measure,
                amount: budget.amount,
                period: budget.period,
                zone: budget.zone.clone(),
                hard: budget.hard,
            })
        }
        LimitId::QuotaRequests => {
            Limit::of_quota(record()?.quotas.max_requests_per_minute, Measure::Calls, PeriodKind::Minute)
        }
        LimitId::QuotaTokens => {
            Limit::of_quota(record()?.quotas.max_tokens_per_day, Measure::Tokens, PeriodKind::Day)
        }
        LimitId::QuotaConcurrency => {
            Limit::of_quota(record()?.quotas.max_concurrent_requests, Measure::Calls, PeriodKind::Total)
        }
        LimitId::QuotaConnections => {
            Limit::of_quota(record()?.quotas.max_connections, Measure::Calls, PeriodKind::Total)
        }
        LimitId::TenantRequests => Limit::of_requests(&record()?.constraints),
        LimitId::TenantCost => Limit::of_cost(&record()?.constraints),
        LimitId::RoleRequests(id) => Limit::of_requests(role(id)?),
        LimitId::RoleCost(id) => Limit::of_cost(role(id)?),
        LimitId::GrantRequests(id) => Limit::of_requests(grant(id)?),
        LimitId::GrantCost(id) => Limit::of_cost(grant(id)?),
        LimitId::RuleRate(id) => {
            let rule = &state.restrictions.get(&(tenant.clone(), id.clone()))?.value;
            rule.rate_limit.map(Limit::of_rate)
        }
    }
}
