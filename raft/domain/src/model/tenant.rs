//! A tenant: the boundary of isolation and billing.
//! Source: specification, "Tenant Isolation Model" and "Tenant Provisioning Pipeline".

use std::collections::BTreeMap;

use crate::ids::{TenantId, UpstreamId};
use crate::model::{Constraints, CostTags, SealMode};
use crate::time::TimestampMs;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TenantTier {
    Starter,
    Professional,
    Enterprise,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TenantStatus {
    Active,
    /// Refuses every call of its principals; its records stay.
    Suspended,
    /// As suspended, and its id is never given again.
    Closed,
}

/// How a tenant is kept apart. Stored and shown; only `Logical` changes nothing about where calls run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IsolationMode {
    Logical { namespace: String, database_schema: String },
    Hybrid { dedicated_nodes: Vec<u64>, shared_storage: bool },
    Physical { dedicated_cluster: String, dedicated_database: String, dedicated_network: String },
}

/// A bound that may be absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quota {
    Unlimited,
    AtMost(u64),
}

/// `max_requests_per_minute`, `max_concurrent_requests` and `max_connections` are limits of the ledger, users and backends
/// are counted where they are made; the others are stored, and listings say so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourceQuotas {
    pub max_concurrent_requests: Quota,
    pub max_requests_per_minute: Quota,
    /// Units: thousandths of a core.
    pub cpu_millicores: Quota,
    /// Units: MiB.
    pub memory_mib: Quota,
    /// Units: MiB.
    pub storage_mib: Quota,
    pub max_backends: Quota,
    pub max_users: Quota,
    pub max_tokens_per_day: Quota,
    pub max_context_size: Quota,
    pub bandwidth_mbps: Quota,
    pub max_connections: Quota,
}

impl ResourceQuotas {
    /// The specification's template for `tier`; a bound it does not name is unlimited.
    pub fn template(tier: TenantTier) -> Self {
        use Quota::{AtMost, Unlimited};
        let of = |requests, minute, cpu, memory, storage, backends, users, tokens| Self {
            max_concurrent_requests: AtMost(requests),
            max_requests_per_minute: AtMost(minute),
            cpu_millicores: AtMost(cpu),
            memory_mib: AtMost(memory),
            storage_mib: AtMost(storage),
            max_backends: backends,
            max_users: users,
            max_tokens_per_day: tokens,
            max_context_size: Unlimited,
            bandwidth_mbps: Unlimited,
            max_connections: Unlimited,
        };
        match tier {
            TenantTier::Starter => {
                of(10, 100, 500, 1 << 10, 10 << 10, AtMost(5), AtMost(10), AtMost(100_000))
            }
            TenantTier::Professional => {
                of(100, 1_000, 4_000, 8 << 10, 100 << 10, AtMost(50), AtMost(100), AtMost(1_000_000))
            }
            TenantTier::Enterprise => {
                of(1_000, 10_000, 32_000, 64 << 10, 1_000 << 10, Unlimited, Unlimited, Unlimited)
            }
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworkConfig {
    /// Calls must come from one of these networks, whatever the role; empty means anywhere.
    pub ip_allowlist: Vec<ipnet::IpNet>,
    /// Browser origins accepted at the gateway besides none.
    pub allowed_origins: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Branding {
    pub display_name: String,
    pub logo_url: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BillingAccount {
    pub id: String,
    pub contact: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub tier: TenantTier,
    pub isolation_mode: IsolationMode,
    pub quotas: ResourceQuotas,
    pub network_config: NetworkConfig,
    pub data_region: String,
    pub encryption_key_id: String,
    /// Host name under which the gateway takes requests for this tenant; unique in the cluster.
    pub custom_domain: Option<String>,
    pub branding: Option<Branding>,
    pub billing_account: BillingAccount,
    pub cost_center: String,
    pub created_at: TimestampMs,
    pub updated_at: TimestampMs,
    pub status: TenantStatus,
    /// When answers of this tenant's calls may leave a node (P2).
    pub seal_mode: SealMode,
    /// Single tools that ask for another mode, by exposed name (`upstream__tool`).
    pub tool_seal_modes: BTreeMap<String, SealMode>,
    /// Shared upstreams (owned by `system`) that this tenant may see; `None` means all of them.
    pub shared_upstreams: Option<Vec<UpstreamId>>,
    /// Hold for every call in the tenant, besides those of roles and grants.
    pub constraints: Constraints,
    /// What cost records of calls in the tenant are tagged with.
    pub cost_tags: CostTags,
}
