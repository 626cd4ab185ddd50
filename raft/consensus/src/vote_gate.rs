//! A restarted voter has forgotten which leader it promised not to disturb. Until every such promise has run out it
//! neither grants a vote nor stands for election.
//!
//! Both are needed. A leader's lease rests on a quorum; if one of that quorum restarts and either votes for another or
//! votes for itself, it can make a majority with a node that promised nothing, while the old leader still answers
//! lease reads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// With a tail cut from its log, a node waits this many election times for a leader to catch up with.
const CUT_ELECTIONS: u32 = 10;

/// Whether this node may take part in elections yet.
#[derive(Debug)]
pub struct VoteGate {
    /// `None`: open from the start, this node has never voted.
    opens_at: Option<Instant>,
    /// While set, the log was cut at open and has not caught up with a leader; ends at the latest then.
    cut_until: Mutex<Option<Instant>>,
    /// As `cut_until`, but without an end: only catching up makes it good.
    lacks_its_end: AtomicBool,
}

impl VoteGate {
    /// `has_voted`: a vote was found in the log. `log_was_cut`: opening the log removed a torn tail.
    // INVARIANT: P8, lease reads
    pub fn at_start(has_voted: bool, log_was_cut: bool, election_ms_max: u64, now: Instant) -> Self {
        #[cfg(feature = "mutants")]
        if only1mcp_domain::mutants::is(only1mcp_domain::mutants::Mutant::NoVoteGate) {
            return Self {
                opens_at: None,
                cut_until: Mutex::new(None),
                lacks_its_end: AtomicBool::new(log_was_cut),
            };
        }
        // 1.1 x the lease, so that clocks may differ in rate by a tenth.
        let lease = Duration::from_millis(election_ms_max.saturating_mul(11).div_ceil(10));
        let cut = Duration::from_millis(election_ms_max).saturating_mul(CUT_ELECTIONS);
        Self {
            opens_at: has_voted.then(|| now + lease),
            cut_until: Mutex::new((has_voted && log_was_cut).then(|| now + cut)),
            lacks_its_end: AtomicBool::new(log_was_cut),
        }
    }

    pub fn is_open(&self, now: Instant) -> bool {
        self.waits_until(now).is_none()
    }

    /// When the gate opens by time alone; `None` when it is open.
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        let cut = *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.opens_at.into_iter().chain(cut).max().filter(|at| *at > now)
    }

    /// The log was cut at open, and has not caught up with a leader since.
    pub fn log_was_cut(&self) -> bool {
        self.lacks_its_end.load(Ordering::Relaxed)
    }

    /// A living leader's append was accepted. Once the log holds all that leader says is committed, a tail cut at
    /// open is made good.
    pub fn caught_up(&self, last_index: Option<u64>, leader_commit: Option<u64>) {
        if leader_commit.is_some() && last_index >= leader_commit {
            *self.cut_until.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.lacks_its_end.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_node_that_never_voted_takes_part_at_once() {
        let now = Instant::now();
        assert!(VoteGate::at_start(false, false, 1_000, now).is_open(now));
        assert!(VoteGate::at_start(false, true, 1_000, now).is_open(now));
    }

    #[test]
    fn a_restarted_voter_waits_longer_than_any_lease() {
        let now = Instant::now();
        let gate = VoteGate::at_start(true, false, 1_000, now);
        assert!(!gate.is_open(now));
        assert!(!gate.is_open(now + ms(1_099)));
        assert!(gate.is_open(now + ms(1_100)));
        assert_eq!(gate.waits_until(now), Some(now + ms(1_100)));
    }

    #[test]
    fn a_cut_log_waits_for_a_leader_but_not_for_ever() {
        let now = Instant::now();
        let gate = VoteGate::at_start(true, true, 1_000, now);
        assert!(!gate.is_open(now + ms(9_999)));
        assert!(gate.is_open(now + ms(10_000)));
        gate.caught_up(Some(4), Some(5));
        assert!(!gate.is_open(now + ms(2_000)) && gate.log_was_cut());
        gate.caught_up(Some(5), Some(5));
        assert!(!gate.log_was_cut());
        assert!(gate.is_open(now + ms(2_000)));
        assert!(!gate.is_open(now + ms(1_000)), "catching up does not shorten the lease wait");
    }
}
