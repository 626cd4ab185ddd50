//! The records of the simulated cluster: its first entry, tenants, principals, grants, and the calls made on them.

use std::collections::BTreeMap;

use only1mcp_consensus::Timing;
use only1mcp_domain::State;
use only1mcp_domain::command::{Actor, Command, Entry, FormCluster, RegisterNode, Secret32, Via};
use only1mcp_domain::ids::{
    ApiKeyId, BudgetId, CommandId, Digest, GrantId, IdError, NodeId, PrincipalId, RoleId, TenantId,
    UpstreamId,
};
use only1mcp_domain::model::{
    ApiKey, BillingAccount, Budget, BudgetScope, ClusterSettings, Constraints, Dimension, Grant,
    IsolationMode, JoinToken, Measure, NetworkConfig, PeriodKind, Principal, PrincipalKind, Quota,
    ResourceQuotas, SealMode, SessionMode, Tenant, TenantStatus, TenantTier, Transport, Upstream,
};
use only1mcp_domain::time::TimestampMs;

use crate::rng::Rng;

/// When every world begins. Units: milliseconds since the Unix epoch.
pub const BEGIN_MS: u64 = 1_800_000_000_000;
pub const TENANTS: [&str; 3] = ["acme", "beta", TIGHT];
/// The tenant whose limits bind.
pub const TIGHT: &str = "tight";
/// Its principal that has a budget for good besides, which never begins anew.
pub const SPARING: &str = "c2";
/// Enough for whatever a world may call.
pub const PLENTY: i128 = 1_000_000;
/// Whose servers are the registers, and how many there are.
pub const REGISTRAR: &str = "acme";
pub const REGISTERS: u64 = 3;
/// Principals of each tenant that always may call.
pub const CALLERS: [&str; 3] = ["c0", "c1", "c2"];
/// Principals of `acme` whose grants come and go.
pub const GUESTS: [&str; 2] = ["g0", "g1"];
pub const TOOL: &str = "demo__echo";

const AT: TimestampMs = TimestampMs(BEGIN_MS);

pub fn node_name(node: NodeId) -> String {
    format!("n{}", node.0)
}

/// Where a node stands.
pub fn zone(node: NodeId) -> &'static str {
    match node.0 % 3 {
        1 => "a",
        2 => "b",
        _ => "c",
    }
}

fn register(node: NodeId) -> RegisterNode {
    let name = node_name(node);
    RegisterNode {
        token: None,
        peer_address: format!("{name}:{}", crate::node::PEER_PORT),
        admin_address: format!("{name}:7200"),
        http_address: format!("{name}:{}", crate::node::FRONT_PORT),
        name,
        region: "sim".to_owned(),
        zone: zone(node).to_owned(),
        version: "0".to_owned(),
    }
}

pub fn principal(tenant: &TenantId, id: &str) -> Result<Principal, IdError> {
    Ok(Principal {
        tenant: tenant.clone(),
        id: PrincipalId::new(id)?,
        kind: PrincipalKind::Service,
        display_name: id.to_owned(),
        email: String::new(),
        personal: None,
        projects: Vec::new(),
        attributes: BTreeMap::new(),
        enabled: true,
        created_at: AT,
        updated_at: AT,
    })
}

pub fn key_of(tenant: &TenantId, principal: &str) -> Result<ApiKeyId, IdError> {
    ApiKeyId::new(format!("{tenant}-{principal}"))
}

fn key(tenant: &TenantId, owner: &str) -> Result<ApiKey, IdError> {
    Ok(ApiKey {
        id: key_of(tenant, owner)?,
        tenant: tenant.clone(),
        principal: PrincipalId::new(owner)?,
        mac: Digest([1; 32]),
        label: String::new(),
        created_at: AT,
        expires_at: None,
        revoked_at: None,
        projects: Vec::new(),
        tools: Vec::new(),
        last_used_at: None,
        rotated_from: None,
    })
}

pub fn grant(tenant: &TenantId, id: &str, principal: &str) -> Result<Grant, IdError> {
    Ok(Grant {
        tenant: tenant.clone(),
        id: GrantId::new(id)?,
        principal: PrincipalId::new(principal)?,
        role: RoleId::new("developer")?,
        projects: Vec::new(),
        conditions: Constraints::default(),
        waive_mfa: true,
        expires_at: None,
        created_at: AT,
        created_by: "sim".to_owned(),
    })
}

fn tenant(id: &TenantId, mode: SealMode) -> Tenant {
    Tenant {
        id: id.clone(),
        name: id.to_string(),
        tier: TenantTier::Starter,
        isolation_mode: IsolationMode::Logical { namespace: id.to_string(), database_schema: String::new() },
        // Counted and lent in every world; enough that every client is served once the faults have ended.
        quotas: ResourceQuotas {
            max_requests_per_minute: Quota::AtMost(5_000),
            ..ResourceQuotas::template(TenantTier::Starter)
        },
        network_config: NetworkConfig::default(),
        data_region: String::new(),
        encryption_key_id: String::new(),
        custom_domain: None,
        branding: None,
        billing_account: BillingAccount::default(),
        cost_center: String::new(),
        created_at: AT,
        updated_at: AT,
        status: TenantStatus::Active,
        seal_mode: mode,
        tool_seal_modes: BTreeMap::new(),
        shared_upstreams: None,
        cost_tags: Default::default(),
        constraints: Constraints::default(),
    }
}

fn upstream(tenant: &TenantId) -> Result<Upstream, IdError> {
    Ok(Upstream {
        tenant: tenant.clone(),
        id: upstream_id()?,
        description: String::new(),
        transport: Transport::Http { url: "http://127.0.0.1:9000/mcp".to_owned() },
        session_mode: SessionMode::PerSession,
        headers: Vec::new(),
        enabled: true,
        disabled_tools: Vec::new(),
        concurrency_max: 8,
        call_timeout_ms: 30_000,
        created_at: AT,
        updated_at: AT,
    })
}

/// A hard budget of calls, of the whole tenant.
pub fn budget(tenant: &TenantId, id: &str, amount: i128, period: PeriodKind) -> Result<Budget, IdError> {
    Ok(Budget {
        tenant: tenant.clone(),
        id: BudgetId::new(id)?,
        scope: BudgetScope::default(),
        per: None,
        measure: Measure::Calls,
        period,
        zone: if period == PeriodKind::Day { "UTC".to_owned() } else { String::new() },
        amount,
        hard: true,
        description: String::new(),
        created_at: AT,
        created_by: "sim".to_owned(),
    })
}

/// The tight tenant's budgets: nested ones (the tenant's hour, each principal's hour), crossing ones (a tool's day), one
/// that begins anew while faults strike (a minute's), one that never does.
pub fn budgets(rng: &mut Rng) -> Result<Vec<Budget>, IdError> {
    let tight = TenantId::new(TIGHT)?;
    let mut make =
        |id: &str, (from, to): (u64, u64), period| budget(&tight, id, rng.between(from, to).into(), period);
    let user = Budget { per: Some(Dimension::Principal), ..make("user", (30, 120), PeriodKind::Hour)? };
    let tool = Budget { per: Some(Dimension::Tool), ..make("tool", (60, 400), PeriodKind::Day)? };
    let sparing = BudgetScope { principal: Some(PrincipalId::new(SPARING)?), ..BudgetScope::default() };
    let total = Budget { scope: sparing, ..make("total", (15, 80), PeriodKind::Total)? };
    let hour = make("hour", (50, 250), PeriodKind::Hour)?;
    let minute = make("minute", (20, 120), PeriodKind::Minute)?;
    Ok(vec![hour, user, tool, total, minute])
}

/// Register `number`: a server of `acme`'s that nobody calls, and what it holds its description.
pub fn register_id(number: u64) -> Result<UpstreamId, IdError> {
    UpstreamId::new(format!("register-{number}"))
}

/// Writes `value` to a register; with `if_revision`, only over that one.
pub fn put_register(number: u64, value: u64, if_revision: Option<u64>) -> Result<Command, IdError> {
    let upstream = upstream(&TenantId::new(REGISTRAR)?)?;
    let upstream = Upstream { id: register_id(number)?, description: value.to_string(), ..upstream };
    Ok(Command::PutUpstream { upstream: Box::new(upstream), if_revision })
}

/// What a register holds, and at what revision.
pub fn register_in(state: &State, number: u64) -> Option<(u64, u64)> {
    let key = (TenantId::new(REGISTRAR).ok()?, register_id(number).ok()?);
    let record = state.upstreams.get(&key)?;
    Some((record.value.description.parse().ok()?, record.revision))
}

pub fn upstream_id() -> Result<UpstreamId, IdError> {
    UpstreamId::new("demo")
}

pub fn form(timing: Timing) -> Result<Command, IdError> {
    let system = TenantId::system();
    let first = FormCluster {
        cluster_id: Digest([7; 32]),
        settings: ClusterSettings {
            heartbeat_ms: timing.heartbeat_ms,
            election_ms_min: timing.election_ms_min,
            election_ms_max: timing.election_ms_max,
            ..ClusterSettings::new("sim")
        },
        node: register(NodeId(1)),
        administrator: principal(&system, "root")?,
        administrator_key: key(&system, "root")?,
        key_hash_key: Secret32([8; 32]),
        session_key: Secret32([9; 32]),
    };
    Ok(Command::FormCluster(first))
}

/// The token that lets `node` in, and its registration.
pub fn admit_node(node: NodeId) -> Result<[Command; 2], IdError> {
    let id = ApiKeyId::new(format!("token-{}", node.0))?;
    let expires_at = AT.plus_ms(24 * 3_600_000);
    let token = JoinToken { id: id.clone(), mac: Digest([3; 32]), created_at: AT, expires_at };
    let node = RegisterNode { token: Some(id), ..register(node) };
    Ok([Command::CreateJoinToken(token), Command::RegisterNode(node)])
}

/// Tenants, callers, their keys and grants. `beta` answers only once the outcome is committed too.
pub fn furnish() -> Result<Vec<Command>, IdError> {
    let mut commands = Vec::new();
    for id in TENANTS {
        let id = TenantId::new(id)?;
        let mode = if id.as_str() == "beta" { SealMode::Completion } else { SealMode::Sealed };
        commands.push(Command::CreateTenant(Box::new(tenant(&id, mode))));
        commands.push(Command::PutUpstream { upstream: Box::new(upstream(&id)?), if_revision: None });
        for name in CALLERS.iter().chain(&GUESTS) {
            commands.push(Command::CreatePrincipal(principal(&id, name)?));
            commands.push(Command::CreateApiKey(key(&id, name)?));
        }
        for name in CALLERS {
            commands.push(Command::CreateGrant(grant(&id, &format!("always-{name}"), name)?));
        }
    }
    Ok(commands)
}

/// An administrative write by the operator, safe to send again.
pub fn write(command_id: [u8; 16], command: Command) -> Result<Entry, IdError> {
    let system = TenantId::system();
    let mut digest = [0x11; 32];
    digest.iter_mut().zip(command_id).for_each(|(byte, id)| *byte = id);
    Ok(Entry {
        actor: Actor {
            principal: PrincipalId::new("root")?,
            key: Some(key_of(&system, "root")?),
            tenant: system,
            via: Via::ApiKey,
            ip: None,
            user_agent: "sim".to_owned(),
            personal: None,
            request_id: String::new(),
        },
        command_id: Some(CommandId(command_id)),
        request_digest: Digest(digest),
        observed_at: AT,
        command,
        signature: None,
    })
}

/// By whoever may open a node's local socket.
pub fn local(command_id: [u8; 16], command: Command) -> Result<Entry, IdError> {
    let mut entry = write(command_id, command)?;
    entry.actor.key = None;
    entry.actor.via = Via::LocalSocket;
    Ok(entry)
}
