//! A role's own permissions as sets, and which of them covers an action.

use crate::decide::Action;
use crate::decide::index::{Hashed, Index, head};
use crate::model::{Glob, Permission};

/// What `GlobalRead` covers of the administrative permissions.
const READS: [Permission; 3] = [Permission::ServerView, Permission::AuditView, Permission::CostView];

/// An action whose item is hashed.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Execute(Hashed<'a>),
    View(Hashed<'a>),
    Administer(&'a Permission),
}

impl<'a> Wanted<'a> {
    pub(super) fn new(action: Action<'a>) -> Self {
        match action {
            Action::Execute(item) => Self::Execute(Hashed::new(item)),
            Action::View(item) => Self::View(Hashed::new(item)),
            Action::Administer(permission) => Self::Administer(permission),
        }
    }

    pub(super) fn item(self) -> Option<Hashed<'a>> {
        match self {
            Self::Execute(item) | Self::View(item) => Some(item),
            Self::Administer(_) => None,
        }
    }
}

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

/// Tool patterns, plain names apart so that a thousand of them cost one search.
#[derive(Clone, Debug, Default)]
struct Patterns {
    exact: Index<Glob, ()>,
    /// Ascending.
    globs: Box<[Pattern]>,
}

/// The first bytes that a name must have to match a pattern, at most 16: most names fail there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    head: u128,
    mask: u128,
}

impl Prefix {
    fn new(glob: &Glob) -> Self {
        let literal = || glob.as_str().bytes().take_while(|byte| *byte != b'*');
        // A pattern holds no zero byte, so a name that is too short fails too.
        Self { head: head(literal()), mask: head(literal().map(|_| u8::MAX)) }
    }

    /// False only when no name with the first bytes of `item` can match.
    pub(super) fn admits(&self, item: Hashed<'_>) -> bool {
        item.head & self.mask == self.head
    }
}

#[derive(Clone, Debug)]
struct Pattern {
    glob: Glob,
    prefix: Prefix,
}

impl Pattern {
    fn new(glob: Glob) -> Self {
        Self { prefix: Prefix::new(&glob), glob }
    }

    fn matches(&self, item: Hashed<'_>) -> bool {
        self.prefix.admits(item) && self.glob.matches(item.text)
    }
}

impl Patterns {
    /// `sorted` is in ascending order.
    fn new<'a>(sorted: impl Iterator<Item = &'a Glob>) -> Self {
        let (exact, globs): (Vec<Glob>, Vec<Glob>) = sorted.cloned().partition(Glob::is_exact);
        Self {
            exact: Index::new(exact.into_iter().map(|glob| (glob, ()))),
            globs: globs.into_iter().map(Pattern::new).collect(),
        }
    }

    /// The least pattern that matches.
    fn first(&self, item: Hashed<'_>) -> Option<&Glob> {
        let exact = self.exact.find(item).map(|(glob, ())| glob);
        let glob = self.globs.iter().find(|pattern| pattern.matches(item)).map(|pattern| &pattern.glob);
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

    /// True when it may cover any item at all.
    pub(super) fn is_wide(&self) -> bool {
        self.global_admin || self.global_read || self.tool_all
    }

    /// Tags of the items that it names plainly.
    pub(super) fn names(&self) -> impl Iterator<Item = u32> {
        let exact = self.execute.exact.iter().chain(self.view.exact.iter());
        exact.map(|(glob, ())| Hashed::new(glob.as_str()).tag())
    }

    /// How the other items begin that it may cover.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.execute.globs.iter().chain(&self.view.globs).map(|pattern| pattern.prefix)
    }

    /// The least permission of this set that covers `action`. `global_only`: an operator acts in another tenant,
    /// where nothing but `GlobalAdmin` and `GlobalRead` reaches.
    pub(super) fn covering(&self, action: Wanted<'_>, global_only: bool) -> Option<Permission> {
        if self.global_admin {
            return Some(Permission::GlobalAdmin);
        }
        let read = match action {
            Wanted::Execute(_) => false,
            Wanted::View(_) => true,
            Wanted::Administer(permission) => READS.contains(permission),
        };
        if read && self.global_read {
            return Some(Permission::GlobalRead);
        }
        match action {
            Wanted::Administer(permission) => {
                let reaches = !global_only || matches!(permission, Permission::GlobalRead);
                (reaches && self.all.binary_search(permission).is_ok()).then(|| permission.clone())
            }
            Wanted::Execute(_) | Wanted::View(_) if global_only => None,
            Wanted::Execute(item) => self.execution(item).or_else(|| self.every_tool()),
            Wanted::View(item) => self
                .execution(item)
                .or_else(|| self.view.first(item).cloned().map(Permission::ToolView))
                .or_else(|| self.every_tool()),
        }
    }

    fn execution(&self, item: Hashed<'_>) -> Option<Permission> {
        self.execute.first(item).cloned().map(Permission::ToolExecute)
    }

    fn every_tool(&self) -> Option<Permission> {
        self.tool_all.then_some(Permission::ToolAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(set: &PermissionSet, action: Action<'_>, global_only: bool) -> Option<Permission> {
        set.covering(Wanted::new(action), global_only)
    }

    fn glob(text: &str) -> Glob {
        Glob::new(text).unwrap()
    }

    #[test]
    fn executing_includes_seeing_but_not_the_reverse() {
        let set =
            PermissionSet::new(&[Permission::ToolExecute(glob("a__*")), Permission::ToolView(glob("b__x"))]);
        assert!(may(&set, Action::Execute("a__x"), false).is_some());
        assert!(may(&set, Action::View("a__x"), false).is_some());
        assert!(may(&set, Action::View("b__x"), false).is_some());
        assert!(may(&set, Action::Execute("b__x"), false).is_none());
        assert!(may(&set, Action::View("b__y"), false).is_none());
    }

    #[test]
    fn the_least_covering_permission_is_named() {
        let set = PermissionSet::new(&[
            Permission::ToolAll,
            Permission::ToolExecute(glob("demo__echo")),
            Permission::ToolExecute(glob("demo__*")),
        ]);
        let named = may(&set, Action::Execute("demo__echo"), false);
        assert_eq!(named, Some(Permission::ToolExecute(glob("demo__*"))));
        assert_eq!(may(&set, Action::Execute("other__x"), false), Some(Permission::ToolAll));
    }

    #[test]
    fn global_read_reads_and_no_more() {
        let set = PermissionSet::new(&[Permission::GlobalRead]);
        assert!(may(&set, Action::View("a__x"), true).is_some());
        assert!(may(&set, Action::Execute("a__x"), false).is_none());
        for permission in &Permission::PLAIN {
            let covered = may(&set, Action::Administer(permission), false).is_some();
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
        assert!(may(&set, Action::Execute("a__x"), true).is_none());
        assert!(may(&set, Action::View("a__x"), true).is_none());
        for permission in &everything_else {
            assert!(may(&set, Action::Administer(permission), true).is_none());
            assert!(may(&set, Action::Administer(permission), false).is_some());
        }
    }
}
