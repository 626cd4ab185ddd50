//! The bounds of inheritance, kept whenever a role's parents change, so that every decision walks a short list.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::holdings::{closure, role};
use crate::apply::tenant::not_found;
use crate::apply::validate::{Check, at_most};
use crate::ids::{RoleId, TenantId};
use crate::limits;
use crate::model::Role;
use crate::outcome::Rejection;
use crate::state::State;

/// `new` is not in the state yet.
/// Errors: `NotFound` for a parent that is not there, `Cycle` where the role would inherit from itself.
pub(super) fn refuse_cycle(state: &State, new: &Role) -> Check {
    let cycle = || Rejection::Cycle { role: new.id.as_str().to_owned() };
    for parent in &new.inherits_from {
        if *parent == new.id {
            return Err(cycle());
        }
        if role(state, &new.tenant, parent).is_none() {
            return Err(not_found("role", parent.as_str()));
        }
        if closure(state, &new.tenant, parent).contains(&new.id) {
            return Err(cycle());
        }
    }
    Ok(())
}

/// Checks the role and everything that inherits from it.
/// Errors: `LimitReached`.
pub(super) fn check_bounds(state: &State, tenant: &TenantId, id: &RoleId) -> Check {
    let mut measures = Measures { state, tenant, known: BTreeMap::new() };
    for id in heirs(state, tenant, id) {
        at_most(
            closure(state, tenant, &id).len(),
            limits::ROLE_CLOSURE_MAX,
            "roles reachable from one role",
        )?;
        let Measure { depth, paths } = measures.of(&id, 0);
        at_most(depth, limits::ROLE_DEPTH_MAX, "levels of inheritance")?;
        at_most(paths, limits::ROLE_PATHS_MAX, "paths of inheritance from one role")?;
    }
    Ok(())
}

/// The role itself and all that inherit from it, however far away.
fn heirs(state: &State, tenant: &TenantId, id: &RoleId) -> BTreeSet<RoleId> {
    let mut found = BTreeSet::from([id.clone()]);
    let mut open = vec![id.clone()];
    while let Some(id) = open.pop() {
        for heir in state.lookup.heirs(tenant, &id) {
            if found.insert(heir.clone()) {
                open.push(heir.clone());
            }
        }
    }
    found
}

#[derive(Clone, Copy)]
struct Measure {
    /// Roles on the longest path.
    depth: usize,
    /// Paths to the role itself and to every ancestor.
    paths: usize,
}

struct Measures<'s> {
    state: &'s State,
    tenant: &'s TenantId,
    known: BTreeMap<RoleId, Measure>,
}

impl Measures<'_> {
    /// `above`: roles already on the way here; past twice the bound no answer matters any more, and the recursion ends.
    fn of(&mut self, id: &RoleId, above: usize) -> Measure {
        if let Some(known) = self.known.get(id) {
            return *known;
        }
        if above > 2 * limits::ROLE_DEPTH_MAX {
            return Measure { depth: above, paths: usize::MAX };
        }
        let parents =
            role(self.state, self.tenant, id).map(|role| role.inherits_from.clone()).unwrap_or_default();
        let mut measure = Measure { depth: 1, paths: 1 };
        for parent in parents {
            let Measure { depth, paths } = self.of(&parent, above + 1);
            measure.depth = measure.depth.max(depth.saturating_add(1));
            measure.paths = measure.paths.saturating_add(paths);
        }
        self.known.insert(id.clone(), measure);
        measure
    }
}
