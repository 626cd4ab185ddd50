//! One tenant compiled: what its principals hold, what it demands of callers, its rules over tools.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::RolePath;
use crate::decide::guard::{Facts, Failures, Guard, names_one, normalised, sorted, within};
use crate::decide::index::{Hashed, Index};
use crate::decide::items::Upstreams;
use crate::decide::roles::{Reach, RoleCompiler, Roles};
use crate::decide::rules::Rules;
use crate::decide::scan::of_tenant;
use crate::ids::{GrantId, PrincipalId, ProjectId, RoleId, TenantId};
use crate::model::{DenySubject, Grant, Principal, PrincipalKind, SealMode, Tenant, TenantStatus};
use crate::state::State;
use crate::time::TimestampMs;

/// One tenant's part, shared between revisions that did not change it.
#[derive(Clone, Debug)]
pub struct CompiledTenant {
    pub(super) id: Arc<TenantId>,
    pub(super) active: bool,
    /// In lower case.
    pub(super) domain: Option<String>,
    pub(super) demands: Demands,
    pub(super) principals: Index<PrincipalId, CompiledPrincipal>,
    pub(super) roles: Roles,
    pub(super) denies: Rules<DenySubject>,
    /// Allowed roles, sorted.
    pub(super) restrictions: Rules<Box<[RoleId]>>,
    pub(super) upstreams: Upstreams,
    seal_mode: SealMode,
    tool_seal_modes: Index<String, SealMode>,
}

/// What a tenant asks of every caller, whatever the role.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    /// Empty: anywhere.
    networks: Box<[ipnet::IpNet]>,
    guard: Guard,
}

impl Demands {
    fn new(tenant: &Tenant) -> Self {
        Self {
            networks: normalised(&tenant.network_config.ip_allowlist),
            guard: Guard::new(&tenant.constraints),
        }
    }

    /// All that fails but the second factor, which a grant may waive.
    pub(super) fn failures(&self, facts: &Facts<'_>) -> Failures {
        let outside = !self.networks.is_empty() && !within(&self.networks, facts.ip);
        self.guard.failures(facts).without(Failures::MFA).with(Failures::when(outside, Failures::IP))
    }

    pub(super) fn requires_mfa(&self) -> bool {
        self.guard.requires_mfa()
    }
}

#[derive(Clone, Debug)]
pub(super) struct CompiledPrincipal {
    pub(super) enabled: bool,
    /// Sorted.
    pub(super) projects: Box<[ProjectId]>,
    /// By grant id.
    pub(super) grants: Box<[CompiledGrant]>,
}

#[derive(Clone, Debug)]
pub(super) struct CompiledGrant {
    /// Holds for service accounts alone, whatever the record says.
    pub(super) waives_mfa: bool,
    pub(super) reach: Arc<Reach>,
    /// Position by position the evidence for `reach.paths`.
    pub(super) proofs: Box<[Arc<RolePath>]>,
    guard: Guard,
    /// Sorted; empty: every project.
    projects: Box<[ProjectId]>,
    expires_at: Option<TimestampMs>,
}

impl CompiledGrant {
    fn new(id: &GrantId, grant: &Grant, kind: PrincipalKind, reach: Arc<Reach>) -> Self {
        let proof = |roles: &[RoleId]| Arc::new(RolePath { grant: id.clone(), roles: roles.to_vec() });
        Self {
            waives_mfa: grant.waive_mfa && kind == PrincipalKind::Service,
            proofs: reach.paths.iter().map(|path| proof(&path.roles)).collect(),
            reach,
            guard: Guard::new(&grant.conditions),
            projects: sorted(&grant.projects),
            expires_at: grant.expires_at,
        }
    }

    pub(super) fn expired(&self, facts: &Facts<'_>) -> bool {
        facts.expired(self.expires_at)
    }

    /// What fails of the grant's own conditions.
    pub(super) fn failures(&self, facts: &Facts<'_>) -> Failures {
        let project = !self.projects.is_empty() && !names_one(&self.projects, facts.project);
        self.guard
            .failures(facts)
            .with(Failures::when(project, Failures::PROJECT))
            .with(Failures::when(self.expired(facts), Failures::EXPIRED))
    }

    /// Subtracts the second factor where this grant waives it; tells whether that was needed.
    pub(super) fn waive(&self, failures: Failures) -> (Failures, bool) {
        let needed = self.waives_mfa && failures.has(Failures::MFA);
        (if needed { failures.without(Failures::MFA) } else { failures }, needed)
    }
}

impl CompiledTenant {
    pub(super) fn compile(state: &State, tenant: &Tenant) -> Self {
        let mut compiler = RoleCompiler::new(state, &tenant.id);
        let principals = principals(state, tenant, &mut compiler);
        let denies = of_tenant(&state.denies, &tenant.id);
        let restrictions = of_tenant(&state.restrictions, &tenant.id);
        Self {
            id: Arc::new(tenant.id.clone()),
            active: tenant.status == TenantStatus::Active,
            domain: tenant.custom_domain.as_ref().map(|domain| domain.to_ascii_lowercase()),
            demands: Demands::new(tenant),
            principals,
            roles: compiler.finish(),
            denies: Rules::new(
                denies.map(|(id, rule)| (id.clone(), rule.tools.clone(), rule.subject.clone())),
            ),
            restrictions: Rules::new(
                restrictions.map(|(id, rule)| (id.clone(), rule.tools.clone(), sorted(&rule.allowed_roles))),
            ),
            upstreams: Upstreams::new(tenant, of_tenant(&state.upstreams, &tenant.id).map(|(_, up)| up)),
            seal_mode: tenant.seal_mode,
            tool_seal_modes: Index::new(
                tenant.tool_seal_modes.iter().map(|(tool, mode)| (tool.clone(), *mode)),
            ),
        }
    }

    pub(super) fn seal_mode(&self, item: Option<Hashed<'_>>) -> SealMode {
        let tool = item.and_then(|item| self.tool_seal_modes.find(item));
        tool.map_or(self.seal_mode, |(_, mode)| *mode)
    }
}

fn principals(
    state: &State,
    tenant: &Tenant,
    compiler: &mut RoleCompiler<'_>,
) -> Index<PrincipalId, CompiledPrincipal> {
    let mut held: BTreeMap<&PrincipalId, Vec<(&GrantId, &Grant)>> = BTreeMap::new();
    for (id, grant) in of_tenant(&state.grants, &tenant.id) {
        held.entry(&grant.principal).or_default().push((id, grant));
    }
    let mut compile = |id: &PrincipalId, principal: &Principal| {
        let grants = held.remove(id).unwrap_or_default().into_iter().map(|(id, grant)| {
            let reach = compiler.reach(&grant.role);
            CompiledGrant::new(id, grant, principal.kind, reach)
        });
        CompiledPrincipal {
            enabled: principal.enabled,
            projects: sorted(&principal.projects),
            grants: grants.collect(),
        }
    };
    let records = of_tenant(&state.principals, &tenant.id);
    Index::new(records.map(|(id, principal)| (id.clone(), compile(id, principal))))
}
