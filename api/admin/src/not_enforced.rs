//! What is stored but not enforced yet, in words, so that no listing promises what the product does not do.

use only1mcp_domain::model::{IsolationMode, Quota, ResourceQuotas, Tenant};

pub(crate) fn tenant(tenant: &Tenant) -> Vec<String> {
    let ResourceQuotas {
        // Counted by the ledger.
        max_concurrent_requests: _,
        max_requests_per_minute: _,
        max_tokens_per_day: _,
        cpu_millicores,
        memory_mib,
        storage_mib,
        // Counted where they are made.
        max_backends: _,
        max_users: _,
        max_context_size,
        bandwidth_mbps,
        // Counted by the ledger, as sessions are opened.
        max_connections: _,
    } = &tenant.quotas;
    let quotas = [
        ("cpu_millicores", cpu_millicores),
        ("memory_mib", memory_mib),
        ("storage_mib", storage_mib),
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
    out
}

fn named(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}={value} (not enforced yet)")
}
