//! What is stored but not enforced yet, in words, so that no listing promises what the product does not do.

use only1mcp_domain::model::{Budget, Constraints, IsolationMode, Measure, Quota, ResourceQuotas, Tenant};

use crate::budgets::usd;

pub(crate) fn constraints(constraints: &Constraints) -> Vec<String> {
    let daily = constraints.cost_limit_daily_pico_usd;
    daily.map(|pico| named("cost_limit_daily_usd", usd(pico))).into_iter().collect()
}

pub(crate) fn tenant(tenant: &Tenant) -> Vec<String> {
    let ResourceQuotas {
        // Counted by the ledger.
        max_concurrent_requests: _,
        max_requests_per_minute: _,
        cpu_millicores,
        memory_mib,
        storage_mib,
        // Counted where they are made.
        max_backends: _,
        max_users: _,
        max_tokens_per_day,
        max_context_size,
        bandwidth_mbps,
        // Counted by the ledger, as sessions are opened.
        max_connections: _,
    } = &tenant.quotas;
    let quotas = [
        ("cpu_millicores", cpu_millicores),
        ("memory_mib", memory_mib),
        ("storage_mib", storage_mib),
        ("max_tokens_per_day", max_tokens_per_day),
        ("max_context_size", max_context_size),
        ("bandwidth_mbps", bandwidth_mbps),
    ];
    let mut out: Vec<String> = quotas
        .into_iter()
        .filter_map(|(name, quota)| match quota {
            Quota::AtMost(max) => Some(named(name, max)),
            Quota::Unlimited => None,
        })
        .collect();
    match &tenant.isolation_mode {
        IsolationMode::Logical { .. } => {}
        IsolationMode::Hybrid { .. } => out.push(named("isolation_mode", "hybrid")),
        IsolationMode::Physical { .. } => out.push(named("isolation_mode", "physical")),
    }
    if !tenant.data_region.is_empty() {
        out.push(named("data_region", &tenant.data_region));
    }
    if !tenant.encryption_key_id.is_empty() {
        out.push(named("encryption_key_id", &tenant.encryption_key_id));
    }
    out.extend(constraints(&tenant.constraints));
    out
}

/// Calls are counted; what they cost, and the tokens they take, is zero until they are metered and priced.
pub(crate) fn budget(budget: &Budget) -> Vec<String> {
    let measure = match budget.measure {
        Measure::Calls => return Vec::new(),
        Measure::Cost | Measure::Tokens => budget.measure.text(),
    };
    vec![named("measure", measure)]
}

fn named(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}={value} (not enforced yet)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_named_with_its_value_and_calls_are_not() {
        let told = constraints(&Constraints {
            max_requests_per_hour: Some(1_000),
            cost_limit_daily_pico_usd: Some(1_500_000_000_000),
            mfa_required: true,
            ..Constraints::default()
        });
        assert_eq!(told, ["cost_limit_daily_usd=1.5 (not enforced yet)"]);
    }
}
