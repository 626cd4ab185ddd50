//! Plain records with nothing special about them, for tests to change what they are about.

use std::collections::BTreeMap;

use only1mcp_domain::ids::{GrantId, PrincipalId, RoleId, TenantId, UpstreamId};
use only1mcp_domain::model::{
    BillingAccount, Constraints, Grant, IsolationMode, NetworkConfig, Permission, Principal, PrincipalKind,
    ResourceQuotas, Role, SealMode, SessionMode, Tenant, TenantStatus, TenantTier, Transport, Upstream,
};
use only1mcp_domain::time::TimestampMs;

const THEN: TimestampMs = TimestampMs(0);

pub fn tenant(id: &str) -> Tenant {
    Tenant {
        id: TenantId::new(id).unwrap(),
        name: id.to_owned(),
        tier: TenantTier::Enterprise,
        isolation_mode: IsolationMode::Logical { namespace: id.to_owned(), database_schema: id.to_owned() },
        quotas: ResourceQuotas::template(TenantTier::Enterprise),
        network_config: NetworkConfig::default(),
        data_region: String::new(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: BillingAccount::default(),
        cost_center: String::new(),
        created_at: THEN,
        updated_at: THEN,
        status: TenantStatus::Active,
        seal_mode: SealMode::Sealed,
        tool_seal_modes: BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: Default::default(),
        constraints: Constraints::default(),
    }
}

pub fn principal(tenant: &TenantId, id: &str) -> Principal {
    Principal {
        tenant: tenant.clone(),
        id: PrincipalId::new(id).unwrap(),
        kind: PrincipalKind::Person,
        display_name: String::new(),
        email: String::new(),
        personal: None,
        projects: Vec::new(),
        attributes: BTreeMap::new(),
        enabled: true,
        created_at: THEN,
        updated_at: THEN,
    }
}

pub fn role(tenant: &TenantId, id: &str, permissions: Vec<Permission>, inherits_from: Vec<RoleId>) -> Role {
    Role {
        tenant: tenant.clone(),
        id: RoleId::new(id).unwrap(),
        name: String::new(),
        description: String::new(),
        permissions,
        inherits_from,
        constraints: Constraints::default(),
        created_at: THEN,
        created_by: String::new(),
    }
}

pub fn grant(tenant: &TenantId, id: &str, principal: &str, role: &str) -> Grant {
    Grant {
        tenant: tenant.clone(),
        id: GrantId::new(id).unwrap(),
        principal: PrincipalId::new(principal).unwrap(),
        role: RoleId::new(role).unwrap(),
        projects: Vec::new(),
        conditions: Constraints::default(),
        waive_mfa: false,
        expires_at: None,
        created_at: THEN,
        created_by: String::new(),
    }
}

pub fn upstream(tenant: &TenantId, id: &str) -> Upstream {
    Upstream {
        tenant: tenant.clone(),
        id: UpstreamId::new(id).unwrap(),
        description: String::new(),
        transport: Transport::Http { url: "http://127.0.0.1:1/mcp".to_owned() },
        session_mode: SessionMode::SharedStateless,
        headers: Vec::new(),
        enabled: true,
        disabled_tools: Vec::new(),
        concurrency_max: 1,
        call_timeout_ms: 1_000,
        created_at: THEN,
        updated_at: THEN,
    }
}
