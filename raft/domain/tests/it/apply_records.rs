//! Valid actors, records and commands, to be bent by the test.

use std::collections::BTreeMap;

use only1mcp_domain::activity::{Admission, Batch, Caller, ItemKind, Record};
use only1mcp_domain::command::{Actor, Command, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::*;
use only1mcp_domain::model::*;
use only1mcp_domain::time::TimestampMs;

use crate::apply_world::START_MS;

pub fn tenant_id(text: &str) -> TenantId {
    TenantId::new(text).unwrap()
}

pub fn principal_id(text: &str) -> PrincipalId {
    PrincipalId::new(text).unwrap()
}

pub fn role_id(text: &str) -> RoleId {
    RoleId::new(text).unwrap()
}

pub fn key_id(text: &str) -> ApiKeyId {
    ApiKeyId::new(text).unwrap()
}

pub fn grant_id(text: &str) -> GrantId {
    GrantId::new(text).unwrap()
}

pub fn rule_id(text: &str) -> RuleId {
    RuleId::new(text).unwrap()
}

pub fn upstream_id(text: &str) -> UpstreamId {
    UpstreamId::new(text).unwrap()
}

pub fn glob(text: &str) -> Glob {
    Glob::new(text).unwrap()
}

fn actor(tenant: &str, principal: &str, key: Option<&str>, via: Via) -> Actor {
    Actor {
        tenant: tenant_id(tenant),
        principal: principal_id(principal),
        key: key.map(key_id),
        via,
        ip: "192.0.2.7".parse().ok(),
        user_agent: "ctl/1".to_owned(),
        personal: None,
        request_id: "r-1".to_owned(),
    }
}

pub fn operator() -> Actor {
    actor("system", "root", Some("key-root"), Via::ApiKey)
}

/// By the key that [`World::with_acme`] made.
pub fn by_key(tenant: &str, principal: &str) -> Actor {
    actor(tenant, principal, Some(&format!("key-{principal}")), Via::ApiKey)
}

pub fn by_certificate(tenant: &str, principal: &str) -> Actor {
    actor(tenant, principal, None, Via::ClientCertificate)
}

pub fn local() -> Actor {
    actor("system", "host", None, Via::LocalSocket)
}

pub fn node(id: u64) -> Actor {
    actor("system", &format!("node-{id}"), None, Via::Node(NodeId(id)))
}

pub fn register(name: &str) -> RegisterNode {
    RegisterNode {
        token: None,
        name: name.to_owned(),
        peer_address: format!("{name}:7100"),
        admin_address: format!("{name}:7200"),
        http_address: format!("{name}:7300"),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

pub fn form() -> Command {
    Command::FormCluster(FormCluster {
        cluster_id: Digest([7; 32]),
        settings: ClusterSettings::new("test"),
        node: register("n1"),
        administrator: principal("system", "root"),
        administrator_key: key("system", "root", "key-root"),
        key_hash_key: Secret32([8; 32]),
        session_key: Secret32([9; 32]),
    })
}

pub fn token(id: &str) -> JoinToken {
    JoinToken {
        id: key_id(id),
        mac: Digest([3; 32]),
        created_at: TimestampMs(START_MS),
        expires_at: TimestampMs(START_MS + 3_600_000),
    }
}

pub fn tenant(id: &str) -> Tenant {
    Tenant {
        id: tenant_id(id),
        name: id.to_uppercase(),
        tier: TenantTier::Starter,
        isolation_mode: IsolationMode::Logical { namespace: id.to_owned(), database_schema: String::new() },
        // Tests of those two set them.
        quotas: ResourceQuotas {
            max_users: Quota::Unlimited,
            max_backends: Quota::Unlimited,
            ..ResourceQuotas::template(TenantTier::Starter)
        },
        network_config: NetworkConfig::default(),
        data_region: "eu".to_owned(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: BillingAccount::default(),
        cost_center: String::new(),
        created_at: TimestampMs(START_MS),
        updated_at: TimestampMs(START_MS),
        status: TenantStatus::Active,
        seal_mode: SealMode::Sealed,
        tool_seal_modes: BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: Default::default(),
        constraints: Constraints::default(),
    }
}

pub fn principal(tenant: &str, id: &str) -> Principal {
    Principal {
        tenant: tenant_id(tenant),
        id: principal_id(id),
        kind: PrincipalKind::Person,
        display_name: id.to_owned(),
        email: format!("{id}@example.com"),
        personal: None,
        projects: Vec::new(),
        attributes: BTreeMap::new(),
        enabled: true,
        created_at: TimestampMs(START_MS),
        updated_at: TimestampMs(START_MS),
    }
}

pub fn key(tenant: &str, owner: &str, id: &str) -> ApiKey {
    ApiKey {
        id: key_id(id),
        tenant: tenant_id(tenant),
        principal: principal_id(owner),
        mac: Digest([0xac; 32]),
        label: "test".to_owned(),
        created_at: TimestampMs(START_MS),
        expires_at: None,
        revoked_at: None,
        projects: Vec::new(),
        tools: Vec::new(),
        last_used_at: None,
        rotated_from: None,
    }
}

pub fn grant(tenant: &str, id: &str, principal: &str, role: &str) -> Grant {
    Grant {
        tenant: tenant_id(tenant),
        id: grant_id(id),
        principal: principal_id(principal),
        role: role_id(role),
        projects: Vec::new(),
        conditions: Constraints::default(),
        waive_mfa: false,
        expires_at: None,
        created_at: TimestampMs(START_MS),
        created_by: "test".to_owned(),
    }
}

pub fn role(tenant: &str, id: &str, permissions: &[&str], parents: &[&str]) -> Role {
    Role {
        tenant: tenant_id(tenant),
        id: role_id(id),
        name: id.to_owned(),
        description: String::new(),
        permissions: permissions.iter().map(|text| Permission::parse(text).unwrap()).collect(),
        inherits_from: parents.iter().map(|id| role_id(id)).collect(),
        constraints: Constraints::default(),
        created_at: TimestampMs(START_MS),
        created_by: "test".to_owned(),
    }
}

pub fn put_role(tenant: &str, id: &str, permissions: &[&str], parents: &[&str]) -> Command {
    Command::PutRole { role: role(tenant, id, permissions, parents), if_revision: None }
}

pub fn restriction(tenant: &str, id: &str, tools: &str, roles: &[&str]) -> Command {
    let rule = ToolRestriction {
        tenant: tenant_id(tenant),
        id: rule_id(id),
        tools: glob(tools),
        allowed_roles: roles.iter().map(|id| role_id(id)).collect(),
        rate_limit: None,
        description: String::new(),
    };
    Command::PutRestriction { rule, if_revision: None }
}

pub fn deny(tenant: &str, id: &str, tools: &str, subject: DenySubject) -> Command {
    let (tenant, id, tools) = (tenant_id(tenant), rule_id(id), glob(tools));
    let rule = DenyRule { tenant, id, tools, subject, description: String::new() };
    Command::PutDeny { rule, if_revision: None }
}

pub fn upstream(tenant: &str, id: &str) -> Upstream {
    Upstream {
        tenant: tenant_id(tenant),
        id: upstream_id(id),
        description: String::new(),
        transport: Transport::Http { url: "http://127.0.0.1:9000/mcp".to_owned() },
        session_mode: SessionMode::PerSession,
        headers: Vec::new(),
        enabled: true,
        disabled_tools: Vec::new(),
        concurrency_max: 8,
        call_timeout_ms: 30_000,
        created_at: TimestampMs(START_MS),
        updated_at: TimestampMs(START_MS),
    }
}

pub fn put_upstream(upstream: Upstream) -> Command {
    Command::PutUpstream { upstream: Box::new(upstream), if_revision: None }
}

pub fn caller(tenant: &str, principal: &str) -> Caller {
    Caller {
        tenant: tenant_id(tenant),
        principal: principal_id(principal),
        key: Some(key_id(&format!("key-{principal}"))),
        session: Some(McpSessionId([5; 16])),
        project: None,
        ip: "198.51.100.4".parse().ok(),
        user_agent: "agent/2".to_owned(),
        personal: None,
        request_id: "7".to_owned(),
    }
}

/// `dev` calls a tool of `files`, as the state of [`World::with_acme`] allows.
pub fn admission(revision: Revision) -> Admission {
    Admission {
        call: CallId([1; 16]),
        caller: caller("acme", "dev"),
        tenant: tenant_id("acme"),
        kind: ItemKind::Tool,
        item: "files__read".to_owned(),
        upstream: upstream_id("files"),
        argument_digest: Digest([4; 32]),
        decision: DecisionId([2; 16]),
        grant: grant_id("g-dev"),
        role_path: vec![role_id("developer")],
        revision,
        mode: SealMode::Sealed,
        observed_at: TimestampMs(START_MS),
        holds: vec![],
        quote: None,
        counts: Vec::new(),
        tags: Default::default(),
    }
}

pub fn batch(id: u64, incarnation: Incarnation, sequence: u64, records: Vec<Record>) -> Batch {
    let mut digest = [0x55; 32];
    digest[..8].copy_from_slice(&sequence.to_be_bytes());
    Batch { node: NodeId(id), incarnation, sequence, digest: Digest(digest), records }
}
