//! Tenants.

use only1mcp_domain::model::{
    BillingAccount, Branding, CostTags, IsolationMode, NetworkConfig, Quota, ResourceQuotas, Tenant,
    TenantStatus, TenantTier,
};
use only1mcp_domain::time::TimestampMs;

use crate::codec::error::DecodeError;
use crate::codec::parts::{
    Text as _, display_list, enumeration, parsed_list, record, required, text, text_list, wire_enum,
    write_list,
};
use crate::model;

wire_enum!(TenantTier, model::TenantTier, "TenantTier", [Starter, Professional, Enterprise]);
wire_enum!(TenantStatus, model::TenantStatus, "TenantStatus", [Active, Suspended, Closed]);

impl From<&IsolationMode> for model::IsolationMode {
    fn from(isolation: &IsolationMode) -> Self {
        use model::isolation_mode::Mode;
        let mode = match isolation.clone() {
            IsolationMode::Logical { namespace, database_schema } => {
                Mode::Logical(model::LogicalIsolation { namespace, database_schema })
            }
            IsolationMode::Hybrid { dedicated_nodes, shared_storage } => {
                Mode::Hybrid(model::HybridIsolation { dedicated_nodes, shared_storage })
            }
            IsolationMode::Physical { dedicated_cluster, dedicated_database, dedicated_network } => {
                Mode::Physical(model::PhysicalIsolation {
                    dedicated_cluster,
                    dedicated_database,
                    dedicated_network,
                })
            }
        };
        Self { mode: Some(mode) }
    }
}

impl TryFrom<model::IsolationMode> for IsolationMode {
    type Error = DecodeError;

    fn try_from(wire: model::IsolationMode) -> Result<Self, DecodeError> {
        use model::isolation_mode::Mode;
        Ok(match required("IsolationMode.mode", wire.mode)? {
            Mode::Logical(mode) => {
                Self::Logical { namespace: mode.namespace, database_schema: mode.database_schema }
            }
            Mode::Hybrid(mode) => {
                Self::Hybrid { dedicated_nodes: mode.dedicated_nodes, shared_storage: mode.shared_storage }
            }
            Mode::Physical(mode) => Self::Physical {
                dedicated_cluster: mode.dedicated_cluster,
                dedicated_database: mode.dedicated_database,
                dedicated_network: mode.dedicated_network,
            },
        })
    }
}

fn write_quota(quota: Quota) -> Option<u64> {
    match quota {
        Quota::Unlimited => None,
        Quota::AtMost(bound) => Some(bound),
    }
}

fn quota(bound: Option<u64>) -> Quota {
    bound.map_or(Quota::Unlimited, Quota::AtMost)
}

impl From<&ResourceQuotas> for model::ResourceQuotas {
    fn from(quotas: &ResourceQuotas) -> Self {
        Self {
            max_concurrent_requests: write_quota(quotas.max_concurrent_requests),
            max_requests_per_minute: write_quota(quotas.max_requests_per_minute),
            cpu_millicores: write_quota(quotas.cpu_millicores),
            memory_mib: write_quota(quotas.memory_mib),
            storage_mib: write_quota(quotas.storage_mib),
            max_backends: write_quota(quotas.max_backends),
            max_users: write_quota(quotas.max_users),
            max_tokens_per_day: write_quota(quotas.max_tokens_per_day),
            max_context_size: write_quota(quotas.max_context_size),
            bandwidth_mbps: write_quota(quotas.bandwidth_mbps),
            max_connections: write_quota(quotas.max_connections),
        }
    }
}

impl From<model::ResourceQuotas> for ResourceQuotas {
    fn from(wire: model::ResourceQuotas) -> Self {
        Self {
            max_concurrent_requests: quota(wire.max_concurrent_requests),
            max_requests_per_minute: quota(wire.max_requests_per_minute),
            cpu_millicores: quota(wire.cpu_millicores),
            memory_mib: quota(wire.memory_mib),
            storage_mib: quota(wire.storage_mib),
            max_backends: quota(wire.max_backends),
            max_users: quota(wire.max_users),
            max_tokens_per_day: quota(wire.max_tokens_per_day),
            max_context_size: quota(wire.max_context_size),
            bandwidth_mbps: quota(wire.bandwidth_mbps),
            max_connections: quota(wire.max_connections),
        }
    }
}

impl From<&NetworkConfig> for model::NetworkConfig {
    fn from(network: &NetworkConfig) -> Self {
        Self {
            ip_allowlist: display_list(&network.ip_allowlist),
            allowed_origins: network.allowed_origins.clone(),
        }
    }
}

impl TryFrom<model::NetworkConfig> for NetworkConfig {
    type Error = DecodeError;

    fn try_from(wire: model::NetworkConfig) -> Result<Self, DecodeError> {
        let ip_allowlist = parsed_list("NetworkConfig.ip_allowlist", &wire.ip_allowlist)?;
        Ok(Self { ip_allowlist, allowed_origins: wire.allowed_origins })
    }
}

impl From<&CostTags> for model::CostTags {
    fn from(tags: &CostTags) -> Self {
        Self {
            fixed: tags.fixed.clone(),
            attributes: tags.attributes.clone(),
            call_keys: tags.call_keys.clone(),
        }
    }
}

impl From<model::CostTags> for CostTags {
    fn from(wire: model::CostTags) -> Self {
        Self { fixed: wire.fixed, attributes: wire.attributes, call_keys: wire.call_keys }
    }
}

impl From<&Tenant> for model::Tenant {
    fn from(tenant: &Tenant) -> Self {
        let branding = |b: &Branding| model::Branding {
            display_name: b.display_name.clone(),
            logo_url: b.logo_url.clone(),
        };
        let modes = tenant.tool_seal_modes.iter();
        let (shared, tags) = (tenant.shared_upstreams.as_ref(), &tenant.cost_tags);
        Self {
            id: tenant.id.written(),
            name: tenant.name.clone(),
            tier: model::TenantTier::from(tenant.tier).into(),
            isolation_mode: Some((&tenant.isolation_mode).into()),
            quotas: Some((&tenant.quotas).into()),
            network_config: Some((&tenant.network_config).into()),
            data_region: tenant.data_region.clone(),
            encryption_key_id: tenant.encryption_key_id.clone(),
            custom_domain: tenant.custom_domain.clone(),
            branding: tenant.branding.as_ref().map(branding),
            billing_account: Some(model::BillingAccount {
                id: tenant.billing_account.id.clone(),
                contact: tenant.billing_account.contact.clone(),
            }),
            cost_center: tenant.cost_center.clone(),
            created_at_ms: tenant.created_at.0,
            updated_at_ms: tenant.updated_at.0,
            status: model::TenantStatus::from(tenant.status).into(),
            seal_mode: model::SealMode::from(tenant.seal_mode).into(),
            tool_seal_modes: modes
                .map(|(tool, mode)| (tool.clone(), model::SealMode::from(*mode).into()))
                .collect(),
            shared_upstreams: shared.map(|list| model::TextList { items: write_list(list) }),
            constraints: Some((&tenant.constraints).into()),
            cost_tags: (!tags.is_empty()).then(|| tags.into()),
        }
    }
}

impl TryFrom<model::Tenant> for Tenant {
    type Error = DecodeError;

    fn try_from(wire: model::Tenant) -> Result<Self, DecodeError> {
        let billing = required("Tenant.billing_account", wire.billing_account)?;
        let branding = wire.branding.map(|b| Branding { display_name: b.display_name, logo_url: b.logo_url });
        let modes = wire.tool_seal_modes.into_iter().map(|(tool, mode)| {
            Ok((tool, enumeration::<model::SealMode, _>("Tenant.tool_seal_modes", mode)?))
        });
        let shared = wire.shared_upstreams.map(|list| text_list("Tenant.shared_upstreams", &list.items));
        Ok(Self {
            id: text("Tenant.id", &wire.id)?,
            name: wire.name,
            tier: enumeration::<model::TenantTier, _>("Tenant.tier", wire.tier)?,
            isolation_mode: record("Tenant.isolation_mode", wire.isolation_mode)?,
            quotas: required("Tenant.quotas", wire.quotas)?.into(),
            network_config: record("Tenant.network_config", wire.network_config)?,
            data_region: wire.data_region,
            encryption_key_id: wire.encryption_key_id,
            custom_domain: wire.custom_domain,
            branding,
            billing_account: BillingAccount { id: billing.id, contact: billing.contact },
            cost_center: wire.cost_center,
            created_at: TimestampMs(wire.created_at_ms),
            updated_at: TimestampMs(wire.updated_at_ms),
            status: enumeration::<model::TenantStatus, _>("Tenant.status", wire.status)?,
            seal_mode: enumeration::<model::SealMode, _>("Tenant.seal_mode", wire.seal_mode)?,
            tool_seal_modes: modes.collect::<Result<_, DecodeError>>()?,
            shared_upstreams: shared.transpose()?,
            constraints: record("Tenant.constraints", wire.constraints)?,
            cost_tags: wire.cost_tags.map(Into::into).unwrap_or_default(),
        })
    }
}
