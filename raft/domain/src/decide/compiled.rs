//! The policy as an index: built from the state when the policy revision moves, swapped whole.

use std::sync::Arc;

use crate::ids::{Revision, TenantId};
use crate::state::State;

/// Built by [`CompiledPolicy::build`]; read by [`CompiledPolicy::decide`].
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicy {
    revision: Revision,
}

/// One tenant's part, shared between revisions that did not change it.
#[derive(Clone, Debug, Default)]
pub struct CompiledTenant {}

impl CompiledPolicy {
    /// Compiles the whole state.
    pub fn build(state: &State) -> Self {
        let _ = state;
        Self::default()
    }

    /// Compiles anew only what changed: the named tenants (`None`: everything).
    pub fn rebuild(&self, state: &State, tenants: Option<&[TenantId]>) -> Self {
        let _ = (state, tenants);
        Self::default()
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The tenant that `host` is the custom domain of.
    pub fn tenant_by_domain(&self, host: &str) -> Option<Arc<TenantId>> {
        let _ = host;
        None
    }
}
