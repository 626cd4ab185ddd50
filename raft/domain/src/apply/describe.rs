//! Records as audit events show them. No secret is ever in here: no MAC, no header's value, no environment value, no
//! query of an address.

use crate::apply::json::Object;
use crate::audit::RetentionClass;
use crate::model::{
    ApiKey, Budget, ClusterSettings, Constraints, DenyRule, DenySubject, Grant, IsolationMode, JoinToken,
    NodeRecord, NodeRole, Principal, PrincipalKind, Quota, RatePeriod, RetentionDays, Role, SealMode,
    SessionMode, Tags, Tenant, TenantStatus, TenantTier, TimeWindow, ToolRestriction, Transport, Upstream,
    Webhook,
};
use crate::price::{
    Discount, DiscountKind, ExchangeRate, Meter, Metering, PriceEntry, PriceLine, PriceSubject, UsageSource,
};
use crate::time::TimestampMs;

fn at(time: Option<TimestampMs>) -> Option<u64> {
    time.map(|time| time.0)
}

pub(super) fn settings(settings: &ClusterSettings) -> String {
    let told = Object::new()
        .text("cluster_name", &settings.cluster_name)
        .number("heartbeat_ms", settings.heartbeat_ms)
        .number("election_ms_min", settings.election_ms_min)
        .number("election_ms_max", settings.election_ms_max)
        .number("staleness_ms_max", settings.staleness_ms_max)
        .number("stale_wait_ms_max", settings.stale_wait_ms_max)
        .number("feature_level", settings.feature_level);
    // Nodes below feature level 2 describe settings without these, and all must describe them alike.
    if settings.feature_level < 2 {
        return told.bounded();
    }
    told.number("stable_ms", settings.stable_ms)
        .text("leader_region", &settings.leader_region)
        .text("leader_zone", &settings.leader_zone)
        .bounded()
}

/// Days by class.
pub(super) fn retention(days: &RetentionDays) -> String {
    let each = RetentionClass::ALL.into_iter();
    each.fold(Object::new(), |told, class| told.number(class.name(), days.of(class))).bounded()
}

pub(super) fn node(node: &NodeRecord) -> String {
    Object::new()
        .number("id", node.id.0)
        .text("name", &node.name)
        .text("peer_address", &node.peer_address)
        .text("admin_address", &node.admin_address)
        .text("http_address", &node.http_address)
        .text("region", &node.region)
        .text("zone", &node.zone)
        .text("version", &node.version)
        .text("role", node_role(node.role))
        .bounded()
}

pub(super) fn node_role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Learner => "learner",
        NodeRole::Voter => "voter",
        NodeRole::Removed => "removed",
    }
}

pub(super) fn join_token(token: &JoinToken) -> String {
    Object::new().text("id", &token.id).number("expires_at_ms", token.expires_at.0).bounded()
}

pub(super) fn tenant_status(status: TenantStatus) -> &'static str {
    match status {
        TenantStatus::Active => "active",
        TenantStatus::Suspended => "suspended",
        TenantStatus::Closed => "closed",
    }
}

pub(super) fn seal_mode(mode: SealMode) -> &'static str {
    match mode {
        SealMode::Journaled => "journaled",
        SealMode::Sealed => "sealed",
        SealMode::BeforeDispatch => "before_dispatch",
        SealMode::Completion => "completion",
    }
}

pub(super) fn tenant(tenant: &Tenant) -> String {
    let tier = match tenant.tier {
        TenantTier::Starter => "starter",
        TenantTier::Professional => "professional",
        TenantTier::Enterprise => "enterprise",
    };
    let modes = tenant
        .tool_seal_modes
        .iter()
        .fold(Object::new(), |object, (tool, mode)| object.text(tool, seal_mode(*mode)));
    let shared = tenant.shared_upstreams.as_ref();
    let object = Object::new()
        .text("id", &tenant.id)
        .text("name", &tenant.name)
        .text("tier", tier)
        .text("status", tenant_status(tenant.status))
        .object("isolation_mode", isolation(&tenant.isolation_mode))
        .object("quotas", quotas(tenant))
        .texts("ip_allowlist", tenant.network_config.ip_allowlist.iter().map(ToString::to_string))
        .texts("allowed_origins", &tenant.network_config.allowed_origins)
        .text("data_region", &tenant.data_region)
        .text("encryption_key_id", &tenant.encryption_key_id)
        .optional("custom_domain", tenant.custom_domain.as_ref())
        .optional("branding", tenant.branding.as_ref().map(|branding| &branding.display_name))
        .text("billing_account", &tenant.billing_account.id)
        .text("cost_center", &tenant.cost_center)
        .text("seal_mode", seal_mode(tenant.seal_mode))
        .object("tool_seal_modes", modes)
        .object("constraints", constraints(&tenant.constraints));
    let tags = &tenant.cost_tags;
    // Where there are none, as tenants were told before there were tags.
    let object = if tags.is_empty() {
        object
    } else {
        let object = object.object("cost_tags", texts_by_name(&tags.fixed));
        object.texts("tags_of_principals", &tags.attributes).texts("tags_of_calls", &tags.call_keys)
    };
    let object = match shared {
        Some(ids) => object.texts("shared_upstreams", ids),
        None => object,
    };
    object.bounded()
}

fn texts_by_name(texts: &Tags) -> Object {
    texts.iter().fold(Object::new(), |object, (name, value)| object.text(name, value))
}

fn isolation(mode: &IsolationMode) -> Object {
    match mode {
        IsolationMode::Logical { namespace, database_schema } => {
            Object::new().text("kind", "logical").text("namespace", namespace).text("schema", database_schema)
        }
        IsolationMode::Hybrid { dedicated_nodes, shared_storage } => Object::new()
            .text("kind", "hybrid")
            .texts("dedicated_nodes", dedicated_nodes.iter().map(u64::to_string))
            .flag("shared_storage", *shared_storage),
        IsolationMode::Physical { dedicated_cluster, dedicated_database, dedicated_network } => Object::new()
            .text("kind", "physical")
            .text("cluster", dedicated_cluster)
            .text("database", dedicated_database)
            .text("network", dedicated_network),
    }
}

/// Unlimited ones are left out.
fn quotas(tenant: &Tenant) -> Object {
    let quotas = &tenant.quotas;
    let named = [
        ("max_concurrent_requests", quotas.max_concurrent_requests),
        ("max_requests_per_minute", quotas.max_requests_per_minute),
        ("cpu_millicores", quotas.cpu_millicores),
        ("memory_mib", quotas.memory_mib),
        ("storage_mib", quotas.storage_mib),
        ("max_backends", quotas.max_backends),
        ("max_users", quotas.max_users),
        ("max_tokens_per_day", quotas.max_tokens_per_day),
        ("max_context_size", quotas.max_context_size),
        ("bandwidth_mbps", quotas.bandwidth_mbps),
        ("max_connections", quotas.max_connections),
    ];
    named.into_iter().fold(Object::new(), |object, (name, quota)| match quota {
        Quota::AtMost(max) => object.number(name, max),
        Quota::Unlimited => object,
    })
}

/// What is not set is left out.
fn constraints(constraints: &Constraints) -> Object {
    let mut object = Object::new();
    if let Some(TimeWindow { zone, days, start_minute, end_minute }) = &constraints.time_window {
        let window = Object::new()
            .text("zone", zone)
            .number("days", days.0)
            .number("start_minute", *start_minute)
            .number("end_minute", *end_minute);
        object = object.object("time_window", window);
    }
    if let Some(networks) = &constraints.ip_allowlist {
        object = object.texts("ip_allowlist", networks.iter().map(ToString::to_string));
    }
    if constraints.mfa_required {
        object = object.flag("mfa_required", true);
    }
    if let Some(projects) = &constraints.allowed_projects {
        object = object.texts("allowed_projects", projects);
    }
    object
        .optional_number("max_requests_per_hour", constraints.max_requests_per_hour)
        .optional_number("cost_limit_daily_pico_usd", constraints.cost_limit_daily_pico_usd)
}

pub(super) fn budget(budget: &Budget) -> String {
    let scope = &budget.scope;
    let scope = Object::new()
        .optional("project", scope.project.as_ref())
        .optional("principal", scope.principal.as_ref())
        .optional("tools", scope.tools.as_ref().map(|tools| tools.as_str()))
        .optional("upstream", scope.upstream.as_ref())
        .optional("model", scope.model.as_ref())
        .optional("cost_center", scope.cost_center.as_ref());
    Object::new()
        .text("id", &budget.id)
        .object("scope", scope)
        .optional("per", budget.per.map(|per| per.text()))
        .text("measure", budget.measure.text())
        .text("period", budget.period.text())
        .text("zone", &budget.zone)
        .number("amount", budget.amount)
        .flag("hard", budget.hard)
        .text("description", &budget.description)
        .bounded()
}

pub(super) fn price(price: &PriceEntry) -> String {
    let object = match &price.subject {
        PriceSubject::Tool(tools) => Object::new().text("tools", tools.as_str()),
        PriceSubject::Model { provider, model } => {
            Object::new().text("provider", provider).text("model", model)
        }
    };
    let line = |line: &PriceLine| {
        let PriceLine { meter, tier_from, unit, price } = line;
        format!("{meter} from {tier_from}: {price} for {unit}")
    };
    Object::new()
        .text("id", &price.id)
        .object("subject", object)
        .text("currency", price.currency.to_string())
        .number("valid_from_ms", price.valid_from.0)
        .number("version", price.version)
        .texts("lines", price.lines.iter().map(line))
        .texts("free", price.free.iter().map(|meter| meter.code()))
        .bounded()
}

pub(super) fn metering(metering: &Metering) -> String {
    let source = |(meter, source): &(Meter, UsageSource)| match source {
        UsageSource::Counted => format!("{meter}: counted"),
        UsageSource::Pointer(pointer) => format!("{meter}: {pointer}"),
        UsageSource::Difference { of, minus } => format!("{meter}: {of} less {}", minus.join(" less ")),
    };
    let bounds = metering.bounds.iter();
    let bounds = bounds.fold(Object::new(), |object, (meter, units)| object.number(meter.code(), units));
    let object = Object::new()
        .text("id", &metering.id)
        .text("tools", metering.tools.as_str())
        .text("provider", &metering.provider)
        .text("model", &metering.model)
        .optional("model_pointer", metering.model_pointer.as_ref())
        .optional("total_pointer", metering.total_pointer.as_ref())
        .texts("usage", metering.usage.iter().map(source))
        .object("bounds", bounds);
    let tags = &metering.tags;
    let object = if tags.is_empty() { object } else { object.object("tags", texts_by_name(tags)) };
    object.bounded()
}

pub(super) fn discount(discount: &Discount) -> String {
    let object = match &discount.kind {
        DiscountKind::Cache(terms) => Object::new()
            .text("kind", "cache")
            .text("share_above", terms.share_above.to_string())
            .text("factor", terms.factor.to_string()),
        DiscountKind::Volume(terms) => Object::new()
            .text("kind", "volume")
            .texts("tiers", terms.tiers.iter().map(|tier| format!("from {}: {}", tier.from, tier.factor))),
        DiscountKind::Commitment(terms) => {
            Object::new().text("kind", "commitment").text("factor", terms.factor.to_string())
        }
    };
    object
        .text("id", &discount.id)
        .number("valid_from_ms", discount.valid_from.0)
        .number("version", discount.version)
        .bounded()
}

pub(super) fn rate(rate: &ExchangeRate) -> String {
    Object::new()
        .text("currency", rate.currency.to_string())
        .text("usd_per_unit", rate.usd_per_unit.to_string())
        .number("valid_from_ms", rate.valid_from.0)
        .number("version", rate.version)
        .bounded()
}

pub(super) fn principal(principal: &Principal) -> String {
    let kind = match principal.kind {
        PrincipalKind::Person => "person",
        PrincipalKind::Service => "service",
    };
    let object = Object::new().text("id", &principal.id).text("kind", kind);
    // Sealed, both stand in the event's sealed parts.
    let object = if principal.personal.is_some() {
        object
    } else {
        object.text("display_name", &principal.display_name).text("email", &principal.email)
    };
    object
        .texts("projects", &principal.projects)
        .object("attributes", texts_by_name(&principal.attributes))
        .flag("enabled", principal.enabled)
        .bounded()
}

pub(super) fn api_key(key: &ApiKey) -> String {
    Object::new()
        .text("id", &key.id)
        .text("principal", &key.principal)
        .text("label", &key.label)
        .optional_number("expires_at_ms", at(key.expires_at))
        .optional_number("revoked_at_ms", at(key.revoked_at))
        .texts("projects", &key.projects)
        .texts("tools", key.tools.iter().map(|glob| glob.as_str()))
        .optional("rotated_from", key.rotated_from.as_ref())
        .bounded()
}

pub(super) fn role(role: &Role) -> String {
    Object::new()
        .text("id", &role.id)
        .text("name", &role.name)
        .text("description", &role.description)
        .texts("permissions", role.permissions.iter().map(|permission| permission.text()))
        .texts("inherits_from", &role.inherits_from)
        .object("constraints", constraints(&role.constraints))
        .bounded()
}

pub(super) fn grant(grant: &Grant) -> String {
    Object::new()
        .text("id", &grant.id)
        .text("principal", &grant.principal)
        .text("role", &grant.role)
        .texts("projects", &grant.projects)
        .object("conditions", constraints(&grant.conditions))
        .flag("waive_mfa", grant.waive_mfa)
        .optional_number("expires_at_ms", at(grant.expires_at))
        .bounded()
}

pub(super) fn restriction(rule: &ToolRestriction) -> String {
    let rate = rule.rate_limit.map(|limit| {
        let per = match limit.per {
            RatePeriod::Minute => "minute",
            RatePeriod::Hour => "hour",
            RatePeriod::Day => "day",
        };
        format!("{}/{per}", limit.count)
    });
    Object::new()
        .text("id", &rule.id)
        .text("tools", rule.tools.as_str())
        .texts("allowed_roles", &rule.allowed_roles)
        .optional("rate_limit", rate)
        .text("description", &rule.description)
        .bounded()
}

pub(super) fn deny(rule: &DenyRule) -> String {
    let subject = match &rule.subject {
        DenySubject::Everyone => "everyone".to_owned(),
        DenySubject::Principal(id) => format!("principal {id}"),
        DenySubject::Role(id) => format!("role {id}"),
    };
    Object::new()
        .text("id", &rule.id)
        .text("tools", rule.tools.as_str())
        .text("subject", subject)
        .text("description", &rule.description)
        .bounded()
}

pub(super) fn upstream(upstream: &Upstream) -> String {
    let transport = match &upstream.transport {
        Transport::Http { url } => Object::new().text("url", without_query(url)),
        Transport::Stdio { command, args, env } => {
            Object::new().text("command", command).texts("args", args).texts("env_names", env.keys())
        }
    };
    let mode = match upstream.session_mode {
        SessionMode::PerSession => "per_session",
        SessionMode::SharedStateless => "shared_stateless",
    };
    Object::new()
        .text("id", &upstream.id)
        .text("description", &upstream.description)
        .object("transport", transport)
        .text("session_mode", mode)
        .texts("header_names", upstream.headers.iter().map(|header| &header.name))
        .flag("enabled", upstream.enabled)
        .texts("disabled_tools", &upstream.disabled_tools)
        .number("concurrency_max", upstream.concurrency_max)
        .number("call_timeout_ms", upstream.call_timeout_ms)
        .bounded()
}

pub(super) fn webhook(webhook: &Webhook) -> String {
    Object::new()
        .text("id", &webhook.id)
        .text("url", without_query(&webhook.url))
        .texts("events", webhook.events.iter().map(|event| event.text()))
        .flag("enabled", webhook.enabled)
        .text("description", &webhook.description)
        .bounded()
}

/// An address's query may hold a token.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => format!("{before}?[redacted]"),
        None => url.to_owned(),
    }
}
