//! A role's own permissions as sets, and which of them covers an action.

use crate::decide::Action;
use crate::model::{Glob, Permission};

/// What `GlobalRead` covers of the administrative permissions.
const READS: [Permission; 3] = [Permission::ServerView, Permission::AuditView, Permission::CostView];

/// The permissions one role carries itself.
#[derive(Clone, Debug, Default)]
pub(super) struct PermissionSet {
    /// Sorted; holds the patterns too.
    all: Box<[Permission]>,
    global_admin: bool,
    global_read: bool,
    tool_all: bool,
    execute: Patterns,
    view: Patterns,
}

/// Tool patterns, plain names apart so that a thousand of them cost a binary search.
#[derive(Clone, Debug, Default)]
struct Patterns {
    exact: Box<[Glob]>,
    globs: Box<[Glob]>,
}

impl Patterns {
    /// `sorted` is in ascending order.
    fn new<'a>(sorted: impl Iterator<Item = &'a Glob>) -> Self {
        let (exact, globs): (Vec<Glob>, Vec<Glob>) = sorted.cloned().partition(Glob::is_exact);
        Self { exact: exact.into(), globs: globs.into() }
    }

    /// The least pattern that matches.
    fn first(&self, item: &str) -> Option<&Glob> {
        let exact = self.exact.binary_search_by(|glob| glob.as_str().cmp(item)).ok();
        let exact = exact.and_then(|at| self.exact.get(at));
        let glob = self.globs.iter().find(|glob| glob.matches(item));
        match (exact, glob) {
            (Some(exact), Some(glob)) => Some(exact.min(glob)),
            (exact, glob) => exact.or(glob),
        }
    }
}

impl PermissionSet {
    pub(super) fn new(permissions: &[Permission]) -> Self {
        let all = super::guard::sorted(permissions);
        let has = |permission| all.binary_search(permission).is_ok();
        Self {
            global_admin: has(&Permission::GlobalAdmin),
            global_read: has(&Permission::GlobalRead),
            tool_all: has(&Permission::ToolAll),
            execute: Patterns::new(all.iter().filter_map(|permission| match permission {
                Permission::ToolExecute(glob) => Some(glob),
                _ => None,
            })),
            view: Patterns::new(all.iter().filter_map(|permission| match permission {
                Permission::ToolView(glob) => Some(glob),
                _ => None,
            })),
            all,
        }
    }

    /// The least permission of this set that covers `action`. `global_only`: an operator acts in another tenant,
    /// where nothing but `GlobalAdmin` and `GlobalRead` reaches.
    pub(super) fn covering(&self, action: Action<'_>, global_only: bool) -> Option<Permission> {
        if self.global_admin {
            return Some(Permission::GlobalAdmin);
        }
        let read = match action {
            Action::Execute(_) => false,
            Action::View(_) => true,
            Action::Administer(permission) => READS.contains(permission),
        };
        if read && self.global_read {
            return Some(Permission::GlobalRead);
        }
        match action {
            Action::Administer(permission) => {
                let reaches = !global_only || matches!(permission, Permission::GlobalRead);
                (reaches && self.all.binary_search(permission).is_ok()).then(|| permission.clone())
            }
            Action::Execute(_) | Action::View(_) if global_only => None,
            Action::Execute(item) => self.execution(item).or_else(|| self.every_tool()),
            Action::View(item) => self
                .execution(item)
                .or_else(|| self.view.first(item).cloned().map(Permission::ToolView))
                .or_else(|| self.every_tool()),
        }
    }

    fn execution(&self, item: &str) -> Option<Permission> {
        self.execute.first(item).cloned().map(Permission::ToolExecute)
    }

    fn every_tool(&self) -> Option<Permission> {
        self.tool_all.then_some(Permission::ToolAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::new(text).unwrap()
    }

    #[test]
    fn executing_includes_seeing_but_not_the_reverse() {
        let set =
            PermissionSet::new(&[Permission::ToolExecute(glob("a__*")), Permission::ToolView(glob("b__x"))]);
        assert!(set.covering(Action::Execute("a__x"), false).is_some());
        assert!(set.covering(Action::View("a__x"), false).is_some());
        assert!(set.covering(Action::View("b__x"), false).is_some());
        assert!(set.covering(Action::Execute("b__x"), false).is_none());
        assert!(set.covering(Action::View("b__y"), false).is_none());
    }

    #[test]
    fn the_least_covering_permission_is_named() {
        let set = PermissionSet::new(&[
            Permission::ToolAll,
            Permission::ToolExecute(glob("demo__echo")),
            Permission::ToolExecute(glob("demo__*")),
        ]);
        let named = set.covering(Action::Execute("demo__echo"), false);
        assert_eq!(named, Some(Permission::ToolExecute(glob("demo__*"))));
        assert_eq!(set.covering(Action::Execute("other__x"), false), Some(Permission::ToolAll));
    }

    #[test]
    fn global_read_reads_and_no_more() {
        let set = PermissionSet::new(&[Permission::GlobalRead]);
        assert!(set.covering(Action::View("a__x"), true).is_some());
        assert!(set.covering(Action::Execute("a__x"), false).is_none());
        for permission in &Permission::PLAIN {
            let covered = set.covering(Action::Administer(permission), false).is_some();
            assert_eq!(covered, READS.contains(permission) || *permission == Permission::GlobalRead);
        }
    }

    #[test]
    fn only_global_permissions_reach_another_tenant() {
        let everything_else: Vec<Permission> = Permission::PLAIN
            .into_iter()
            .filter(|p| !matches!(p, Permission::GlobalAdmin | Permission::GlobalRead))
            .collect();
        let set = PermissionSet::new(&everything_else);
        assert!(set.covering(Action::Execute("a__x"), true).is_none());
        assert!(set.covering(Action::View("a__x"), true).is_none());
        for permission in &everything_else {
            assert!(set.covering(Action::Administer(permission), true).is_none());
            assert!(set.covering(Action::Administer(permission), false).is_some());
        }
    }
}
