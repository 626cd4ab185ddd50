//! One scenario per danger that is real without a particular piece of code.

/// Why: a restarted voter has forgotten its promise to the leader; voting at once it would let another be elected while
/// the old one still reads from its lease.
#[test]
fn a_restarted_voter_breaks_no_lease() {
    crate::must_hold("--seeds 5 --jobs 1 --scenario vote-gate");
}

/// The same with the gate taken out (`--features mutants`): it must be noticed.
#[cfg(feature = "mutants")]
#[test]
fn without_the_vote_gate_leases_break() {
    let output = crate::fuzz("--seeds 5 --jobs 1 --scenario vote-gate --mutant no-vote-gate");
    assert!(!output.status.success(), "no lease was broken:\n{}", crate::text(&output));
    assert!(crate::text(&output).contains("VIOLATED lease reads"));
}

/// Why: clocks differ in rate; a lease is used for 70 % of its length only.
#[test]
fn fast_clocks_break_no_lease() {
    crate::must_hold("--seeds 5 --jobs 1 --scenario lease-drift");
}

/// Why: voters far apart lose a region, and later are cut off from another; the rest goes on, nothing is lost.
#[test]
fn three_regions_lose_one_and_go_on() {
    crate::must_hold("--reproduce 2 --scenario regions");
}

/// Why: a bit flips in the log, the vote, the journal, a row and a segment. It is noticed, and nothing acknowledged is lost:
/// the node retires and another comes, or it makes its rows anew, or fetches the segment again.
#[test]
fn rot_of_every_kind_is_noticed_and_loses_nothing() {
    let output = crate::fuzz("--seeds 5 --jobs 1 --scenario rot");
    let text = crate::text(&output);
    assert!(output.status.success(), "{text}");
    // The last line: a slow run tells how far it is, too.
    let sums = text.lines().rfind(|line| line.contains("worlds held")).unwrap();
    let (struck, noticed) = sums.split_once("noticed by nodes: ").unwrap();
    for kind in ["journal rot 1", "log rot 1", "row rot 1", "segment rot 1", "vote rot 1"] {
        assert!(struck.contains(kind) && noticed.contains(kind), "{kind}, once each: {sums}");
    }
}

/// Why: an answer that comes late says how things were when it was asked for; a node that takes it for newer decides on
/// state older than its bound.
#[test]
fn a_late_answer_makes_no_node_fresh() {
    crate::must_hold("--seeds 1 --jobs 1 --scenario staleness");
}

/// Why: a suspended host's monotonic clock stands still, and the others elect meanwhile.
#[test]
fn a_leader_that_slept_breaks_no_lease() {
    crate::must_hold("--seeds 5 --jobs 1 --scenario lease-sleep");
}

/// The same with the whole lease used, and with sleep not counted: both must be noticed.
#[cfg(feature = "mutants")]
#[test]
fn with_the_whole_lease_or_sleep_not_counted_leases_break() {
    for (scenario, mutant) in [("lease-drift", "whole-lease"), ("lease-sleep", "sleep-not-counted")] {
        let output = crate::fuzz(&format!("--seeds 20 --jobs 1 --scenario {scenario} --mutant {mutant}"));
        assert!(!output.status.success(), "{mutant}: no lease was broken:\n{}", crate::text(&output));
        assert!(crate::text(&output).contains("VIOLATED lease reads"), "{}", crate::text(&output));
    }
}
