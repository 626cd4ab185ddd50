//! One tenant compiled: what its principals hold, what it demands of callers, its rules over tools.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decide::RolePath;
use crate::decide::guard::{Facts, Failures, Guard, names_one, normalised, sorted, within};
use crate::decide::index::{Hashed, Index};
use crate::decide::items::Upstreams;
use crate::decide::moved::Moved;
use crate::decide::roles::{Reach, RoleBook, RoleCompiler};
use crate::decide::rules::Rules;
use crate::decide::scan::of_tenant;
use crate::ids::{GrantId, PrincipalId, ProjectId, RoleId, TenantId};
use crate::model::{DenySubject, Grant, PrincipalKind, SealMode, Tenant, TenantStatus};
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
    pub(super) principals: Arc<Principals>,
    book: RoleBook,
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
    id: GrantId,
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
            id: id.clone(),
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
        let mut compiler = RoleCompiler::new(state, &tenant.id, RoleBook::default());
        let principals = every_principal(state, tenant, &mut compiler);
        Self::around(state, tenant, Arc::new(principals), compiler.finish())
    }

    /// As [`CompiledTenant::compile`], but takes over what `moved` does not name.
    pub(super) fn renew(&self, state: &State, tenant: &Tenant, moved: &Moved) -> Self {
        if moved.has_roles_of(&tenant.id) {
            return Self::compile(state, tenant);
        }
        let mut compiler = RoleCompiler::new(state, &tenant.id, self.book.clone());
        let touched: BTreeMap<&PrincipalId, &BTreeSet<GrantId>> = moved.principals_of(&tenant.id).collect();
        // A principal that was not here may have left grants behind; only a look at all of them tells.
        let new = |id: &PrincipalId| touched.contains_key(id) && !self.principals.contains(id.as_str());
        let mut left: BTreeMap<&PrincipalId, Vec<&GrantId>> = BTreeMap::new();
        if touched.keys().any(|id| new(id)) {
            let all = of_tenant(&state.grants, &tenant.id).filter(|(_, grant)| new(&grant.principal));
            all.for_each(|(id, grant)| left.entry(&grant.principal).or_default().push(id));
        }
        let renewed: Vec<_> = touched
            .into_iter()
            .map(|(id, grants)| {
                let known = self.principals.get(id.as_str()).map(|known| known.grants.iter());
                let known = known.into_iter().flatten().map(|grant| &grant.id);
                let left = left.remove(id).unwrap_or_default();
                let ids: BTreeSet<&GrantId> = known.chain(grants).chain(left).collect();
                let records = ids.into_iter().filter_map(|grant| grant_of(state, tenant, id, grant));
                (id, principal(state, tenant, id, records, &mut compiler))
            })
            .collect();
        let principals = match renewed.is_empty() {
            true => self.principals.clone(),
            false => Arc::new(self.principals.with(renewed)),
        };
        Self::around(state, tenant, principals, compiler.finish())
    }

    /// Everything but the principals and roles is compiled anew each time: it is little.
    fn around(state: &State, tenant: &Tenant, principals: Arc<Principals>, book: RoleBook) -> Self {
        let denies = of_tenant(&state.denies, &tenant.id);
        let restrictions = of_tenant(&state.restrictions, &tenant.id);
        Self {
            id: Arc::new(tenant.id.clone()),
            active: tenant.status == TenantStatus::Active,
            domain: tenant.custom_domain.as_ref().map(|domain| domain.to_ascii_lowercase()),
            demands: Demands::new(tenant),
            principals,
            book,
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

type Principals = Index<PrincipalId, Arc<CompiledPrincipal>>;

fn every_principal(state: &State, tenant: &Tenant, compiler: &mut RoleCompiler<'_>) -> Principals {
    let mut held: BTreeMap<&PrincipalId, Vec<(&GrantId, &Grant)>> = BTreeMap::new();
    for (id, grant) in of_tenant(&state.grants, &tenant.id) {
        held.entry(&grant.principal).or_default().push((id, grant));
    }
    let records = of_tenant(&state.principals, &tenant.id);
    Index::new(records.filter_map(|(id, _)| {
        let grants = held.remove(id).unwrap_or_default();
        Some((id.clone(), principal(state, tenant, id, grants, compiler)?))
    }))
}

/// `grants`: all of the principal's, by id.
fn principal<'s>(
    state: &State,
    tenant: &Tenant,
    id: &PrincipalId,
    grants: impl IntoIterator<Item = (&'s GrantId, &'s Grant)>,
    compiler: &mut RoleCompiler<'_>,
) -> Option<Arc<CompiledPrincipal>> {
    let record = &state.principals.get(&(tenant.id.clone(), id.clone()))?.value;
    let compile = |(id, grant): (&GrantId, &Grant)| {
        CompiledGrant::new(id, grant, record.kind, compiler.reach(&grant.role))
    };
    Some(Arc::new(CompiledPrincipal {
        enabled: record.enabled,
        projects: sorted(&record.projects),
        grants: grants.into_iter().map(compile).collect(),
    }))
}

/// The grant, if it is there and the principal's.
fn grant_of<'s>(
    state: &'s State,
    tenant: &Tenant,
    principal: &PrincipalId,
    id: &'s GrantId,
) -> Option<(&'s GrantId, &'s Grant)> {
    let grant = &state.grants.get(&(tenant.id.clone(), id.clone()))?.value;
    (grant.principal == *principal).then_some((id, grant))
}
