//! One account and what of it is lent out.

use crate::ids::NodeId;
use crate::time::TimestampMs;

/// What one node has of an account.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Lent {
    /// Lent and neither posted nor returned.
    pub outstanding: i128,
    /// Posted without the node's word (it was thought lost): its next charges are covered by this.
    pub forfeited: i128,
}

/// Units: those of the limit's measure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    pub end: TimestampMs,
    pub posted: i128,
    /// Posted beyond what was lent: usage above its declared bound, and all use under a soft limit.
    pub overrun: i128,
    /// The limit when something was last lent. A limit that was lowered since binds what is lent from now on.
    pub ceiling: i128,
    /// The highest notice given, in percent of the limit; 0 for none.
    pub level: u8,
    /// By node, ascending; without nodes that have nothing.
    pub lent: Vec<(NodeId, Lent)>,
}

impl Account {
    pub fn new(end: TimestampMs) -> Self {
        Self { end, posted: 0, overrun: 0, ceiling: 0, level: 0, lent: Vec::new() }
    }

    pub fn lent_to(&self, node: NodeId) -> Lent {
        self.at(node).and_then(|at| self.lent.get(at)).map(|(_, lent)| *lent).unwrap_or_default()
    }

    /// What all nodes together may still spend.
    pub fn outstanding(&self) -> i128 {
        self.lent.iter().fold(0, |sum: i128, (_, lent)| sum.saturating_add(lent.outstanding))
    }

    /// Posted and outstanding: what is gone from the limit, for good or until it comes back.
    pub fn taken(&self) -> i128 {
        self.posted.saturating_add(self.outstanding())
    }

    /// What may still be lent under `limit`. An account whose own numbers contradict each other lends nothing: what is
    /// left of it cannot be known. INVARIANT: P1, P5
    pub fn available(&self, limit: i128) -> i128 {
        #[cfg(feature = "mutants")]
        let limit = self.lifted(limit);
        if self.is_escrowed() { limit.saturating_sub(self.taken()).max(0) } else { 0 }
    }

    /// What is taken beyond `limit`, after it was lowered.
    pub fn excess(&self, limit: i128) -> i128 {
        #[cfg(feature = "mutants")]
        let limit = self.lifted(limit);
        self.taken().saturating_sub(limit).max(0)
    }

    /// Lends, where it is there; otherwise nothing changes. INVARIANT: P1
    pub(super) fn lend(&mut self, node: NodeId, amount: i128, limit: i128) -> bool {
        if amount <= 0 || amount > self.available(limit) {
            return false;
        }
        let mut lent = self.lent_to(node);
        lent.outstanding = lent.outstanding.saturating_add(amount);
        self.set_lent(node, lent);
        #[cfg(feature = "mutants")]
        let limit = self.lifted(limit);
        self.ceiling = limit;
        true
    }

    #[cfg(feature = "mutants")]
    pub(super) fn lifted(&self, limit: i128) -> i128 {
        let lifts = crate::mutants::is(crate::mutants::Mutant::GrantPastDecrease);
        if lifts { limit.max(self.ceiling) } else { limit }
    }

    /// Whether `amount` can never be had under `limit`, whatever is returned.
    pub fn is_exhausted_for(&self, limit: i128, amount: i128) -> bool {
        amount > limit.saturating_sub(self.posted)
    }

    /// The escrow invariant. INVARIANT: P1
    pub fn is_escrowed(&self) -> bool {
        let most = self.ceiling.saturating_add(self.overrun);
        self.taken() <= most && self.lent.iter().all(|(_, lent)| lent.outstanding >= 0 && lent.forfeited >= 0)
    }

    pub(super) fn set_lent(&mut self, node: NodeId, lent: Lent) {
        match (self.at(node), lent == Lent::default()) {
            (Some(at), true) => drop(self.lent.remove(at)),
            (Some(at), false) => {
                if let Some(entry) = self.lent.get_mut(at) {
                    entry.1 = lent;
                }
            }
            (None, true) => {}
            (None, false) => {
                let at = self.lent.partition_point(|(id, _)| *id < node);
                self.lent.insert(at, (node, lent));
            }
        }
    }

    fn at(&self, node: NodeId) -> Option<usize> {
        self.lent.binary_search_by_key(&node, |(id, _)| *id).ok()
    }
}
