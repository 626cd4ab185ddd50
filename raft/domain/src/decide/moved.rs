//! What of principals, grants and roles differs between two states that share structure: it costs what changed, not
//! what there is.

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::ids::{GrantId, PrincipalId, RoleId, TenantId};
use crate::model::{Grant, Principal, Role};
use crate::state::{State, Versioned};

/// The records that compiled principals depend on, as they were when they were compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    principals: OrdMap<(TenantId, PrincipalId), Versioned<Principal>>,
    grants: OrdMap<(TenantId, GrantId), Versioned<Grant>>,
    roles: OrdMap<(TenantId, RoleId), Versioned<Role>>,
}

/// Whose records differ.
#[derive(Debug, Default)]
pub(super) struct Moved {
    roles: BTreeSet<TenantId>,
    /// With the grants, of theirs now or before, that differ.
    principals: BTreeMap<(TenantId, PrincipalId), BTreeSet<GrantId>>,
}

impl Source {
    pub(super) fn of(state: &State) -> Self {
        Self {
            principals: state.principals.clone(),
            grants: state.grants.clone(),
            roles: state.roles.clone(),
        }
    }

    pub(super) fn moved(&self, state: &State) -> Moved {
        let mut moved = Moved::default();
        for item in self.roles.diff(&state.roles) {
            let ((tenant, _), _, _) = sides(item);
            moved.roles.insert(tenant.clone());
        }
        for item in self.principals.diff(&state.principals) {
            let (key, _, _) = sides(item);
            moved.principals.entry(key.clone()).or_default();
        }
        for item in self.grants.diff(&state.grants) {
            let ((tenant, id), old, new) = sides(item);
            for holder in [old, new].into_iter().flatten().map(|grant| &grant.value.principal) {
                let holder = (tenant.clone(), holder.clone());
                moved.principals.entry(holder).or_default().insert(id.clone());
            }
        }
        moved
    }
}

/// The key, and the value before and after.
fn sides<'d, K, V>(item: DiffItem<'d, 'd, K, V>) -> (&'d K, Option<&'d V>, Option<&'d V>) {
    match item {
        DiffItem::Add(key, new) => (key, None, Some(new)),
        DiffItem::Remove(key, old) => (key, Some(old), None),
        DiffItem::Update { old: (key, old), new: (_, new) } => (key, Some(old), Some(new)),
    }
}

impl Moved {
    pub(super) fn has_roles_of(&self, tenant: &TenantId) -> bool {
        self.roles.contains(tenant)
    }

    pub(super) fn principals_of<'m>(
        &'m self,
        tenant: &'m TenantId,
    ) -> impl Iterator<Item = (&'m PrincipalId, &'m BTreeSet<GrantId>)> {
        let all = self.principals.iter();
        all.filter(move |((owner, _), _)| owner == tenant).map(|((_, id), grants)| (id, grants))
    }
}
