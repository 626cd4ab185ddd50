//! The policy as an index: built from the state when the policy revision moves, swapped whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use crate::decide::CompiledTenant;
use crate::decide::index::Index;
use crate::decide::moved::Source;
use crate::ids::{ApiKeyId, Revision, RoleId, SYSTEM_TENANT, TenantId};
use crate::model::{ApiKey, BUILT_IN_ROLES};
use crate::state::{State, Versioned};

/// Built by [`CompiledPolicy::build`]; read by [`CompiledPolicy::decide`]. An empty one refuses everything.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicy {
    revision: Revision,
    tenants: Index<TenantId, Arc<CompiledTenant>>,
    /// Also among `tenants`.
    system: Option<Arc<CompiledTenant>>,
    /// In lower case. A domain that two tenants claim is nobody's.
    domains: Index<String, Arc<TenantId>>,
    /// The state's own map, shared: keys need no compiling.
    keys: OrdMap<ApiKeyId, Versioned<ApiKey>>,
    /// Revisions of the built-in roles, which every tenant was compiled with.
    built_in: [Option<u64>; BUILT_IN_ROLES.len()],
    source: Source,
}

impl CompiledPolicy {
    /// Compiles the whole state.
    pub fn build(state: &State) -> Self {
        let compile = |tenant| Arc::new(CompiledTenant::compile(state, tenant));
        let tenants = state.tenants.iter().map(|(id, record)| (id.clone(), compile(&record.value)));
        Self::assemble(state, tenants)
    }

    /// Compiles anew only what changed: the named tenants (`None`: everything). `self` was built from an earlier
    /// state, and no other tenant has changed since.
    pub fn rebuild(&self, state: &State, tenants: Option<&[TenantId]>) -> Self {
        let Some(changed) = tenants.filter(|_| self.built_in == built_in_revisions(state)) else {
            return Self::build(state);
        };
        let moved = self.source.moved(state);
        let mut kept: BTreeMap<TenantId, Arc<CompiledTenant>> =
            self.tenants.iter().map(|(id, tenant)| (id.clone(), tenant.clone())).collect();
        for id in changed {
            match state.tenants.get(id) {
                Some(record) => {
                    let tenant = match kept.get(id) {
                        Some(old) => old.renew(state, &record.value, &moved),
                        None => CompiledTenant::compile(state, &record.value),
                    };
                    kept.insert(id.clone(), Arc::new(tenant));
                }
                None => {
                    kept.remove(id);
                }
            }
        }
        Self::assemble(state, kept)
    }

    fn assemble(state: &State, tenants: impl IntoIterator<Item = (TenantId, Arc<CompiledTenant>)>) -> Self {
        let tenants = Index::new(tenants);
        Self {
            revision: state.policy_revision,
            system: tenants.get(SYSTEM_TENANT).cloned(),
            domains: domains(tenants.iter().map(|(_, tenant)| tenant)),
            tenants,
            keys: state.api_keys.clone(),
            built_in: built_in_revisions(state),
            source: Source::of(state),
        }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The tenant that `host` is the custom domain of. Letters count alike in either case.
    pub fn tenant_by_domain(&self, host: &str) -> Option<Arc<TenantId>> {
        self.domains.get(&host.to_ascii_lowercase()).cloned()
    }

    /// One tenant's part: the same pointer as long as nothing of the tenant has changed.
    pub fn tenant(&self, id: &TenantId) -> Option<&Arc<CompiledTenant>> {
        self.tenants.get(id.as_str())
    }

    pub(super) fn system(&self) -> Option<&Arc<CompiledTenant>> {
        self.system.as_ref()
    }

    pub(super) fn key(&self, id: &ApiKeyId) -> Option<&ApiKey> {
        self.keys.get(id).map(|record| &record.value)
    }
}

fn domains<'t>(tenants: impl Iterator<Item = &'t Arc<CompiledTenant>>) -> Index<String, Arc<TenantId>> {
    let mut claims: BTreeMap<&str, Option<&Arc<TenantId>>> = BTreeMap::new();
    for tenant in tenants {
        if let Some(domain) = &tenant.domain {
            claims.entry(domain).and_modify(|claim| *claim = None).or_insert(Some(&tenant.id));
        }
    }
    Index::new(claims.into_iter().filter_map(|(domain, id)| Some((domain.to_owned(), id?.clone()))))
}

fn built_in_revisions(state: &State) -> [Option<u64>; BUILT_IN_ROLES.len()] {
    BUILT_IN_ROLES.map(|id| {
        let id = RoleId::new(id).ok()?;
        state.roles.get(&(TenantId::system(), id)).map(|role| role.revision)
    })
}
