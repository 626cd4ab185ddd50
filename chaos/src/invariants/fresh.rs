//! What a node decides on, and what a local read shows, holds all that was committed anywhere by as long ago as the bound
//! allows. Judged from outside, by what every node was seen to have committed: no node is asked how fresh it is. One that
//! is cut off goes on hearing of nothing, so that what it decides on too late lacks all that came meanwhile.
//!
//! Source: DESIGN, "The promises", P4 ("admits only on state at most `staleness_ms_max` old") and P8; "Freshness and
//! revocation": fresh "as of the instant the question was sent".

/// Clocks tick by the millisecond, and a node is looked at again after some. More than both may differ by.
const SLACK_MS: u64 = 10;

/// When each index was first seen to be committed, by whichever node.
#[derive(Debug, Default)]
pub struct Committed {
    /// Times and indexes, both growing.
    seen: Vec<(u64, u64)>,
    /// A node lost what it had said it keeps: what was committed may be no more.
    lost: bool,
}

impl Committed {
    pub fn seen(&mut self, index: u64, now_ms: u64) {
        if self.seen.last().is_none_or(|(_, last)| index > *last) {
            self.seen.push((now_ms, index));
        }
    }

    /// An older copy of a node's folder was put back, or its disk lied.
    pub fn restored(&mut self) {
        self.lost = true;
    }

    /// State up to `applied` was found to be at most `bound_ms` old, at `at_ms` or later.
    pub fn check(&self, at_ms: u64, bound_ms: u64, applied: u64) -> Result<(), String> {
        let Some(by_ms) = at_ms.checked_sub(bound_ms.saturating_add(SLACK_MS)) else { return Ok(()) };
        let known = self.seen.partition_point(|(ms, _)| *ms <= by_ms);
        let Some((ms, index)) = known.checked_sub(1).and_then(|last| self.seen.get(last)) else {
            return Ok(());
        };
        if self.lost || applied >= *index {
            return Ok(());
        }
        let age_ms = at_ms.saturating_sub(*ms);
        Err(format!(
            "state of {applied} was taken for at most {bound_ms} ms old; {index} was committed {age_ms} ms before"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND_MS: u64 = 2_000;

    fn history() -> Committed {
        let mut committed = Committed::default();
        for (ms, index) in [(1_000, 10), (1_010, 10), (1_500, 20), (1_505, 15), (2_000, 30)] {
            committed.seen(index, ms);
        }
        committed
    }

    #[test]
    fn a_node_that_counts_as_fresh_for_a_round_trip_too_long_is_found() {
        let committed = history();
        // Cut off at 1,500 with all that was committed by then; asked its last question at 1,100, answered at 1,500.
        let fresh_until_ms = 1_100 + BOUND_MS;
        assert_eq!(committed.check(fresh_until_ms, BOUND_MS, 20), Ok(()));
        let fresh_at_receipt_until_ms = 1_500 + 600 + BOUND_MS;
        let told = committed.check(fresh_at_receipt_until_ms, BOUND_MS, 20).unwrap_err();
        assert!(told.contains("state of 20") && told.contains("30 was committed 2100 ms before"), "{told}");
    }

    #[test]
    fn both_sides_of_the_bound() {
        let committed = history();
        let last_ms = 1_500 + BOUND_MS + SLACK_MS;
        assert_eq!(committed.check(last_ms - 1, BOUND_MS, 19), Ok(()));
        assert!(committed.check(last_ms, BOUND_MS, 19).is_err());
        assert_eq!(committed.check(last_ms, BOUND_MS, 20), Ok(()));
        // Of the first moments nothing is known.
        assert_eq!(committed.check(999, 0, 0), Ok(()));
        assert_eq!(committed.check(5, BOUND_MS, 0), Ok(()));
        assert_eq!(Committed::default().check(9_000, BOUND_MS, 0), Ok(()));
    }

    #[test]
    fn after_a_disk_lied_nothing_is_judged() {
        let mut committed = history();
        committed.restored();
        assert_eq!(committed.check(9_000, BOUND_MS, 0), Ok(()));
    }
}
