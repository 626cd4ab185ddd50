//! Restrictions and denies by the items they match, so that a rule about one tool costs nothing to the others.

use std::collections::BTreeMap;

use crate::decide::index::{Hashed, Index};
use crate::ids::RuleId;
use crate::model::Glob;

/// Rules in the order of their ids.
#[derive(Clone, Debug)]
pub(super) struct Rules<R> {
    rules: Box<[(RuleId, R)]>,
    /// Positions in `rules`, ascending, by plain name.
    exact: Index<String, Box<[usize]>>,
    /// Ascending by position.
    globs: Box<[(Glob, usize)]>,
}

impl<R> Default for Rules<R> {
    fn default() -> Self {
        Self { rules: Box::default(), exact: Index::default(), globs: Box::default() }
    }
}

impl<R> Rules<R> {
    /// `rules` come in ascending order of their ids.
    pub(super) fn new(rules: impl IntoIterator<Item = (RuleId, Glob, R)>) -> Self {
        let (mut kept, mut globs) = (Vec::new(), Vec::new());
        let mut exact: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, (id, glob, rule)) in rules.into_iter().enumerate() {
            kept.push((id, rule));
            if glob.is_exact() {
                exact.entry(glob.as_str().to_owned()).or_default().push(at);
            } else {
                globs.push((glob, at));
            }
        }
        Self {
            rules: kept.into(),
            exact: Index::new(exact.into_iter().map(|(name, at)| (name, at.into()))),
            globs: globs.into(),
        }
    }

    /// The rule with the lowest id that matches `item` and for which `applies`.
    pub(super) fn lowest(&self, item: Hashed<'_>, mut applies: impl FnMut(&R) -> bool) -> Option<&RuleId> {
        let mut first = |positions: &mut dyn Iterator<Item = usize>| {
            let mut rules = positions.filter_map(|at| Some((at, self.rules.get(at)?)));
            rules.find(|(_, (_, rule))| applies(rule))
        };
        let exact = self.exact.find(item).map(|(_, at)| &**at).unwrap_or_default();
        let exact = first(&mut exact.iter().copied());
        let globs = self.globs.iter().filter(|(glob, _)| glob.matches(item.text)).map(|(_, at)| *at);
        let end = exact.map_or(usize::MAX, |(at, _)| at);
        let glob = first(&mut globs.take_while(|at| *at < end));
        glob.or(exact).map(|(_, (id, _))| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_applying_rule_is_found_among_names_and_patterns() {
        let rule = |id: &str, glob: &str, rule| (RuleId::new(id).unwrap(), Glob::new(glob).unwrap(), rule);
        let rules = Rules::new([
            rule("a", "x__*", 1),
            rule("b", "x__y", 2),
            rule("c", "*", 3),
            rule("d", "x__y", 4),
            rule("e", "z__*", 5),
        ]);
        let lowest = |item, except: &[i32]| {
            rules.lowest(Hashed::new(item), |rule| !except.contains(rule)).map(|id| id.as_str().to_owned())
        };
        assert_eq!(lowest("x__y", &[]).as_deref(), Some("a"));
        assert_eq!(lowest("x__y", &[1]).as_deref(), Some("b"));
        assert_eq!(lowest("x__y", &[1, 2]).as_deref(), Some("c"));
        assert_eq!(lowest("x__y", &[1, 2, 3]).as_deref(), Some("d"));
        assert_eq!(lowest("x__y", &[1, 2, 3, 4]), None);
        assert_eq!(lowest("q", &[]).as_deref(), Some("c"));
        assert_eq!(lowest("z__", &[3]).as_deref(), Some("e"));
    }
}
