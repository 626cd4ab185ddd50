//! Records of the model.

use only1mcp_domain::audit::{
    AuditEvent, EventActor, EventKind, EventOutcome, EventResource, SealedEvent, Severity,
};
use only1mcp_domain::ids::{
    ApiKeyId, AuditIndex, CallId, DecisionId, GrantId, NodeId, PrincipalId, ProjectId, Revision, RoleId,
    RuleId, TenantId, UpstreamId,
};
use only1mcp_domain::model::{
    ApiKey, BillingAccount, Branding, ClusterSettings, Constraints, CostTags, DenyRule, DenySubject, Glob,
    Grant, HeaderSecret, IsolationMode, JoinToken, NetworkConfig, NodeRecord, NodeRole, Permission,
    Principal, PrincipalKind, Quota, RateLimit, RatePeriod, ResourceQuotas, Role, SealMode, SessionMode,
    Tenant, TenantStatus, TenantTier, TimeWindow, ToolRestriction, Transport, Upstream, Weekdays,
};

use crate::random::Gen;

/// Stands in every secret a generator makes, so that a search finds it where it must not be.
pub const HIDDEN: &str = "hidden";

impl Gen {
    pub fn tenant_id(&mut self) -> TenantId {
        TenantId::new(self.slug()).unwrap()
    }

    pub fn principal_id(&mut self) -> PrincipalId {
        PrincipalId::new(self.slug()).unwrap()
    }

    pub fn role_id(&mut self) -> RoleId {
        RoleId::new(self.slug()).unwrap()
    }

    pub fn grant_id(&mut self) -> GrantId {
        GrantId::new(self.slug()).unwrap()
    }

    pub fn key_id(&mut self) -> ApiKeyId {
        ApiKeyId::new(self.slug()).unwrap()
    }

    pub fn rule_id(&mut self) -> RuleId {
        RuleId::new(self.slug()).unwrap()
    }

    pub fn upstream_id(&mut self) -> UpstreamId {
        UpstreamId::new(self.slug()).unwrap()
    }

    pub fn project_id(&mut self) -> ProjectId {
        ProjectId::new(self.slug()).unwrap()
    }

    pub fn node_id(&mut self) -> NodeId {
        NodeId(self.number())
    }

    pub fn glob(&mut self) -> Glob {
        let slug = self.slug();
        let pattern = self.pick(&["*", "a*b", "é__tool", ")("]);
        Glob::new(format!("{slug}__{pattern}")).unwrap()
    }

    fn network(&mut self) -> ipnet::IpNet {
        let ip = self.ip();
        let bits = if ip.is_ipv4() { 33 } else { 129 };
        ipnet::IpNet::new(ip, self.below(bits) as u8).unwrap()
    }

    pub fn constraints(&mut self) -> Constraints {
        Constraints {
            time_window: self.option(|g| TimeWindow {
                zone: g.text(),
                days: Weekdays(g.bits() as u8),
                start_minute: g.bits() as u16,
                end_minute: g.bits() as u16,
            }),
            ip_allowlist: self.option(|g| g.list(Gen::network)),
            mfa_required: self.flag(),
            allowed_projects: self.option(|g| g.list(Gen::project_id)),
            max_requests_per_hour: self.option(Gen::number32),
            cost_limit_daily_pico_usd: self.option(Gen::money),
        }
    }

    fn quota(&mut self) -> Quota {
        self.option(Gen::number).map_or(Quota::Unlimited, Quota::AtMost)
    }

    fn isolation(&mut self) -> IsolationMode {
        let modes = [
            IsolationMode::Logical { namespace: self.text(), database_schema: self.text() },
            IsolationMode::Hybrid { dedicated_nodes: self.list(Gen::number), shared_storage: self.flag() },
            IsolationMode::Physical {
                dedicated_cluster: self.text(),
                dedicated_database: self.text(),
                dedicated_network: self.text(),
            },
        ];
        self.pick(&modes)
    }

    pub fn seal_mode(&mut self) -> SealMode {
        self.pick(&[SealMode::Journaled, SealMode::Sealed, SealMode::BeforeDispatch, SealMode::Completion])
    }

    pub fn tenant_status(&mut self) -> TenantStatus {
        self.pick(&[TenantStatus::Active, TenantStatus::Suspended, TenantStatus::Closed])
    }

    pub fn tenant(&mut self) -> Tenant {
        Tenant {
            id: self.tenant_id(),
            name: self.text(),
            tier: self.pick(&[TenantTier::Starter, TenantTier::Professional, TenantTier::Enterprise]),
            isolation_mode: self.isolation(),
            quotas: ResourceQuotas {
                max_concurrent_requests: self.quota(),
                max_requests_per_minute: self.quota(),
                cpu_millicores: self.quota(),
                memory_mib: self.quota(),
                storage_mib: self.quota(),
                max_backends: self.quota(),
                max_users: self.quota(),
                max_tokens_per_day: self.quota(),
                max_context_size: self.quota(),
                bandwidth_mbps: self.quota(),
                max_connections: self.quota(),
            },
            network_config: NetworkConfig {
                ip_allowlist: self.list(Gen::network),
                allowed_origins: self.list(Gen::text),
            },
            data_region: self.text(),
            encryption_key_id: self.text(),
            custom_domain: self.option(Gen::text),
            branding: self.option(|g| Branding { display_name: g.text(), logo_url: g.text() }),
            billing_account: BillingAccount { id: self.text(), contact: self.text() },
            cost_center: self.text(),
            created_at: self.time(),
            updated_at: self.time(),
            status: self.tenant_status(),
            seal_mode: self.seal_mode(),
            tool_seal_modes: self.list(|g| (g.text(), g.seal_mode())).into_iter().collect(),
            shared_upstreams: self.option(|g| g.list(Gen::upstream_id)),
            constraints: self.constraints(),
            cost_tags: CostTags::default(),
        }
    }

    pub fn principal(&mut self) -> Principal {
        Principal {
            tenant: self.tenant_id(),
            id: self.principal_id(),
            kind: self.pick(&[PrincipalKind::Person, PrincipalKind::Service]),
            display_name: self.text(),
            email: self.text(),
            personal: None,
            projects: self.list(Gen::project_id),
            attributes: self.list(|g| (g.text(), g.text())).into_iter().collect(),
            enabled: self.flag(),
            created_at: self.time(),
            updated_at: self.time(),
        }
    }

    pub fn api_key(&mut self) -> ApiKey {
        ApiKey {
            id: self.key_id(),
            tenant: self.tenant_id(),
            principal: self.principal_id(),
            mac: self.hidden_digest(),
            label: self.text(),
            created_at: self.time(),
            expires_at: self.option(Gen::time),
            revoked_at: self.option(Gen::time),
            projects: self.list(Gen::project_id),
            tools: self.list(Gen::glob),
            last_used_at: self.option(Gen::time),
            rotated_from: self.option(Gen::key_id),
        }
    }

    pub fn hidden_digest(&mut self) -> only1mcp_domain::ids::Digest {
        let mut digest = self.digest();
        digest.0[..HIDDEN.len()].copy_from_slice(HIDDEN.as_bytes());
        digest
    }

    pub fn join_token(&mut self) -> JoinToken {
        JoinToken {
            id: self.key_id(),
            mac: self.hidden_digest(),
            created_at: self.time(),
            expires_at: self.time(),
        }
    }

    fn permission(&mut self) -> Permission {
        let mut all = Permission::PLAIN.to_vec();
        all.push(Permission::ToolView(self.glob()));
        all.push(Permission::ToolExecute(self.glob()));
        self.pick(&all)
    }

    pub fn role(&mut self) -> Role {
        Role {
            tenant: self.tenant_id(),
            id: self.role_id(),
            name: self.text(),
            description: self.text(),
            permissions: self.list(Gen::permission),
            inherits_from: self.list(Gen::role_id),
            constraints: self.constraints(),
            created_at: self.time(),
            created_by: self.text(),
        }
    }

    pub fn grant(&mut self) -> Grant {
        Grant {
            tenant: self.tenant_id(),
            id: self.grant_id(),
            principal: self.principal_id(),
            role: self.role_id(),
            projects: self.list(Gen::project_id),
            conditions: self.constraints(),
            waive_mfa: self.flag(),
            expires_at: self.option(Gen::time),
            created_at: self.time(),
            created_by: self.text(),
        }
    }

    pub fn restriction(&mut self) -> ToolRestriction {
        ToolRestriction {
            tenant: self.tenant_id(),
            id: self.rule_id(),
            tools: self.glob(),
            allowed_roles: self.list(Gen::role_id),
            rate_limit: self.option(|g| RateLimit {
                count: g.number32(),
                per: g.pick(&[RatePeriod::Minute, RatePeriod::Hour, RatePeriod::Day]),
            }),
            description: self.text(),
        }
    }

    pub fn deny(&mut self) -> DenyRule {
        let subjects = [
            DenySubject::Everyone,
            DenySubject::Role(self.role_id()),
            DenySubject::Principal(self.principal_id()),
        ];
        DenyRule {
            tenant: self.tenant_id(),
            id: self.rule_id(),
            tools: self.glob(),
            subject: self.pick(&subjects),
            description: self.text(),
        }
    }

    fn hidden_text(&mut self) -> String {
        format!("{HIDDEN}-{}", self.text())
    }

    pub fn upstream(&mut self) -> Upstream {
        let transports = [
            Transport::Http { url: self.text() },
            Transport::Stdio {
                command: self.text(),
                args: self.list(Gen::text),
                env: self.list(|g| (g.text(), g.hidden_text())).into_iter().collect(),
            },
        ];
        Upstream {
            tenant: self.tenant_id(),
            id: self.upstream_id(),
            description: self.text(),
            transport: self.pick(&transports),
            session_mode: self.pick(&[SessionMode::PerSession, SessionMode::SharedStateless]),
            headers: self.list(|g| HeaderSecret { name: g.text(), value: g.hidden_text() }),
            enabled: self.flag(),
            disabled_tools: self.list(Gen::text),
            concurrency_max: self.number32(),
            call_timeout_ms: self.number(),
            created_at: self.time(),
            updated_at: self.time(),
        }
    }

    pub fn node_role(&mut self) -> NodeRole {
        self.pick(&[NodeRole::Learner, NodeRole::Removed, NodeRole::Voter])
    }

    pub fn node_record(&mut self) -> NodeRecord {
        NodeRecord {
            id: self.node_id(),
            name: self.text(),
            peer_address: self.text(),
            admin_address: self.text(),
            http_address: self.text(),
            region: self.text(),
            zone: self.text(),
            version: self.text(),
            role: self.node_role(),
            joined_at: self.time(),
            signing_key: None,
        }
    }

    pub fn settings(&mut self) -> ClusterSettings {
        ClusterSettings {
            cluster_name: self.text(),
            heartbeat_ms: self.number(),
            election_ms_min: self.number(),
            election_ms_max: self.number(),
            staleness_ms_max: self.number(),
            stale_wait_ms_max: self.number(),
            feature_level: self.number32(),
            // Later fields draw nothing, so that what is drawn after them stays as it was.
            ..ClusterSettings::new("")
        }
    }

    fn event_actor(&mut self) -> EventActor {
        EventActor { tenant: self.text(), id: self.text(), via: self.text() }
    }

    pub fn audit_event(&mut self) -> AuditEvent {
        AuditEvent {
            kind: self.pick(EventKind::ALL),
            severity: self.pick(&[Severity::Info, Severity::Notice, Severity::Warning, Severity::Critical]),
            tenant: self.tenant_id(),
            actor: self.event_actor(),
            impersonator: self.option(Gen::event_actor),
            action: self.text(),
            resource: EventResource { kind: self.text(), id: self.text() },
            outcome: self.pick(&[
                EventOutcome::Success,
                EventOutcome::Failure,
                EventOutcome::Denied,
                EventOutcome::Unknown,
            ]),
            reason: self.text(),
            call: self.option(|g| CallId(g.raw())),
            decision: self.option(|g| DecisionId(g.raw())),
            revision: self.option(|g| Revision(g.number())),
            node: self.node_id(),
            observed_at: self.time(),
            log_time: self.time(),
            request_id: self.text(),
            session_id: self.text(),
            ip_address: self.option(Gen::ip),
            user_agent: self.text(),
            geo_location: self.option(Gen::text),
            before_state: self.option(Gen::text),
            after_state: self.option(Gen::text),
            diff: self.option(Gen::text),
            details: self.list(|g| (g.text(), g.text())),
            personal: Vec::new(),
            signature: self.option(|g| g.raw::<64>().to_vec()),
        }
    }

    pub fn sealed_event(&mut self) -> SealedEvent {
        SealedEvent {
            index: AuditIndex(self.number()),
            bytes: self.list(|g| g.bits() as u8),
            digest: self.digest(),
            hash: self.digest(),
        }
    }
}
