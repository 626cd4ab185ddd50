//! What is stored but not enforced yet, in words, so that no listing promises what the product does not do.

use only1mcp_domain::model::{
    Constraints, IsolationMode, Quota, RatePeriod, ResourceQuotas, Tenant, ToolRestriction,
};

const PICO_PER_USD: u128 = 1_000_000_000_000;

pub(crate) fn constraints(constraints: &Constraints) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(max) = constraints.max_requests_per_hour {
        out.push(named("max_requests_per_hour", max));
    }
    if let Some(pico) = constraints.cost_limit_daily_pico_usd {
        out.push(named("cost_limit_daily_usd", usd(pico)));
    }
    out
}

pub(crate) fn tenant(tenant: &Tenant) -> Vec<String> {
    let ResourceQuotas {
        max_concurrent_requests,
        max_requests_per_minute,
        cpu_millicores,
        memory_mib,
        storage_mib,
        max_backends,
        max_users,
        max_tokens_per_day,
        max_context_size,
        bandwidth_mbps,
        max_connections,
    } = &tenant.quotas;
    let quotas = [
        ("max_concurrent_requests", max_concurrent_requests),
        ("max_requests_per_minute", max_requests_per_minute),
        ("cpu_millicores", cpu_millicores),
        ("memory_mib", memory_mib),
        ("storage_mib", storage_mib),
        ("max_backends", max_backends),
        ("max_users", max_users),
        ("max_tokens_per_day", max_tokens_per_day),
        ("max_context_size", max_context_size),
        ("bandwidth_mbps", bandwidth_mbps),
        ("max_connections", max_connections),
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

pub(crate) fn restriction(rule: &ToolRestriction) -> Vec<String> {
    let limit = rule.rate_limit.map(|limit| {
        let per = match limit.per {
            RatePeriod::Minute => "minute",
            RatePeriod::Hour => "hour",
            RatePeriod::Day => "day",
        };
        named("rate_limit", format!("{}/{per}", limit.count))
    });
    limit.into_iter().collect()
}

fn named(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}={value} (not enforced yet)")
}

/// Exact decimal text of an amount in pico-USD.
fn usd(pico: i128) -> String {
    let sign = if pico < 0 { "-" } else { "" };
    let (whole, fraction) = (pico.unsigned_abs() / PICO_PER_USD, pico.unsigned_abs() % PICO_PER_USD);
    let fraction = format!("{fraction:012}");
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        digits => format!("{sign}{whole}.{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_constraints_are_named_with_their_values() {
        let told = constraints(&Constraints {
            max_requests_per_hour: Some(1_000),
            cost_limit_daily_pico_usd: Some(1_500_000_000_000),
            mfa_required: true,
            ..Constraints::default()
        });
        let expected =
            ["max_requests_per_hour=1000 (not enforced yet)", "cost_limit_daily_usd=1.5 (not enforced yet)"];
        assert_eq!(told, expected);
    }

    #[test]
    fn money_is_exact() {
        for (pico, text) in
            [(0, "0"), (1, "0.000000000001"), (-2_500_000_000_000, "-2.5"), (10_i128.pow(14), "100")]
        {
            assert_eq!(usd(pico), text);
        }
    }
}
