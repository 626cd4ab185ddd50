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
