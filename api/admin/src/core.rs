//! What every RPC does before and after its own part: authenticate, read a state as new as asked for, authorize by
//! the one evaluator, record what was refused.

use only1mcp_domain::apply::{Required, required};
use only1mcp_domain::command::Command;
use only1mcp_domain::decide::{Action, Context, Decision, Reason, Request as Question};
use only1mcp_domain::ids::{CommandId, DecisionId, TenantId};
use only1mcp_domain::limits;
use only1mcp_domain::model::{Permission, TenantStatus};
use only1mcp_domain::time::TimestampMs;
use only1mcp_proto::admin as pb;
use tokio::sync::Semaphore;
use tonic::Request;

use crate::authority::{self, Need};
use crate::call::Call;
use crate::credential::Credentials;
use crate::error::AdminError;
use crate::page::Pins;
use crate::ports::{AdminRefusal, Consistency, Ports, SourceAddress, View};

/// LOCAL reads may ask for nothing older.
const LOCAL_STALENESS_MS_MAX: u64 = 600_000;
/// Walks over the whole chain at one time (verify, export).
const CHAIN_WALKS_MAX: usize = 4;
/// Streams that watch at one time.
const WATCHES_MAX: usize = 256;

/// Shared by all services of a node.
pub struct Core {
    pub(crate) ports: Ports,
    pub(crate) pins: Pins,
    pub(crate) chain_walks: std::sync::Arc<Semaphore>,
    pub(crate) watches: std::sync::Arc<Semaphore>,
    credentials: Credentials,
}

impl Core {
    pub fn new(ports: Ports) -> Self {
        Self {
            ports,
            pins: Pins::new(),
            chain_walks: std::sync::Arc::new(Semaphore::new(CHAIN_WALKS_MAX)),
            watches: std::sync::Arc::new(Semaphore::new(WATCHES_MAX)),
            credentials: Credentials::new(),
        }
    }

    /// Authenticates a request and takes its message out.
    pub(crate) async fn open<T>(
        &self,
        method: &'static str,
        request: Request<T>,
    ) -> Result<(Call, T), AdminError> {
        let call = self.authenticate(method, &request).await?;
        Ok((call, request.into_inner()))
    }

    pub(crate) async fn authenticate<T>(
        &self,
        method: &'static str,
        request: &Request<T>,
    ) -> Result<Call, AdminError> {
        let given = request.extensions().get::<SourceAddress>().map(|source| source.0);
        let ip = given.or_else(|| request.remote_addr().map(|address| address.ip()));
        match self.credentials.check(&self.ports, request).await {
            Ok(identity) => {
                if let Some(key) = &identity.key {
                    self.ports.host.key_used(key);
                }
                Ok(Call::new(method, identity, ip, request.metadata(), self.random_id().to_string()))
            }
            Err(error) => {
                self.ports.host.unauthenticated(ip);
                Err(error)
            }
        }
    }

    /// A state as new as the request asks for, on which the caller may do what its method does in `tenant`.
    pub(crate) async fn read(
        &self,
        call: &Call,
        consistency: Option<pb::Consistency>,
        tenant: &TenantId,
    ) -> Result<View, AdminError> {
        let view = self.view(call, consistency).await?;
        self.authorize(call, &view, tenant)?;
        Ok(view)
    }

    /// A state as new as the request asks for; the caller authorizes.
    pub(crate) async fn view(
        &self,
        call: &Call,
        consistency: Option<pb::Consistency>,
    ) -> Result<View, AdminError> {
        let consistency = self.consistency(consistency.unwrap_or_default())?;
        Ok(self.ports.cluster.consistent(consistency, call.deadline).await?)
    }

    fn consistency(&self, asked: pb::Consistency) -> Result<Consistency, AdminError> {
        use pb::consistency::Level;
        let level = Level::try_from(asked.level)
            .map_err(|_| AdminError::invalid("consistency.level", "is none of the levels"))?;
        if level != Level::Local && (asked.staleness_ms_max, asked.revision_min) != (0, 0) {
            return Err(AdminError::invalid(
                "consistency",
                "staleness_ms_max and revision_min are for LOCAL reads",
            ));
        }
        Ok(match level {
            Level::Linearizable => Consistency::Linearizable,
            Level::Lease => Consistency::Lease,
            Level::Local => {
                let staleness_ms_max = match asked.staleness_ms_max {
                    0 => self.staleness_bound_ms(),
                    ms if ms <= LOCAL_STALENESS_MS_MAX => ms,
                    _ => {
                        let problem = format!("at most {LOCAL_STALENESS_MS_MAX}");
                        return Err(AdminError::invalid("consistency.staleness_ms_max", problem));
                    }
                };
                Consistency::Local { staleness_ms_max, revision_min: asked.revision_min }
            }
        })
    }

    fn staleness_bound_ms(&self) -> u64 {
        let view = self.ports.cluster.view();
        view.state
            .cluster
            .as_ref()
            .map_or(limits::STALENESS_MS_DEFAULT, |c| c.settings.value.staleness_ms_max)
    }

    /// By the table's line of the call's method.
    pub(crate) fn authorize(&self, call: &Call, view: &View, tenant: &TenantId) -> Result<(), AdminError> {
        self.authorize_need(call, view, tenant, self.need(call)?)
    }

    pub(crate) fn need(&self, call: &Call) -> Result<&'static Need, AdminError> {
        authority::need(call.method)
            .ok_or(AdminError::Internal { detail: "a method without a line in the authority table" })
    }

    /// By the domain's own table, for the command that a write became.
    pub(crate) fn authorize_command(
        &self,
        call: &Call,
        view: &View,
        command: &Command,
    ) -> Result<(), AdminError> {
        match required(&view.state, command, &call.actor()) {
            Required::Permission { tenant, permission } => {
                self.authorize_need(call, view, &tenant, &Need::InTenant(permission))
            }
            Required::Member { tenant } if tenant == call.identity.tenant => {
                self.authorize_need(call, view, &tenant, &Need::Authenticated)
            }
            // What members of the cluster do for themselves, or the host's administrator, comes by no RPC.
            Required::Member { .. } | Required::Node { .. } | Required::Host | Required::LocalSocket => {
                let operators = Need::InSystem(Permission::GlobalAdmin);
                self.authorize_need(call, view, &TenantId::system(), &operators)
            }
        }
    }

    /// By `need`. Errors: `Denied`, after recording the refusal (P3).
    pub(crate) fn authorize_need(
        &self,
        call: &Call,
        view: &View,
        tenant: &TenantId,
        need: &Need,
    ) -> Result<(), AdminError> {
        let Some((permission, tenant)) = need.resolve(tenant) else {
            return self.still_valid(call, view);
        };
        let Decision::Deny(denial) = self.decide(call, view, &tenant, permission) else { return Ok(()) };
        let decision = DecisionId(self.random_id().0);
        self.ports.host.record_refusal(AdminRefusal {
            decision,
            caller: call.caller(),
            tenant: tenant.clone(),
            method: call.method,
            permission: permission.clone(),
            reason: denial.reason,
            revision: denial.revision,
            at: TimestampMs(self.ports.host.now_ms()),
        });
        Err(AdminError::Denied {
            reason: denial.reason,
            decision,
            revision: denial.revision,
            method: call.method,
            permission: permission.clone(),
            tenant: tenant.to_string(),
        })
    }

    /// The evaluator's answer, unrecorded.
    pub(crate) fn decide(
        &self,
        call: &Call,
        view: &View,
        tenant: &TenantId,
        permission: &Permission,
    ) -> Decision {
        view.policy.decide(&Question {
            tenant,
            caller_tenant: &call.identity.tenant,
            principal: &call.identity.principal,
            key: call.identity.key.as_ref(),
            action: Action::Administer(permission),
            context: Context {
                now: view.now,
                ip: call.ip,
                mfa: false,
                project: None,
                zones: &*self.ports.zones,
            },
        })
    }

    /// Where credentials suffice: those of a disabled principal or a tenant that is not active do not.
    fn still_valid(&self, call: &Call, view: &View) -> Result<(), AdminError> {
        let identity = &call.identity;
        let unauthenticated = |reason| Err(AdminError::Unauthenticated { reason });
        let principal = view.state.principals.get(&(identity.tenant.clone(), identity.principal.clone()));
        match principal.map(|record| record.value.enabled) {
            None => return unauthenticated(Reason::PrincipalUnknown),
            Some(false) => return unauthenticated(Reason::PrincipalDisabled),
            Some(true) => {}
        }
        match view.state.tenants.get(&identity.tenant).map(|record| record.value.status) {
            Some(TenantStatus::Active) => {}
            Some(TenantStatus::Suspended | TenantStatus::Closed) => {
                return unauthenticated(Reason::TenantSuspended);
            }
            None => return unauthenticated(Reason::TenantUnknown),
        }
        let Some(key) = &identity.key else { return Ok(()) };
        match view.state.api_keys.get(key).map(|record| &record.value) {
            None => unauthenticated(Reason::KeyUnknown),
            Some(key) if key.revoked_at.is_some_and(|at| at <= view.now) => {
                unauthenticated(Reason::KeyRevoked)
            }
            Some(key) if key.expires_at.is_some_and(|at| at <= view.now) => {
                unauthenticated(Reason::KeyExpired)
            }
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn read_info(&self, view: &View) -> Option<pb::ReadInfo> {
        Some(pb::ReadInfo {
            log_index: view.state.last_applied,
            policy_revision: view.state.policy_revision.0,
            node: self.ports.cluster.node().0,
        })
    }

    pub(crate) fn random_id(&self) -> CommandId {
        CommandId(self.random())
    }

    pub(crate) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.ports.host.random(&mut bytes);
        bytes
    }
}
