//! Role inheritance, unrolled: every path from a granted role to the roles it inherits from, found once at compile
//! time and bounded, so that a decision only walks a list.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::decide::finder::{Finder, PathSet};
use crate::decide::guard::{Facts, Failures, Guard, sorted};
use crate::decide::permissions::{PermissionSet, Wanted};
use crate::ids::{RoleId, TenantId};
use crate::limits;
use crate::model::{BUILT_IN_ROLES, Role};
use crate::state::State;

/// The role that `id` means in `tenant`: built-in ids mean the built-in roles everywhere, others the tenant's own.
pub(super) fn role_in<'s>(state: &'s State, tenant: &TenantId, id: &RoleId) -> Option<&'s Role> {
    let home = if is_built_in(id) { TenantId::system() } else { tenant.clone() };
    state.roles.get(&(home, id.clone())).map(|role| &role.value)
}

pub(super) fn is_built_in(id: &RoleId) -> bool {
    BUILT_IN_ROLES.contains(&id.as_str())
}

/// A role's own part.
#[derive(Clone, Debug)]
pub(super) struct RoleNode {
    pub(super) permissions: PermissionSet,
    guard: Guard,
    /// Sorted, without doubles.
    parents: Box<[RoleId]>,
}

/// One way along inheritance from a granted role.
#[derive(Clone, Debug)]
pub(super) struct InheritancePath {
    /// Granted role first; never empty.
    pub(super) roles: Box<[RoleId]>,
    /// The last role; `None`: the path is broken there (no such role, a cycle, a bound passed).
    pub(super) end: Option<Arc<RoleNode>>,
    /// The roles along the path that have constraints.
    guarded: Box<[Arc<RoleNode>]>,
}

impl InheritancePath {
    /// The role it leads to, unless it is broken.
    pub(super) fn reaches(&self) -> Option<&RoleId> {
        self.end.as_ref().and_then(|_| self.roles.last())
    }

    /// What fails of the constraints of the roles along the path.
    pub(super) fn failures(&self, facts: &Facts<'_>) -> Failures {
        self.guarded.iter().fold(Failures::NONE, |failed, node| failed.with(node.guard.failures(facts)))
    }
}

/// Everything one granted role leads to.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    /// In the order of their roles' ids.
    pub(super) paths: Box<[InheritancePath]>,
    /// Which of them may cover an item.
    finder: Finder,
    /// Sorted: every role id reachable at all, missing and cyclic ones included.
    members: Box<[RoleId]>,
    /// More are reachable than the bound: taken for a member of every role that a deny names (P5).
    unbounded: bool,
}

impl Reach {
    /// Positions of the paths that may cover what is wanted, in order; broken ones are among them.
    pub(super) fn candidates(&self, wanted: Wanted<'_>) -> impl Iterator<Item = usize> {
        let (found, all) = match wanted.item() {
            Some(item) => (self.finder.find(item), 0),
            None => (PathSet::default(), self.paths.len()),
        };
        found.chain(0..all)
    }

    /// Membership as an explicit deny sees it: conditions disregarded.
    pub(super) fn includes(&self, role: &RoleId) -> bool {
        self.unbounded || self.members.binary_search(role).is_ok()
    }
}

/// What is known of one tenant's roles: those that its grants reached so far. Cheap to clone; right as long as no role
/// of the tenant, and no built-in one, changes.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleBook {
    /// `None`: looked for, and not there.
    nodes: OrdMap<RoleId, Option<Arc<RoleNode>>>,
    reaches: OrdMap<RoleId, Arc<Reach>>,
}

/// Compiles roles as grants name them; what no grant reaches costs nothing.
pub(super) struct RoleCompiler<'s> {
    state: &'s State,
    tenant: &'s TenantId,
    book: RoleBook,
}

impl<'s> RoleCompiler<'s> {
    pub(super) fn new(state: &'s State, tenant: &'s TenantId, book: RoleBook) -> Self {
        Self { state, tenant, book }
    }

    pub(super) fn finish(self) -> RoleBook {
        self.book
    }

    pub(super) fn reach(&mut self, role: &RoleId) -> Arc<Reach> {
        if let Some(known) = self.book.reaches.get(role) {
            return known.clone();
        }
        let reach = Arc::new(self.unroll(role));
        self.book.reaches.insert(role.clone(), reach.clone());
        reach
    }

    fn find(&mut self, id: &RoleId) -> Option<Arc<RoleNode>> {
        if let Some(known) = self.book.nodes.get(id) {
            return known.clone();
        }
        let node = role_in(self.state, self.tenant, id).map(|role| {
            Arc::new(RoleNode {
                permissions: PermissionSet::new(&role.permissions),
                guard: Guard::new(&role.constraints),
                parents: sorted(&role.inherits_from),
            })
        });
        self.book.nodes.insert(id.clone(), node.clone());
        node
    }

    fn unroll(&mut self, role: &RoleId) -> Reach {
        let members = self.members(role);
        let unbounded = members.len() > limits::ROLE_CLOSURE_MAX;
        let mut paths = Vec::new();
        let complete = !unbounded && self.extend(&mut vec![(role.clone(), None)], &mut paths);
        if !complete {
            paths = vec![broken(&[(role.clone(), None)])];
        }
        let finder = Finder::new(paths.iter().map(|path| path.end.as_ref().map(|node| &node.permissions)));
        Reach { paths: paths.into(), finder, members: members.into_iter().collect(), unbounded }
    }

    /// The closure; it stops growing one past its bound.
    fn members(&mut self, role: &RoleId) -> BTreeSet<RoleId> {
        let mut members = BTreeSet::from([role.clone()]);
        let mut open = vec![role.clone()];
        while let Some(id) = open.pop() {
            let Some(node) = self.find(&id) else { continue };
            for parent in &node.parents {
                if members.len() <= limits::ROLE_CLOSURE_MAX && members.insert(parent.clone()) {
                    open.push(parent.clone());
                }
            }
        }
        members
    }

    /// Appends the path that `steps` is, then all that go on from it, depth first. False when there are too many.
    /// `steps` are distinct but for the last, and at most one longer than the depth bound: the recursion ends.
    fn extend(&mut self, steps: &mut Vec<Step>, paths: &mut Vec<InheritancePath>) -> bool {
        if paths.len() >= limits::ROLE_PATHS_MAX {
            return false;
        }
        let Some(((id, node), before)) = steps.split_last_mut() else { return false };
        *node = self.find(id);
        let cyclic = before.iter().any(|(earlier, _)| earlier == id);
        let too_deep = before.len() >= limits::ROLE_DEPTH_MAX;
        let Some(end) = node.clone().filter(|_| !cyclic && !too_deep) else {
            paths.push(broken(steps));
            return true;
        };
        let guarded = steps.iter().filter_map(|(_, node)| node.clone()).filter(|node| !node.guard.is_open());
        paths.push(InheritancePath {
            roles: steps.iter().map(|(id, _)| id.clone()).collect(),
            guarded: guarded.collect(),
            end: Some(end.clone()),
        });
        for parent in &end.parents {
            steps.push((parent.clone(), None));
            let complete = self.extend(steps, paths);
            steps.pop();
            if !complete {
                return false;
            }
        }
        true
    }
}

type Step = (RoleId, Option<Arc<RoleNode>>);

fn broken(steps: &[Step]) -> InheritancePath {
    InheritancePath {
        roles: steps.iter().map(|(id, _)| id.clone()).collect(),
        end: None,
        guarded: Box::default(),
    }
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
