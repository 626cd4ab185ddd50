//! Enforcement, as the gateway's port asks for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use only1mcp_domain::activity::ItemKind;
use only1mcp_domain::command::{Actor, Command, Entry, Via};
use only1mcp_domain::decide::{Action, Decision, Reason};
use only1mcp_domain::ids::{
    AuditIndex, CallId, CommandId, Digest, McpSessionId, NodeId, TenantId, UpstreamId,
};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Quota, TenantStatus, Upstream};
use only1mcp_domain::outcome::Effect;
use only1mcp_domain::price::Metering;
use only1mcp_domain::time::TimestampMs;
use only1mcp_enforcer::{Admitted, CallFacts, ClusterPort, Enforcer, Used};
use only1mcp_gateway::ports::{
    AdmittedCall, CallRequest, CallerInfo, Confinement, Ending, Enforcement, Identity, Receipt, Refused,
    Revocation, SessionPermit,
};
use tokio::sync::broadcast;
use tokio::time::{Duration, Instant};

const TOMBSTONE_DEADLINE: Duration = Duration::from_secs(5);
const REVOCATIONS_MAX: usize = 1_024;

/// The node's enforcer and cluster behind the gateway's port.
pub struct GatewayPort {
    enforcer: Arc<Enforcer>,
    cluster: Arc<dyn ClusterPort>,
    revocations: broadcast::Sender<Revocation>,
}

impl GatewayPort {
    pub fn new(enforcer: Arc<Enforcer>, cluster: Arc<dyn ClusterPort>) -> Self {
        Self { enforcer, cluster, revocations: broadcast::Sender::new(REVOCATIONS_MAX) }
    }

    /// Tells the gateway to take no new work.
    pub fn drain(&self) {
        self.enforcer.drain();
        let _ = self.revocations.send(Revocation::Draining);
    }

    /// Is `item`, as `upstream__own`, of an upstream that is offered to `tenant` but disabled?
    fn is_disabled(&self, tenant: &TenantId, item: &str) -> bool {
        let Some(id) = item.split_once("__").and_then(|(id, _)| UpstreamId::new(id).ok()) else {
            return false;
        };
        self.offered(tenant).get(&id).is_some_and(|upstream| !upstream.enabled)
    }

    /// Upstreams of a tenant, disabled ones too.
    fn offered(&self, tenant: &TenantId) -> BTreeMap<UpstreamId, Arc<Upstream>> {
        let view = self.enforcer.view();
        let shared = view.state.tenants.get(tenant).and_then(|tenant| tenant.value.shared_upstreams.clone());
        let offered = |upstream: &Upstream| match &shared {
            Some(names) => names.contains(&upstream.id),
            None => true,
        };
        let mut by_id = BTreeMap::new();
        // Own ones come last and win over shared ones of the same id.
        for owner in [&TenantId::system(), tenant] {
            let records = view.state.upstreams.iter().filter(|((of, _), _)| of == owner);
            for ((_, id), record) in records {
                if owner == tenant || offered(&record.value) {
                    by_id.insert(id.clone(), Arc::new(record.value.clone()));
                }
            }
        }
        by_id
    }

    /// Passes on what was revoked, until the enforcer ends.
    pub async fn forward_revocations(&self) {
        let mut effects = self.enforcer.effects();
        loop {
            let revocation = match effects.recv().await {
                Ok(Effect::PolicyChanged { tenant }) => Revocation::PolicyChanged { tenant },
                Ok(Effect::UpstreamsChanged { tenant }) => Revocation::UpstreamsChanged { tenant },
                Ok(Effect::SessionClosed { session }) => Revocation::SessionClosed { session },
                Ok(
                    Effect::NodesChanged
                    | Effect::SettingsChanged
                    | Effect::BudgetLevel { .. }
                    | Effect::Overrun { .. }
                    | Effect::LedgerBroken { .. },
                ) => continue,
                Err(broadcast::error::RecvError::Lagged(_)) => Revocation::PolicyChanged { tenant: None },
                Err(broadcast::error::RecvError::Closed) => return,
            };
            let _ = self.revocations.send(revocation);
        }
    }
}

fn facts(caller: &CallerInfo) -> CallFacts {
    CallFacts {
        tenant: caller.tenant.clone(),
        caller_tenant: caller.identity.tenant.clone(),
        principal: caller.identity.principal.clone(),
        key: Some(caller.identity.key.clone()),
        session: caller.session,
        project: caller.project.clone(),
        ip: caller.ip,
        // A key is one factor; whoever needs two is let in by an identity provider, or by a grant that waives it.
        mfa: false,
        user_agent: caller.user_agent.clone(),
        request_id: caller.request_id.clone(),
        tags: std::collections::BTreeMap::new(),
        input_bytes: 0,
    }
}

fn refused(refused: only1mcp_enforcer::Refused) -> Refused {
    Refused {
        reason: refused.reason,
        decision: refused.decision,
        revision: refused.revision,
        message: refused.message,
        limit: refused.limit,
    }
}

struct Call {
    admitted: Admitted,
    node: NodeId,
    epoch: u64,
}

impl AdmittedCall for Call {
    fn call(&self) -> CallId {
        self.admitted.call()
    }

    fn may_dispatch(&self) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async { self.admitted.may_dispatch().await.map_err(refused) })
    }

    fn sealed(&self) -> BoxFuture<'_, Result<Receipt, Refused>> {
        Box::pin(async {
            let receipt = self.admitted.sealed().await.map_err(refused)?;
            Ok(Receipt {
                call: receipt.call,
                node: self.node,
                epoch: self.epoch,
                revision: receipt.revision,
                mode: receipt.mode,
                audit: receipt.audit.map(|(AuditIndex(index), hash)| (index, hash)),
            })
        })
    }

    fn metering(&self) -> Option<&Metering> {
        self.admitted.metering()
    }

    fn complete(&self, ending: Ending) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let Ending { outcome, result_digest, result_bytes, used } = ending;
            let used = Used { amounts: used.amounts, model: used.model };
            self.admitted.settle(outcome, result_digest, result_bytes, &used).await.map_err(refused)
        })
    }
}

impl Enforcement for GatewayPort {
    fn node(&self) -> NodeId {
        self.cluster.node()
    }

    fn authenticate(&self, presented_key: &str, source: Option<IpAddr>) -> Result<Identity, Reason> {
        let (tenant, principal, key) = self.enforcer.authenticate(presented_key, source)?;
        Ok(Identity { tenant, principal, key })
    }

    fn tenant_by_domain(&self, host: &str) -> Option<TenantId> {
        self.enforcer.view().policy.tenant_by_domain(host).map(|tenant| (*tenant).clone())
    }

    /// A session may live while its principal, key and tenant do; each call in it is decided on its own.
    fn check_session(&self, caller: &CallerInfo) -> Result<(), Refused> {
        let view = self.enforcer.view();
        let facts = facts(caller);
        let refuse = |reason| {
            let refusal = self.enforcer.refuse(&facts, ItemKind::Tool, "session", reason, None);
            Err(refused(refusal))
        };
        let active = |tenant: &TenantId| view.state.tenants.get(tenant).map(|tenant| tenant.value.status);
        for tenant in [&facts.caller_tenant, &facts.tenant] {
            match active(tenant) {
                Some(TenantStatus::Active) => {}
                Some(TenantStatus::Suspended | TenantStatus::Closed) => {
                    return refuse(Reason::TenantSuspended);
                }
                None => return refuse(Reason::TenantUnknown),
            }
        }
        if facts.caller_tenant != facts.tenant && !facts.caller_tenant.is_system() {
            return refuse(Reason::CrossTenant);
        }
        let holder = (facts.caller_tenant.clone(), facts.principal.clone());
        match view.state.principals.get(&holder) {
            Some(principal) if principal.value.enabled => {}
            Some(_) => return refuse(Reason::PrincipalDisabled),
            None => return refuse(Reason::PrincipalUnknown),
        }
        let now = view.now();
        match facts.key.as_ref().and_then(|key| view.state.api_keys.get(key)) {
            None => refuse(Reason::KeyUnknown),
            Some(key) if key.value.revoked_at.is_some_and(|at| now >= at) => refuse(Reason::KeyRevoked),
            Some(key) if key.value.expires_at.is_some_and(|at| now >= at) => refuse(Reason::KeyExpired),
            Some(_) => Ok(()),
        }
    }

    fn admit(&self, request: CallRequest) -> BoxFuture<'_, Result<Arc<dyn AdmittedCall>, Refused>> {
        Box::pin(async move {
            let facts =
                CallFacts { tags: request.tags, input_bytes: request.input_bytes, ..facts(&request.caller) };
            let admitted = self
                .enforcer
                .admit(
                    &facts,
                    request.kind,
                    &request.item,
                    &request.upstream,
                    request.argument_digest,
                    request.deadline,
                )
                .await
                .map_err(refused)?;
            let epoch = self.enforcer.view().state.cluster.as_ref().map_or(0, |cluster| cluster.epoch);
            let node = self.cluster.node();
            let call: Arc<dyn AdmittedCall> = Arc::new(Call { admitted, node, epoch });
            Ok(call)
        })
    }

    fn pace<'a>(&'a self, tenant: &'a TenantId, bytes: u64) -> BoxFuture<'a, ()> {
        Box::pin(self.enforcer.pace(tenant, bytes))
    }

    fn confinement(&self, tenant: &TenantId) -> Option<Confinement> {
        let view = self.enforcer.view();
        let quotas = view
            .state
            .tenants
            .get(tenant)
            .filter(|_| !tenant.is_system())
            .map(|tenant| &tenant.value.quotas)?;
        let bound = |quota| match quota {
            Quota::AtMost(max) => Some(max),
            Quota::Unlimited => None,
        };
        let (memory_mib, cpu) = (bound(quotas.memory_mib), bound(quotas.cpu_millicores));
        let cpus = cpu.map(|millicores| millicores.div_ceil(1_000).max(1));
        // This program, also after its file was replaced.
        let program = "/proc/self/exe".into();
        (memory_mib.is_some() || cpus.is_some()).then_some(Confinement { program, memory_mib, cpus })
    }

    fn refuse<'a>(
        &'a self,
        caller: &'a CallerInfo,
        kind: ItemKind,
        item: &'a str,
        reason: Reason,
    ) -> BoxFuture<'a, Refused> {
        Box::pin(async move {
            // The gateway is shown enabled upstreams only; whoever calls a disabled one is told that it is that.
            let disabled = reason == Reason::UpstreamUnknown && self.is_disabled(&caller.tenant, item);
            let reason = if disabled { Reason::UpstreamDisabled } else { reason };
            let facts = facts(caller);
            refused(match reason {
                // What could not be recorded in time is not waited for again.
                Reason::AuditUnavailable => self.enforcer.refuse(&facts, kind, item, reason, None),
                _ => self.enforcer.refuse_durably(&facts, kind, item, reason, None).await,
            })
        })
    }

    fn may_view(&self, caller: &CallerInfo, _upstream: &UpstreamId, _own_name: &str, item: &str) -> Decision {
        self.enforcer.decide(&facts(caller), Action::View(item))
    }

    fn upstreams(&self, tenant: &TenantId) -> Vec<Arc<Upstream>> {
        self.offered(tenant).into_values().filter(|upstream| upstream.enabled).collect()
    }

    fn allowed_origins(&self, tenant: &TenantId) -> Vec<String> {
        let view = self.enforcer.view();
        let tenant = view.state.tenants.get(tenant);
        tenant.map(|tenant| tenant.value.network_config.allowed_origins.clone()).unwrap_or_default()
    }

    fn is_session_closed(&self, session: &McpSessionId) -> bool {
        self.enforcer.view().state.closed_sessions.contains_key(session)
    }

    fn close_session(&self, caller: CallerInfo, session: McpSessionId) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async move {
            let facts = facts(&caller);
            let now = self.enforcer.now();
            let entry = Entry {
                actor: Actor {
                    tenant: facts.caller_tenant.clone(),
                    principal: facts.principal.clone(),
                    key: facts.key.clone(),
                    via: Via::ApiKey,
                    ip: facts.ip,
                    user_agent: facts.user_agent.clone(),
                    personal: None,
                    request_id: facts.request_id.clone(),
                },
                command_id: Some(CommandId(session.0)),
                request_digest: Digest([2; 32]),
                observed_at: now,
                command: Command::CloseMcpSession {
                    tenant: facts.caller_tenant.clone(),
                    session,
                    expires_at: TimestampMs(now.0.saturating_add(limits::TOMBSTONE_AGE_MS)),
                },
                signature: None,
            };
            let deadline = Instant::now() + TOMBSTONE_DEADLINE;
            match self.cluster.propose(entry, deadline).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(refused(self.enforcer.refuse(
                    &facts,
                    ItemKind::Tool,
                    "session",
                    Reason::AuditUnavailable,
                    None,
                ))),
            }
        })
    }

    fn permit_session<'a>(&'a self, caller: &'a CallerInfo) -> BoxFuture<'a, Result<SessionPermit, Refused>> {
        Box::pin(async move {
            let permit = self.enforcer.permit_session(&facts(caller)).await.map_err(refused)?;
            let permit: SessionPermit = Box::new(permit);
            Ok(permit)
        })
    }

    fn session_opened(
        &self,
        caller: &CallerInfo,
        client_name: &str,
        client_version: &str,
        protocol_version: &str,
    ) {
        self.enforcer.session_opened(&facts(caller), client_name, client_version, protocol_version);
    }

    fn session_key(&self) -> Option<[u8; 32]> {
        self.enforcer.view().state.cluster.as_ref().map(|cluster| cluster.session_key.0)
    }

    fn now_ms(&self) -> u64 {
        self.enforcer.now().0
    }

    fn revocations(&self) -> broadcast::Receiver<Revocation> {
        self.revocations.subscribe()
    }
}
