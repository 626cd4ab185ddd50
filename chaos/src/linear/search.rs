//! Whether one register would have given a history's answers, each at an instant between its question and its answer.
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects" (1993), for the search; Lowe, "Testing for
//! linearizability" (2017), for remembering where it was already. Reads, and writes that change nothing, are taken as
//! soon as they fit: they stand in nobody's way.

use std::collections::BTreeSet;

use super::history::{Act, At, Came, Operation};

/// Places looked at before a history counts as too hard to judge.
const PLACES_MAX: usize = 100_000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Linearizable,
    /// With the operations of which none could come next, where most were placed, and what the register held there.
    Not(Vec<Operation>, Option<u64>),
    TooHard,
}

/// Which operations are placed, and what the register holds then.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    placed: Vec<u64>,
    count: usize,
    value: Option<u64>,
}

impl Place {
    fn has(&self, at: usize) -> bool {
        self.placed.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    fn with(&self, at: usize, value: Option<u64>) -> Self {
        let mut next = Self { value, count: self.count.saturating_add(1), ..self.clone() };
        if let Some(word) = next.placed.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
        next
    }
}

/// A register that holds nothing at first.
pub fn search(history: &[Operation]) -> Verdict {
    let mut operations = history.to_vec();
    operations.sort_by_key(|operation| operation.from);
    let words = operations.len().div_ceil(64);
    let mut waiting = vec![Place { placed: vec![0; words], count: 0, value: None }];
    let mut known: BTreeSet<Place> = BTreeSet::new();
    let mut deepest: Option<Place> = None;
    while let Some(place) = waiting.pop() {
        let place = settle(place, &operations);
        let must = |at: usize, operation: &Operation| operation.returned.is_some() && !place.has(at);
        if !operations.iter().enumerate().any(|(at, operation)| must(at, operation)) {
            return Verdict::Linearizable;
        }
        if known.contains(&place) {
            continue;
        }
        if known.len() >= PLACES_MAX {
            return Verdict::TooHard;
        }
        if deepest.as_ref().is_none_or(|deepest| deepest.count < place.count) {
            deepest = Some(place.clone());
        }
        // The last one pushed is tried first: those with an answer, in order of their answers.
        let mut next: Vec<_> = candidates(&place, &operations).collect();
        next.sort_by_key(|(_, operation)| {
            std::cmp::Reverse((operation.returned.is_none(), operation.returned))
        });
        let steps = next.iter().filter_map(|(at, operation)| {
            let value = step(place.value, operation)?;
            let matters = operation.returned.is_some()
                || next.iter().any(|(_, other)| depends(other, place.value, value));
            matters.then(|| place.with(*at, value))
        });
        waiting.extend(steps);
        known.insert(place);
    }
    let Some(deepest) = deepest else { return Verdict::Linearizable };
    let stuck = candidates(&deepest, &operations).map(|(_, operation)| operation.clone()).collect();
    Verdict::Not(stuck, deepest.value)
}

/// Everything that fits and changes nothing.
fn settle(mut place: Place, operations: &[Operation]) -> Place {
    loop {
        let value = place.value;
        let idle = candidates(&place, operations)
            .filter(|(_, operation)| operation.returned.is_some())
            .find(|(_, operation)| step(value, operation).is_some_and(|after| after == value));
        let Some((at, _)) = idle else { return place };
        place = place.with(at, value);
    }
}

/// Those that may come next: nothing that is not placed was answered before they could take effect.
fn candidates<'a>(
    place: &Place,
    operations: &'a [Operation],
) -> impl Iterator<Item = (usize, &'a Operation)> + use<'a> {
    let left: Vec<(usize, &Operation)> =
        operations.iter().enumerate().filter(|(at, _)| !place.has(*at)).collect();
    let first: Option<At> = left.iter().filter_map(|(_, operation)| operation.returned).min();
    left.into_iter().filter(move |(_, operation)| first.is_none_or(|first| operation.from <= first))
}

/// Whether the operation fits where the register holds `after`, and only because it is not `before` any more. A write of
/// unknown end is placed right before such a one: it may be as late as it likes, and one that is written over, unseen,
/// need not be placed.
fn depends(operation: &Operation, before: Option<u64>, after: Option<u64>) -> bool {
    match (operation.act, operation.came) {
        (Act::Read(_), Came::Found(found)) => found == after,
        (Act::Swap { from, .. }, Came::Done | Came::Unknown) => from == after,
        (Act::Swap { from, .. }, Came::Refused) => from == before,
        (Act::Put(_) | Act::Swap { .. } | Act::Read(_), _) => false,
    }
}

/// What the register holds after the operation; `None`: it would not have answered so.
fn step(value: Option<u64>, operation: &Operation) -> Option<Option<u64>> {
    match (operation.act, operation.came) {
        (Act::Put(to), Came::Done | Came::Unknown) => Some(Some(to)),
        // Without effect it is as good as never placed, which is allowed too.
        (Act::Swap { from, to }, Came::Done | Came::Unknown) => (value == from).then_some(Some(to)),
        (Act::Swap { from, .. }, Came::Refused) => (value != from).then_some(value),
        (Act::Read(_), Came::Found(found)) => (value == found).then_some(value),
        (Act::Put(_) | Act::Swap { .. } | Act::Read(_), _) => None,
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
