//! What is stored but not enforced yet, in words, so that no listing promises what the product does not do. All quotas are
//! enforced.

use only1mcp_domain::model::{IsolationMode, Tenant};

pub(crate) fn tenant(tenant: &Tenant) -> Vec<String> {
    let mut out = Vec::new();
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
