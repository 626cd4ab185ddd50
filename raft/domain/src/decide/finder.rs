//! Which of a granted role's paths may cover an item: a sieve that lets too much through and never too little, small
//! and in one place, so that a decision looks at two or three roles and not at all that are inherited.

use crate::decide::index::Hashed;
use crate::decide::permissions::{PermissionSet, Prefix};
use crate::limits;

/// A set of positions of paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PathSet([u64; WORDS]);

const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = limits::ROLE_PATHS_MAX.div_ceil(WORD_BITS);

impl PathSet {
    fn insert(&mut self, path: usize) {
        if let Some(word) = self.0.get_mut(path / WORD_BITS) {
            *word |= 1 << (path % WORD_BITS);
        }
    }

    /// Takes the lowest position out.
    fn pop(&mut self) -> Option<usize> {
        let (at, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        Some(at * WORD_BITS + bit)
    }
}

impl Iterator for PathSet {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.pop()
    }
}

/// The sieve of one granted role.
#[derive(Clone, Debug, Default)]
pub(super) struct Finder {
    /// Sorted: part of a plain name's hash, and the path whose last role names it.
    names: Box<[(u32, u16)]>,
    prefixes: Box<[(Prefix, u16)]>,
    /// Paths to look at whatever the item.
    always: PathSet,
}

/// Plain names one sieve holds; the paths of further ones are always looked at.
const NAMES_MAX: usize = 1_024;

impl Finder {
    /// `ends`: for each path, in order, what its last role carries; `None` for a broken path.
    pub(super) fn new<'a>(ends: impl Iterator<Item = Option<&'a PermissionSet>>) -> Self {
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        let mut always = PathSet::default();
        for (path, end) in ends.enumerate() {
            let Ok(number) = u16::try_from(path) else { continue };
            let fits =
                |set: &&PermissionSet| !set.is_wide() && names.len() + set.names().count() <= NAMES_MAX;
            match end.filter(fits) {
                Some(set) => {
                    names.extend(set.names().map(|name| (name, number)));
                    prefixes.extend(set.prefixes().map(|prefix| (prefix, number)));
                }
                None => always.insert(path),
            }
        }
        names.sort_unstable();
        names.dedup();
        Self { names: names.into(), prefixes: prefixes.into(), always }
    }

    /// Every path that may cover `item`.
    pub(super) fn find(&self, item: Hashed<'_>) -> PathSet {
        let mut found = self.always;
        let tag = item.tag();
        let from = self.names.partition_point(|(name, _)| *name < tag);
        for (_, path) in self.names.iter().skip(from).take_while(|(name, _)| *name == tag) {
            found.insert(usize::from(*path));
        }
        for (_, path) in self.prefixes.iter().filter(|(prefix, _)| prefix.admits(item)) {
            found.insert(usize::from(*path));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Glob, Permission};

    fn set(patterns: &[&str]) -> PermissionSet {
        let view = |text: &&str| Permission::ToolView(Glob::new(text).unwrap());
        PermissionSet::new(&patterns.iter().map(view).collect::<Vec<_>>())
    }

    fn found(sets: &[Option<PermissionSet>], item: &str) -> Vec<usize> {
        Finder::new(sets.iter().map(Option::as_ref)).find(Hashed::new(item)).collect()
    }

    #[test]
    fn names_prefixes_and_broken_paths_are_found_in_order() {
        let sets = [
            Some(set(&["demo__a", "demo__b"])),
            Some(set(&["demo__*"])),
            None,
            Some(set(&["*"])),
            Some(set(&["a-rather-long-upstream__*"])),
            Some(PermissionSet::new(&[Permission::ToolAll])),
        ];
        assert_eq!(found(&sets, "demo__a"), [0, 1, 2, 3, 5]);
        assert_eq!(found(&sets, "demo__c"), [1, 2, 3, 5]);
        assert_eq!(found(&sets, "a-rather-long-upstream__x"), [2, 3, 4, 5]);
        assert_eq!(found(&sets, ""), [2, 3, 5]);
    }

    #[test]
    fn names_past_the_bound_are_looked_at_always() {
        let many: Vec<String> = (0..limits::ROLE_PERMISSIONS_MAX).map(|n| format!("demo__{n}")).collect();
        let full = set(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let count = NAMES_MAX / limits::ROLE_PERMISSIONS_MAX;
        let mut sets = vec![Some(full); count];
        assert_eq!(found(&sets, "other"), Vec::<usize>::new());
        sets.push(Some(set(&["one"])));
        assert_eq!(found(&sets, "other"), [count]);
    }

    #[test]
    fn the_set_holds_every_path() {
        let mut all = PathSet::default();
        (0..limits::ROLE_PATHS_MAX).for_each(|path| all.insert(path));
        assert!(all.eq(0..limits::ROLE_PATHS_MAX));
    }
}
